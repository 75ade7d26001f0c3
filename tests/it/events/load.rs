//! Customers whose rooms live on and on, told of at a steady rate until told to end.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pulse_core::{
    entropy::{Entropy as _, SeededEntropy},
    time::{Clock as _, SystemClock},
};
use pulse_tests::{
    livekit_sender::{Fate, LiveKitSender, Outcome, Report, Story, Webhook},
    receiver::{Action, Behaviour},
};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

use super::{
    ledger,
    scene::{SOON, Scene},
};

/// Events in a second.
const RATE: u32 = 120;
/// Rooms of a project: each has a lane at the sender.
const ROOMS: usize = 8;
const PARTICIPANTS: usize = 3;
/// Events of a room that wait at the sender when the next is held back, where some daemon always runs: then a slow machine makes
/// the load smaller, and not its events too old, and what is dropped was dropped because of the daemons.
const WAITING_PER_ROOM: usize = 2;
/// How long the last events may take to be accepted, all tries included.
const LAST_TRIES: Duration = Duration::from_secs(30);

/// The customers of a load.
pub(super) struct Crowd {
    projects: Vec<String>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// An endpoint of one of them.
pub(super) struct Endpoint {
    pub(super) path: String,
    project: String,
    /// Whether it gets the whole story.
    from_the_beginning: bool,
}

impl Crowd {
    /// Some projects with two endpoints each. At the second ones, one request in eleven is answered with a fault, and one in
    /// thirteen with a reset.
    pub(super) async fn settle(scene: &Scene, projects: usize) -> Self {
        let mut crowd = Self { projects: Vec::new(), endpoints: Vec::new() };
        for n in 0..projects {
            let project = scene.client().project_of(&format!("org {n}"), "Enterprise").await;
            let project = project["id"].as_str().expect("an id").to_owned();
            for kind in ["steady", "moody"] {
                crowd.add(scene, &project, &format!("/{n}/{kind}"), json!({})).await;
                crowd.endpoints.iter_mut().for_each(|endpoint| endpoint.from_the_beginning = true);
            }
            scene.receiver.behave_at(&format!("/{n}/moody"), moody());
            crowd.projects.push(project);
        }
        crowd
    }

    /// Adds an endpoint of a project, which gets what happens from now on.
    pub(super) async fn add(&mut self, scene: &Scene, project: &str, path: &str, more: serde_json::Value) {
        scene.endpoint(project, path, more).await;
        let (path, project) = (path.to_owned(), project.to_owned());
        self.endpoints.push(Endpoint { path, project, from_the_beginning: false });
    }

    /// The first project.
    pub(super) fn project(&self) -> String {
        self.projects[0].clone()
    }

    /// A story of some rooms of each.
    pub(super) fn story(&self, seed: u64) -> Story {
        let rooms = self.projects.iter().flat_map(|id| (0..ROOMS).map(move |room| format!("{id}~room {room}")));
        let step = Duration::from_secs(1) / RATE;
        Story::new(seed, rooms, PARTICIPANTS, SystemClock::new().now(), step)
    }

    /// Lets the story be told until the load is ended.
    pub(super) fn tell(&self, sender: &LiveKitSender, seed: u64) -> Load {
        self.tell_within(sender, seed, RATE, usize::MAX)
    }

    /// The same with so many events in a second, and fewer on a machine that is slower.
    pub(super) fn tell_at(&self, sender: &LiveKitSender, seed: u64, rate: u32) -> Load {
        self.tell_within(sender, seed, rate, self.projects.len() * ROOMS * WAITING_PER_ROOM)
    }

    fn tell_within(&self, sender: &LiveKitSender, seed: u64, rate: u32, most: usize) -> Load {
        let ending = Arc::new(AtomicBool::new(false));
        let (stop, sender, mut story) = (Arc::clone(&ending), sender.clone(), self.story(seed));
        let telling = tokio::spawn(async move {
            let mut told = HashMap::new();
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !stop.load(Ordering::SeqCst) {
                ticks.tick().await;
                if sender.unsettled() >= most {
                    continue;
                }
                let webhook = story.next().expect("the story goes on");
                told.insert(webhook.correlation.clone(), project_of(&webhook));
                sender.send(webhook);
            }
            told
        });
        Load { began: Instant::now(), ending, telling }
    }
}

/// Answers that a receiver with a bad day gives.
fn moody() -> Behaviour {
    Behaviour::by(|received| match received.number {
        number if number % 11 == 0 => Action::status(500),
        number if number % 13 == 0 => Action::Reset,
        _ => Action::ok(),
    })
}

fn project_of(webhook: &Webhook) -> String {
    webhook.lane.split('~').next().unwrap_or_default().to_owned()
}

/// A load that is being sent.
pub(super) struct Load {
    began: Instant,
    ending: Arc<AtomicBool>,
    /// Gives the project of every event.
    telling: JoinHandle<HashMap<String, String>>,
}

impl Load {
    /// Ends it, waits until everything has arrived, stops the daemons, and holds the store, the receiver and the sender
    /// against each other; see [`Ended::judge`].
    pub(super) async fn settle(self, scene: &Scene, crowd: &Crowd) -> f64 {
        self.end(scene).await.judge(scene, crowd).await
    }

    /// Ends it, and waits until everything has arrived.
    pub(super) async fn end(self, scene: &Scene) -> Ended {
        self.ending.store(true, Ordering::SeqCst);
        let told = self.telling.await.expect("the story was told");
        let outcomes = scene.sender.settled(LAST_TRIES).await;
        let done = async || scene.is_quiet().await.then_some(());
        scene.daemon().process.until("no delivery waits or is under way", SOON * 2, done).await;
        Ended { began: self.began, told, outcomes }
    }
}

/// A load that has ended and arrived.
pub(super) struct Ended {
    began: Instant,
    told: HashMap<String, String>,
    outcomes: Vec<Outcome>,
}

impl Ended {
    /// Stops the daemons, and holds the store, the receiver and the sender against each other: nothing acknowledged is lost,
    /// and what was sent is what was written down. Prints the report, and gives the share of all events that was
    /// acknowledged.
    pub(super) async fn judge(self, scene: &Scene, crowd: &Crowd) -> f64 {
        let Self { began, told, outcomes } = self;
        scene.stop().await;
        for Endpoint { path, project, .. } in crowd.endpoints.iter().filter(|endpoint| endpoint.from_the_beginning) {
            let of_project = |outcome: &&Outcome| told.get(&outcome.correlation) == Some(project);
            let outcomes: Vec<Outcome> = outcomes.iter().filter(of_project).cloned().collect();
            let report = Report::join(&outcomes, &scene.receiver.deliveries(Some(path)), began);
            tell(&format!("{path}: {report}"));
            assert!(report.lost.is_empty(), "{path}: acknowledged and lost: {:?}", report.lost);
        }
        let counted = ledger::hold(scene).await;
        tell(&counted.to_string());
        assert_eq!(counted.succeeded, counted.deliveries, "a receiver that is well again gets everything");
        let accepted = outcomes.iter().filter(|outcome| outcome.fate == Fate::Acknowledged).count();
        assert!(accepted > 50, "only {accepted} events were acknowledged: that is no load");
        accepted as f64 / outcomes.len() as f64
    }
}

/// For who runs the test by itself.
#[expect(clippy::print_stdout, reason = "the report is what a soak is run for")]
pub(super) fn tell(text: &str) {
    println!("{text}");
}

/// Numbers of a seed.
pub(super) struct Dice(SeededEntropy);

impl Dice {
    pub(super) fn of(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// From 1 to `most`.
    pub(super) fn roll(&self, most: u8) -> u64 {
        let mut random = [0_u8; 1];
        self.0.fill(&mut random);
        u64::from(random[0] % most) + 1
    }
}

/// Waits until so many more requests have come to the receiver.
pub(super) async fn more_requests(scene: &Scene, more: u64) {
    let enough = scene.receiver.counts().requests + more;
    let what = format!("{more} more requests came");
    scene.receiver.wait_until(&what, SOON, move |counts| counts.requests >= enough).await;
}

/// Waits until so many more events have been acknowledged.
pub(super) async fn more_accepted(scene: &Scene, more: u64) {
    let accepted = || {
        let outcomes = scene.sender.outcomes();
        outcomes.iter().filter(|outcome| outcome.fate == Fate::Acknowledged).count() as u64
    };
    let enough = accepted() + more;
    let reached = async || (accepted() >= enough).then_some(());
    scene.living().process.until("more events were acknowledged", SOON, reached).await;
}

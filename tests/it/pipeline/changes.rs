//! An endpoint that is paused, resumed, disabled, enabled, moved, given new secrets and deleted, in any order, while
//! attempts are under way: held against a model of it that fits on a page.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use proptest::prelude::*;
use pulse_core::{
    deliver::{
        schedule::Schedule,
        sign::{Message, SigningSecret, check_signature},
        state::Status,
    },
    model::delivery::DeliveryView,
    repo::deliveries::DeliveryFilter,
    time::Timestamp,
    worker,
};
use pulse_tests::{
    plane::{Customer, TestPlane, operator},
    receiver::{Action, Behaviour, Gate, Received, Receiver},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{attempts, cases, endpoint, joined};

/// How many attempts may be under way at once.
const AT_ONCE: u32 = 3;
/// So many refusals a receiver may give without its breaker opening, which is another test's matter.
const REFUSALS: u32 = 6;
/// A held answer comes before its lease of 30 s is over, which is another test's matter, too.
const HELD_FOR: Duration = Duration::from_secs(20);
/// Turns of the runtime in which whoever would send has sent: nothing before the request waits for anything.
const TURNS: usize = 200;
/// How long anything may take that nothing stands in the way of.
const SOON: Duration = Duration::from_secs(10);

/// What is done next.
#[derive(Clone, Debug)]
enum Move {
    /// So many events happen.
    Happen(usize),
    Pause,
    Resume,
    Disable,
    Enable,
    /// Another secret; the old ones sign for so many seconds more.
    Rotate(u64),
    /// Another URL.
    Redirect,
    Delete,
    /// How the receiver answers from now on: whether it refuses, and whether it takes its time.
    Answer {
        refuse: bool,
        hold: bool,
    },
    /// It answers what it has held.
    LetGo,
    /// So many seconds go by.
    Pass(u64),
}

fn one_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        5 => (1..4_usize).prop_map(Move::Happen),
        3 => Just(Move::Pause),
        4 => Just(Move::Resume),
        2 => Just(Move::Disable),
        3 => Just(Move::Enable),
        2 => prop::sample::select(vec![0, 4, 60]).prop_map(Move::Rotate),
        2 => Just(Move::Redirect),
        1 => Just(Move::Delete),
        5 => (any::<bool>(), any::<bool>()).prop_map(|(refuse, hold)| Move::Answer { refuse, hold }),
        4 => Just(Move::LetGo),
        4 => (1..8_u64).prop_map(Move::Pass),
    ]
}

/// Whether the endpoint is sent to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Active,
    Paused,
    Disabled,
    Deleted,
}

/// What a request that comes now has to be.
#[derive(Clone, Debug, Default)]
struct Expected {
    state: State,
    path: String,
    /// The numbers of the secrets that sign.
    secrets: Vec<usize>,
}

/// What the receiver knows, and what it is told to do.
#[derive(Default)]
struct Desk {
    expected: Expected,
    refuse: bool,
    hold: bool,
    refused: u32,
    gate: Gate,
    held: usize,
    /// What was expected when each request came.
    came: HashMap<u64, Expected>,
}

impl Desk {
    fn answer(&mut self, received: &Received) -> Action {
        self.came.insert(received.number, self.expected.clone());
        let refuse = self.refuse && self.refused < REFUSALS;
        self.refused += u32::from(refuse);
        let answer = if refuse { Action::status(500) } else { Action::ok() };
        self.held += usize::from(self.hold);
        if self.hold { answer.held_by(&self.gate) } else { answer }
    }
}

/// The endpoint as it has to be, beside the real one.
struct Stage {
    t: TestPlane,
    customer: Customer,
    id: String,
    receiver: Receiver,
    desk: Arc<Mutex<Desk>>,
    /// With the moment at which each stops to sign, oldest first.
    secrets: Vec<(SigningSecret, Option<Timestamp>)>,
    state: State,
    moved: usize,
    /// Events so far, and how many of them the endpoint was to get.
    events: usize,
    owed: usize,
    held_since: Option<Timestamp>,
    dispatching: JoinHandle<()>,
}

impl Stage {
    async fn new() -> Self {
        let t = TestPlane::new().await;
        let customer = t.customer("acme").await;
        let desk = Arc::<Mutex<Desk>>::default();
        let asked = Arc::clone(&desk);
        let receiver = Receiver::start(Behaviour::by(move |received| asked.lock().answer(received)));
        let (made, secret) = endpoint(&t, &customer, &format!("{}/0", receiver.url()), |endpoint| {
            endpoint.timeout_seconds = 15;
            endpoint.max_in_flight = AT_ONCE;
            endpoint.schedule = Some(Schedule::new([5; 12]).expect("a schedule"));
        })
        .await;
        let dispatching = tokio::spawn(Arc::clone(&t.pipeline.dispatcher).run());
        Self {
            t,
            customer,
            id: made.id.to_string(),
            receiver,
            desk,
            secrets: vec![(secret, None)],
            state: State::Active,
            moved: 0,
            events: 0,
            owed: 0,
            held_since: None,
            dispatching,
        }
    }

    fn now(&self) -> Timestamp {
        self.t.plane.parts().clock.now()
    }

    /// Does an operation about the endpoint, as its project asks for it.
    async fn ask(&self, op: &str, body: Value) -> Option<Value> {
        self.t.send(&self.customer.caller, op, &[("id", &self.id)], "", &body.to_string()).await.ok()
    }

    /// Brings the endpoint into a state; `from` are those in which that is allowed.
    async fn bring(&mut self, op: &str, from: &[State], to: State) {
        let done = self.ask(op, json!({})).await.is_some();
        assert_eq!(done, from.contains(&self.state), "{op} of an endpoint that is {:?}", self.state);
        if done {
            self.state = to;
        }
    }

    async fn make(&mut self, next: &Move) {
        let alive = self.state != State::Deleted;
        match next {
            Move::Happen(times) => {
                for _ in 0..*times {
                    self.happen().await;
                }
            }
            Move::Pause => self.bring("endpoints.pause", &[State::Active, State::Paused], State::Paused).await,
            Move::Resume => self.bring("endpoints.resume", &[State::Active, State::Paused], State::Active).await,
            Move::Disable => {
                let from = [State::Active, State::Paused, State::Disabled];
                self.bring("endpoints.disable", &from, State::Disabled).await;
            }
            Move::Enable => self.bring("endpoints.enable", &[State::Active, State::Disabled], State::Active).await,
            Move::Rotate(overlap) => self.rotate(*overlap).await,
            Move::Redirect => {
                let url = format!("{}/{}", self.receiver.url(), self.moved + 1);
                let done = self.ask("endpoints.update", json!({ "url": url })).await.is_some();
                assert_eq!(done, alive);
                self.moved += usize::from(done);
            }
            Move::Delete => {
                let done = self.ask("endpoints.delete", json!({})).await.is_some();
                assert_eq!(done, alive);
                self.state = State::Deleted;
            }
            Move::Answer { refuse, hold } => {
                let mut desk = self.desk.lock();
                (desk.refuse, desk.hold) = (*refuse, *hold);
            }
            Move::LetGo => self.let_go(),
            Move::Pass(seconds) => self.pass(*seconds).await,
        }
    }

    async fn happen(&mut self) {
        self.events += 1;
        self.owed += usize::from(matches!(self.state, State::Active | State::Paused));
        let event = joined(&self.t, &self.customer, self.events);
        self.t.livekit_says(&event).await.expect("taken in");
    }

    async fn rotate(&mut self, overlap: u64) {
        let now = self.now();
        let body = json!({ "project_id": self.customer.id(), "overlap_seconds": overlap }).to_string();
        let path = [("id", self.id.as_str())];
        let made = self.t.send(&operator(), "endpoints.rotate_secret", &path, "", &body).await.ok();
        // No more than five sign at once.
        let full = overlap > 0 && self.live().len() == 5;
        assert_eq!(made.is_some(), self.state != State::Deleted && !full);
        let Some(made) = made else { return };
        let end = now.plus(Duration::from_secs(overlap));
        for (_, stops) in &mut self.secrets {
            *stops = Some(stops.map_or(end, |own| own.min(end)));
        }
        let secret = SigningSecret::parse(made["secret"].as_str().expect("a new secret is shown")).expect("a secret");
        self.secrets.push((secret, None));
    }

    /// The numbers of the secrets that sign now.
    fn live(&self) -> Vec<usize> {
        let now = self.now();
        let live = |(number, (_, stops)): (usize, &(SigningSecret, Option<Timestamp>))| {
            stops.is_none_or(|end| end > now).then_some(number)
        };
        self.secrets.iter().enumerate().filter_map(live).collect()
    }

    fn let_go(&self) {
        let mut desk = self.desk.lock();
        std::mem::take(&mut desk.gate).open();
        desk.held = 0;
    }

    async fn pass(&self, seconds: u64) {
        let span = Duration::from_secs(seconds);
        if self.held_since.is_none_or(|since| self.now().plus(span).since(since) < HELD_FOR) {
            self.t.advance(span).await;
        }
    }

    async fn rows(&self) -> Vec<DeliveryView> {
        let (filter, limit) = (DeliveryFilter::default(), 100_u32.try_into().ok());
        self.t.plane.parts().deliveries.list(self.customer.id(), &filter, limit, None).await.expect("deliveries").data
    }

    /// From here on, requests have to be as the endpoint is now.
    fn expect(&self) {
        let path = format!("/{}", self.moved);
        self.desk.lock().expected = Expected { state: self.state, path, secrets: self.live() };
    }

    /// Lets everybody work until nobody has anything to do but to wait for answers that are held.
    async fn settle(&mut self) {
        while worker::do_jobs(&self.t.pipeline).await.expect("jobs are done") > 0 {}
        self.t.pipeline.dispatcher.have_work(&[self.id.parse().expect("an id")]);
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let quiet = async {
            while !self.is_quiet().await {
                tokio::task::yield_now().await;
            }
        };
        let quiet = tokio::time::timeout(SOON, quiet).await;
        assert!(quiet.is_ok(), "{:?}: {:#?}", self.state, self.rows().await);
        let held = self.desk.lock().held > 0;
        self.held_since = held.then(|| self.held_since.unwrap_or(self.now()));
    }

    /// Whether exactly that is leased whose answer is held, and nothing else could be.
    async fn is_quiet(&self) -> bool {
        let (rows, now, held) = (self.rows().await, self.now(), self.desk.lock().held);
        let leased = rows.iter().filter(|row| row.status == Status::Leased).count();
        let due = rows.iter().any(|row| row.status == Status::Pending && row.due_at.is_none_or(|at| at <= now));
        let place = held < AT_ONCE as usize;
        leased == held && !(self.state == State::Active && due && place)
    }

    /// Ends it as a customer would who puts everything right, and looks back.
    async fn end(mut self) {
        let last = match self.state {
            State::Active | State::Deleted => None,
            State::Paused => Some(Move::Resume),
            State::Disabled => Some(Move::Enable),
        };
        let answer = Move::Answer { refuse: false, hold: false };
        // What failed is due again in six seconds at the latest.
        for next in [Some(answer), Some(Move::LetGo), last, Some(Move::Pass(7)), Some(Move::Pass(7))] {
            if let Some(next) = next {
                self.make(&next).await;
            }
            self.expect();
            self.settle().await;
        }
        let rows = self.rows().await;
        assert_eq!(rows.len(), self.owed, "one delivery for every event while the endpoint took new ones");
        for row in &rows {
            let deleted = self.state == State::Deleted;
            let ended = if deleted { row.status.is_terminal() } else { row.status == Status::Succeeded };
            assert!(ended, "{:?}: {row:?}", self.state);
        }
        self.look_back(&rows).await;
        self.t.pipeline.stopping.cancel();
        self.dispatching.await.expect("the dispatcher ends");
    }

    /// Holds every request that came against what was expected of it, and against what is on record.
    async fn look_back(&self, rows: &[DeliveryView]) {
        let (received, mut numbers) = (self.receiver.received(), BTreeMap::<String, Vec<u32>>::new());
        for request in &received {
            let expected = self.desk.lock().came[&request.number].clone();
            assert_eq!(expected.state, State::Active, "sent to an endpoint that is {:?}", expected.state);
            assert_eq!(request.path(), expected.path, "sent to another URL than the endpoint had");
            for (number, (secret, _)) in self.secrets.iter().enumerate() {
                let signs = expected.secrets.contains(&number);
                assert_eq!(is_signed(secret, request), signs, "secret {number}, where {:?} sign", expected.secrets);
            }
            let number = request.header("pulse-attempt").parse().expect("a number");
            numbers.entry(request.header("pulse-delivery-id").to_owned()).or_default().push(number);
        }
        assert_eq!(self.receiver.counts().unequal, 0, "the bytes changed from one attempt to another");
        for row in rows {
            let came = numbers.remove(&row.id.to_string()).unwrap_or_default();
            let written: Vec<u32> =
                attempts(&self.t, &self.customer, row).await.iter().map(|attempt| attempt.number).collect();
            assert_eq!(came, (1..=row.attempts_made).collect::<Vec<_>>(), "{row:?}");
            assert_eq!(came, written, "what came, and what is on record of it");
        }
        assert!(numbers.is_empty(), "deliveries that are nowhere: {numbers:?}");
    }
}

fn is_signed(secret: &SigningSecret, request: &Received) -> bool {
    let timestamp = request.header("webhook-timestamp").parse().expect("a number");
    let message = Message { id: request.webhook_id(), timestamp, body: &[request.body.as_ref()] };
    check_signature(std::slice::from_ref(secret), &message, request.header("webhook-signature")).is_ok()
}

async fn play(moves: &[Move]) {
    let mut stage = Stage::new().await;
    stage.expect();
    for next in moves {
        stage.make(next).await;
        stage.expect();
        stage.settle().await;
    }
    stage.end().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(48), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_an_endpoint_it_is_sent_to_as_it_is_and_only_while_it_is_active(
        moves in prop::collection::vec(one_move(), 5..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(play(&moves));
    }
}

//! `pulse events`, and `pulse trigger`.

use std::{collections::BTreeMap, time::Duration};

use pulse_core::{
    deliver::event_filter::EventTypeFilter,
    id::EventId,
    model::event::EventView,
    ops::events::{GetEvent, ListEvents, TriggerEvent, WatchEvents},
    watch::Recent,
};

use super::{
    DONE,
    listing::{self, Endless},
};
use crate::{
    args::events::{Events, Get, List, Tail, Trigger, Which},
    client::{CallOptions, Client, Heard},
    exit::{Failure, Outcome},
    names,
    session::Session,
    ui::{View, view},
};

pub(super) const VIEW: View = View::new(
    &["id", "type", "room", "sequence", "created_at"],
    &["session_id", "synthetic", "test", "corrects", "project_id", "schema_version", "data"],
)
.detail(&[
    "id",
    "type",
    "project_id",
    "room",
    "session_id",
    "sequence",
    "created_at",
    "synthetic",
    "test",
    "corrects",
    "data",
]);

/// The waits before a stream is asked for again.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// For how long ids are kept that were shown: longer than a stream goes back.
const SHOWN: Duration = Duration::from_secs(120);

pub(super) async fn run(session: &Session, command: Events) -> Outcome {
    match command {
        Events::List(args) => list(session, args).await,
        Events::Get(args) => get(session, args).await,
        Events::Tail(args) => tail(session, args).await,
    }
}

/// The patterns as a filter.
pub(super) fn filter(
    types: Vec<pulse_core::deliver::event_filter::EventTypePattern>,
) -> Result<EventTypeFilter, Failure> {
    EventTypeFilter::new(types).map_err(|refused| Failure::usage(refused.to_string()))
}

async fn list(session: &Session, args: List) -> Outcome {
    let client = session.client().await?;
    let now = session.now();
    let Which { of, types, room, session: of_session } = args.which;
    let op = ListEvents {
        project_id: names::project_if_named(session, client, &of).await?,
        types: filter(types)?,
        room,
        session_id: of_session,
        after_sequence: args.after_sequence,
        from: args.since.map(|moment| moment.from(now)),
        to: args.until.map(|moment| moment.from(now)),
        limit: None,
        cursor: None,
    };
    listing::show(session, client, &VIEW, op, &args.paging).await?;
    DONE
}

async fn get(session: &Session, args: Get) -> Outcome {
    let client = session.client().await?;
    let project_id = names::project_if_named(session, client, &args.of).await?;
    let event = client.ask(&GetEvent { id: args.event, project_id }).await?;
    session.printer.document(&VIEW, &event)?;
    DONE
}

pub(super) async fn trigger(session: &Session, args: Trigger) -> Outcome {
    let (count, set) = (args.set.len(), args.set.into_iter().collect::<BTreeMap<_, _>>());
    if set.len() < count {
        return Err(Failure::usage("--set gives one path two values"));
    }
    let client = session.client().await?;
    let op = TriggerEvent {
        project_id: names::project_if_named(session, client, &args.of).await?,
        event_type: args.event_type,
        room: args.room,
        set,
    };
    let answer = client.call(&op, CallOptions::from(&args.change)).await?;
    session.printer.answer(&VIEW, answer)?;
    DONE
}

async fn tail(session: &Session, args: Tail) -> Outcome {
    Endless::check(session, args.limit)?;
    let client = session.client().await?;
    let Which { of, types, room, session: of_session } = args.which;
    let op = WatchEvents {
        project_id: names::project_if_named(session, client, &of).await?,
        types: filter(types)?,
        room,
        session_id: of_session,
        from: args.since.map(|moment| moment.from(session.now())),
    };
    let mut follower = Follower::new(session, client, op, args.after);
    let mut rows = Endless::new(session, &VIEW, args.limit)?;
    while rows.goes_on() {
        let (_, envelope) = follower.next().await?;
        let event: EventView = serde_json::from_str(&envelope)
            .map_err(|_| Failure::unexpected("the server sent an event that this version of pulse does not read"))?;
        rows.row(&event, || line(&event))?;
    }
    rows.finish()?;
    DONE
}

/// One event as a line for a person.
fn line(event: &EventView) -> String {
    let place = event.room.as_ref().map_or("-", |room| room.as_str());
    let number = event.sequence.map(|number| format!("#{number}")).unwrap_or_default();
    let who = ["/participant/identity", "/egress/livekit_id", "/ingress/name", "/recording/filename", "/endpoint/url"]
        .into_iter()
        .find_map(|pointer| event.data.pointer(pointer)?.as_str())
        .unwrap_or_default();
    let marks = [(event.synthetic, " synthetic"), (event.test, " test")];
    let marks: String = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
    let text = format!("{}  {:<20}  {place} {number} {who}{marks}", event.created_at, event.kind);
    let text = text.split_whitespace().collect::<Vec<_>>().join("  ");
    view::visible(&format!("{text}  {}", event.id)) + "\n"
}

/// Follows a project's events across connections that break: it goes on after the last event, and gives each once.
pub(super) struct Follower<'a> {
    session: &'a Session,
    client: &'a Client,
    op: WatchEvents,
    stream: Option<crate::client::EventStream>,
    last: Option<EventId>,
    shown: Recent,
    wait: Duration,
    /// Whether it was connected at all: before, a failure is one.
    begun: bool,
}

impl<'a> Follower<'a> {
    pub(super) fn new(session: &'a Session, client: &'a Client, op: WatchEvents, last: Option<EventId>) -> Self {
        Self { session, client, op, stream: None, last, shown: Recent::default(), wait: FIRST_WAIT, begun: false }
    }

    /// Connects, if it is not connected.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        while self.stream.is_none() {
            match self.client.watch(&self.op, self.last).await {
                Ok(stream) => {
                    if self.begun {
                        self.session.printer.warning("connected again");
                    }
                    (self.stream, self.begun) = (Some(stream), true);
                }
                Err(failure) if self.begun && passes(&failure) => self.pause(&failure).await,
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// The next event that was not given yet, with its envelope.
    pub(super) async fn next(&mut self) -> Result<(EventId, String), Failure> {
        loop {
            self.connect().await?;
            let Some(stream) = &mut self.stream else { continue };
            match stream.next().await {
                Heard::Event { id, envelope } => {
                    // Events come to light in another order than their ids': the stream goes back from the greatest.
                    (self.last, self.wait) = (self.last.max(Some(id)), FIRST_WAIT);
                    if self.shown.insert(id) {
                        self.shown.forget(self.last.map_or(id.moment(), EventId::moment), SHOWN);
                        return Ok((id, envelope));
                    }
                }
                Heard::Position(id) => self.last = self.last.max(Some(id)),
                Heard::Gap { from, to } if from == to => self
                    .session
                    .printer
                    .warning(&format!("the event to go on after is not known: what follows begins at {from}")),
                Heard::Gap { from, to } => {
                    self.session
                        .printer
                        .warning(&format!("events between {from} and {to} are lost: they are not kept any more"));
                }
                Heard::End(failure) => {
                    self.stream = None;
                    if !passes(&failure) {
                        return Err(failure);
                    }
                    self.pause(&failure).await;
                }
            }
        }
    }

    async fn pause(&mut self, failure: &Failure) {
        self.session.printer.warning(&format!("{}; connecting again", failure.message()));
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }
}

/// Whether another connection may work where this one did not: the server is away, or has too much to do.
fn passes(failure: &Failure) -> bool {
    matches!(failure.exit_code(), 1 | 3 | 9)
}

#[cfg(test)]
mod tests {
    use pulse_core::outbound::AddressPolicy;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{args::Global, client::Remote, env::Env};

    /// Where a server will be.
    async fn place() -> (TcpListener, url::Url) {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", server.local_addr().expect("an address")).parse().expect("an address");
        (server, url)
    }

    /// Each connection gives one event, whose id tells which one it is, and dies without a word.
    async fn answer_each(server: TcpListener) {
        let mut open = Vec::new();
        for n in 1.. {
            let (mut connection, _) = server.accept().await.expect("a connection");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                assert!(connection.read_buf(&mut asked).await.expect("a request") > 0, "a whole request");
            }
            let asked = String::from_utf8_lossy(&asked).to_lowercase();
            let after = format!("last-event-id: evt_{:026}", n - 1);
            assert_eq!(asked.contains(&after), n > 1, "it goes on where it was: {asked}");
            let event = format!("id: evt_{n:026}\ndata: {{}}\n\n");
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            connection.write_all(format!("{head}{event}").as_bytes()).await.expect("an answer");
            open.push(connection);
        }
    }

    #[tokio::test]
    async fn a_connection_that_falls_silent_is_given_up_and_the_next_one_goes_on() {
        let (server, url) = place().await;
        tokio::spawn(answer_each(server));
        let policy = AddressPolicy::only(vec!["127.0.0.0/8".parse().expect("a network")]);
        let remote = Remote::new(url, &policy, None, None).expect("a client").impatient(Duration::from_millis(100));
        let (session, client) = (Session::new(Global::default(), Env::default()), Client::Remote(Box::new(remote)));
        let mut follower = Follower::new(&session, &client, WatchEvents::default(), None);
        for n in 1..=3 {
            let (id, _) = follower.next().await.expect("an event");
            assert_eq!(id.to_string(), format!("evt_{n:026}"));
        }
    }
}

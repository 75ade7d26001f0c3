//! `pulse session`.

use pulse_core::ops::sessions::{GetSession, ListSessions};

use super::{DONE, listing};
use crate::{
    args::session,
    exit::Outcome,
    names,
    session::Session,
    ui::{View, timeline},
};

pub(super) const VIEW: View = View::new(
    &["id", "room", "state", "started_at", "ended_at", "participants", "participant_seconds"],
    &["peak", "livekit_sid", "synthetic_start", "synthetic_end", "project_id", "as_of"],
)
.id("id");
pub(super) const DETAIL: View = View::new(&["id", "room", "state"], &[]).id("id").detail(&[
    "id",
    "project_id",
    "room",
    "livekit_sid",
    "state",
    "started_at",
    "ended_at",
    "synthetic_start",
    "synthetic_end",
    "participant_count",
    "peak",
    "participant_seconds",
    "as_of",
    "gaps",
]);

/// How the result of a command is shown.
pub(super) fn view(command: &session::Session) -> &'static View {
    match command {
        session::Session::List(_) => &VIEW,
        session::Session::Show(_) => &DETAIL,
    }
}

pub(super) async fn run(session: &Session, command: session::Session) -> Outcome {
    match command {
        session::Session::List(args) => list(session, args).await,
        session::Session::Show(args) => show(session, args).await,
    }
}

async fn list(session: &Session, args: session::List) -> Outcome {
    let client = session.client().await?;
    let now = session.now();
    let op = ListSessions {
        project_id: names::project_if_named(session, client, &args.of).await?,
        room: args.room,
        from: args.since.map(|moment| moment.from(now)),
        to: args.until.map(|moment| moment.from(now)),
        live: (args.live || args.ended).then_some(args.live),
        limit: None,
        cursor: None,
    };
    listing::show(session, client, &VIEW, op, &args.paging).await?;
    DONE
}

async fn show(session: &Session, args: session::Show) -> Outcome {
    let client = session.client().await?;
    let project_id = names::project_if_named(session, client, &args.of).await?;
    let id = names::session(client, project_id, &args.session).await?;
    let detail = client.ask(&GetSession { id, project_id }).await?;
    session.printer.document(&DETAIL, &detail)?;
    if session.printer.is_prose() {
        session.printer.text(&format!("\n{}", timeline::draw(session.printer.width(), &detail)))?;
    }
    DONE
}

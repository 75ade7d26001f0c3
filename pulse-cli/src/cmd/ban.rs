//! `pulse ban`.

use pulse_core::ops::bans::{CreateBan, DeleteBan, ListBans};

use super::{DONE, change::forgiving, listing};
use crate::{
    args::{ban, values::Span},
    client::CallOptions,
    exit::Outcome,
    names,
    session::Session,
    ui::View,
};

pub(super) const VIEW: View =
    View::new(&["id", "identity", "room_name", "reason", "expires_at"], &["project_id", "created_at"])
        .id("id")
        .when_empty(&[("room_name", "all"), ("expires_at", "never")]);

pub(super) async fn run(session: &Session, command: ban::Ban) -> Outcome {
    match command {
        ban::Ban::Create(args) => create(session, args).await,
        ban::Ban::List(args) => {
            let client = session.client().await?;
            let project_id = names::project_if_named(session, client, &args.of).await?;
            let op = ListBans { project_id, identity: args.identity, limit: None, cursor: None };
            listing::show(session, client, &VIEW, op, &args.paging).await?;
            DONE
        }
        ban::Ban::Delete(args) => forgiving(session, args.ignore_not_found, delete(session, &args).await),
    }
}

async fn create(session: &Session, args: ban::Create) -> Outcome {
    let client = session.client().await?;
    let in_time = args.expires_in.map(|Span(span)| session.now().plus(span));
    let op = CreateBan {
        project_id: names::project_if_named(session, client, &args.of).await?,
        identity: args.identity,
        room_name: args.room,
        reason: args.reason,
        expires_at: args.expires_at.or(in_time),
    };
    session.printer.answer(&VIEW, client.call(&op, CallOptions::dry(args.change.dry_run)).await?)?;
    DONE
}

async fn delete(session: &Session, args: &ban::Delete) -> Outcome {
    let client = session.client().await?;
    let project_id = names::project_if_named(session, client, &args.of).await?;
    let id = names::ban(client, project_id, &args.ban, args.room.as_ref()).await?;
    let op = DeleteBan { id, project_id };
    session.printer.answer(&VIEW, client.call(&op, CallOptions::dry(args.change.dry_run)).await?)?;
    DONE
}

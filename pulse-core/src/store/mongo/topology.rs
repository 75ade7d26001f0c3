//! What the engine needs the server to be, and what it says when the server is something else.

use mongodb::{
    Client, Database,
    bson::{Document, doc},
    error::{Error as DriverError, ErrorKind},
    options::{ClientOptions, ServerAddress},
};

use super::{fault::misconfigured, tunnel};
use crate::{
    error::{Error, Result},
    outbound::AddressPolicy,
};

/// The wire version of MongoDB 6.0.
const OLDEST_WIRE_VERSION: i32 = 17;

/// Refuses a server that is no replica set, too old, or with members outside of the policy.
pub(super) async fn check(db: &Database, options: &ClientOptions, policy: &AddressPolicy) -> Result<()> {
    let hello = match hello(db).await {
        Ok(hello) => hello,
        Err(error) => return Err(diagnose(options).await.unwrap_or_else(|| error.into())),
    };
    judge(&hello)?;
    for members in ["hosts", "passives", "arbiters"].iter().filter_map(|list| hello.get_array(list).ok()) {
        for member in members.iter().filter_map(|member| member.as_str()) {
            tunnel::check(&ServerAddress::parse(member)?, policy).await?;
        }
    }
    Ok(())
}

async fn hello(db: &Database) -> Result<Document, DriverError> {
    db.run_command(doc! { "hello": 1 }).await
}

/// Asks the first host by itself why no primary can be found: a driver that looks for a replica set does not see what
/// is none. Says nothing when that host has no better explanation.
async fn diagnose(options: &ClientOptions) -> Option<Error> {
    let mut alone = options.clone();
    alone.hosts.truncate(1);
    alone.repl_set_name = None;
    alone.direct_connection = Some(true);
    let client = Client::with_options(alone).ok()?;
    let found = match hello(&client.database("admin")).await {
        Ok(hello) => judge(&hello).err(),
        Err(error) if matches!(error.kind.as_ref(), ErrorKind::Authentication { .. }) => Some(error.into()),
        Err(_) => None,
    };
    client.shutdown().immediate(true).await;
    found
}

fn judge(hello: &Document) -> Result<()> {
    let is_router = hello.get_str("msg").is_ok_and(|text| text == "isdbgrid");
    if hello.get_str("setName").is_err() && !is_router {
        let waiting = hello.get_bool("isreplicaset").unwrap_or_default();
        let what = if waiting { "a member of a replica set that is not initiated" } else { "a standalone server" };
        return Err(misconfigured(
            &format!("MongoDB runs as {what}; Pulse needs a replica set"),
            "Start it with `mongod --replSet rs0`, then run `rs.initiate()` once in mongosh; one member is enough.",
        ));
    }
    if hello.get_i32("maxWireVersion").is_ok_and(|version| version < OLDEST_WIRE_VERSION) {
        return Err(misconfigured("the MongoDB server is too old", "Use MongoDB 6.0 or newer."));
    }
    Ok(())
}

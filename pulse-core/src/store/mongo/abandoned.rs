//! Transactions whose process died or stands still. The server would keep their documents locked for a minute
//! (`transactionLifetimeLimitSeconds`), and whatever wants to write those would wait for so long: the rooms of which a killed
//! daemon was just recording events, for instance.
//!
//! Who lives and has its transaction ended begins it again. Other Pulse installations on the same server are looked after as
//! well, where they have the same user.

use futures_util::TryStreamExt as _;
use mongodb::{
    Client,
    bson::{Document, doc},
    options::ReadConcern,
};

use crate::error::Result;

/// For how long nothing has been asked within a transaction that is taken for abandoned. Between two of its statements a
/// live one waits for nothing but its own process.
const SILENT_MICROS: i64 = 5_000_000;

/// Ends transactions of this name's clients in which nothing was asked for a while; how many.
pub(super) async fn end(client: &Client, app_name: &str) -> Result<usize> {
    let admin = client.database("admin");
    let silent = doc! {
        "appName": app_name, "type": "idleSession",
        "transaction.timeInactiveMicros": { "$gte": SILENT_MICROS },
    };
    // Only what this user's clients do, which every user may see.
    let look = vec![
        doc! { "$currentOp": { "allUsers": false, "idleSessions": true } },
        doc! { "$match": silent },
        doc! { "$project": { "lsid.id": 1 } },
    ];
    let found: Vec<Document> = admin.aggregate(look).read_concern(ReadConcern::local()).await?.try_collect().await?;
    let sessions: Vec<Document> = found.iter().filter_map(|one| one.get_document("lsid").ok().cloned()).collect();
    if sessions.is_empty() {
        return Ok(0);
    }
    let ended = sessions.len();
    admin.run_command(doc! { "killSessions": sessions }).await?;
    Ok(ended)
}

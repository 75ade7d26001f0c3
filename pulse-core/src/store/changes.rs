//! Hearing of what other processes insert, without asking: for an engine that can tell, and never instead of looking.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::BoxStream};
use serde_json::Value;

use super::{Collection, SharedStore, Stored};
use crate::error::{Error, Result};

/// How long to wait before a stream that broke off is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// Which new documents are wanted.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// Of this collection.
    pub collection: &'static Collection,
    /// With these values in these fields; `Null` for a field that is absent.
    pub equal: Vec<(&'static str, Value)>,
}

/// New documents, in the order of their commits.
pub type Insertions = BoxStream<'static, Result<Stored>>;

/// Gives every new document to `each`, for as long as it is polled; opens the stream again whenever it breaks off. Done at
/// once over an engine that cannot tell.
pub async fn follow(store: &SharedStore, wanted: &Inserted, each: impl Fn(Stored)) {
    let mut is_told = false;
    loop {
        let error = match store.inserted(wanted).await {
            Ok(None) => return,
            Ok(Some(insertions)) => {
                is_told = false;
                broken_off(insertions, &each).await
            }
            Err(error) => error,
        };
        // Once: while the store is away, everything else says so, too.
        if !std::mem::replace(&mut is_told, true) {
            let collection = wanted.collection.name;
            tracing::warn!(collection, error = %error, "what others record is found by looking until it is told again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Gives documents out until the stream breaks off, and why it did.
async fn broken_off(mut insertions: Insertions, each: &impl Fn(Stored)) -> Error {
    while let Some(inserted) = insertions.next().await {
        match inserted {
            Ok(stored) => each(stored),
            Err(error) => return error,
        }
    }
    Error::store_unavailable("the stream of changes has ended")
}

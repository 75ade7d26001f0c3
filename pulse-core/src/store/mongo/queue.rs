//! Queues and expiry: claims by the server's clock, and sweeps.

use futures_util::TryStreamExt as _;
use mongodb::{
    Collection as DriverCollection,
    bson::{Document, RawDocumentBuf, doc, oid::ObjectId},
    options::Hint,
};

use super::{
    codec::{self, CLAIMED, ID, VERSION},
    prepare::EXPIRY_INDEX,
    write::head_id,
};
use crate::{
    error::{Error, Result},
    store::{Claim, Collection, Stored, schema::DUE},
    time::Timestamp,
};

/// Takes due documents out of a queue.
///
/// Each round looks for due ids, marks those that are still due in one update, whose condition the server checks for
/// each document as it writes it, and reads back what carries this round's mark. Whoever loses a document to another
/// claim looks again, so an answer that is short means that nothing is due. A claim that fails halfway leaves documents
/// leased that nobody got; they are due again after the lease.
pub(super) async fn claim(
    documents: &DriverCollection<RawDocumentBuf>,
    claim: &Claim,
    due: &str,
) -> Result<Vec<Stored>> {
    let mut taken = Vec::new();
    loop {
        let wanted = claim.limit - taken.len();
        let (found, marked) = round(documents, due, wanted, claim.lease_millis).await?;
        let nothing_left = found < wanted && marked.len() == found;
        taken.extend(marked);
        if nothing_left || taken.len() == claim.limit {
            return Ok(taken);
        }
    }
}

/// How many were found due, and those that this round got, earliest first.
async fn round(
    documents: &DriverCollection<RawDocumentBuf>,
    due: &str,
    wanted: usize,
    lease_millis: u64,
) -> Result<(usize, Vec<Stored>)> {
    let is_due = doc! { due: { "$type": "date" }, "$expr": { "$lte": [format!("${due}"), "$$NOW"] } };
    let ids = ids(documents, is_due.clone(), DUE, doc! { due: 1, ID: 1 }, wanted as u64).await?;
    if ids.is_empty() {
        return Ok((0, Vec::new()));
    }
    let mark = ObjectId::new();
    let until = doc! { "$add": ["$$NOW", codec::number(lease_millis)] };
    let lease = doc! { due: until, VERSION: { "$add": [format!("${VERSION}"), 1_i64] }, CLAIMED: mark };
    let these = doc! { "$and": [is_due, { ID: { "$in": &ids } }] };
    documents.update_many(these, vec![doc! { "$set": lease }]).await?;
    let marked = documents.find(doc! { ID: { "$in": &ids }, CLAIMED: mark }).await?.try_collect::<Vec<_>>().await?;
    let mut marked = marked.iter().map(|stored| codec::decode(stored)).collect::<Result<Vec<_>>>()?;
    marked.sort_by_key(|stored| ids.iter().position(|id| *id == stored.id));
    Ok((ids.len(), marked))
}

/// Removes up to `limit` documents of one collection whose expiry is not after `now`, and then what is left of the logs
/// that are named after them: a head that is left by a crash in between is one small document.
pub(super) async fn sweep(
    documents: &DriverCollection<RawDocumentBuf>,
    heads: Option<(&DriverCollection<RawDocumentBuf>, &Collection)>,
    expires: &str,
    now: Timestamp,
    limit: u64,
) -> Result<u64> {
    let over = doc! { expires: { "$lte": codec::date(now) } };
    let ids = ids(documents, over.clone(), EXPIRY_INDEX, doc! { expires: 1 }, limit).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let removed = documents.delete_many(doc! { "$and": [over, { ID: { "$in": &ids } }] }).await?.deleted_count;
    if let Some((heads, logs)) = heads {
        let ended: Vec<String> = ids.iter().map(|id| head_id(logs, id)).collect();
        heads.delete_many(doc! { ID: { "$in": ended } }).await?;
    }
    Ok(removed)
}

/// The ids of the first documents in the order of an index.
async fn ids(
    documents: &DriverCollection<RawDocumentBuf>,
    filter: Document,
    index: &str,
    order: Document,
    limit: u64,
) -> Result<Vec<String>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let found = documents.find(filter).sort(order).hint(Hint::Name(index.to_owned())).limit(codec::number(limit));
    let found: Vec<RawDocumentBuf> = found.projection(doc! { ID: 1 }).await?.try_collect().await?;
    found.iter().map(|stored| stored.get_str(ID).map(str::to_owned).map_err(Error::internal)).collect()
}

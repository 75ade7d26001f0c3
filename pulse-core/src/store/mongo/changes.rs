//! What is inserted by whichever daemon, as the server's change stream tells it.

use futures_util::StreamExt as _;
use mongodb::{
    Collection as DriverCollection,
    bson::{RawDocumentBuf, doc},
};

use super::codec;
use crate::{
    error::{Error, Result},
    store::{Inserted, Insertions},
};

/// Opens a change stream over the documents that are wanted. It reads the log of a majority, so nothing is told that is
/// not committed.
pub(super) async fn inserted(documents: &DriverCollection<RawDocumentBuf>, wanted: &Inserted) -> Result<Insertions> {
    let mut matches = doc! { "operationType": "insert" };
    for (name, value) in &wanted.equal {
        let field = format!("fullDocument.{}", codec::stored_name(name));
        matches.insert(field, codec::field(wanted.collection, name, value));
    }
    let stream = documents.watch().pipeline([doc! { "$match": matches }]).await?.with_type::<RawDocumentBuf>();
    let decoded = stream.map(|change| {
        let change = change?;
        codec::decode(change.get_document("fullDocument").map_err(Error::internal)?)
    });
    Ok(decoded.boxed())
}

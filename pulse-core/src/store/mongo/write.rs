//! The writes of a batch, each as one conditional operation on one document, alone or inside a transaction.

use std::collections::BTreeMap;

use mongodb::{
    ClientSession, Database,
    bson::{Bson, Document, doc},
    error::Error as DriverError,
    options::UpdateModifications,
};
use serde_json::{Map, Value};

use super::{
    LOG_HEADS, STATE,
    codec::{self, ID, REQUIRED, VERSION},
    fault,
};
use crate::{
    error::Error,
    store::{
        Outcome, Write, chain, check,
        schema::{Collection, FieldType, PRIMARY},
    },
    time::Timestamp,
};

/// Why a batch does not go on.
pub(super) enum Stop {
    /// A write does not hold.
    Refused(Outcome),
    /// The server or the way to it.
    Driver(DriverError),
    /// A fault of Pulse.
    Fault(Error),
}

impl From<DriverError> for Stop {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

/// The last record of a log: as it is stored, and as it is after the appends of this batch.
struct Head {
    stored_seq: u64,
    seq: u64,
    hash: String,
}

/// Applies writes, in a session's transaction when there is one.
pub(super) struct Writer<'a> {
    db: &'a Database,
    session: Option<&'a mut ClientSession>,
    heads: BTreeMap<String, Head>,
    seqs: Vec<u64>,
}

/// Awaits an action on a collection, in the writer's session when there is one.
macro_rules! run {
    ($writer:ident, $collection:expr, $action:ident($($argument:expr),+) $($option:tt)*) => {{
        let action = $writer.db.collection::<Document>($collection);
        let action = action.$action($($argument),+)$($option)*;
        match $writer.session.as_deref_mut() {
            Some(session) => action.session(session).await,
            None => action.await,
        }
    }};
}

impl<'a> Writer<'a> {
    pub(super) fn new(db: &'a Database, session: Option<&'a mut ClientSession>) -> Self {
        Self { db, session, heads: BTreeMap::new(), seqs: Vec::new() }
    }

    /// Applies the writes in their order, then moves the heads of the logs that grew and the generation. Gives the
    /// sequence numbers of the appends.
    pub(super) async fn apply(mut self, writes: &[Write], bumps_generation: bool) -> Result<Vec<u64>, Stop> {
        for side_by_side in writes.chunk_by(are_one_request) {
            match side_by_side {
                [Write::Insert { collection, .. }, ..] => self.insert(collection, side_by_side).await?,
                [Write::Require { collection, version: Some(version), .. }, _, ..] => {
                    self.require_all(collection, *version, side_by_side).await?;
                }
                others => {
                    for write in others {
                        self.write(write).await?;
                    }
                }
            }
        }
        for (id, head) in std::mem::take(&mut self.heads) {
            self.store_head(id, head).await?;
        }
        if bumps_generation {
            let bump = doc! { "$inc": { "value": 1_i64 } };
            run!(self, STATE, update_one(doc! { ID: "generation" }, bump).upsert(true))?;
        }
        Ok(self.seqs)
    }

    async fn write(&mut self, write: &Write) -> Result<(), Stop> {
        match write {
            Write::Insert { collection, .. } => self.insert(collection, std::slice::from_ref(write)).await,
            Write::Replace { collection, id, version, doc } => {
                let next = codec::encode(collection, id, version.saturating_add(1), doc);
                let replaced = run!(self, collection.name, replace_one(of_version(id, *version), next));
                held(replaced.map_err(|error| stop(collection, error))?.matched_count, collection, id)
            }
            Write::Delete { collection, id, version } => {
                let deleted = run!(self, collection.name, delete_one(of_version(id, *version)))?;
                held(deleted.deleted_count, collection, id)?;
                self.end_log(collection, id).await
            }
            Write::Increment { collection, id, field, by, min, max } => {
                self.increment(collection, id, field, *by, (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX))).await
            }
            Write::Require { collection, id, version: Some(version) } => {
                let touch = doc! { "$inc": { REQUIRED: 1_i64 } };
                held(self.update(collection, of_version(id, *version), touch).await?, collection, id)
            }
            Write::Require { collection, id, version: None } => self.require_absent(collection, id).await,
            Write::Append { collection, log, id, record } => self.append(collection, log, id, record).await,
        }
    }

    /// Inserts into one collection, in their order, in one request.
    async fn insert(&mut self, collection: &'static Collection, inserts: &[Write]) -> Result<(), Stop> {
        let stored = inserts.iter().filter_map(|write| match write {
            Write::Insert { collection, id, doc } => Some(codec::encode(collection, id, 1, doc)),
            _ => None,
        });
        self.insert_stored(collection, stored.collect()).await
    }

    async fn insert_stored(&mut self, collection: &'static Collection, stored: Vec<Document>) -> Result<(), Stop> {
        run!(self, collection.name, insert_many(stored)).map(drop).map_err(|error| stop(collection, error))
    }

    /// How many documents matched and are changed.
    async fn update(
        &mut self,
        collection: &'static Collection,
        filter: Document,
        change: impl Into<UpdateModifications>,
    ) -> Result<u64, Stop> {
        let updated = run!(self, collection.name, update_one(filter, change));
        Ok(updated.map_err(|error| stop(collection, error))?.matched_count)
    }

    /// The bounds are turned into bounds of the value before the change, so that one conditional update decides and no
    /// sum leaves 64 bits.
    async fn increment(
        &mut self,
        collection: &'static Collection,
        id: &str,
        field: &'static str,
        by: i64,
        (min, max): (i64, i64),
    ) -> Result<(), Stop> {
        let before = |bound: i64| i128::from(bound) - i128::from(by);
        let clamp = |bound: i128| i64::try_from(bound).unwrap_or(if bound < 0 { i64::MIN } else { i64::MAX });
        let possible = before(min) <= i128::from(i64::MAX) && before(max) >= i128::from(i64::MIN);
        let (least, greatest) = (clamp(before(min)), clamp(before(max)));
        let name = codec::stored_name(field).into_owned();
        let mut fitting = vec![doc! { &name: { "$type": "long", "$gte": least, "$lte": greatest } }];
        if (least..=greatest).contains(&0) {
            fitting.push(doc! { &name: null });
        }
        let sum = doc! { "$add": [{ "$ifNull": [format!("${name}"), 0_i64] }, by] };
        let grow = vec![doc! { "$set": { &name: sum, VERSION: { "$add": [format!("${VERSION}"), 1_i64] } } }];
        if possible && self.update(collection, doc! { ID: id, "$or": fitting }, grow).await? == 1 {
            return Ok(());
        }
        match run!(self, collection.name, find_one(doc! { ID: id }))? {
            None => held(0, collection, id),
            Some(found) if matches!(found.get(&name), None | Some(Bson::Null | Bson::Int64(_))) => {
                Err(Stop::Refused(Outcome::OutOfBounds { collection: collection.name, id: id.to_owned(), field }))
            }
            Some(_) => Err(Stop::Fault(Error::internal(format!("{}.{field} is no integer", collection.name)))),
        }
    }

    /// Requires documents that are all to have the same version, in one request.
    async fn require_all(
        &mut self,
        collection: &'static Collection,
        version: u64,
        requires: &[Write],
    ) -> Result<(), Stop> {
        let id = |write: &Write| match write {
            Write::Require { id, .. } => Some(id.clone()),
            _ => None,
        };
        let ids: Vec<String> = requires.iter().filter_map(id).collect();
        let these = doc! { ID: { "$in": ids }, VERSION: codec::number(version) };
        let touch = doc! { "$inc": { REQUIRED: 1_i64 } };
        let touched = run!(self, collection.name, update_many(these, touch));
        if touched.map_err(|error| stop(collection, error))?.matched_count == requires.len() as u64 {
            return Ok(());
        }
        // One is missing, or is there twice: which one, each says for itself.
        for require in requires {
            self.write(require).await?;
        }
        Ok(())
    }

    /// Puts a document there and takes it away again: a write, so that an insert of the same id beside this transaction
    /// clashes with it instead of slipping past its snapshot. Nobody ever sees the document.
    async fn require_absent(&mut self, collection: &'static Collection, id: &str) -> Result<(), Stop> {
        match self.insert_stored(collection, vec![placeholder(collection, id)]).await {
            Err(Stop::Refused(Outcome::Conflict { index: PRIMARY, .. })) => return held(0, collection, id),
            result => result?,
        }
        Ok(run!(self, collection.name, delete_one(doc! { ID: id })).map(drop)?)
    }

    async fn append(
        &mut self,
        collection: &'static Collection,
        log: &str,
        id: &str,
        record: &Value,
    ) -> Result<(), Stop> {
        let no_log = || Stop::Fault(Error::internal(format!("{} has no log", collection.name)));
        let kind = collection.log.ok_or_else(no_log)?;
        let head_id = head_id(collection, log);
        let head = match self.heads.remove(&head_id) {
            Some(head) => head,
            None => self.read_head(&head_id).await?,
        };
        let seq = head.seq + 1;
        let (doc, hash) = chain::link(kind, log, seq, &head.hash, record.clone());
        check::document(collection, &doc).map_err(Stop::Fault)?;
        self.insert_stored(collection, vec![codec::encode(collection, id, 1, &doc)]).await?;
        self.heads.insert(head_id, Head { seq, hash, ..head });
        self.seqs.push(seq);
        Ok(())
    }

    /// Forgets the head of the log that is named after a document that has gone, if there is one.
    async fn end_log(&mut self, collection: &'static Collection, id: &str) -> Result<(), Stop> {
        let Some(logs) = collection.logs_of_documents() else { return Ok(()) };
        let head = head_id(logs, id);
        self.heads.remove(&head);
        Ok(run!(self, LOG_HEADS, delete_one(doc! { ID: head })).map(drop)?)
    }

    async fn read_head(&mut self, id: &str) -> Result<Head, Stop> {
        let Some(found) = run!(self, LOG_HEADS, find_one(doc! { ID: id }))? else {
            return Ok(Head { stored_seq: 0, seq: 0, hash: chain::GENESIS.to_owned() });
        };
        let seq = found.get_i64("seq").ok().and_then(|seq| u64::try_from(seq).ok());
        match (seq, found.get_str("hash")) {
            (Some(seq), Ok(hash)) => Ok(Head { stored_seq: seq, seq, hash: hash.to_owned() }),
            _ => Err(Stop::Fault(Error::internal(format!("the head of the log {id} is damaged")))),
        }
    }

    /// Moves a head from where it was read. Where it moved meanwhile, the server stops this transaction with a write
    /// conflict, and it begins again.
    async fn store_head(&mut self, id: String, head: Head) -> Result<(), Stop> {
        let mut was = doc! { ID: id };
        if head.stored_seq > 0 {
            was.insert("seq", codec::number(head.stored_seq));
        }
        let is = doc! { "$set": { "seq": codec::number(head.seq), "hash": head.hash } };
        Ok(run!(self, LOG_HEADS, update_one(was, is).upsert(true)).map(drop)?)
    }
}

/// The id of the head of a log.
pub(super) fn head_id(collection: &Collection, log: &str) -> String {
    format!("{}/{log}", collection.name)
}

/// Whether the server can do two writes that stand side by side in one request.
fn are_one_request(one: &Write, next: &Write) -> bool {
    match (one, next) {
        (Write::Insert { .. }, Write::Insert { .. }) => one.collection().name == next.collection().name,
        (Write::Require { version: Some(one_version), .. }, Write::Require { version: Some(next_version), .. }) => {
            one.collection().name == next.collection().name && one_version == next_version
        }
        _ => false,
    }
}

fn of_version(id: &str, version: u64) -> Document {
    doc! { ID: id, VERSION: codec::number(version) }
}

fn stop(collection: &'static Collection, error: DriverError) -> Stop {
    match fault::conflict(collection, &error) {
        Some(index) => Stop::Refused(Outcome::Conflict { collection: collection.name, index }),
        None => Stop::Driver(error),
    }
}

fn held(matched: u64, collection: &'static Collection, id: &str) -> Result<(), Stop> {
    if matched == 1 {
        return Ok(());
    }
    Err(Stop::Refused(Outcome::Stale { collection: collection.name, id: id.to_owned() }))
}

/// A document that passes the collection's validator. Its texts hold the id, so its keys are nobody else's.
fn placeholder(collection: &Collection, id: &str) -> Document {
    let required = collection.fields.iter().filter(|field| field.required).map(|field| {
        let value = match field.kind {
            FieldType::Text => format!("(absent) {id}").into(),
            FieldType::Int => 0.into(),
            FieldType::Time => Timestamp::from_millis(0).to_string().into(),
            FieldType::Bool => false.into(),
            FieldType::TextList => Value::Array(Vec::new()),
            FieldType::Object => Value::Object(Map::new()),
        };
        (field.name.to_owned(), value)
    });
    codec::encode(collection, id, 0, &Value::Object(required.collect()))
}

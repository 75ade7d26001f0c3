//! A check of a whole store, beside daemons: its collections, validators and indexes against the declared table, every
//! document against its declaration, and the numbers and chains of every log.
//!
//! Documents come in batches, in the order of an index, so little is held at a time however large the store is. There is
//! no one state of a store that may be read for as long as this takes: what is written meanwhile is seen or not, and a log
//! that grows is followed to where its head stands when its last record has been read.

use futures_util::TryStreamExt as _;
use mongodb::{
    Cursor,
    bson::{Bson, Document, RawDocument, RawDocumentBuf, doc},
    options::{CreateCollectionOptions, Hint},
    results::CollectionSpecification,
};
use serde_json::Value;

use super::{
    LOG_HEADS, MongoStore, STATE,
    codec::{self, ID},
    prepare, scan,
    write::head_id,
};
use crate::{
    error::Result,
    store::{
        Stored, check,
        document::validate,
        schema::{COLLECTIONS, Collection, Log, SCHEMA_VERSION},
        soundness::{Chain, CheckReport},
    },
};

/// Documents that the server sends at a time.
const BATCH: u32 = 1_000;

/// The index in whose order logs are followed.
const LOG_ORDER: &str = "log_seq";

/// What the report calls the store as a whole.
const DATABASE: &str = "database";

/// A check under way.
pub(super) struct Inspection<'a> {
    store: &'a MongoStore,
    report: CheckReport,
    progress: &'a mut dyn FnMut(u64, u64),
    /// Documents that were read, and about how many there are.
    read: u64,
    all: u64,
}

impl<'a> Inspection<'a> {
    /// Of a store with this version of the schema. `progress` is told documents read and about how many there are.
    pub(super) fn new(store: &'a MongoStore, version: Option<u32>, progress: &'a mut dyn FnMut(u64, u64)) -> Self {
        let report = CheckReport::of(&store.location, version);
        Self { store, report, progress, read: 0, all: 0 }
    }

    pub(super) async fn run(mut self) -> Result<CheckReport> {
        let problem = match self.report.schema_version {
            None => "there is nothing yet: pulse store migrate, or a start of pulsed, prepares it".to_owned(),
            Some(old) if old < SCHEMA_VERSION => {
                format!("the schema has version {old}: pulse store migrate brings it to {SCHEMA_VERSION}")
            }
            Some(_) => {
                self.content().await?;
                return Ok(self.report.closed());
            }
        };
        self.report.add(DATABASE, None, problem);
        Ok(self.report.closed())
    }

    async fn content(&mut self) -> Result<()> {
        let existing = self.existing().await?;
        for name in [LOG_HEADS, STATE] {
            if !existing.iter().any(|found| found.name == name) {
                self.report.add(name, None, "the collection is missing");
            }
        }
        for collection in COLLECTIONS {
            match existing.iter().find(|found| found.name == collection.name) {
                Some(found) => self.collection(collection, &found.options).await?,
                None => self.report.add(collection.name, None, "the collection is missing"),
            }
        }
        Ok(())
    }

    /// What there is, and about how much of it.
    async fn existing(&mut self) -> Result<Vec<CollectionSpecification>> {
        let store = self.store;
        let list = async { store.db.list_collections().await?.try_collect::<Vec<_>>().await };
        let existing = store.bounded(store.limit, list).await?;
        for collection in COLLECTIONS.iter().filter(|one| existing.iter().any(|found| found.name == one.name)) {
            let documents = store.documents(collection);
            self.all += store.bounded(store.limit, documents.estimated_document_count()).await?;
        }
        Ok(existing)
    }

    async fn collection(&mut self, collection: &'static Collection, options: &CreateCollectionOptions) -> Result<()> {
        if !prepare::is_enforced(options, &prepare::validator(collection)) {
            self.report.add(collection.name, None, "the validator is not the declared one");
        }
        let unusable = self.indexes(collection).await?;
        self.documents(collection).await?;
        match collection.log {
            Some(_) if unusable.iter().any(|name| name == LOG_ORDER) => {
                let detail = format!("the logs were not followed: that takes the index {LOG_ORDER}");
                self.report.add(collection.name, None, detail);
                Ok(())
            }
            Some(kind) => self.logs(collection, kind).await,
            None => Ok(()),
        }
    }

    /// Compares the indexes with the declared ones and gives the names of those that are not there as they should be.
    /// Further ones are the operator's business.
    async fn indexes(&mut self, collection: &'static Collection) -> Result<Vec<String>> {
        let store = self.store;
        let command = doc! { "listIndexes": collection.name };
        let list = async { store.db.run_cursor_command(command).await?.try_collect::<Vec<Document>>().await };
        let listed = store.bounded(store.limit, list).await?;
        let mut unusable = Vec::new();
        for declared in prepare::indexes(collection) {
            let name = declared.get_str("name").unwrap_or_default();
            let wrong = match listed.iter().find(|found| found.get_str("name").is_ok_and(|found| found == name)) {
                None => "is missing",
                Some(found) if !is_same(&declared, found) => "is not the declared one",
                Some(_) => continue,
            };
            self.report.add(collection.name, None, format!("the index {name} {wrong}"));
            unusable.push(name.to_owned());
        }
        Ok(unusable)
    }

    async fn documents(&mut self, collection: &'static Collection) -> Result<()> {
        let store = self.store;
        let documents = store.documents(collection);
        let all = documents.find(doc! {}).sort(doc! { ID: 1 }).hint(Hint::Keys(doc! { ID: 1 })).batch_size(BATCH);
        let mut rows = store.bounded(store.limit, all).await?;
        let mut count = 0;
        while let Some(row) = self.next(&mut rows).await? {
            count += 1;
            self.document(collection, &row);
            self.read += 1;
            (self.progress)(self.read, self.all.max(self.read));
        }
        self.report.add_rows(collection, count);
        Ok(())
    }

    async fn next(&self, rows: &mut Cursor<RawDocumentBuf>) -> Result<Option<RawDocumentBuf>> {
        self.store.bounded(self.store.limit, rows.try_next()).await
    }

    fn document(&mut self, collection: &'static Collection, row: &RawDocument) {
        match sound(collection, row) {
            Err(fault) => self.report.add_fault(collection.name, row.get_str(ID).ok(), &fault),
            Ok(stored) => {
                if let Some(field) = of_another_type(collection, row, &stored) {
                    let detail = format!("{}.{field} is not stored as its declared type", collection.name);
                    self.report.add(collection.name, Some(&stored.id), detail);
                }
            }
        }
    }

    /// Follows every log from its first record to its last, and compares that with its head.
    async fn logs(&mut self, collection: &'static Collection, kind: Log) -> Result<()> {
        // Before the records: a log that begins meanwhile has a record, and maybe no place in this number.
        let known = self.known_logs(collection).await?;
        let mut rows = self.records(collection, &[], Document::new()).await?;
        let (mut chain, mut followed) = (None::<Chain>, 0);
        while let Some(row) = self.next(&mut rows).await? {
            // A record that does not decode is reported with the documents, and the next one shows the gap.
            let Ok(record) = sound(collection, &row) else { continue };
            let log = record.doc["log"].as_str().unwrap_or_default();
            if chain.as_ref().is_none_or(|chain| chain.log != log) {
                if let Some(before) = chain.replace(Chain::begin(log)) {
                    self.end(collection, kind, before).await?;
                }
                followed += 1;
            }
            if let Some(chain) = chain.as_mut() {
                chain.follow(collection, kind, &record.doc, &mut self.report);
            }
        }
        if let Some(last) = chain {
            self.end(collection, kind, last).await?;
        }
        self.report.add_logs(collection, followed, known);
        Ok(())
    }

    /// The records under a prefix of the index by log and number, in its order.
    async fn records(
        &self,
        collection: &'static Collection,
        prefix: &[Value],
        within: Document,
    ) -> Result<Cursor<RawDocumentBuf>> {
        let store = self.store;
        let documents = store.documents(collection);
        let selected = scan::under(collection, check::index_fields(collection, LOG_ORDER)?, prefix);
        let rows = documents.find(doc! { "$and": [selected, within] }).sort(doc! { "log": 1, "seq": 1 });
        store.bounded(store.limit, rows.hint(Hint::Name(LOG_ORDER.to_owned())).batch_size(BATCH)).await
    }

    /// Goes on to where the head of the log stands now, and compares.
    async fn end(&mut self, collection: &'static Collection, kind: Log, mut chain: Chain) -> Result<()> {
        let head = self.head(collection, &chain.log).await?;
        if let Some((seq, _)) = head.as_ref().filter(|(seq, _)| *seq > chain.seq) {
            let late = doc! { "seq": { "$gt": codec::number(chain.seq), "$lte": codec::number(*seq) } };
            let mut rows = self.records(collection, &[chain.log.as_str().into()], late).await?;
            while let Some(row) = self.next(&mut rows).await? {
                let Ok(record) = sound(collection, &row) else { continue };
                chain.follow(collection, kind, &record.doc, &mut self.report);
            }
        }
        chain.end(collection, head, &mut self.report);
        Ok(())
    }

    /// The number and hash of a log's last record, which are kept apart.
    async fn head(&self, collection: &Collection, log: &str) -> Result<Option<(u64, String)>> {
        let store = self.store;
        let heads = store.db.collection::<Document>(LOG_HEADS);
        let found = store.bounded(store.limit, heads.find_one(doc! { ID: head_id(collection, log) })).await?;
        // One that is damaged agrees with no record.
        Ok(found.map(|head| {
            let seq = head.get_i64("seq").ok().and_then(|seq| u64::try_from(seq).ok());
            (seq.unwrap_or_default(), head.get_str("hash").unwrap_or_default().to_owned())
        }))
    }

    /// How many logs of the collection have a head.
    async fn known_logs(&self, collection: &Collection) -> Result<u64> {
        let store = self.store;
        let heads = store.db.collection::<Document>(LOG_HEADS);
        // 0 is the character after the slash that ends the collection's name.
        let of_collection = doc! { "$gte": head_id(collection, ""), "$lt": format!("{}0", collection.name) };
        store.bounded(store.limit, heads.count_documents(doc! { ID: of_collection })).await
    }
}

/// The document, when it decodes and fits its declaration.
fn sound(collection: &Collection, row: &RawDocument) -> Result<Stored> {
    let stored = codec::decode(row)?;
    validate(collection, &stored.doc)?;
    Ok(stored)
}

/// The first declared field that would not be stored as it is: a time that is a text, say, which reads the same and
/// stands in another place of an index.
fn of_another_type(collection: &Collection, row: &RawDocument, stored: &Stored) -> Option<&'static str> {
    let should = codec::encode(collection, &stored.id, stored.version, &stored.doc);
    let differs = |name: &&'static str| {
        let name = codec::stored_name(name);
        let is = row.get(&name).ok().flatten().map(|value| value.element_type());
        is != should.get(&name).map(Bson::element_type)
    };
    collection.fields.iter().map(|field| field.name).find(differs)
}

/// Whether an index that the server lists is the declared one.
fn is_same(declared: &Document, listed: &Document) -> bool {
    let keys = |index: &Document| {
        let key = index.get_document("key").ok();
        Vec::from_iter(key.into_iter().flatten().map(|(name, direction)| (name.clone(), integer(direction))))
    };
    let unique = |index: &Document| index.get_bool("unique").unwrap_or(false);
    let condition = |index: &Document| index.get_document("partialFilterExpression").cloned().ok();
    let expiry = |index: &Document| index.get("expireAfterSeconds").map(integer);
    let plain = ["sparse", "hidden"].iter().all(|flag| !listed.get_bool(flag).unwrap_or(false));
    keys(declared) == keys(listed)
        && unique(declared) == unique(listed)
        && condition(declared) == condition(listed)
        && expiry(declared) == expiry(listed)
        && plain
        && !listed.contains_key("collation")
}

/// A whole number, in whichever form the server gives it.
fn integer(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

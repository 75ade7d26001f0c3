//! Builds what the declared table says: collections with validators, indexes, expiry; and keeps the schema's version.
//!
//! Every step may run again, and in several daemons at once: what exists is left alone, what differs is brought to the
//! declaration, and the version is written last and never lowered.

use std::collections::BTreeMap;

use futures_util::{TryStreamExt as _, future};
use mongodb::{
    Database,
    bson::{Document, doc},
    error::Error as DriverError,
    options::{CreateCollectionOptions, ValidationAction, ValidationLevel},
};

use super::{
    LOG_HEADS, STATE,
    codec::{self, ID, VERSION},
    fault::code,
    scan::entry_condition,
};
use crate::{
    error::{Code, Error, Result},
    store::schema::{COLLECTIONS, Collection, FieldType, Index, SCHEMA_VERSION},
};

/// The server's own expiry comes this long after a document's, so that `sweep` is first wherever Pulse runs.
const EXPIRY_DELAY_SECONDS: i32 = 7 * 24 * 3_600;

/// The name of the index by which the server expires documents.
pub(super) const EXPIRY_INDEX: &str = "expiry";

const NAMESPACE_EXISTS: i32 = 48;
const INDEX_NOT_FOUND: i32 = 27;
const INDEX_OPTIONS_CONFLICT: i32 = 85;
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;

/// What brings a store to a version, in their order. Each may run twice, and at the same time in two daemons. Validators,
/// indexes and collections need no migration: they follow the declaration, and so did every version until now.
const MIGRATIONS: &[Migration] = &[];

/// One step.
struct Migration {
    /// The version that the store has afterwards.
    version: u32,
    run: for<'a> fn(&'a Database) -> future::BoxFuture<'a, Result<(), DriverError>>,
}

/// Prepares the database and gives the version that it has then.
pub(super) async fn prepare(db: &Database) -> Result<u32> {
    let found = version(db).await?;
    build(db).await?;
    let found = found.unwrap_or(SCHEMA_VERSION);
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        (migration.run)(db).await?;
    }
    let state = db.collection::<Document>(STATE);
    let raise = doc! { "$max": { "version": i64::from(SCHEMA_VERSION) } };
    state.update_one(doc! { ID: "schema" }, raise).upsert(true).await?;
    // Another daemon may have been newer while this one built.
    Ok(version(db).await?.unwrap_or(SCHEMA_VERSION))
}

/// The version of the store, if it has been prepared; a newer one than this program knows is refused.
pub(super) async fn version(db: &Database) -> Result<Option<u32>> {
    let state = db.collection::<Document>(STATE);
    let Some(schema) = state.find_one(doc! { ID: "schema" }).await? else {
        return Ok(None);
    };
    let version = schema.get_i64("version").ok().and_then(|version| u32::try_from(version).ok());
    match version {
        None => Err(Error::internal(format!("{STATE} does not tell the version of the schema"))),
        Some(newer) if newer > SCHEMA_VERSION => Err(Error::new(
            Code::StoreNewer,
            format!("the store has schema version {newer}; this version of Pulse knows {SCHEMA_VERSION}"),
        )),
        known => Ok(known),
    }
}

async fn build(db: &Database) -> Result<(), DriverError> {
    let existing: Vec<_> = db.list_collections().await?.try_collect().await?;
    let existing: BTreeMap<&str, _> = existing.iter().map(|found| (found.name.as_str(), &found.options)).collect();
    let bare = [LOG_HEADS, STATE].into_iter().filter(|name| !existing.contains_key(name));
    future::try_join_all(bare.map(|name| create(db, name, None))).await?;
    let declared = COLLECTIONS.iter().map(|one| build_collection(db, one, existing.get(one.name).copied()));
    future::try_join_all(declared).await.map(drop)
}

/// Builds one collection; `existing` are its options, if the collection exists.
async fn build_collection(
    db: &Database,
    collection: &'static Collection,
    existing: Option<&CreateCollectionOptions>,
) -> Result<(), DriverError> {
    let declared = validator(collection);
    match existing {
        None => create(db, collection.name, Some(declared)).await?,
        Some(options) if is_enforced(options, &declared) => {}
        Some(_) => {
            let mut change = doc! { "collMod": collection.name, "validator": declared };
            change.extend(doc! { "validationLevel": "strict", "validationAction": "error" });
            db.run_command(change).await?;
        }
    }
    let indexes = indexes(collection);
    match create_indexes(db, collection, indexes.clone()).await {
        Err(error) if is_another_definition(&error) => {}
        result => return result,
    }
    for index in indexes {
        if let Err(error) = create_indexes(db, collection, vec![index.clone()]).await {
            let name = index.get_str("name").ok().filter(|_| is_another_definition(&error)).ok_or(error)?;
            db.run_command(doc! { "dropIndexes": collection.name, "index": name }).await.or_else(is_gone)?;
            create_indexes(db, collection, vec![index]).await?;
        }
    }
    Ok(())
}

/// Whether a collection with these options takes nothing but what the declared validator allows.
pub(super) fn is_enforced(options: &CreateCollectionOptions, declared: &Document) -> bool {
    options.validator.as_ref() == Some(declared)
        && matches!(options.validation_level, None | Some(ValidationLevel::Strict))
        && matches!(options.validation_action, None | Some(ValidationAction::Error))
}

fn is_another_definition(error: &DriverError) -> bool {
    matches!(code(error), Some(INDEX_OPTIONS_CONFLICT | INDEX_KEY_SPECS_CONFLICT))
}

/// Another daemon was faster.
fn is_gone(error: DriverError) -> Result<Document, DriverError> {
    if code(&error) == Some(INDEX_NOT_FOUND) { Ok(Document::new()) } else { Err(error) }
}

async fn create(db: &Database, name: &str, validator: Option<Document>) -> Result<(), DriverError> {
    let mut create = db.create_collection(name);
    if let Some(validator) = validator {
        create = create.validator(validator).validation_level(ValidationLevel::Strict);
    }
    match create.await {
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => Ok(()),
        result => result,
    }
}

async fn create_indexes(db: &Database, collection: &Collection, indexes: Vec<Document>) -> Result<(), DriverError> {
    if indexes.is_empty() {
        return Ok(());
    }
    let create = doc! { "createIndexes": collection.name, "indexes": indexes, "writeConcern": { "w": "majority" } };
    db.run_command(create).await.map(drop)
}

/// The declared indexes as MongoDB's, with the one for expiry.
pub(super) fn indexes(collection: &Collection) -> Vec<Document> {
    let expiry = collection.expires.map(|expiry| {
        let key = doc! { codec::stored_name(expiry.field()): 1 };
        doc! { "key": key, "name": EXPIRY_INDEX, "expireAfterSeconds": EXPIRY_DELAY_SECONDS }
    });
    collection.indexes.iter().map(|index| secondary(collection, index)).chain(expiry).collect()
}

fn secondary(collection: &Collection, index: &Index) -> Document {
    let mut key = Document::new();
    let mut conditions = Document::new();
    for name in index.fields {
        key.insert(codec::stored_name(name), 1);
        let condition = entry_condition(collection, name);
        if !condition.is_empty() {
            conditions.insert(codec::stored_name(name), condition);
        }
    }
    if !index.unique {
        key.insert(ID, 1);
    }
    let mut built = doc! { "key": key, "name": index.name, "unique": index.unique };
    if !conditions.is_empty() {
        built.insert("partialFilterExpression", conditions);
    }
    built
}

/// The declared fields as a `$jsonSchema`.
pub(super) fn validator(collection: &Collection) -> Document {
    let mut required = vec![ID.to_owned(), VERSION.to_owned()];
    let mut properties = doc! { ID: { "bsonType": "string" }, VERSION: { "bsonType": "long" } };
    for field in collection.fields {
        let name = codec::stored_name(field.name).into_owned();
        let kind = if field.kind == FieldType::TextList { "array" } else { codec::type_name(field.kind) };
        let mut property = if field.required {
            doc! { "bsonType": kind }
        } else {
            doc! { "bsonType": [kind, "null"] }
        };
        if field.kind == FieldType::TextList {
            property.insert("items", doc! { "bsonType": codec::type_name(field.kind) });
        }
        if field.required {
            required.push(name.clone());
        }
        properties.insert(name, property);
    }
    doc! { "$jsonSchema": { "bsonType": "object", "required": required, "properties": properties } }
}

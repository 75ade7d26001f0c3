//! What `prepare` builds and what it refuses.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, DateTime, Document, doc};
use pulse_core::{
    error::Code,
    store::{
        Batch, CommitMode, Order, Scan, Store as _,
        mongo::{MongoOptions, MongoStore},
        schema::{AUDIT, COLLECTIONS, Expiry, JOBS, PROJECTS, SCHEMA_VERSION, USAGE_METRICS},
        testing::sample::{audit, far, job, past, project, usage},
    },
};
use pulse_tests::peers::mongo::Mongo;
use serde_json::json;

use super::{Database, impatient};

const WEEK: i32 = 7 * 24 * 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_server_is_refused_with_what_to_do() {
    let mongo = Mongo::standalone().await;
    for uri in [mongo.uri("pulse"), format!("{}?replicaSet=rs0", mongo.uri("pulse"))] {
        let store = MongoStore::connect(impatient(&uri)).await.expect("the options are valid");
        let error = store.prepare().await.expect_err("a standalone server is refused");
        assert_eq!(error.code(), Code::Misconfigured, "{uri}");
        assert!(error.message().contains("standalone"), "{}", error.message());
        for words in ["mongod --replSet rs0", "rs.initiate()"] {
            assert!(error.hint_text().contains(words), "{}", error.hint_text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_store_is_refused_and_left_alone() {
    let database = Database::of(Mongo::shared().await).await;
    database.prepared().await;
    let state = database.around().collection::<Document>("pulse_schema");
    state
        .update_one(doc! { "_id": "schema" }, doc! { "$set": { "version": 99_i64 } })
        .await
        .expect("it can be changed");
    let error = database.store().await.prepare().await.expect_err("a newer store is refused");
    assert_eq!(error.code(), Code::StoreNewer);
    for version in ["99", &SCHEMA_VERSION.to_string()] {
        assert!(error.message().contains(version), "{}", error.message());
    }
    let version = state.find_one(doc! { "_id": "schema" }).await.expect("it can be read").expect("it is there");
    assert_eq!(version.get_i64("version").ok(), Some(99));
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_and_expiry_are_as_declared() {
    let database = Database::of(Mongo::shared().await).await;
    database.prepared().await;
    assert_declared(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_may_prepare_one_store_at_once() {
    let database = Database::of(Mongo::shared().await).await;
    for _ in 0..2 {
        let mut daemons = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store = database.store().await;
            daemons.spawn(async move { store.prepare().await });
        }
        for prepared in daemons.join_all().await {
            prepared.expect("each can prepare the database");
        }
        assert_declared(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_from_the_declaration_is_brought_back() {
    let database = Database::of(Mongo::shared().await).await;
    database.prepared().await;
    let around = database.around();
    let run = async |command: Document| around.run_command(command).await.expect("the command works");
    run(doc! { "collMod": "projects", "validator": {} }).await;
    run(doc! { "dropIndexes": "projects", "index": "org" }).await;
    let other = doc! { "key": { "region": 1 }, "name": "org" };
    run(doc! { "createIndexes": "projects", "indexes": [other] }).await;
    run(doc! { "dropIndexes": "idempotency_keys", "index": "expiry" }).await;
    database.prepared().await;
    assert_declared(&database).await;
    let bad = around.collection::<Document>("projects").insert_one(doc! { "_id": "prj", "_v": 1_i64 }).await;
    assert!(bad.is_err(), "the validator is not back");
}

/// Compares the indexes of every collection with the table, and the validators' level with `strict`.
async fn assert_declared(database: &Database) {
    for collection in COLLECTIONS {
        let listed = first_batch(database, doc! { "listIndexes": collection.name }).await;
        let indexes: BTreeMap<&str, &Document> =
            listed.iter().map(|index| (index.get_str("name").expect("indexes have names"), index)).collect();
        let expiry = collection.expires.map(|_| "expiry");
        let mut names: Vec<&str> =
            collection.indexes.iter().map(|index| index.name).chain(["_id_"]).chain(expiry).collect();
        names.sort_unstable();
        assert_eq!(indexes.keys().copied().collect::<Vec<_>>(), names, "{}", collection.name);
        for index in collection.indexes {
            let built = indexes[index.name];
            let unique = built.get_bool("unique").unwrap_or(false);
            assert_eq!(unique, index.unique, "{}.{}", collection.name, index.name);
            let key = built.get_document("key").expect("indexes have keys");
            let id = (!index.unique).then_some("_id");
            let fields: Vec<&str> = index.fields.iter().copied().chain(id).collect();
            assert_eq!(key.keys().collect::<Vec<_>>(), fields, "{}.{}", collection.name, index.name);
            let optional =
                index.fields.iter().filter(|name| collection.field(name).is_some_and(|field| !field.required));
            let partial = built.get_document("partialFilterExpression").map(|filter| filter.keys().collect::<Vec<_>>());
            assert_eq!(partial.unwrap_or_default(), optional.collect::<Vec<_>>(), "{}.{}", collection.name, index.name);
        }
        if let Some(field) = collection.expires.map(Expiry::field) {
            let expiry = indexes["expiry"];
            assert_eq!(expiry.get_document("key").ok(), Some(&doc! { field: 1 }), "{}", collection.name);
            assert_eq!(expiry.get_i32("expireAfterSeconds").ok(), Some(WEEK), "{}", collection.name);
        }
    }
    for listed in first_batch(database, doc! { "listCollections": 1 }).await {
        let name = listed.get_str("name").expect("collections have names");
        if COLLECTIONS.iter().any(|collection| collection.name == name) {
            let options = listed.get_document("options").expect("the collection has options");
            assert_eq!(options.get_str("validationLevel").ok(), Some("strict"), "{name}");
            let validator = options.get_document("validator").expect("the collection has a validator");
            assert!(validator.contains_key("$jsonSchema"), "{name}");
        }
    }
}

/// What a listing command answers, all of which fits its first batch.
async fn first_batch(database: &Database, command: Document) -> Vec<Document> {
    let listed = database.around().run_command(command).await.expect("it can be listed");
    let batch = listed.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch")).expect("a cursor");
    batch.iter().filter_map(Bson::as_document).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_document_written_around_pulse_is_refused_by_the_server() {
    let database = Database::of(Mongo::shared().await).await;
    database.prepared().await;
    let facts = database.around().collection::<Document>("usage_metrics");
    let good = doc! {
        "_id": "fact", "_v": 1_i64, "project_id": "prj_1", "event_type": "minutes", "value": 5_i64,
        "timestamp": DateTime::now(), "metadata": {}, "expires_at": null,
    };
    let with = |name: &str, value: Bson| {
        let mut bad = good.clone();
        bad.insert(name, value);
        bad
    };
    let mut without = good.clone();
    without.remove("timestamp");
    let bad = [
        without,
        with("timestamp", "2026-01-31T12:00:00.000Z".into()),
        with("value", 5_i32.into()),
        with("value", Bson::Null),
        with("metadata", "none".into()),
        with("expires_at", 0_i64.into()),
        with("_v", "1".into()),
        with("_id", 7.into()),
    ];
    for bad in bad {
        let refused = facts.insert_one(&bad).await.expect_err("a bad document is refused");
        assert!(refused.to_string().contains("121"), "{bad}: {refused}");
    }
    facts.insert_one(&good).await.expect("a good document is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_read_the_fields_of_the_documents() {
    let database = Database::of(Mongo::shared().await).await;
    let store = database.prepared().await;
    let mut batch = Batch::new();
    let fact = json!({ "id": "own", "_id": "own", "_v": 7, "$x": 1, "metadata": { "a.b": { "$x": null } }, "project_id": "prj_1",
        "event_type": "minutes", "value": 5, "timestamp": past(0), "expires_at": far(0) });
    batch.insert(&USAGE_METRICS, "fact", fact.clone());
    store.commit(batch, CommitMode::Apply).await.expect("it commits");
    let stored = database.around().collection::<Document>("usage_metrics").find_one(doc! {}).await;
    let stored = stored.expect("it can be read").expect("it is there");
    assert_eq!(stored.get_str("_id").ok(), Some("fact"));
    assert_eq!(stored.get_i64("_v").ok(), Some(1));
    assert_eq!(stored.get_str("event_type").ok(), Some("minutes"));
    assert_eq!(stored.get_i64("value").ok(), Some(5));
    let date = stored.get_datetime("timestamp").expect("a date");
    assert_eq!(date.try_to_rfc3339_string().ok().as_deref(), Some("2001-01-01T00:00:00Z"));
    let read = store.get(&USAGE_METRICS, "fact").await.expect("it can be read").expect("it is there");
    assert_eq!(read.doc, fact);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_walk_their_index_and_sort_nothing() {
    let database = Database::of(Mongo::shared().await).await;
    let store = database.prepared().await;
    for start in (0..2_000).step_by(100) {
        let mut batch = Batch::new();
        for number in start..start + 100 {
            let at = past(number / 3);
            batch.insert(&PROJECTS, number, project(&format!("org_{}", number % 2), &number.to_string()));
            batch.insert(&JOBS, number, job("prj_1", &at));
            batch.insert(&USAGE_METRICS, number, usage("prj_1", ["a", "b"][number as usize % 2], &at, 1));
            batch.append(&AUDIT, "org_1", number, audit("project.create", &at));
        }
        store.commit(batch, CommitMode::Apply).await.expect("it commits");
    }
    database.around().run_command(doc! { "profile": 2 }).await.expect("the profiler can be used");
    let scans = [
        Scan::new(&PROJECTS, "org", vec![json!("org_1")]),
        Scan::new(&PROJECTS, "org", vec![]),
        Scan::new(&PROJECTS, "living_name", vec![json!("org_1")]),
        Scan::new(&PROJECTS, "primary", vec![]),
        Scan::new(&JOBS, "due", vec![]),
        Scan { from: Some(json!(past(100))), to: Some(json!(past(600))), ..Scan::new(&JOBS, "due", vec![]) },
        Scan::new(&USAGE_METRICS, "project_type_time", vec![json!("prj_1")]),
        Scan::new(&AUDIT, "target", vec![json!("prj_1")]),
        Scan::new(&AUDIT, "log_seq", vec![json!("org_1")]),
    ];
    for scan in scans {
        for order in [Order::Ascending, Order::Descending] {
            let mut scan = Scan { order, limit: 10, ..scan.clone() };
            for _ in 0..20 {
                scan.after = store.scan(scan.clone()).await.expect("it can be listed").next;
            }
            assert!(scan.after.is_some(), "{scan:?}");
        }
    }
    store.count(&PROJECTS, "org", &[json!("org_1")], 50).await.expect("it can be counted");
    database.around().run_command(doc! { "profile": 0 }).await.expect("the profiler can be used");
    let profile = database.around().collection::<Document>("system.profile");
    let mut entries = profile.find(doc! { "op": { "$in": ["query", "command"] } }).await.expect("it can be read");
    let mut seen = 0;
    while entries.advance().await.expect("it can be read") {
        let entry = entries.deserialize_current().expect("it is a document");
        let Ok(plan) = entry.get_str("planSummary") else { continue };
        assert!(plan.contains("IXSCAN") && !plan.contains("COLLSCAN"), "{entry}");
        assert!(!entry.get_bool("hasSortStage").unwrap_or(false), "{entry}");
        assert!(entry.get_i32("docsExamined").is_ok_and(|examined| examined <= 60), "{entry}");
        seen += 1;
    }
    assert!(seen > 300, "{seen} lists were seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_in_nothing_that_is_shown() {
    let mongo = Mongo::shared().await;
    let secret = "hunter2hunter2";
    let valid = mongo.uri("pulse").replace("mongodb://", &format!("mongodb://pulse:{secret}@"));
    let options = impatient(&valid);
    let store = MongoStore::connect(options.clone()).await.expect("the options are valid");
    let refused = store.prepare().await.expect_err("the server does not know this user");
    assert_eq!(refused.code(), Code::Misconfigured, "{refused:?}");
    let mut shown = format!("{options:?} {store:?} {:?} {refused:?} {refused}", store.info());
    for invalid in ["mongodb://pulse:hunter2hunter2@", "mongodb://pulse:hunter2hunter2@a:b:c/%", "hunter2hunter2"] {
        let refused = MongoStore::connect(MongoOptions::new(invalid)).await.expect_err("it is not valid");
        assert_eq!(refused.code(), Code::Misconfigured);
        shown.push_str(&format!("{refused:?} {refused}"));
    }
    assert!(!shown.contains(secret), "{shown}");
    assert!(store.info().location.contains("127.0.0.1"), "{:?}", store.info());
}

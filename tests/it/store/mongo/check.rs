//! What a check of a whole store looks at.

use mongodb::bson::{Document, doc};
use pulse_core::store::{
    Batch, CommitMode, Store,
    mongo::{MongoOptions, MongoStore},
    schema::{API_KEYS, AUDIT, IDEMPOTENCY, JOBS, PROJECTS, SCHEMA_VERSION},
    soundness::{CheckReport, Problem},
    testing::sample,
};
use pulse_tests::peers::mongo::Mongo;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::Database;

/// A prepared store on the database, as the engine itself.
async fn engine(database: &Database) -> MongoStore {
    let store = MongoStore::connect(MongoOptions::new(&database.uri)).await.expect("the options are valid");
    store.prepare().await.expect("the database can be prepared");
    store
}

async fn commit(store: &MongoStore, write: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    write(&mut batch);
    store.commit(batch, CommitMode::Apply).await.expect("it commits");
}

/// Four logs of three records, and documents beside them.
async fn furnish(store: &MongoStore) {
    commit(store, |batch| {
        batch.insert(&PROJECTS, "prj_1", sample::project("org_1", "Shop"));
        batch.insert(&API_KEYS, "key_1", sample::api_key("prj_1", "pk_1"));
        batch.insert(&IDEMPOTENCY, "idem_1", sample::idempotency(&sample::far(0)));
        batch.insert(&JOBS, "job_1", sample::job("prj_1", &sample::past(1)));
        for log in ["org_1", "org_2", "org_3", "org_4"] {
            for number in 1..=3 {
                let record = sample::audit("project.update", &sample::past(1));
                batch.append(&AUDIT, log, format!("aud_{log}_{number}"), record);
            }
        }
    })
    .await;
}

/// The problems as sorted lines.
fn lines(report: &CheckReport) -> Vec<String> {
    let line =
        |problem: &Problem| format!("{} {}: {}", problem.place, problem.id.as_deref().unwrap_or("-"), problem.detail);
    let mut lines: Vec<String> = report.problems.iter().map(line).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_sound_store_counts_what_is_there() {
    let database = Database::of(Mongo::shared().await).await;
    let store = engine(&database).await;
    furnish(&store).await;
    let mut steps = Vec::new();
    let report = store.check(&mut |done, of| steps.push((done, of))).await.expect("it can be checked");
    assert!(report.ok && report.problem_count == 0, "{:#?}", report.problems);
    assert_eq!((report.schema_version, report.logs), (Some(SCHEMA_VERSION), 4));
    let rows = |name: &str| report.collections.iter().find(|rows| rows.name == name).map(|rows| rows.rows);
    assert_eq!((rows("projects"), rows("audit_logs"), rows("attempts")), (Some(1), Some(12), Some(0)));
    let all: u64 = report.collections.iter().map(|rows| rows.rows).sum();
    assert_eq!(steps.last().map(|(done, _)| *done), Some(all));
    assert!(steps.is_sorted() && steps.iter().all(|(done, of)| done <= of), "{steps:?}");
}

/// What stands in the documents is damaged for good; what is declared comes back with the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_was_tampered_with() {
    let database = Database::of(Mongo::shared().await).await;
    let store = engine(&database).await;
    furnish(&store).await;
    let change = |collection: &str, id: &str, change: Document| {
        let updates = [doc! { "q": { "_id": id }, "u": change }];
        doc! { "update": collection, "updates": updates.to_vec(), "bypassDocumentValidation": true }
    };
    let remove = |filter: Document| doc! { "delete": "audit_logs", "deletes": [{ "q": filter, "limit": 0 }] };
    let other_index = doc! { "key": { "org_id": 1 }, "name": "living_name" };
    for command in [
        change("audit_logs", "aud_org_1_2", doc! { "$set": { "action": "project.delete" } }),
        remove(doc! { "_id": "aud_org_2_2" }),
        remove(doc! { "_id": "aud_org_3_3" }),
        remove(doc! { "log": "org_4" }),
        change("projects", "prj_1", doc! { "$set": { "_v": "1" } }),
        change("api_keys", "key_1", doc! { "$unset": { "project_id": "" } }),
        change("idempotency_keys", "idem_1", doc! { "$set": { "expires_at": sample::far(0) } }),
        doc! { "dropIndexes": "projects", "index": "org" },
        doc! { "dropIndexes": "projects", "index": "living_name" },
        doc! { "createIndexes": "projects", "indexes": [other_index] },
        doc! { "collMod": "api_keys", "validator": {} },
        doc! { "collMod": "jobs", "validationLevel": "off" },
        doc! { "drop": "usage_metrics" },
    ] {
        database.around().run_command(command.clone()).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    }
    let in_documents = [
        "api_keys key_1: api_keys.project_id does not have its declared type",
        "audit_logs -: 1 logs have lost all of their records",
        "audit_logs org_1: record 2 was changed",
        "audit_logs org_2: record 2 is missing: 3 comes instead",
        "audit_logs org_3: the log ends at record 2, and not at 3 as noted",
        "idempotency_keys idem_1: idempotency_keys.expires_at is not stored as its declared type",
        "projects prj_1: a stored document without a text as _id and an integer as _v",
    ];
    let in_structure = [
        "api_keys -: the validator is not the declared one",
        "jobs -: the validator is not the declared one",
        "projects -: the index living_name is not the declared one",
        "projects -: the index org is missing",
        "usage_metrics -: the collection is missing",
    ];
    let mut all = [&in_documents[..], &in_structure[..]].concat();
    all.sort_unstable();
    let report = store.check(&mut |_, _| ()).await.expect("it can be checked");
    assert_eq!((report.ok, report.problem_count), (false, all.len() as u64));
    assert_eq!(lines(&report), all);

    store.prepare().await.expect("it can be prepared again");
    let report = store.check(&mut |_, _| ()).await.expect("it can be checked");
    assert_eq!(lines(&report), in_documents);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_cannot_be_followed_are_named() {
    let database = Database::of(Mongo::shared().await).await;
    let store = engine(&database).await;
    furnish(&store).await;
    let drop = doc! { "dropIndexes": "audit_logs", "index": "log_seq" };
    database.around().run_command(drop).await.expect("the command works");
    let report = store.check(&mut |_, _| ()).await.expect("it can be checked");
    let expected = [
        "audit_logs -: the index log_seq is missing",
        "audit_logs -: the logs were not followed: that takes the index log_seq",
    ];
    assert_eq!((lines(&report), report.logs), (expected.map(str::to_owned).to_vec(), 0));
}

async fn append(store: &MongoStore, number: u64) {
    let (log, id) = (format!("org_{}", number % 3), format!("aud_{number}"));
    let record = sample::audit("project.update", &sample::past(1));
    commit(store, |batch| _ = batch.append(&AUDIT, log, id, record)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_grows_meanwhile_is_sound() {
    let database = Database::of(Mongo::shared().await).await;
    let store = engine(&database).await;
    let writer = engine(&database).await;
    let (stop, mut stopped) = oneshot::channel::<()>();
    append(&store, 0).await;
    let writing = tokio::spawn(async move {
        let mut number = 0;
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            number += 1;
            append(&writer, number).await;
        }
        number
    });
    for _ in 0..10 {
        let report = store.check(&mut |_, _| ()).await.expect("it can be checked");
        assert!(report.ok, "{:#?}", report.problems);
    }
    let _ = stop.send(());
    assert!(writing.await.expect("the writer ends") > 0, "nothing was written meanwhile");
}

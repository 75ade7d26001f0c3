//! Batches: all or nothing, one write after the other, and a check that leaves no trace.

use serde_json::json;

use super::steps::{appended, check, commit, committed, conflict, get, ids, out_of_bounds, primary, put, read, stale};
use crate::store::{
    Batch, Scan, SharedStore, Write,
    schema::{AUDIT, META, ORGANIZATIONS},
    testing::sample::{audit, organization, past},
};

fn increment(id: &str, by: i64, max: i64) -> Write {
    Write::Increment { collection: &META, id: id.to_owned(), field: "n", by, min: None, max: Some(max) }
}

/// Writes of every kind, all of which hold while `counter` and `old` are at version 1.
fn every_kind(batch: &mut Batch) {
    batch
        .require(&META, "counter", Some(1))
        .insert(&ORGANIZATIONS, "org_2", organization("New"))
        .replace(&ORGANIZATIONS, "org_1", 1, organization("Renamed"))
        .delete(&META, "old", 1)
        .push(increment("counter", 1, 10))
        .append(&AUDIT, "org_1", "aud_2", audit("organization.rename", &past(2)))
        .append(&AUDIT, "org_2", "aud_3", audit("organization.create", &past(3)))
        .bump_generation();
}

async fn prepare(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    put(store, &META, "old", json!({})).await;
    put(store, &META, "counter", json!({ "n": 3 })).await;
    let first =
        commit(store, |batch| _ = batch.append(&AUDIT, "org_1", "aud_1", audit("organization.create", &past(1)))).await;
    assert_eq!(first, appended(&[1]));
}

async fn assert_untouched(store: &SharedStore, generation: u64) {
    assert_eq!(read(store, &ORGANIZATIONS, "org_1").await.doc, organization("Acme"));
    assert_eq!(read(store, &ORGANIZATIONS, "org_1").await.version, 1);
    assert_eq!(get(store, &ORGANIZATIONS, "org_2").await, None);
    assert_eq!(read(store, &META, "old").await.version, 1);
    assert_eq!(read(store, &META, "counter").await.doc, json!({ "n": 3 }));
    assert_eq!(ids(store, primary(&AUDIT)).await, ["aud_1"]);
    assert_eq!(ids(store, Scan::new(&AUDIT, "log_seq", vec![json!("org_2")])).await, [""; 0]);
    assert_eq!(store.generation().await.expect("the generation can be read"), generation);
    let find =
        async |name: &str| store.find(&ORGANIZATIONS, "living_name", &[json!(name)]).await.expect("it can be read");
    assert_eq!(find("Acme").await.map(|found| found.id), Some("org_1".to_owned()));
    assert_eq!(find("Renamed").await, None, "an index kept what the batch did not");
    assert_eq!(find("New").await, None, "an index kept what the batch did not");
}

pub async fn an_empty_batch_commits(store: &SharedStore) {
    assert_eq!(commit(store, |_| ()).await, committed());
    assert_eq!(check(store, |_| ()).await, committed());
}

pub async fn a_batch_of_every_kind_of_write_commits(store: &SharedStore) {
    prepare(store).await;
    assert_eq!(commit(store, every_kind).await, appended(&[2, 1]));
    assert_eq!(read(store, &ORGANIZATIONS, "org_1").await.doc, organization("Renamed"));
    assert_eq!(read(store, &ORGANIZATIONS, "org_2").await.doc, organization("New"));
    assert_eq!(get(store, &META, "old").await, None);
    assert_eq!(read(store, &META, "counter").await.doc, json!({ "n": 4 }));
    assert_eq!(read(store, &AUDIT, "aud_2").await.doc["seq"], 2);
}

pub async fn a_failed_write_takes_back_all_before_it(store: &SharedStore) {
    prepare(store).await;
    let generation = store.generation().await.expect("the generation can be read");
    let failures: [(Write, _); 4] = [
        (
            Write::Insert { collection: &ORGANIZATIONS, id: "org_3".to_owned(), doc: organization("New") },
            conflict(&ORGANIZATIONS, "living_name"),
        ),
        (Write::Require { collection: &META, id: "old".to_owned(), version: Some(1) }, stale(&META, "old")),
        (increment("counter", 7, 10), out_of_bounds(&META, "counter", "n")),
        (Write::Delete { collection: &META, id: "nothing".to_owned(), version: 1 }, stale(&META, "nothing")),
    ];
    for (write, expected) in failures {
        let outcome = commit(store, |batch| {
            every_kind(batch);
            batch.push(write);
        })
        .await;
        assert_eq!(outcome, expected);
        assert_untouched(store, generation).await;
    }
}

pub async fn a_failed_batch_takes_back_every_change_of_one_document(store: &SharedStore) {
    prepare(store).await;
    let generation = store.generation().await.expect("the generation can be read");
    let again_and_again = |batch: &mut Batch| {
        batch
            .replace(&ORGANIZATIONS, "org_1", 1, organization("Renamed"))
            .replace(&ORGANIZATIONS, "org_1", 2, organization("New"))
            .delete(&ORGANIZATIONS, "org_1", 3)
            .insert(&ORGANIZATIONS, "org_1", organization("Again"))
            .delete(&META, "old", 1)
            .insert(&META, "old", json!({ "again": true }))
            .push(increment("counter", 1, 10))
            .push(increment("counter", 2, 10))
            .append(&AUDIT, "org_1", "aud_2", audit("lost", &past(2)))
            .append(&AUDIT, "org_1", "aud_3", audit("lost", &past(3)));
    };
    assert_eq!(check(store, again_and_again).await, appended(&[2, 3]));
    assert_untouched(store, generation).await;
    let outcome = commit(store, |batch| {
        again_and_again(batch);
        batch.require(&META, "nothing", Some(1));
    })
    .await;
    assert_eq!(outcome, stale(&META, "nothing"));
    assert_untouched(store, generation).await;
    assert_eq!(commit(store, again_and_again).await, appended(&[2, 3]));
}

pub async fn the_first_failure_is_the_one_that_is_told(store: &SharedStore) {
    prepare(store).await;
    let clash = |batch: &mut Batch| _ = batch.insert(&ORGANIZATIONS, "org_9", organization("Acme"));
    let outdated = |batch: &mut Batch| _ = batch.replace(&META, "old", 7, json!({}));
    let clash_first = commit(store, |batch| {
        clash(batch);
        outdated(batch);
    });
    assert_eq!(clash_first.await, conflict(&ORGANIZATIONS, "living_name"));
    let outdated_first = commit(store, |batch| {
        outdated(batch);
        clash(batch);
    });
    assert_eq!(outdated_first.await, stale(&META, "old"));
}

pub async fn a_write_sees_the_writes_before_it(store: &SharedStore) {
    let outcome = commit(store, |batch| {
        batch
            .insert(&META, "a", json!({ "n": 1 }))
            .replace(&META, "a", 1, json!({ "n": 2 }))
            .push(increment("a", 3, 10))
            .push(increment("a", 3, 10))
            .replace(&META, "a", 4, json!({ "n": 9 }))
            .insert(&META, "b", json!({}))
            .delete(&META, "b", 1)
            .insert(&META, "b", json!({ "again": true }));
    })
    .await;
    assert_eq!(outcome, committed());
    let a = read(store, &META, "a").await;
    assert_eq!((a.version, a.doc), (5, json!({ "n": 9 })));
    let b = read(store, &META, "b").await;
    assert_eq!((b.version, b.doc), (1, json!({ "again": true })));
}

pub async fn a_second_write_of_one_document_needs_its_new_version(store: &SharedStore) {
    put(store, &META, "a", json!({ "n": 1 })).await;
    let outcome = commit(store, |batch| {
        batch.replace(&META, "a", 1, json!({ "n": 2 })).replace(&META, "a", 1, json!({ "n": 3 }));
    })
    .await;
    assert_eq!(outcome, stale(&META, "a"));
    assert_eq!(read(store, &META, "a").await.doc, json!({ "n": 1 }));
}

pub async fn a_check_tells_what_would_happen_and_changes_nothing(store: &SharedStore) {
    prepare(store).await;
    let generation = store.generation().await.expect("the generation can be read");
    for _ in 0..2 {
        assert_eq!(check(store, every_kind).await, appended(&[2, 1]));
        assert_untouched(store, generation).await;
    }
    assert_eq!(commit(store, every_kind).await, appended(&[2, 1]), "the check told so");
}

pub async fn a_check_tells_of_failures(store: &SharedStore) {
    prepare(store).await;
    let clash = check(store, |batch| _ = batch.insert(&ORGANIZATIONS, "org_9", organization("Acme"))).await;
    assert_eq!(clash, conflict(&ORGANIZATIONS, "living_name"));
    assert_eq!(check(store, |batch| _ = batch.delete(&META, "old", 2)).await, stale(&META, "old"));
    assert_eq!(
        check(store, |batch| _ = batch.push(increment("counter", 8, 10))).await,
        out_of_bounds(&META, "counter", "n")
    );
    let own = check(store, |batch| {
        batch.insert(&ORGANIZATIONS, "a", organization("Twice")).insert(&ORGANIZATIONS, "b", organization("Twice"));
    });
    assert_eq!(own.await, conflict(&ORGANIZATIONS, "living_name"));
}

pub async fn only_batches_that_bump_grow_the_generation(store: &SharedStore) {
    let generation = async || store.generation().await.expect("the generation can be read");
    put(store, &META, "doc", json!({})).await;
    let before = generation().await;
    put(store, &META, "other", json!({})).await;
    assert_eq!(generation().await, before, "a batch that does not bump");
    assert_eq!(check(store, |batch| _ = batch.delete(&META, "doc", 1).bump_generation()).await, committed());
    assert_eq!(generation().await, before, "a batch that was only checked");
    commit(store, |batch| _ = batch.delete(&META, "doc", 2).bump_generation()).await;
    commit(store, |batch| _ = batch.insert(&META, "doc", json!({})).bump_generation()).await;
    assert_eq!(generation().await, before, "a batch that did not hold");
    commit(store, |batch| _ = batch.delete(&META, "doc", 1).bump_generation()).await;
    let after = generation().await;
    assert!(after > before, "{after} after {before}");
    assert_eq!(commit(store, |batch| _ = batch.bump_generation()).await, committed());
    assert!(generation().await > after, "a batch that does nothing else");
}

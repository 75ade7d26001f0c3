//! Single documents: what is written is read back, and versions count its changes.

use serde_json::{Value, json};

use super::steps::{commit, committed, get, put, read, refused};
use crate::{
    error::Code,
    store::{
        BATCH_LIMIT, SharedStore, Stored, Write,
        schema::{META, ORGANIZATIONS, PROJECTS},
        testing::sample::{organization, project},
    },
};

pub async fn a_document_reads_back_as_it_was_written(store: &SharedStore) {
    let doc = json!({ "name": "Acme", "plan": "pro", "created_at": "2026-01-31T12:00:00.007Z", "label_pairs": ["b=2", "a=1"],
        "deleted_at": null, "limits": { "rooms": 7, "regions": ["eu", "us"] } });
    put(store, &ORGANIZATIONS, "org_1", doc.clone()).await;
    let expected = Stored { id: "org_1".to_owned(), version: 1, doc };
    assert_eq!(read(store, &ORGANIZATIONS, "org_1").await, expected);
}

pub async fn a_document_that_is_not_there_is_none(store: &SharedStore) {
    assert_eq!(get(store, &ORGANIZATIONS, "org_1").await, None);
}

pub async fn one_id_in_two_collections_is_two_documents(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "same", organization("Acme")).await;
    put(store, &PROJECTS, "same", project("org_1", "Shop")).await;
    assert_eq!(read(store, &ORGANIZATIONS, "same").await.doc["name"], "Acme");
    assert_eq!(read(store, &PROJECTS, "same").await.doc["name"], "Shop");
}

pub async fn every_change_grows_the_version_by_one(store: &SharedStore) {
    put(store, &META, "counter", json!({ "n": 0 })).await;
    assert_eq!(read(store, &META, "counter").await.version, 1);
    commit(store, |batch| _ = batch.replace(&META, "counter", 1, json!({ "n": 5 }))).await;
    assert_eq!(read(store, &META, "counter").await.version, 2);
    let by_two =
        Write::Increment { collection: &META, id: "counter".to_owned(), field: "n", by: 2, min: None, max: None };
    commit(store, |batch| _ = batch.push(by_two)).await;
    let counter = read(store, &META, "counter").await;
    assert_eq!((counter.version, counter.doc), (3, json!({ "n": 7 })));
}

pub async fn a_replaced_document_keeps_nothing_of_the_old_one(store: &SharedStore) {
    put(store, &META, "doc", json!({ "old": 1, "nested": { "a": 1, "b": 2 } })).await;
    let outcome = commit(store, |batch| _ = batch.replace(&META, "doc", 1, json!({ "nested": { "b": 3 } }))).await;
    assert_eq!(outcome, committed());
    assert_eq!(read(store, &META, "doc").await.doc, json!({ "nested": { "b": 3 } }));
}

pub async fn a_deleted_document_is_gone_and_its_id_is_free(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    commit(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_1", 1, organization("Acme"))).await;
    assert_eq!(commit(store, |batch| _ = batch.delete(&ORGANIZATIONS, "org_1", 2)).await, committed());
    assert_eq!(get(store, &ORGANIZATIONS, "org_1").await, None);
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    assert_eq!(read(store, &ORGANIZATIONS, "org_1").await.version, 1, "a new document begins at version 1");
}

pub async fn an_id_may_be_any_text(store: &SharedStore) {
    let odd = [
        "a",
        "A",
        "a ",
        "ä",
        "a\u{308}",
        "'; drop table meta; --",
        "\"",
        "$ne",
        "a.b",
        "%",
        "_",
        "\\",
        "名前/🦀",
        "0",
        "null",
    ];
    for id in odd {
        put(store, &META, id, json!({ "of": id })).await;
    }
    for id in odd {
        assert_eq!(read(store, &META, id).await.doc, json!({ "of": id }), "the document of {id:?}");
    }
}

pub async fn a_document_that_does_not_fit_is_refused(store: &SharedStore) {
    let without = |field: &str| {
        let mut doc = organization("Acme");
        doc.as_object_mut().expect("an object").remove(field);
        doc
    };
    let with = |field: &str, value: Value| {
        let mut doc = organization("Acme");
        doc[field] = value;
        doc
    };
    let unfit = [
        json!("no object"),
        json!([]),
        Value::Null,
        without("name"),
        with("name", Value::Null),
        with("name", json!(1)),
        with("created_at", json!("yesterday")),
        with("created_at", json!("2026-01-31 12:00:00.000Z")),
        with("created_at", json!("2026-01-31T12:00:00.1+00")),
        with("created_at", json!("2026-01-31T12:00:00Z")),
        with("label_pairs", json!("a=1")),
        with("label_pairs", json!([1])),
        with("deleted_at", json!(0)),
        with("seats", json!(u64::MAX)),
    ];
    put(store, &ORGANIZATIONS, "org_1", organization("First")).await;
    for doc in unfit {
        let inserted = refused(store, |batch| _ = batch.insert(&ORGANIZATIONS, "org_2", doc.clone())).await;
        assert_eq!(inserted, Some(Code::Internal), "inserted: {doc}");
        let replaced = refused(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_1", 1, doc.clone())).await;
        assert_eq!(replaced, Some(Code::Internal), "replaced: {doc}");
    }
    assert_eq!(get(store, &ORGANIZATIONS, "org_2").await, None);
    assert_eq!(read(store, &ORGANIZATIONS, "org_1").await.version, 1);
}

pub async fn a_refused_document_refuses_its_whole_batch(store: &SharedStore) {
    let code = refused(store, |batch| {
        batch.insert(&META, "good", json!({})).insert(&ORGANIZATIONS, "bad", json!({ "name": 1 }));
    })
    .await;
    assert_eq!(code, Some(Code::Internal));
    assert_eq!(get(store, &META, "good").await, None, "a part of a refused batch is stored");
}

pub async fn a_batch_has_a_thousand_writes_at_most(store: &SharedStore) {
    let inserts = |count: usize| {
        move |batch: &mut crate::store::Batch| {
            (0..count).for_each(|number| _ = batch.insert(&META, number, json!({ "n": number })));
        }
    };
    assert_eq!(refused(store, inserts(BATCH_LIMIT + 1)).await, Some(Code::Internal));
    assert_eq!(get(store, &META, "0").await, None);
    assert_eq!(commit(store, inserts(BATCH_LIMIT)).await, committed());
    assert_eq!(read(store, &META, "999").await.doc, json!({ "n": 999 }));
}

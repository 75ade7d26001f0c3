//! Writes that name what was read: they hold only while it is so.

use serde_json::json;

use super::steps::{commit, committed, get, put, read, stale};
use crate::store::{
    SharedStore,
    schema::{META, ORGANIZATIONS},
    testing::sample::organization,
};

pub async fn a_replace_of_another_version_is_stale(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    for version in [0, 2, u64::from(u32::MAX)] {
        let outcome =
            commit(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_1", version, organization("Other"))).await;
        assert_eq!(outcome, stale(&ORGANIZATIONS, "org_1"), "version {version}");
    }
    let current = read(store, &ORGANIZATIONS, "org_1").await;
    assert_eq!((current.version, current.doc), (1, organization("Acme")));
}

pub async fn a_replace_of_nothing_is_stale(store: &SharedStore) {
    let outcome = commit(store, |batch| _ = batch.replace(&META, "doc", 1, json!({}))).await;
    assert_eq!(outcome, stale(&META, "doc"));
    assert_eq!(get(store, &META, "doc").await, None);
}

pub async fn a_delete_of_another_version_or_of_nothing_is_stale(store: &SharedStore) {
    put(store, &META, "doc", json!({})).await;
    assert_eq!(commit(store, |batch| _ = batch.delete(&META, "doc", 2)).await, stale(&META, "doc"));
    assert_eq!(commit(store, |batch| _ = batch.delete(&META, "none", 1)).await, stale(&META, "none"));
    commit(store, |batch| _ = batch.replace(&META, "doc", 1, json!({}))).await;
    assert_eq!(commit(store, |batch| _ = batch.delete(&META, "doc", 1)).await, stale(&META, "doc"));
    assert_eq!(read(store, &META, "doc").await.version, 2);
}

pub async fn a_required_version_must_be_current(store: &SharedStore) {
    put(store, &META, "read", json!({})).await;
    commit(store, |batch| _ = batch.replace(&META, "read", 1, json!({ "changed": true }))).await;
    let outcome =
        commit(store, |batch| _ = batch.require(&META, "read", Some(1)).insert(&META, "new", json!({}))).await;
    assert_eq!(outcome, stale(&META, "read"));
    assert_eq!(get(store, &META, "new").await, None);
    let outcome =
        commit(store, |batch| _ = batch.require(&META, "read", Some(2)).insert(&META, "new", json!({}))).await;
    assert_eq!(outcome, committed());
    assert_eq!(read(store, &META, "new").await.version, 1);
}

pub async fn a_required_document_must_be_there(store: &SharedStore) {
    let outcome =
        commit(store, |batch| _ = batch.require(&META, "read", Some(1)).insert(&META, "new", json!({}))).await;
    assert_eq!(outcome, stale(&META, "read"));
    assert_eq!(get(store, &META, "new").await, None);
}

pub async fn a_required_absence_must_be_so(store: &SharedStore) {
    let guarded =
        |batch: &mut crate::store::Batch| _ = batch.require(&META, "other", None).insert(&META, "new", json!({}));
    put(store, &META, "other", json!({})).await;
    assert_eq!(commit(store, guarded).await, stale(&META, "other"));
    commit(store, |batch| _ = batch.delete(&META, "other", 1)).await;
    assert_eq!(commit(store, guarded).await, committed());
    assert_eq!(get(store, &META, "other").await, None, "what was required to be absent is there now");
    put(store, &META, "other", json!({})).await;
}

pub async fn a_requirement_changes_nothing(store: &SharedStore) {
    put(store, &META, "read", json!({ "n": 1 })).await;
    let before = read(store, &META, "read").await;
    assert_eq!(commit(store, |batch| _ = batch.require(&META, "read", Some(1))).await, committed());
    assert_eq!(commit(store, |batch| _ = batch.require(&META, "none", None)).await, committed());
    assert_eq!(read(store, &META, "read").await, before);
}

pub async fn a_requirement_sees_the_writes_before_it(store: &SharedStore) {
    let outcome = commit(store, |batch| _ = batch.insert(&META, "a", json!({})).require(&META, "a", None)).await;
    assert_eq!(outcome, stale(&META, "a"));
    assert_eq!(get(store, &META, "a").await, None);
    let outcome = commit(store, |batch| _ = batch.insert(&META, "a", json!({})).require(&META, "a", Some(1))).await;
    assert_eq!(outcome, committed());
    let outcome = commit(store, |batch| _ = batch.delete(&META, "a", 1).require(&META, "a", None)).await;
    assert_eq!(outcome, committed());
}

pub async fn of_many_requirements_the_first_that_does_not_hold_is_told(store: &SharedStore) {
    for id in ["a", "b", "c", "changed"] {
        put(store, &META, id, json!({})).await;
    }
    commit(store, |batch| _ = batch.replace(&META, "changed", 1, json!({}))).await;
    let require = async |all: &[(&str, u64)]| {
        commit(store, |batch| {
            for (id, version) in all {
                batch.require(&META, id, Some(*version));
            }
            batch.insert(&META, "new", json!({}));
        })
        .await
    };
    for (all, first) in [
        (&[("changed", 1), ("a", 1), ("b", 1)][..], "changed"),
        (&[("a", 1), ("changed", 1), ("b", 1)], "changed"),
        (&[("a", 1), ("b", 1), ("none", 1), ("changed", 1)], "none"),
        (&[("a", 1), ("b", 2), ("changed", 2)], "b"),
    ] {
        assert_eq!(require(all).await, stale(&META, first), "{all:?}");
        assert_eq!(get(store, &META, "new").await, None);
    }
    // The same one twice, and of two versions.
    assert_eq!(require(&[("a", 1), ("b", 1), ("a", 1), ("changed", 2), ("c", 1)]).await, committed());
}

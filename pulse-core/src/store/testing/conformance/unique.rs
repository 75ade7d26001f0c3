//! Uniqueness: a key has one document, and a clash says which index it is.

use serde_json::{Value, json};

use super::steps::{commit, committed, conflict, get, put, read, stale};
use crate::store::{
    SharedStore,
    schema::{API_KEYS, ORGANIZATIONS, PRIMARY, PROJECTS},
    testing::sample::{api_key, organization, project},
};

fn deleted(name: &str) -> Value {
    let mut doc = organization(name);
    doc["living_name"] = Value::Null;
    doc
}

pub async fn an_id_is_taken_once(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    let outcome = commit(store, |batch| _ = batch.insert(&ORGANIZATIONS, "org_1", organization("Other"))).await;
    assert_eq!(outcome, conflict(&ORGANIZATIONS, PRIMARY));
    let current = read(store, &ORGANIZATIONS, "org_1").await;
    assert_eq!((current.version, current.doc), (1, organization("Acme")));
}

pub async fn a_unique_key_is_taken_once(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    let outcome = commit(store, |batch| _ = batch.insert(&ORGANIZATIONS, "org_2", organization("Acme"))).await;
    assert_eq!(outcome, conflict(&ORGANIZATIONS, "living_name"));
    assert_eq!(get(store, &ORGANIZATIONS, "org_2").await, None);
    put(store, &API_KEYS, "key_1", api_key("prj_1", "pk_1")).await;
    let outcome = commit(store, |batch| _ = batch.insert(&API_KEYS, "key_2", api_key("prj_2", "pk_1"))).await;
    assert_eq!(outcome, conflict(&API_KEYS, "public_id"));
}

pub async fn a_clash_of_ids_is_told_before_one_of_keys(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    let outcome = commit(store, |batch| _ = batch.insert(&ORGANIZATIONS, "org_1", organization("Acme"))).await;
    assert_eq!(outcome, conflict(&ORGANIZATIONS, PRIMARY));
}

pub async fn a_unique_key_of_two_fields_needs_both_to_clash(store: &SharedStore) {
    put(store, &PROJECTS, "prj_1", project("org_1", "Shop")).await;
    put(store, &PROJECTS, "prj_2", project("org_2", "Shop")).await;
    put(store, &PROJECTS, "prj_3", project("org_1", "Game")).await;
    let outcome = commit(store, |batch| _ = batch.insert(&PROJECTS, "prj_4", project("org_2", "Shop"))).await;
    assert_eq!(outcome, conflict(&PROJECTS, "living_name"));
}

pub async fn a_null_or_absent_field_frees_the_key(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    let outcome = commit(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_1", 1, deleted("Acme"))).await;
    assert_eq!(outcome, committed());
    put(store, &ORGANIZATIONS, "org_2", organization("Acme")).await;
    put(store, &ORGANIZATIONS, "org_3", deleted("Acme")).await;
    let mut absent = organization("Acme");
    absent.as_object_mut().expect("an object").remove("living_name");
    put(store, &ORGANIZATIONS, "org_4", absent.clone()).await;
    put(store, &ORGANIZATIONS, "org_5", absent).await;
    let back = commit(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_1", 2, organization("Acme"))).await;
    assert_eq!(back, conflict(&ORGANIZATIONS, "living_name"));
}

pub async fn a_replace_keeps_its_own_key_and_cannot_take_anothers(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    put(store, &ORGANIZATIONS, "org_2", organization("Brand")).await;
    let mut richer = organization("Acme");
    richer["plan"] = json!("pro");
    assert_eq!(commit(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_1", 1, richer)).await, committed());
    let taken = commit(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_2", 1, organization("Acme"))).await;
    assert_eq!(taken, conflict(&ORGANIZATIONS, "living_name"));
    assert_eq!(read(store, &ORGANIZATIONS, "org_2").await.doc, organization("Brand"));
    let renamed = commit(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_1", 2, organization("Core"))).await;
    assert_eq!(renamed, committed());
    put(store, &ORGANIZATIONS, "org_3", organization("Acme")).await;
}

pub async fn a_stale_write_is_told_before_a_clash(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    put(store, &ORGANIZATIONS, "org_2", organization("Brand")).await;
    let outcome = commit(store, |batch| _ = batch.replace(&ORGANIZATIONS, "org_2", 9, organization("Acme"))).await;
    assert_eq!(outcome, stale(&ORGANIZATIONS, "org_2"));
}

pub async fn a_delete_frees_the_key(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    commit(store, |batch| _ = batch.delete(&ORGANIZATIONS, "org_1", 1)).await;
    put(store, &ORGANIZATIONS, "org_2", organization("Acme")).await;
}

pub async fn a_batch_may_free_a_key_and_then_take_it(store: &SharedStore) {
    put(store, &ORGANIZATIONS, "org_1", organization("Acme")).await;
    let taken_first = commit(store, |batch| {
        batch.insert(&ORGANIZATIONS, "org_2", organization("Acme")).replace(
            &ORGANIZATIONS,
            "org_1",
            1,
            deleted("Acme"),
        );
    })
    .await;
    assert_eq!(taken_first, conflict(&ORGANIZATIONS, "living_name"), "writes hold one after the other");
    let freed_first = commit(store, |batch| {
        batch.replace(&ORGANIZATIONS, "org_1", 1, deleted("Acme")).insert(
            &ORGANIZATIONS,
            "org_2",
            organization("Acme"),
        );
    })
    .await;
    assert_eq!(freed_first, committed());
}

pub async fn unique_texts_differ_by_any_byte(store: &SharedStore) {
    for (number, name) in
        ["acme", "Acme", "acme ", " acme", "acm\u{e9}", "acme\u{301}", "ACME", "acm", "a\u{200b}cme"].iter().enumerate()
    {
        put(store, &ORGANIZATIONS, &format!("org_{number}"), organization(name)).await;
    }
}

pub async fn a_unique_key_finds_its_document(store: &SharedStore) {
    put(store, &PROJECTS, "prj_1", project("org_1", "Shop")).await;
    put(store, &PROJECTS, "prj_2", project("org_2", "Shop")).await;
    let find = async |org: &str, name: &str| {
        let key = [json!(org), json!(name)];
        store.find(&PROJECTS, "living_name", &key).await.expect("the index can be read")
    };
    assert_eq!(find("org_2", "Shop").await, Some(read(store, &PROJECTS, "prj_2").await));
    assert_eq!(find("org_2", "shop").await, None);
    assert_eq!(find("org_3", "Shop").await, None);
    let mut renamed = project("org_2", "Game");
    renamed["state"] = json!("suspended");
    commit(store, |batch| _ = batch.replace(&PROJECTS, "prj_2", 1, renamed)).await;
    assert_eq!(find("org_2", "Shop").await, None);
    assert_eq!(find("org_2", "Game").await.map(|found| (found.id, found.version)), Some(("prj_2".to_owned(), 2)));
}

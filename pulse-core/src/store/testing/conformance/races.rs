//! Batches at once: exactly one of those that exclude each other commits.

use serde_json::json;

use super::steps::{at_once, commit, committed, conflict, get, put, read, stale};
use crate::store::{
    SharedStore,
    schema::{META, ORGANIZATIONS},
    testing::sample::organization,
};

pub async fn one_of_many_takes_a_unique_key(store: &SharedStore) {
    let outcomes = at_once(store, 32, async |store, number| {
        commit(&store, |batch| {
            batch.insert(&META, format!("beside {number}"), json!({})).insert(
                &ORGANIZATIONS,
                format!("org_{number}"),
                organization("Acme"),
            );
        })
        .await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == committed()).count(), 1, "{outcomes:?}");
    let clash = conflict(&ORGANIZATIONS, "living_name");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == clash).count(), 31, "{outcomes:?}");
    let beside = store.count(&META, crate::store::schema::PRIMARY, &[], 100).await.expect("the rows can be counted");
    assert_eq!(beside, 1, "a batch that lost left something");
}

pub async fn one_of_many_takes_an_id(store: &SharedStore) {
    let outcomes = at_once(store, 32, async |store, number| {
        commit(&store, |batch| _ = batch.insert(&META, "doc", json!({ "by": number }))).await
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == committed()).count(), 1, "{outcomes:?}");
    assert_eq!(read(store, &META, "doc").await.version, 1);
}

pub async fn one_of_many_replaces_a_version(store: &SharedStore) {
    put(store, &META, "doc", json!({})).await;
    let outcomes = at_once(store, 32, async |store, number| {
        let outcome = commit(&store, |batch| _ = batch.replace(&META, "doc", 1, json!({ "by": number }))).await;
        (outcome, number)
    })
    .await;
    let winners: Vec<usize> =
        outcomes.iter().filter(|(outcome, _)| *outcome == committed()).map(|(_, number)| *number).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|(outcome, _)| *outcome == stale(&META, "doc")).count(), 31, "{outcomes:?}");
    let doc = read(store, &META, "doc").await;
    assert_eq!((doc.version, doc.doc), (2, json!({ "by": winners[0] })));
}

pub async fn of_two_that_change_what_the_other_requires_one_commits(store: &SharedStore) {
    for round in 0..20 {
        let ids = [format!("left {round}"), format!("right {round}")];
        put(store, &META, &ids[0], json!({})).await;
        put(store, &META, &ids[1], json!({})).await;
        let outcomes = at_once(store, 2, |store, own| {
            let (own, other) = (ids[own].clone(), ids[1 - own].clone());
            async move {
                commit(&store, |batch| {
                    _ = batch.require(&META, other, Some(1)).replace(&META, own, 1, json!({ "on": true }));
                })
                .await
            }
        })
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == committed()).count(), 1, "{outcomes:?}");
    }
}

pub async fn of_two_that_insert_what_the_other_requires_absent_one_commits(store: &SharedStore) {
    for round in 0..20 {
        let ids = [format!("left {round}"), format!("right {round}")];
        let outcomes =
            at_once(store, 2, |store, own| {
                let (own, other) = (ids[own].clone(), ids[1 - own].clone());
                async move {
                    commit(&store, |batch| _ = batch.require(&META, other, None).insert(&META, own, json!({}))).await
                }
            })
            .await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == committed()).count(), 1, "{outcomes:?}");
        let there = [get(store, &META, &ids[0]).await, get(store, &META, &ids[1]).await];
        assert_eq!(there.iter().flatten().count(), 1, "both are there, and each required the other to be absent");
    }
}

pub async fn transfers_at_once_lose_nothing(store: &SharedStore) {
    for account in 0..4 {
        put(store, &META, &account.to_string(), json!({ "n": 100 })).await;
    }
    let outcomes = at_once(store, 48, async |store, number| {
        let transfer = |id: usize, by: i64| crate::store::Write::Increment {
            collection: &META,
            id: id.to_string(),
            field: "n",
            by,
            min: Some(0),
            max: None,
        };
        // Every second task takes the two accounts in the other order, as engines that lock them one by one fear.
        let pair = number / 2 % 4;
        let (from, to) = if number % 2 == 0 { (pair, (pair + 1) % 4) } else { ((pair + 1) % 4, pair) };
        commit(&store, |batch| _ = batch.push(transfer(from, -7)).push(transfer(to, 7))).await
    })
    .await;
    assert!(outcomes.iter().all(|outcome| *outcome == committed()), "{outcomes:?}");
    let mut sum = 0;
    for account in 0..4 {
        sum += read(store, &META, &account.to_string()).await.doc["n"].as_i64().expect("a number");
    }
    assert_eq!(sum, 400);
}

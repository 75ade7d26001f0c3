//! Logs: dense numbers from one in commit order, and a hash chain that holds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::steps::{appended, at_once, check, commit, conflict, get, ids, put, read, refused, stale, walk};
use crate::{
    error::Code,
    store::{
        Order, Outcome, Scan, SharedStore, Write, chain,
        schema::{AUDIT, EVENTS, Log, META, PRIMARY, SESSIONS},
        testing::sample::{audit, event, far, far_moment, past, session},
    },
};

async fn append(store: &SharedStore, log: &str, id: &str) -> Outcome {
    commit(store, |batch| _ = batch.append(&AUDIT, log, id, audit("project.create", &past(0)))).await
}

/// The records of a log, oldest first, after its numbers and its chain were found sound.
async fn verified(store: &SharedStore, log: &str) -> Vec<Value> {
    let Some(Log::Chained(domain)) = AUDIT.log else { panic!("the audit log is chained") };
    let scan = Scan { order: Order::Ascending, ..Scan::new(&AUDIT, "log_seq", vec![json!(log)]) };
    let records: Vec<Value> = walk(store, scan).await.0.into_iter().map(|row| row.doc).collect();
    let mut prev = chain::GENESIS.to_owned();
    for (position, record) in records.iter().enumerate() {
        assert_eq!(record["log"], log);
        assert_eq!(record["seq"], position + 1, "the numbers of {log} are not dense");
        assert_eq!(record["prev"], prev, "record {} of {log} does not follow the one before", position + 1);
        prev = chain::chain_hash(domain, &prev, record);
        assert_eq!(record["hash"], prev, "record {} of {log} is not as it was hashed", position + 1);
    }
    records
}

pub async fn an_append_gives_a_record_its_number_and_hash(store: &SharedStore) {
    assert_eq!(append(store, "org_1", "aud_1").await, appended(&[1]));
    assert_eq!(append(store, "org_1", "aud_2").await, appended(&[2]));
    let first = read(store, &AUDIT, "aud_1").await;
    assert_eq!((first.version, &first.doc["log"], &first.doc["seq"]), (1, &json!("org_1"), &json!(1)));
    assert_eq!(first.doc["action"], "project.create");
    assert_eq!(first.doc["prev"], chain::GENESIS);
    let second = read(store, &AUDIT, "aud_2").await;
    assert_eq!(second.doc["prev"], first.doc["hash"]);
    assert_eq!(verified(store, "org_1").await, [first.doc, second.doc]);
}

pub async fn logs_are_numbered_and_chained_on_their_own(store: &SharedStore) {
    for (log, id, seq) in
        [("org_1", "a", 1), ("system", "b", 1), ("org_1", "c", 2), ("org_1", "d", 3), ("system", "e", 2)]
    {
        assert_eq!(append(store, log, id).await, appended(&[seq]), "{log}");
    }
    assert_eq!(verified(store, "org_1").await.len(), 3);
    assert_eq!(verified(store, "system").await.len(), 2);
}

pub async fn a_log_may_have_any_name(store: &SharedStore) {
    for (number, log) in ["a.b", "$set", "a", "A", "ä🦀", "' or 1=1 --", ""].iter().enumerate() {
        assert_eq!(append(store, log, &format!("first {number}")).await, appended(&[1]), "{log}");
        assert_eq!(append(store, log, &format!("second {number}")).await, appended(&[2]), "{log}");
        assert_eq!(verified(store, log).await.len(), 2, "{log}");
    }
}

pub async fn appends_of_one_batch_are_numbered_in_its_order(store: &SharedStore) {
    let outcome = commit(store, |batch| {
        for (log, id) in [("org_1", "z"), ("system", "m"), ("org_1", "a"), ("org_1", "k"), ("system", "b")] {
            batch.append(&AUDIT, log, id, audit(id, &past(0)));
        }
    })
    .await;
    assert_eq!(outcome, appended(&[1, 1, 2, 3, 2]));
    let actions = |records: Vec<Value>| records.into_iter().map(|record| record["action"].clone()).collect::<Vec<_>>();
    assert_eq!(actions(verified(store, "org_1").await), ["z", "a", "k"]);
    assert_eq!(actions(verified(store, "system").await), ["m", "b"]);
}

pub async fn numbers_sort_as_numbers(store: &SharedStore) {
    for number in 1..=12 {
        assert_eq!(append(store, "org_1", &format!("aud_{number}")).await, appended(&[number]));
    }
    assert_eq!(verified(store, "org_1").await.len(), 12);
    let newest = Scan { limit: 3, ..Scan::new(&AUDIT, "log_seq", vec![json!("org_1")]) };
    assert_eq!(super::steps::page(store, newest).await.0, ["aud_12", "aud_11", "aud_10"]);
    let from_nine =
        Scan { from: Some(json!(9)), to: Some(json!(11)), ..Scan::new(&AUDIT, "log_seq", vec![json!("org_1")]) };
    assert_eq!(ids(store, from_nine).await, ["aud_10", "aud_9"]);
}

pub async fn a_failed_batch_burns_no_number(store: &SharedStore) {
    assert_eq!(append(store, "org_1", "aud_1").await, appended(&[1]));
    assert_eq!(append(store, "org_1", "aud_1").await, conflict(&AUDIT, PRIMARY));
    let outdated = commit(store, |batch| {
        batch.append(&AUDIT, "org_1", "aud_2", audit("lost", &past(0))).require(&META, "none", Some(1));
    });
    assert_eq!(outdated.await, stale(&META, "none"));
    let own_clash = commit(store, |batch| {
        batch.append(&AUDIT, "org_1", "same", audit("lost", &past(0))).append(
            &AUDIT,
            "org_2",
            "same",
            audit("lost", &past(0)),
        );
    });
    assert_eq!(own_clash.await, conflict(&AUDIT, PRIMARY));
    let unfit = refused(store, |batch| {
        batch.append(&AUDIT, "org_1", "aud_2", audit("lost", &past(0))).append(
            &AUDIT,
            "org_1",
            "aud_3",
            json!({ "action": 1 }),
        );
    });
    assert_eq!(unfit.await, Some(Code::Internal));
    let checked = check(store, |batch| _ = batch.append(&AUDIT, "org_1", "aud_2", audit("lost", &past(0)))).await;
    assert_eq!(checked, appended(&[2]));
    assert_eq!(append(store, "org_1", "aud_4").await, appended(&[2]));
    assert_eq!(append(store, "org_2", "aud_5").await, appended(&[1]));
    assert_eq!(verified(store, "org_1").await.len(), 2);
    assert_eq!(get(store, &AUDIT, "aud_2").await, None);
}

pub async fn a_removed_record_does_not_give_its_number_back(store: &SharedStore) {
    append(store, "org_1", "aud_1").await;
    append(store, "org_1", "aud_2").await;
    let last = read(store, &AUDIT, "aud_2").await;
    commit(store, |batch| _ = batch.delete(&AUDIT, "aud_1", 1).delete(&AUDIT, "aud_2", 1)).await;
    assert_eq!(append(store, "org_1", "aud_3").await, appended(&[3]));
    assert_eq!(read(store, &AUDIT, "aud_3").await.doc["prev"], last.doc["hash"]);
}

pub async fn only_appends_write_to_a_log(store: &SharedStore) {
    append(store, "org_1", "aud_1").await;
    let record = read(store, &AUDIT, "aud_1").await.doc;
    let inserted = refused(store, |batch| _ = batch.insert(&AUDIT, "aud_2", record.clone())).await;
    assert_eq!(inserted, Some(Code::Internal));
    let replaced = refused(store, |batch| _ = batch.replace(&AUDIT, "aud_1", 1, record.clone())).await;
    assert_eq!(replaced, Some(Code::Internal));
    let by_one =
        Write::Increment { collection: &AUDIT, id: "aud_1".to_owned(), field: "seq", by: 1, min: None, max: None };
    assert_eq!(refused(store, |batch| _ = batch.push(by_one)).await, Some(Code::Internal));
    let elsewhere = refused(store, |batch| _ = batch.append(&META, "org_1", "doc", json!({}))).await;
    assert_eq!(elsewhere, Some(Code::Internal), "an append to what is no log");
    assert_eq!(verified(store, "org_1").await, [record]);
}

pub async fn appends_at_once_stay_dense_and_chained(store: &SharedStore) {
    put(store, &META, "counter", json!({})).await;
    let outcomes = at_once(store, 32, async |store, number| {
        let log = if number % 4 == 0 { "system" } else { "org_1" };
        let outcome = commit(&store, |batch| {
            batch.append(&AUDIT, log, format!("first {number}"), audit("a", &past(0))).append(
                &AUDIT,
                log,
                format!("second {number}"),
                audit("b", &past(0)),
            );
        })
        .await;
        (log, outcome)
    })
    .await;
    let mut told = BTreeSet::new();
    for (log, outcome) in outcomes {
        let Outcome::Committed { seqs } = outcome else { panic!("{outcome:?}") };
        assert_eq!(
            seqs.first().map(|first| first + 1),
            seqs.last().copied(),
            "a batch appends its records side by side"
        );
        told.extend(seqs.into_iter().map(|seq| (log, seq)));
    }
    assert_eq!(told.len(), 64, "a number was told twice");
    assert_eq!(verified(store, "org_1").await.len(), 48);
    assert_eq!(verified(store, "system").await.len(), 16);
}

/// Appends to the log of a session.
async fn tell(store: &SharedStore, session: &str, id: &str) -> Outcome {
    commit(store, |batch| _ = batch.append(&EVENTS, session, id, event(id))).await
}

pub async fn a_log_ends_with_the_document_that_it_is_named_after(store: &SharedStore) {
    for session_id in ["ses_1", "ses_2", "ses_3"] {
        put(store, &SESSIONS, session_id, session(session_id, &far(10))).await;
        assert_eq!(tell(store, session_id, &format!("evt_1 of {session_id}")).await, appended(&[1]));
    }
    let gone = |batch: &mut crate::store::Batch| {
        batch.delete(&EVENTS, "evt_1 of ses_1", 1).delete(&SESSIONS, "ses_1", 1);
    };
    assert_eq!(check(store, gone).await, appended(&[]));
    let refused = commit(store, |batch| {
        gone(batch);
        batch.delete(&META, "nothing", 1);
    });
    assert_eq!(refused.await, stale(&META, "nothing"));
    assert_eq!(tell(store, "ses_1", "evt_2").await, appended(&[2]), "what was not done took the number away");
    commit(store, |batch| {
        gone(batch);
        batch.delete(&EVENTS, "evt_2", 1);
    })
    .await;
    assert_eq!(tell(store, "ses_1", "evt_3").await, appended(&[1]), "the number outlives what it is of");
    assert_eq!(tell(store, "ses_2", "evt_4").await, appended(&[2]), "another log ended, too");
    commit(store, |batch| _ = batch.delete(&EVENTS, "evt_1 of ses_2", 1).delete(&EVENTS, "evt_4", 1)).await;
    assert_eq!(store.sweep(far_moment(10), 100).await.expect("the store can be swept"), 2);
    assert_eq!(tell(store, "ses_2", "evt_5").await, appended(&[1]), "the number outlives what was swept");
}

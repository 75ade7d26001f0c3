//! Increments: numbers that change without being read.

use serde_json::{Value, json};

use super::steps::{at_once, commit, committed, ids, out_of_bounds, put, read, refused, stale};
use crate::{
    error::Code,
    store::{
        Collection, CommitMode, Outcome, Scan, SharedStore, Write,
        schema::{API_KEYS, JOBS, META},
        testing::sample::{api_key, far, job},
    },
};

fn by(collection: &'static Collection, id: &str, field: &'static str, by: i64, bounds: [Option<i64>; 2]) -> Write {
    Write::Increment { collection, id: id.to_owned(), field, by, min: bounds[0], max: bounds[1] }
}

async fn change(store: &SharedStore, id: &str, amount: i64, bounds: [Option<i64>; 2]) -> Outcome {
    commit(store, |batch| _ = batch.push(by(&META, id, "n", amount, bounds))).await
}

pub async fn an_increment_adds_to_one_field_and_to_the_version(store: &SharedStore) {
    put(store, &META, "doc", json!({ "n": 40, "m": 1, "text": "kept" })).await;
    assert_eq!(change(store, "doc", 2, [None, None]).await, committed());
    assert_eq!(change(store, "doc", -50, [None, None]).await, committed());
    assert_eq!(change(store, "doc", 0, [None, None]).await, committed());
    let doc = read(store, &META, "doc").await;
    assert_eq!((doc.version, doc.doc), (4, json!({ "n": -8, "m": 1, "text": "kept" })));
}

pub async fn an_absent_or_null_number_counts_as_zero(store: &SharedStore) {
    put(store, &META, "absent", json!({})).await;
    put(store, &META, "null", json!({ "n": null })).await;
    for id in ["absent", "null"] {
        assert_eq!(change(store, id, 5, [Some(5), Some(5)]).await, committed(), "{id}");
        assert_eq!(read(store, &META, id).await.doc, json!({ "n": 5 }), "{id}");
    }
}

pub async fn an_increment_of_nothing_is_stale(store: &SharedStore) {
    assert_eq!(change(store, "doc", 1, [None, None]).await, stale(&META, "doc"));
}

pub async fn an_increment_stays_within_its_bounds(store: &SharedStore) {
    put(store, &META, "doc", json!({ "n": 5 })).await;
    let out = out_of_bounds(&META, "doc", "n");
    assert_eq!(change(store, "doc", 1, [None, Some(5)]).await, out);
    assert_eq!(change(store, "doc", -1, [Some(5), None]).await, out);
    assert_eq!(change(store, "doc", 0, [Some(6), None]).await, out, "what is already outside");
    assert_eq!(read(store, &META, "doc").await.version, 1);
    assert_eq!(change(store, "doc", 1, [Some(6), Some(6)]).await, committed(), "bounds are inclusive");
    assert_eq!(change(store, "doc", -6, [Some(0), None]).await, committed(), "bounds are inclusive");
    assert_eq!(read(store, &META, "doc").await.doc, json!({ "n": 0 }));
}

pub async fn a_sum_that_does_not_fit_is_out_of_bounds(store: &SharedStore) {
    put(store, &META, "great", json!({ "n": i64::MAX - 1 })).await;
    put(store, &META, "small", json!({ "n": i64::MIN + 1 })).await;
    assert_eq!(change(store, "great", 2, [None, None]).await, out_of_bounds(&META, "great", "n"));
    assert_eq!(change(store, "small", -2, [None, None]).await, out_of_bounds(&META, "small", "n"));
    assert_eq!(change(store, "great", 1, [None, None]).await, committed());
    assert_eq!(change(store, "small", -1, [None, None]).await, committed());
    assert_eq!(read(store, &META, "great").await.doc, json!({ "n": i64::MAX }));
    assert_eq!(read(store, &META, "small").await.doc, json!({ "n": i64::MIN }));
}

pub async fn an_increment_of_what_is_no_integer_is_refused(store: &SharedStore) {
    for value in [json!("5"), json!(0.5), json!([1]), json!(true)] {
        let id = value.to_string();
        put(store, &META, &id, json!({ "n": value })).await;
        let refused = refused(store, |batch| {
            batch.insert(&META, format!("beside {id}"), json!({})).push(by(&META, &id, "n", 1, [None, None]));
        });
        assert_eq!(refused.await, Some(Code::Internal), "{id}");
        assert_eq!(read(store, &META, &id).await.doc, json!({ "n": value }));
        assert_eq!(
            store.get(&META, &format!("beside {id}")).await.ok(),
            Some(None),
            "a part of a refused batch is stored"
        );
    }
    put(store, &JOBS, "job_1", job("prj_1", &far(0))).await;
    let time = refused(store, |batch| _ = batch.push(by(&JOBS, "job_1", "due_at", 1, [None, None]))).await;
    assert_eq!(time, Some(Code::Internal), "a time");
}

pub async fn an_increment_moves_the_document_in_its_indexes(store: &SharedStore) {
    put(store, &API_KEYS, "key_1", api_key("prj_1", "pk_1")).await;
    let under =
        async |live: i64| ids(store, Scan::new(&API_KEYS, "project_live", vec![json!("prj_1"), json!(live)])).await;
    assert_eq!(
        commit(store, |batch| _ = batch.push(by(&API_KEYS, "key_1", "live", 1, [None, None]))).await,
        committed()
    );
    assert_eq!(under(1).await, [""; 0]);
    assert_eq!(under(2).await, ["key_1"]);
    let mut without = api_key("prj_1", "pk_2");
    without["live"] = Value::Null;
    put(store, &API_KEYS, "key_2", without).await;
    assert_eq!(
        commit(store, |batch| _ = batch.push(by(&API_KEYS, "key_2", "live", 2, [None, None]))).await,
        committed()
    );
    assert_eq!(under(2).await, ["key_2", "key_1"]);
}

pub async fn increments_of_one_batch_add_up(store: &SharedStore) {
    put(store, &META, "doc", json!({ "n": 0 })).await;
    let outcome = commit(store, |batch| {
        (0..10).for_each(|_| _ = batch.push(by(&META, "doc", "n", 3, [None, Some(30)])));
    })
    .await;
    assert_eq!(outcome, committed());
    let doc = read(store, &META, "doc").await;
    assert_eq!((doc.version, doc.doc), (11, json!({ "n": 30 })));
    let too_far = commit(store, |batch| {
        batch.push(by(&META, "doc", "n", -1, [None, Some(30)])).push(by(&META, "doc", "n", 2, [None, Some(30)]));
    });
    assert_eq!(too_far.await, out_of_bounds(&META, "doc", "n"));
    assert_eq!(read(store, &META, "doc").await.doc, json!({ "n": 30 }));
}

pub async fn increments_at_once_all_land(store: &SharedStore) {
    put(store, &META, "doc", json!({ "n": 0 })).await;
    let outcomes =
        at_once(store, 64, async |store, number| change(&store, "doc", number as i64, [None, None]).await).await;
    assert!(outcomes.iter().all(|outcome| *outcome == committed()), "{outcomes:?}");
    let doc = read(store, &META, "doc").await;
    assert_eq!((doc.version, doc.doc), (65, json!({ "n": 64 * 63 / 2 })));
}

pub async fn a_bound_holds_against_increments_at_once(store: &SharedStore) {
    put(store, &META, "doc", json!({ "n": 10 })).await;
    let outcomes = at_once(store, 32, async |store, _| {
        let mut batch = crate::store::Batch::new();
        batch.push(by(&META, "doc", "n", -1, [Some(1), None]));
        store.commit(batch, CommitMode::Apply).await.expect("the batch is taken")
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == committed()).count(), 9, "ten may fall to one");
    assert_eq!(read(store, &META, "doc").await.doc, json!({ "n": 1 }));
}

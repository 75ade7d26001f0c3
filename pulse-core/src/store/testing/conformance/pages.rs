//! Pages: a list in parts is the whole list, whatever is added or removed meanwhile.

use serde_json::{Value, json};

use super::steps::{commit, committed, ids, matching, page, primary, put, walk};
use crate::store::{
    Condition, Order, Position, SCAN_BUDGET, Scan, SharedStore,
    schema::{JOBS, META, PROJECTS},
    testing::sample::{far, job, project},
};

async fn projects(store: &SharedStore, ids: &[&str]) {
    for id in ids {
        put(store, &PROJECTS, id, project("org_1", id)).await;
    }
}

fn of_org(order: Order, limit: usize, after: Option<Position>) -> Scan {
    Scan { order, limit, after, ..Scan::new(&PROJECTS, "org", vec![json!("org_1")]) }
}

pub async fn pages_hold_each_row_once(store: &SharedStore) {
    projects(store, &["a", "b", "c", "d", "e", "f", "g"]).await;
    for order in [Order::Ascending, Order::Descending] {
        let whole = ids(store, of_org(order, 100, None)).await;
        assert_eq!(whole.len(), 7);
        for limit in 1..=8 {
            assert_eq!(ids(store, of_org(order, limit, None)).await, whole, "{order:?}, {limit} a page");
        }
    }
}

pub async fn the_last_page_says_that_it_is(store: &SharedStore) {
    projects(store, &["a", "b", "c", "d"]).await;
    let (rows, next) = page(store, of_org(Order::Ascending, 4, None)).await;
    assert_eq!((rows.len(), next), (4, None), "a page that just holds the whole list");
    let (rows, next) = page(store, of_org(Order::Ascending, 2, None)).await;
    assert_eq!(rows, ["a", "b"]);
    let (rows, next) = page(store, of_org(Order::Ascending, 2, next)).await;
    assert_eq!((rows, next), (vec!["c".to_owned(), "d".to_owned()], None));
}

pub async fn pages_go_on_where_the_last_row_was(store: &SharedStore) {
    projects(store, &["b", "d", "f", "h"]).await;
    let (rows, next) = page(store, of_org(Order::Ascending, 2, None)).await;
    assert_eq!(rows, ["b", "d"]);
    projects(store, &["a", "c", "e"]).await;
    for gone in ["b", "d"] {
        commit(store, |batch| _ = batch.delete(&PROJECTS, gone, 1)).await;
    }
    assert_eq!(ids(store, of_org(Order::Ascending, 2, next)).await, ["e", "f", "h"], "rows moved to another page");
    let (rows, next) = page(store, of_org(Order::Descending, 2, None)).await;
    assert_eq!(rows, ["h", "f"]);
    projects(store, &["z", "g", "d"]).await;
    commit(store, |batch| _ = batch.delete(&PROJECTS, "f", 1)).await;
    assert_eq!(ids(store, of_org(Order::Descending, 2, next)).await, ["e", "d", "c", "a"]);
}

pub async fn pages_split_rows_of_one_key(store: &SharedStore) {
    for id in ["job_3", "job_1", "job_4", "job_2"] {
        put(store, &JOBS, id, job("prj_1", &far(5))).await;
    }
    put(store, &JOBS, "job_0", job("prj_1", &far(6))).await;
    put(store, &JOBS, "job_9", job("prj_1", &far(4))).await;
    let by_due = |order| Scan { order, limit: 1, ..Scan::new(&JOBS, "due", vec![]) };
    let up = ["job_9", "job_1", "job_2", "job_3", "job_4", "job_0"];
    assert_eq!(ids(store, by_due(Order::Ascending)).await, up);
    let mut down = ids(store, by_due(Order::Descending)).await;
    down.reverse();
    assert_eq!(down, up);
}

pub async fn a_page_may_begin_after_a_row_that_never_was(store: &SharedStore) {
    projects(store, &["b", "d"]).await;
    let at = |id: &str| Some(Position { key: vec![], id: id.to_owned() });
    assert_eq!(ids(store, of_org(Order::Ascending, 5, at("c"))).await, ["d"]);
    assert_eq!(ids(store, of_org(Order::Descending, 5, at("c"))).await, ["b"]);
    assert_eq!(ids(store, of_org(Order::Ascending, 5, at("z"))).await, [""; 0]);
    let all = Scan {
        after: Some(Position { key: vec![json!("org_0")], id: "z".to_owned() }),
        ..Scan::new(&PROJECTS, "org", vec![])
    };
    assert_eq!(ids(store, Scan { order: Order::Ascending, ..all.clone() }).await, ["b", "d"]);
    assert_eq!(ids(store, all).await, [""; 0]);
}

pub async fn a_page_after_a_row_keeps_its_range(store: &SharedStore) {
    projects(store, &["a", "b", "c", "d", "e", "f"]).await;
    let range = |order, after: &str| Scan {
        from: Some(json!("c")),
        to: Some(json!("e")),
        ..of_org(order, 5, Some(Position { key: vec![], id: after.to_owned() }))
    };
    assert_eq!(ids(store, range(Order::Ascending, "c")).await, ["d"]);
    assert_eq!(ids(store, range(Order::Descending, "d")).await, ["c"]);
    assert_eq!(ids(store, range(Order::Ascending, "a")).await, ["c", "d"], "a position before the range");
    assert_eq!(ids(store, range(Order::Descending, "f")).await, ["d", "c"], "a position before the range");
    assert_eq!(ids(store, range(Order::Ascending, "e")).await, [""; 0], "a position behind the range");
    assert_eq!(ids(store, range(Order::Descending, "b")).await, [""; 0], "a position behind the range");
}

pub async fn filtered_pages_hold_each_match_once(store: &SharedStore) {
    for number in 0..30 {
        let mut doc = project("org_1", &number.to_string());
        doc["state"] = json!(if number % 3 == 0 { "suspended" } else { "active" });
        put(store, &PROJECTS, &format!("prj_{number:02}"), doc).await;
    }
    let suspended = |limit| Scan {
        filter: vec![Condition::Eq("state", json!("suspended"))],
        ..of_org(Order::Descending, limit, None)
    };
    let whole = ids(store, suspended(100)).await;
    assert_eq!(whole.len(), 10);
    assert_eq!(whole[..2], ["prj_27", "prj_24"]);
    for limit in [1, 3, 10] {
        assert_eq!(ids(store, suspended(limit)).await, whole, "{limit} a page");
    }
}

pub async fn a_page_looks_at_ten_thousand_rows_at_most(store: &SharedStore) {
    let total = SCAN_BUDGET + 200;
    for start in (0..total).step_by(500) {
        let outcome = commit(store, |batch| {
            for number in start..(start + 500).min(total) {
                batch.insert(&META, format!("{number:06}"), json!({ "rare": number % total == total - 1 }));
            }
        });
        assert_eq!(outcome.await, committed());
    }
    let rare = Scan { order: Order::Ascending, filter: vec![Condition::Eq("rare", json!(true))], ..primary(&META) };
    let (rows, next) = page(store, rare.clone()).await;
    assert_eq!(rows, [""; 0]);
    assert_eq!(
        next,
        Some(Position { key: vec![], id: format!("{:06}", SCAN_BUDGET - 1) }),
        "the last row that was looked at"
    );
    let (rows, pages) = walk(store, rare).await;
    assert_eq!((rows.len(), pages), (1, 2), "a match behind the budget is on the next page");
    let (whole, _) = walk(store, Scan { limit: 5_000, ..primary(&META) }).await;
    assert_eq!(whole.len(), total, "without a filter there is no budget");
    assert_eq!(matching(store, &META, Condition::Eq("rare", Value::Null)).await, [""; 0]);
}

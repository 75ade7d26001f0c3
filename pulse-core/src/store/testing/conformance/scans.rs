//! Lists: order, prefixes and ranges over declared indexes.

use serde_json::{Value, json};

use super::steps::{commit, ids, page, primary, put, walk};
use crate::{
    error::Code,
    store::{
        Collection, Condition, Order, Position, Scan, SharedStore, Stored,
        schema::{API_KEYS, AUDIT, JOBS, META, ORGANIZATIONS, PRIMARY, PROJECTS, USAGE_METRICS},
        testing::sample::{api_key, audit, job, organization, past, project, usage},
    },
};

fn ascending(collection: &'static Collection, index: &'static str, prefix: Vec<Value>) -> Scan {
    Scan { order: Order::Ascending, ..Scan::new(collection, index, prefix) }
}

pub async fn an_empty_list_is_one_empty_page(store: &SharedStore) {
    assert_eq!(page(store, primary(&META)).await, (Vec::new(), None));
    put(store, &PROJECTS, "prj_1", project("org_1", "Shop")).await;
    assert_eq!(page(store, Scan::new(&PROJECTS, "org", vec![json!("org_2")])).await, (Vec::new(), None));
}

pub async fn a_list_goes_up_or_down(store: &SharedStore) {
    for id in ["b", "d", "a", "c"] {
        put(store, &META, id, json!({ "of": id })).await;
    }
    assert_eq!(ids(store, primary(&META)).await, ["d", "c", "b", "a"]);
    assert_eq!(ids(store, ascending(&META, PRIMARY, vec![])).await, ["a", "b", "c", "d"]);
}

pub async fn rows_carry_document_and_version(store: &SharedStore) {
    put(store, &PROJECTS, "prj_1", project("org_1", "Shop")).await;
    commit(store, |batch| _ = batch.replace(&PROJECTS, "prj_1", 1, project("org_1", "Game"))).await;
    let (rows, _) = walk(store, Scan::new(&PROJECTS, "org", vec![json!("org_1")])).await;
    assert_eq!(rows, [super::steps::read(store, &PROJECTS, "prj_1").await]);
    assert_eq!((rows[0].version, &rows[0].doc), (2, &project("org_1", "Game")));
}

pub async fn ids_break_ties_in_the_direction_of_the_list(store: &SharedStore) {
    for id in ["prj_2", "prj_3", "prj_1"] {
        put(store, &PROJECTS, id, project("org_1", id)).await;
    }
    put(store, &PROJECTS, "prj_0", project("org_0", "Other")).await;
    put(store, &PROJECTS, "prj_4", project("org_2", "Other")).await;
    assert_eq!(ids(store, Scan::new(&PROJECTS, "org", vec![json!("org_1")])).await, ["prj_3", "prj_2", "prj_1"]);
    assert_eq!(ids(store, ascending(&PROJECTS, "org", vec![json!("org_1")])).await, ["prj_1", "prj_2", "prj_3"]);
    let all = ids(store, ascending(&PROJECTS, "org", vec![])).await;
    assert_eq!(all, ["prj_0", "prj_1", "prj_2", "prj_3", "prj_4"]);
}

pub async fn texts_sort_by_their_bytes(store: &SharedStore) {
    let names = ["", "A", "B", "a", "a!", "ab", "b", "e\u{301}", "z", "é", "\u{ff5e}", "🦀"];
    for (number, name) in names.iter().enumerate().rev() {
        put(store, &ORGANIZATIONS, &format!("org_{}", 50 - number), organization(name)).await;
    }
    let (rows, _) = walk(store, ascending(&ORGANIZATIONS, "living_name", vec![])).await;
    let sorted: Vec<&str> = rows.iter().filter_map(|row| row.doc["name"].as_str()).collect();
    assert_eq!(sorted, names);
}

pub async fn integers_sort_by_value(store: &SharedStore) {
    let values = [i64::MIN, -10, -9, 0, 9, 10, 100, i64::MAX];
    for (number, value) in values.iter().enumerate() {
        let mut key = api_key("prj_1", &format!("pk_{number}"));
        key["live"] = json!(value);
        put(store, &API_KEYS, &format!("key_{}", 9 - number), key).await;
    }
    let (rows, _) = walk(store, ascending(&API_KEYS, "project_live", vec![json!("prj_1")])).await;
    let sorted: Vec<i64> = rows.iter().filter_map(|row| row.doc["live"].as_i64()).collect();
    assert_eq!(sorted, values);
}

pub async fn times_sort_by_moment_over_all_years(store: &SharedStore) {
    let moments = [
        "0000-01-01T00:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00.000Z",
        "2026-01-31T12:00:00.006Z",
        "2026-01-31T12:00:00.007Z",
        "9999-12-30T22:00:00.999Z",
    ];
    for (number, moment) in moments.iter().enumerate() {
        put(store, &JOBS, &format!("job_{}", 9 - number), job("prj_1", moment)).await;
    }
    let (rows, _) = walk(store, ascending(&JOBS, "due", vec![])).await;
    let sorted: Vec<&str> = rows.iter().filter_map(|row| row.doc["due_at"].as_str()).collect();
    assert_eq!(sorted, moments);
}

pub async fn documents_without_a_field_are_not_in_its_index(store: &SharedStore) {
    put(store, &PROJECTS, "prj_1", project("org_1", "Shop")).await;
    let mut deleted = project("org_1", "Gone");
    deleted["living_name"] = Value::Null;
    deleted["deleted_by"] = json!("org_1");
    put(store, &PROJECTS, "prj_2", deleted).await;
    assert_eq!(ids(store, Scan::new(&PROJECTS, "living_name", vec![json!("org_1")])).await, ["prj_1"]);
    assert_eq!(ids(store, Scan::new(&PROJECTS, "deleted_by", vec![])).await, ["prj_2"]);
    assert_eq!(ids(store, Scan::new(&PROJECTS, "org", vec![json!("org_1")])).await, ["prj_2", "prj_1"]);
}

pub async fn a_changed_document_moves_in_its_indexes(store: &SharedStore) {
    put(store, &PROJECTS, "prj_1", project("org_1", "Shop")).await;
    commit(store, |batch| _ = batch.replace(&PROJECTS, "prj_1", 1, project("org_2", "Shop"))).await;
    assert_eq!(ids(store, Scan::new(&PROJECTS, "org", vec![json!("org_1")])).await, [""; 0]);
    assert_eq!(ids(store, Scan::new(&PROJECTS, "org", vec![json!("org_2")])).await, ["prj_1"]);
    commit(store, |batch| _ = batch.delete(&PROJECTS, "prj_1", 2)).await;
    assert_eq!(ids(store, Scan::new(&PROJECTS, "org", vec![])).await, [""; 0]);
}

pub async fn a_range_of_times_has_its_start_but_not_its_end(store: &SharedStore) {
    for second in 0..6 {
        put(store, &USAGE_METRICS, &format!("fact_{second}"), usage("prj_1", "minutes", &past(second), second)).await;
        put(store, &USAGE_METRICS, &format!("egress_{second}"), usage("prj_1", "egress", &past(second), second)).await;
    }
    let prefix = vec![json!("prj_1"), json!("minutes")];
    let range = |from: Option<String>, to: Option<String>| Scan {
        from: from.map(Value::from),
        to: to.map(Value::from),
        ..ascending(&USAGE_METRICS, "project_type_time", prefix.clone())
    };
    assert_eq!(ids(store, range(Some(past(2)), Some(past(4)))).await, ["fact_2", "fact_3"]);
    assert_eq!(ids(store, range(Some(past(4)), None)).await, ["fact_4", "fact_5"]);
    assert_eq!(ids(store, range(None, Some(past(2)))).await, ["fact_0", "fact_1"]);
    assert_eq!(ids(store, range(Some(past(2)), Some(past(2)))).await, [""; 0]);
    assert_eq!(ids(store, range(Some(past(3)), Some(past(1)))).await, [""; 0], "a range that ends before it starts");
    let down = Scan { order: Order::Descending, limit: 1, ..range(Some(past(2)), Some(past(5))) };
    assert_eq!(ids(store, down).await, ["fact_4", "fact_3", "fact_2"]);
    let of_types = Scan {
        from: Some(json!("f")),
        to: Some(json!("n")),
        ..ascending(&USAGE_METRICS, "project_type_time", vec![json!("prj_1")])
    };
    assert_eq!(ids(store, of_types).await.len(), 6, "a range of the second field");
}

pub async fn a_range_of_ids_has_its_start_but_not_its_end(store: &SharedStore) {
    for id in ["a", "b", "c", "d"] {
        put(store, &PROJECTS, id, project("org_1", id)).await;
    }
    for scan in [ascending(&PROJECTS, PRIMARY, vec![]), ascending(&PROJECTS, "org", vec![json!("org_1")])] {
        let both = Scan { from: Some(json!("b")), to: Some(json!("d")), ..scan.clone() };
        assert_eq!(ids(store, both).await, ["b", "c"], "{}", scan.index);
        let from = Scan { from: Some(json!("bb")), order: Order::Descending, ..scan.clone() };
        assert_eq!(ids(store, from).await, ["d", "c"], "{}", scan.index);
        let to = Scan { to: Some(json!("c")), order: Order::Descending, limit: 1, ..scan };
        assert_eq!(ids(store, to).await, ["b", "a"]);
    }
}

pub async fn a_list_index_has_each_document_once_under_each_element(store: &SharedStore) {
    let labelled = |name: &str, labels: &[&str]| {
        let mut doc = project("org_1", name);
        doc["label_pairs"] = json!(labels);
        doc
    };
    put(store, &PROJECTS, "prj_1", labelled("One", &["team=a", "team=a", "env=x"])).await;
    put(store, &PROJECTS, "prj_2", labelled("Two", &["env=x", "team=b"])).await;
    put(store, &PROJECTS, "prj_3", labelled("Three", &[])).await;
    let under =
        async |label: &str| ids(store, Scan::new(&PROJECTS, "org_label", vec![json!("org_1"), json!(label)])).await;
    assert_eq!(under("team=a").await, ["prj_1"]);
    assert_eq!(under("env=x").await, ["prj_2", "prj_1"]);
    assert_eq!(under("env").await, [""; 0]);
    let counted = store.count(&PROJECTS, "label", &[json!("team=a")], 10).await.expect("the rows can be counted");
    assert_eq!(counted, 1);
    let row = super::steps::read(store, &PROJECTS, "prj_1").await;
    assert_eq!(row.doc["label_pairs"], json!(["team=a", "team=a", "env=x"]), "the list itself keeps order and repeats");
    commit(store, |batch| _ = batch.replace(&PROJECTS, "prj_1", 1, labelled("One", &["team=c"]))).await;
    assert_eq!(under("team=a").await, [""; 0]);
    assert_eq!(under("team=c").await, ["prj_1"]);
}

pub async fn a_list_index_sorts_by_the_fields_after_the_list(store: &SharedStore) {
    for (id, second, targets) in
        [("aud_1", 3, ["a", "b"]), ("aud_2", 1, ["b", "b"]), ("aud_3", 2, ["c", "b"]), ("aud_4", 4, ["c", "d"])]
    {
        let mut record = audit("project.create", &past(second));
        record["target_ids"] = json!(targets);
        commit(store, |batch| _ = batch.append(&AUDIT, "org_1", id, record)).await;
    }
    let of_b = Scan::new(&AUDIT, "target", vec![json!("b")]);
    assert_eq!(ids(store, Scan { limit: 2, ..of_b.clone() }).await, ["aud_1", "aud_3", "aud_2"]);
    let range = Scan { from: Some(json!(past(2))), to: Some(json!(past(3))), ..of_b };
    assert_eq!(ids(store, range).await, ["aud_3"]);
}

pub async fn a_list_of_ids_has_the_rows_of_the_list_without_their_documents(store: &SharedStore) {
    for id in ["prj_2", "prj_4", "prj_1", "prj_3"] {
        put(store, &PROJECTS, id, project("org_1", id)).await;
    }
    put(store, &PROJECTS, "prj_0", project("org_0", "Other")).await;
    let whole = Scan::new(&PROJECTS, "org", vec![json!("org_1")]);
    let range = Scan { from: Some(json!("prj_2")), to: Some(json!("prj_4")), ..whole.clone() };
    for scan in [whole.clone(), range, Scan { limit: 1, order: Order::Ascending, ..whole }, primary(&PROJECTS)] {
        let (rows, pages) = walk(store, scan.clone()).await;
        let (without, the_same) = walk(store, Scan { ids: true, ..scan.clone() }).await;
        let expected: Vec<Stored> =
            rows.into_iter().map(|row| Stored { version: 0, doc: Value::Null, ..row }).collect();
        assert_eq!((without, the_same), (expected, pages), "{scan:?}");
    }
    let filter = vec![Condition::Eq("name", json!("prj_1"))];
    for needs_documents in
        [Scan { filter, ..primary(&PROJECTS) }, Scan::new(&JOBS, "due", vec![]), Scan::new(&PROJECTS, "org", vec![])]
    {
        let refused =
            store.scan(Scan { ids: true, ..needs_documents }).await.expect_err("there is more to it than ids");
        assert_eq!(refused.code(), Code::Internal);
    }
}

pub async fn a_count_stops_at_its_cap(store: &SharedStore) {
    for id in ["prj_1", "prj_2", "prj_3"] {
        put(store, &PROJECTS, id, project("org_1", id)).await;
    }
    put(store, &PROJECTS, "prj_4", project("org_2", "Other")).await;
    let count = async |index: &'static str, prefix: &[Value], cap: u64| {
        store.count(&PROJECTS, index, prefix, cap).await.expect("the rows can be counted")
    };
    assert_eq!(count("org", &[json!("org_1")], 100).await, 3);
    assert_eq!(count("org", &[json!("org_1")], 3).await, 3);
    assert_eq!(count("org", &[json!("org_1")], 2).await, 2);
    assert_eq!(count("org", &[json!("org_3")], 2).await, 0);
    assert_eq!(count("org", &[], 100).await, 4);
    assert_eq!(count(PRIMARY, &[], 100).await, 4);
    assert_eq!(count("living_name", &[json!("org_2"), json!("Other")], 100).await, 1);
    assert_eq!(count("deleted_by", &[], 100).await, 0);
}

pub async fn a_scan_that_the_table_does_not_declare_is_refused(store: &SharedStore) {
    let unfit = [
        Scan::new(&PROJECTS, "region", vec![]),
        Scan::new(&META, "due", vec![]),
        Scan::new(&PROJECTS, "org", vec![json!("org_1"), json!("more")]),
        Scan::new(&PROJECTS, PRIMARY, vec![json!("prj_1")]),
        Scan::new(&PROJECTS, "org", vec![json!(1)]),
        Scan::new(&PROJECTS, "org", vec![Value::Null]),
        Scan::new(&JOBS, "due", vec![json!("soon")]),
        Scan::new(&PROJECTS, "org_label", vec![json!("org_1")]),
        Scan { from: Some(json!(1)), ..Scan::new(&PROJECTS, "org", vec![json!("org_1")]) },
        Scan { to: Some(json!("later")), ..Scan::new(&JOBS, "due", vec![]) },
        Scan { limit: 0, ..primary(&META) },
    ];
    for scan in unfit {
        let code = store.scan(scan.clone()).await.err().map(|error| error.code());
        assert_eq!(code, Some(Code::Internal), "{scan:?}");
    }
    let count = async |index: &'static str, prefix: &[Value]| store.count(&PROJECTS, index, prefix, 1).await.err();
    assert!(count("region", &[]).await.is_some(), "a count over no index");
    assert!(count("org", &[json!("a"), json!("b")]).await.is_some(), "a count under too long a prefix");
    let find = async |index: &'static str, key: &[Value]| store.find(&PROJECTS, index, key).await.err();
    assert!(find("org", &[json!("org_1")]).await.is_some(), "a find in an index that is not unique");
    assert!(find("living_name", &[json!("org_1")]).await.is_some(), "a find by a part of the key");
}

pub async fn a_position_of_another_list_is_a_bad_cursor(store: &SharedStore) {
    let at = |key: Vec<Value>| Some(Position { key, id: "prj_1".to_owned() });
    let unfit = [
        Scan { after: at(vec![json!("extra")]), ..primary(&PROJECTS) },
        Scan { after: at(vec![]), ..Scan::new(&PROJECTS, "org", vec![]) },
        Scan { after: at(vec![json!(7)]), ..Scan::new(&PROJECTS, "org", vec![]) },
        Scan { after: at(vec![Value::Null]), ..Scan::new(&JOBS, "due", vec![]) },
        Scan { after: at(vec![json!("2026-01-31 12:00:00.000Z")]), ..Scan::new(&JOBS, "due", vec![]) },
    ];
    for scan in unfit {
        let code = store.scan(scan.clone()).await.err().map(|error| error.code());
        assert_eq!(code, Some(Code::BadCursor), "{scan:?}");
    }
}

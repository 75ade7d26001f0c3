//! Conditions: each means the same in every engine, as [`Condition::matches`] says.

use serde_json::{Value, json};

use super::steps::{ids, matching, primary, put};
use crate::store::{
    Condition, Order, Scan, SharedStore,
    schema::{META, ORGANIZATIONS, PROJECTS},
    testing::sample::{organization, past, project},
};

async fn values(store: &SharedStore, values: &[Value]) {
    for (number, value) in values.iter().enumerate() {
        put(store, &META, &number.to_string(), json!({ "f": value })).await;
    }
}

pub async fn equal_means_the_same_value_and_type(store: &SharedStore) {
    let all = [
        json!("a"),
        json!("A"),
        json!("1"),
        json!(1),
        json!(true),
        json!("true"),
        json!(["a"]),
        json!({ "a": 1 }),
        json!(""),
    ];
    values(store, &all).await;
    for (number, value) in all.iter().enumerate() {
        let found = matching(store, &META, Condition::Eq("f", value.clone())).await;
        assert_eq!(found, [number.to_string()], "equal to {value}");
    }
    assert_eq!(matching(store, &META, Condition::Eq("f", json!("b"))).await, [""; 0]);
    assert_eq!(matching(store, &META, Condition::Eq("g", json!("a"))).await, [""; 0]);
}

pub async fn equal_to_null_means_absent_or_null(store: &SharedStore) {
    values(store, &[Value::Null, json!(""), json!(0), json!(false), json!([]), json!([null])]).await;
    put(store, &META, "absent", json!({ "g": 1 })).await;
    assert_eq!(matching(store, &META, Condition::Eq("f", Value::Null)).await, ["0", "absent"]);
}

pub async fn declared_fields_compare_as_they_are_written(store: &SharedStore) {
    put(store, &PROJECTS, "prj_1", project("org_1", "Shop")).await;
    let mut deleted = project("org_1", "Game");
    deleted["deleted_at"] = json!(past(1));
    deleted["label_pairs"] = json!(["team=a", "env=x"]);
    put(store, &PROJECTS, "prj_2", deleted).await;
    let found = async |condition| matching(store, &PROJECTS, condition).await;
    assert_eq!(found(Condition::Eq("deleted_at", json!(past(1)))).await, ["prj_2"]);
    assert_eq!(found(Condition::Eq("deleted_at", json!(past(2)))).await, [""; 0]);
    assert_eq!(found(Condition::Eq("deleted_at", Value::Null)).await, ["prj_1"]);
    assert_eq!(found(Condition::In("deleted_at", vec![json!(past(1)), json!(past(2))])).await, ["prj_2"]);
    assert_eq!(found(Condition::Eq("label_pairs", json!(["team=a", "env=x"]))).await, ["prj_2"]);
    assert_eq!(found(Condition::Eq("label_pairs", json!(["env=x", "team=a"]))).await, [""; 0], "lists have an order");
    assert_eq!(found(Condition::Eq("label_pairs", json!("team=a"))).await, [""; 0], "an element is not its list");
    assert_eq!(found(Condition::Contains("label_pairs", json!("team=a"))).await, ["prj_2"]);
    assert_eq!(found(Condition::Prefix("name", "Sh".to_owned())).await, ["prj_1"]);
    assert_eq!(found(Condition::Prefix("name", "sh".to_owned())).await, [""; 0]);
}

pub async fn a_prefix_is_plain_text(store: &SharedStore) {
    let texts = [
        "abc",
        "a.c",
        "a*",
        "a%b",
        "a_b",
        "^abc",
        "[a",
        "a\\b",
        "ABC",
        "äb",
        "a\u{308}b",
        "🦀🦀",
        "(",
        "a'b",
        "a\"b",
        "$a",
    ];
    values(store, &texts.map(Value::from)).await;
    for prefix in ["a.", "a*", "a%", "a_", "^", "[", "a\\", "A", "ä", "a\u{308}", "🦀", "(", "a'", "a\"", "$", "abc"]
    {
        let expected: Vec<String> = (0..texts.len())
            .filter(|number| texts[*number].starts_with(prefix))
            .map(|number| number.to_string())
            .collect();
        let mut found = matching(store, &META, Condition::Prefix("f", prefix.to_owned())).await;
        found.sort_by_key(|id| id.parse::<usize>().unwrap());
        assert_eq!(found, expected, "beginning with {prefix:?}");
    }
}

pub async fn a_prefix_matches_texts_alone(store: &SharedStore) {
    values(store, &[json!("1"), json!(1), json!(["1"]), Value::Null, json!(true), json!("")]).await;
    put(store, &META, "absent", json!({})).await;
    assert_eq!(matching(store, &META, Condition::Prefix("f", "1".to_owned())).await, ["0"]);
    assert_eq!(matching(store, &META, Condition::Prefix("f", String::new())).await, ["0", "5"]);
}

pub async fn one_of_means_equal_to_one(store: &SharedStore) {
    values(store, &[json!("a"), json!("b"), json!("c"), json!(1), json!(["a"]), Value::Null]).await;
    put(store, &META, "absent", json!({})).await;
    let found = async |values: &[Value]| matching(store, &META, Condition::In("f", values.to_vec())).await;
    assert_eq!(found(&[json!("a"), json!("c"), json!("z"), json!("a")]).await, ["0", "2"]);
    assert_eq!(found(&[json!(1)]).await, ["3"]);
    assert_eq!(found(&[json!(["a"])]).await, ["4"]);
    assert_eq!(found(&[json!("b"), Value::Null]).await, ["1", "5", "absent"]);
    assert_eq!(found(&[]).await, [""; 0]);
}

pub async fn contains_means_an_element_of_a_list(store: &SharedStore) {
    values(store, &[json!(["a", "b"]), json!("a"), json!([["a"]]), json!([1, null]), json!([]), json!({ "a": "a" })])
        .await;
    let found = async |value: Value| matching(store, &META, Condition::Contains("f", value)).await;
    assert_eq!(found(json!("a")).await, ["0"]);
    assert_eq!(found(json!(["a"])).await, ["2"]);
    assert_eq!(found(json!(1)).await, ["3"]);
    assert_eq!(found(Value::Null).await, ["3"]);
}

pub async fn all_conditions_hold_at_once(store: &SharedStore) {
    for (id, name, plan) in
        [("org_1", "Acme", "free"), ("org_2", "Acorn", "pro"), ("org_3", "Brand", "pro"), ("org_4", "Acre", "pro")]
    {
        let mut doc = organization(name);
        doc["plan"] = json!(plan);
        put(store, &ORGANIZATIONS, id, doc).await;
    }
    let filter = vec![Condition::Eq("plan", json!("pro")), Condition::Prefix("name", "Ac".to_owned())];
    let scan = Scan { filter: filter.clone(), ..primary(&ORGANIZATIONS) };
    assert_eq!(ids(store, scan).await, ["org_4", "org_2"]);
    let by_name =
        Scan { filter, order: Order::Ascending, limit: 1, ..Scan::new(&ORGANIZATIONS, "living_name", vec![]) };
    assert_eq!(ids(store, by_name).await, ["org_2", "org_4"]);
}

pub async fn any_of_several_conditions_is_enough(store: &SharedStore) {
    values(store, &[json!("ab"), json!("ac"), json!("b"), json!(["b"]), json!(7), Value::Null]).await;
    put(store, &META, "absent", json!({ "g": "b" })).await;
    let found = async |conditions: &[Condition]| matching(store, &META, Condition::Any(conditions.to_vec())).await;
    let (begins, is) = (Condition::Prefix("f", "a".to_owned()), Condition::Eq("f", json!("b")));
    assert_eq!(found(&[begins.clone(), is.clone()]).await, ["0", "1", "2"]);
    assert_eq!(found(&[is.clone(), is.clone()]).await, ["2"], "once, whatever it meets twice");
    assert_eq!(found(&[is.clone(), Condition::Eq("g", json!("b"))]).await, ["2", "absent"], "of several fields");
    assert_eq!(found(&[Condition::Contains("f", json!("b")), Condition::In("f", vec![json!(7)])]).await, ["3", "4"]);
    assert_eq!(found(&[Condition::Eq("f", Value::Null)]).await, ["5", "absent"]);
    let nested = Condition::Any(vec![is, Condition::Any(Vec::new())]);
    assert_eq!(found(&[nested, begins.clone()]).await, ["0", "1", "2"]);
    assert_eq!(found(&[]).await, [""; 0], "none of none is met");
    let both =
        vec![Condition::Any(vec![begins, Condition::Eq("f", json!(7))]), Condition::Prefix("f", "ac".to_owned())];
    let scan = Scan { filter: both, order: Order::Ascending, limit: 1, ..primary(&META) };
    assert_eq!(ids(store, scan).await, ["1"], "beside another condition, on pages");
}

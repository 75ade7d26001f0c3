//! Values: what JSON can say comes back unchanged, whatever an engine makes of it inside.

use serde_json::{Value, json};

use super::steps::{commit, primary, put, read, walk};
use crate::store::{
    SharedStore,
    schema::{META, ORGANIZATIONS, USAGE_METRICS},
    testing::sample::{far, organization, past, usage},
};

/// Writes the document by an insert and by a replace and expects it back from reads and from lists.
async fn survives(store: &SharedStore, doc: Value) {
    put(store, &META, "inserted", doc.clone()).await;
    put(store, &META, "replaced", json!({})).await;
    commit(store, |batch| _ = batch.replace(&META, "replaced", 1, doc.clone())).await;
    for id in ["inserted", "replaced"] {
        assert_eq!(read(store, &META, id).await.doc, doc, "{id}");
    }
    for row in walk(store, primary(&META)).await.0 {
        assert_eq!(row.doc, doc, "{} in a list", row.id);
    }
}

pub async fn names_of_nested_fields_may_be_any_text(store: &SharedStore) {
    survives(
        store,
        json!({ "labels": {
            "a.b": 1, "a": { "b": 2, "b.c": { "$x": 3 } }, "$x": 4, "$set": { "y": 5 }, "": 6, "it's \"quoted\" \\ here": 7,
            "_id": 8, "名前": 9, "🦀": 10, " ": 11, "a b": 12, "0": 13, ".": 14, "$": 15, "[0]": 16, "#": 17,
        } }),
    )
    .await;
}

pub async fn objects_that_look_like_an_engines_own_stay_as_they_are(store: &SharedStore) {
    survives(
        store,
        json!({
            "oid": { "$oid": "507f1f77bcf86cd799439011" },
            "date": { "$date": { "$numberLong": "0" } },
            "plain_date": { "$date": "2026-01-31T12:00:00Z" },
            "long": { "$numberLong": "5" },
            "double": { "$numberDouble": "NaN" },
            "binary": { "$binary": { "base64": "AAAA", "subType": "00" } },
            "regex": { "$regularExpression": { "pattern": "a", "options": "" } },
            "symbols": [{ "$undefined": true }, { "$minKey": 1 }, { "$timestamp": { "t": 1, "i": 1 } }],
        }),
    )
    .await;
}

pub async fn names_that_an_engine_could_use_itself_are_free(store: &SharedStore) {
    survives(
        store,
        json!({ "id": "another", "version": 77, "doc": { "id": 1 }, "key": "k", "seq": 9, "log": "l", "data": null, "v": 3,
            "rowid": 5, "body": "b", "n": 1 }),
    )
    .await;
    assert_eq!(read(store, &META, "inserted").await.version, 1);
    assert_eq!(read(store, &META, "replaced").await.version, 2);
}

pub async fn texts_come_back_byte_for_byte(store: &SharedStore) {
    survives(
        store,
        json!({ "texts": [
            "", " ", "it's", "\"", "\\", "$ne", "a.b", "\u{0}", "a\u{0}b", "\n\r\t", "\u{7f}\u{80}\u{ffff}", "é", "e\u{301}",
            "🦀👩‍👩‍👧", "名前", "\u{202e}rtl", "null", "1", "true", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z", "{}", "x'00'",
        ] }),
    )
    .await;
}

pub async fn integers_come_back_over_all_64_bits(store: &SharedStore) {
    let bounds = [
        0,
        1,
        -1,
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        i64::from(i32::MIN) - 1,
        (1 << 53) + 1,
        i64::MAX,
        i64::MIN,
    ];
    survives(store, json!({ "integers": bounds, "top": i64::MAX, "bottom": i64::MIN })).await;
    for (number, value) in bounds.into_iter().enumerate() {
        let doc = usage("prj_1", "minutes", &past(0), value);
        put(store, &USAGE_METRICS, &number.to_string(), doc.clone()).await;
        assert_eq!(read(store, &USAGE_METRICS, &number.to_string()).await.doc, doc);
    }
}

pub async fn floats_come_back_exactly_and_as_floats(store: &SharedStore) {
    let floats = [
        0.0,
        1.0,
        -1.0,
        0.1,
        0.1 + 0.2,
        1e300,
        -1e-300,
        5e-324,
        f64::MAX,
        f64::MIN_POSITIVE,
        1_700_000_000_000.0,
        1e15,
        1e21,
    ];
    survives(store, json!({ "floats": floats, "one": 1, "one_float": 1.0 })).await;
}

pub async fn nulls_and_empty_values_come_back(store: &SharedStore) {
    survives(
        store,
        json!({ "null": null, "list": [], "object": {}, "nested": { "null": null, "lists": [[], [null], [{}]] }, "text": "",
            "flags": [true, false] }),
    )
    .await;
    survives_empty(store).await;
}

async fn survives_empty(store: &SharedStore) {
    put(store, &META, "empty", json!({})).await;
    assert_eq!(read(store, &META, "empty").await.doc, json!({}));
}

pub async fn deep_documents_come_back(store: &SharedStore) {
    let deep = (0..60)
        .fold(json!("bottom"), |inner, depth| if depth % 2 == 0 { json!([inner]) } else { json!({ "in": inner }) });
    survives(store, json!({ "deep": deep })).await;
}

pub async fn large_documents_come_back(store: &SharedStore) {
    let text: String = "0123456789 äöü 🦀 \"\\ ".chars().cycle().take(100 * 1024).collect();
    let list: Vec<Value> =
        (0..5_000).map(|number| json!({ "number": number, "text": format!("entry {number}") })).collect();
    let doc = json!({ "text": text, "list": list });
    assert!(doc.to_string().len() > 200 * 1024, "the document is too small for this case");
    survives(store, doc).await;
}

pub async fn declared_fields_come_back_as_they_were_written(store: &SharedStore) {
    let moments = [
        "0000-01-01T00:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
        "2026-01-31T12:00:00.007Z",
        "9999-12-30T22:00:00.999Z",
    ];
    for (number, moment) in moments.iter().enumerate() {
        let mut doc = organization(&format!("Acme {number}"));
        doc["created_at"] = json!(moment);
        doc["deleted_at"] = json!(moment);
        doc["note"] = json!(moment);
        doc["label_pairs"] = json!(["b=2", "a=1", "b=2", ""]);
        put(store, &ORGANIZATIONS, &number.to_string(), doc.clone()).await;
        assert_eq!(read(store, &ORGANIZATIONS, &number.to_string()).await.doc, doc);
    }
    let mut fact = usage("prj_1", "minutes", &past(0), 5);
    fact["metadata"] = json!({ "timestamp": far(0), "a.b": { "$x": [] } });
    fact["expires_at"] = Value::Null;
    put(store, &USAGE_METRICS, "null", fact.clone()).await;
    assert_eq!(read(store, &USAGE_METRICS, "null").await.doc, fact, "null stays null");
    fact.as_object_mut().expect("an object").remove("expires_at");
    put(store, &USAGE_METRICS, "absent", fact.clone()).await;
    assert_eq!(read(store, &USAGE_METRICS, "absent").await.doc, fact, "absent stays absent");
}

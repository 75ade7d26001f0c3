//! What the edge does with requests: bad input, options of calls, headers of answers.

use pulse_tests::daemon::{Daemon, DaemonOptions};
use reqwest::Version;
use serde_json::{Value, json};

const JSON: &str = "application/json";

#[tokio::test]
async fn bad_bodies_are_refused_with_the_reason_and_never_with_a_500() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let project = client.project("Enterprise").await;
    let long = "x".repeat(10_000);
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("malformed", b"{\"room_name\":".to_vec(), 400, "bad_request"),
        ("not an object", b"[1]".to_vec(), 400, "bad_request"),
        ("bad UTF-8", b"{\"room_name\":\"\xff\"}".to_vec(), 400, "bad_request"),
        ("deep nesting", "{\"a\":".repeat(5_000).into_bytes(), 400, "bad_request"),
        ("wrong type", br#"{"room_name":1,"identity":"a"}"#.to_vec(), 422, "invalid_fields"),
        ("unknown field", br#"{"room_name":"r","identity":"a","colour":1}"#.to_vec(), 422, "invalid_fields"),
        ("control character", br#"{"room_name":"a\u0001b","identity":"a"}"#.to_vec(), 422, "invalid_fields"),
        ("tilde", br#"{"room_name":"a~b","identity":"a"}"#.to_vec(), 422, "invalid_fields"),
        ("long name", json!({ "room_name": long, "identity": "a" }).to_string().into_bytes(), 422, "invalid_fields"),
        ("negative ttl", br#"{"room_name":"r","identity":"a","ttl_seconds":-1}"#.to_vec(), 422, "invalid_fields"),
        (
            "huge ttl",
            br#"{"room_name":"r","identity":"a","ttl_seconds":99999999999999999999}"#.to_vec(),
            422,
            "invalid_fields",
        ),
        ("2 MiB", vec![b' '; 2 << 20], 413, "body_too_large"),
    ];
    let over_http_2 = client.over_http_2();
    for (name, body, status, code) in cases {
        for (client, version) in [(&client, Version::HTTP_11), (&over_http_2, Version::HTTP_2)] {
            let request = client
                .bare("POST", "/v1/tokens/create")
                .basic_auth(text(&project, "pulse_api_key"), Some(text(&project, "pulse_api_secret")))
                .header("content-type", JSON)
                .body(body.clone());
            let answer = client.send(request).await;
            assert_eq!((answer.version, answer.status), (version, status), "{name}: {}", answer.text);
            assert_eq!(answer.code(), code, "{name}: {}", answer.text);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{name}");
        }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is missing in {value}"))
}

#[tokio::test]
async fn options_of_calls_are_read_strictly() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let org = json!({ "name": "acme", "admin_email": "a@acme.example" });
    let post = |path: &str| client.request("POST", path).header("content-type", JSON).body(org.to_string());

    let dry = client.send(post("/v1/organizations?dry_run=true")).await;
    assert_eq!((dry.status, dry.json()["dry_run"].as_bool()), (200, Some(true)), "{}", dry.text);
    assert_eq!(client.get("/v1/organizations").await.json()["data"], json!([]), "a dry run wrote");
    assert_eq!(client.send(post("/v1/organizations?dry_run=1")).await.code(), "invalid_fields");
    assert_eq!(client.send(post("/v1/organizations?colour=red")).await.code(), "invalid_fields");
    assert_eq!(client.get("/v1/organizations?colour=red").await.code(), "invalid_fields");
    assert_eq!(client.get("/v1/organizations?cursor=nonsense").await.code(), "bad_cursor");

    let first = client.send(post("/v1/organizations").header("idempotency-key", "once")).await;
    let again = client.send(post("/v1/organizations").header("idempotency-key", "once")).await;
    assert_eq!((first.status, again.status, again.header("idempotent-replayed")), (201, 201, "true"));
    assert_eq!(first.json(), again.json());
    assert_eq!(client.send(post("/v1/organizations").header("idempotency-key", "a b")).await.code(), "bad_request");
    let other =
        client.request("POST", "/v1/organizations").header("content-type", JSON).header("idempotency-key", "once");
    assert_eq!(
        client.send(other.body(r#"{"name":"b","admin_email":"a@b.example"}"#)).await.code(),
        "idempotency_mismatch"
    );

    let path = format!("/v1/organizations/{}", text(&first.json(), "id"));
    let read = client.get(&path).await;
    assert_eq!(read.header("etag"), "\"1\"");
    let put = |tag: &str| {
        client
            .request("PUT", &path)
            .header("content-type", JSON)
            .header("if-match", tag)
            .body(r#"{"labels":{"a":"b"}}"#)
    };
    assert_eq!(client.send(put("W/\"1\"")).await.code(), "bad_request");
    let changed = client.send(put("\"1\"")).await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"2\""), "{}", changed.text);
    let stale = client.send(put("\"1\"")).await;
    assert_eq!((stale.status, stale.code().as_str()), (412, "version_mismatch"));
    assert_eq!(client.send(put("*")).await.status, 200);
}

#[tokio::test]
async fn methods_paths_and_content_types() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let refused = client.send(client.request("PATCH", "/v1/organizations")).await;
    assert_eq!((refused.status, refused.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(refused.header("allow"), "POST,GET,HEAD");
    assert_eq!(client.get("/v1/nothing").await.code(), "no_route");
    assert_eq!(client.get("/v1/organizations/%ff").await.code(), "bad_request");
    let head = client.send(client.request("HEAD", "/v1/organizations")).await;
    assert_eq!((head.status, head.text.as_str(), head.header("content-type")), (200, "", JSON));
    for kind in ["text/plain", "application/json; charset=latin1"] {
        let answer =
            client.send(client.request("POST", "/v1/organizations").header("content-type", kind).body("{}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"), "{kind}");
    }
    let api = client.send(client.bare("GET", "/openapi.json")).await.json();
    assert!(api["paths"]["/v1/tokens/create"]["post"].is_object());
}

#[tokio::test]
async fn a_request_id_is_returned_in_the_header_the_problem_and_the_log() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let client = daemon.client();
    let given = client.send(client.request("GET", "/v1/organizations/org_x").header("x-request-id", "my-id.1")).await;
    assert_eq!((given.header("x-request-id"), given.json()["request_id"].as_str()), ("my-id.1", Some("my-id.1")));
    daemon.process.until_logged("\"request_id\":\"my-id.1\"").await;
    let replaced = client.send(client.request("GET", "/health").header("x-request-id", "not well formed")).await;
    assert!(replaced.header("x-request-id").starts_with("req_"), "{replaced:?}");
    daemon.stop().await;
    assert!(!daemon.process.stderr().contains(&daemon.admin_token), "the operator's token is in the log");
}

#[tokio::test]
async fn the_log_is_json_for_programs_and_text_where_that_is_asked_for() {
    for (format, logged) in [(None, "\"request_id\":\"my-id.2\""), (Some("text"), "request_id=\"my-id.2\"")] {
        let options =
            format.into_iter().fold(DaemonOptions::new(), |options, word| options.env("PULSE_LOG_FORMAT", word));
        let daemon = Daemon::start(options).await;
        let client = daemon.client();
        client.send(client.request("GET", "/v1/organizations").header("x-request-id", "my-id.2")).await;
        let line = daemon.process.until_logged(logged).await;
        assert!(line.contains("organizations.list") && line.contains("200"), "{line}");
        daemon.stop().await;
        for line in daemon.process.stderr().lines() {
            let json = serde_json::from_str::<Value>(line).ok();
            assert_eq!(json.is_some(), format.is_none(), "{line}");
            assert!(json.is_none_or(|entry| entry["timestamp"].is_string() && entry["level"].is_string()), "{line}");
        }
    }
}

#[tokio::test]
async fn http_2_in_the_clear_works_by_prior_knowledge() {
    let daemon = Daemon::start(DaemonOptions::new()).await;
    let answer = daemon.client().over_http_2().get("/ready").await;
    assert_eq!((answer.version, answer.status), (Version::HTTP_2, 200));
}

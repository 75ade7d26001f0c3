//! Looking into tokens without a server.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use pulse_tests::cli::Cli;
use serde_json::{Value, json};

use super::customer;

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims))
}

/// A token with about everything that can be wrong, good until 2100.
fn bad() -> String {
    jwt(&json!({
        "iss": "APIkey", "sub": "ada", "nbf": 1_700_000_000, "exp": 4_102_444_800_i64, "kind": "agent", "metadata": "a\u{1b}[31mb",
        "video": { "roomJoin": true, "roomCreate": true, "roomAdmin": true, "canPublish": false, "canUpdateOwnMetadata": true },
        "roomConfig": { "egress": { "room": { "fileOutputs": [{ "s3": { "secret": "hush" } }] } } },
    }))
}

#[test]
fn inspect_explains_a_token_in_words() {
    insta::assert_snapshot!(Cli::new().run_with(&["token", "inspect", "-"], &bad()).shown());
}

#[test]
fn lint_lists_the_traps() {
    let cli = Cli::new();
    insta::assert_snapshot!(cli.run_with(&["token", "lint", "-", "--fail-on", "error"], &bad()).shown());
    let fine = jwt(&json!({
        "iss": "APIkey", "sub": "ada", "jti": "x.0", "exp": 4_102_444_800_i64, "nbf": 4_102_441_200_i64 - 4_000_000_000,
        "video": { "roomJoin": true, "room": "r", "canPublish": true, "canSubscribe": true, "canPublishData": true },
    }));
    let run = cli.run_with(&["token", "lint", "-", "--fail-on", "error", "-o", "json", "--jq", ".[].code"], &fine);
    assert_eq!((run.code, run.stdout.as_str()), (0, "long_life\n"));
}

#[test]
fn verify_tells_a_good_signature_from_a_bad_one() {
    let cli = customer();
    let token = cli.ok(&["token", "create", "--project", "standup", "--room", "r", "--identity", "i", "-q"]);
    let right = cli.run(&["token", "verify", &token, "-o", "json"]);
    assert_eq!((right.code, right.json()["valid"].as_bool()), (0, Some(true)), "{}", right.shown());
    let wrong = cli.run_with(
        &["token", "verify", &token, "--key", "devkey", "--secret-file", "-", "-o", "json"],
        "another secret",
    );
    assert_eq!((wrong.code, wrong.json()["signature"].as_str()), (1, Some("bad")), "{}", wrong.shown());
    let none = cli.run(&["token", "verify", "not-a-token"]);
    assert_eq!(none.code, 2, "{}", none.shown());
}

#[test]
fn validate_refresh_and_revoke_work_on_a_minted_token() {
    let cli = customer();
    let make = |more: &[&str]| {
        cli.ok(&[&["token", "create", "--project", "standup", "--room", "r", "--identity", "ada", "-q"][..], more]
            .concat())
    };
    let token = make(&[]);
    let validate = |token: &str| cli.run_with(&["token", "validate", "-", "--project", "standup", "-o", "json"], token);
    assert_eq!(validate(&token).code, 0);
    let next = cli.run_with(&["token", "refresh", "-", "--project", "standup", "-q"], &token);
    assert_eq!(next.code, 0, "{}", next.shown());
    let revoke = cli
        .run_with(&["token", "revoke", "--project", "standup", "--token", "-", "-o", "json", "--jq", ".kind"], &token);
    assert_eq!(revoke.stdout, "jti\n", "{}", revoke.shown());
    let after = validate(next.stdout.trim());
    assert_eq!((after.code, after.json()["reasons"][0]["code"].as_str()), (1, Some("revoked")), "{}", after.shown());
    assert_eq!(validate(&make(&[])).code, 0, "another token was revoked too");
}

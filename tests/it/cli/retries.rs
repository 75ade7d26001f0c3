//! What the command does when a server does not answer well: again, and how often, or not at all.

use std::time::Duration;

use pulse_tests::{
    cli::{Cli, Run},
    stub::{Reply, Seen, Stub},
};

const ORG: &str = r#"{"id":"org_01J00000000000000000000000","name":"acme","admin_email":"a@b.example","plan":"Free","labels":{},"created_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-01T00:00:00.000Z","version":1}"#;
const CREATE: &[&str] = &["org", "create", "acme", "--email", "a@b.example", "-o", "json"];
const UPDATE: &[&str] = &["org", "update", "org_01J00000000000000000000000", "--plan", "Pro", "-o", "json"];

/// Runs a command against a stub that gives these replies one after the other, and the last one for ever.
fn against(replies: &[Reply], arguments: &[&str]) -> (Run, Vec<Seen>) {
    let replies = replies.to_vec();
    let stub = Stub::start(move |number, _| replies[number.min(replies.len() - 1)].clone());
    let run = Cli::with_server(&stub.url, "a-token").run(arguments);
    (run, stub.seen())
}

fn created() -> Reply {
    Reply::json(201, ORG)
}

#[test]
fn a_change_is_repeated_with_the_same_idempotency_key_until_it_works() {
    let replies = [Reply::problem(429, "rate_limited", 1), Reply::problem(503, "overloaded", 0), Reply::Cut, created()];

    let (run, seen) = against(&replies, CREATE);

    assert_eq!((run.code, run.json()["name"].as_str()), (0, Some("acme")), "{}", run.shown());
    assert_eq!(run.stderr, "", "retries that helped are nobody's business");
    assert_eq!(seen.len(), 4);
    let key = seen[0].header("idempotency-key");
    assert!(key.starts_with("pulse_") && key.len() > 20, "{key:?}");
    assert!(seen.iter().all(|one| one.header("idempotency-key") == key), "another key: {seen:?}");
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1), "Retry-After: 1 was not waited for");
    assert!(seen[2].at - seen[1].at < Duration::from_millis(500), "Retry-After: 0 was waited for");
}

#[test]
fn two_invocations_have_two_idempotency_keys() {
    let stub = Stub::start(|_, _| created());
    let cli = Cli::with_server(&stub.url, "a-token");
    cli.ok(CREATE);
    cli.ok(CREATE);
    let seen = stub.seen();
    assert_ne!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
}

#[test]
fn what_does_not_get_better_is_given_up_with_its_own_exit_code() {
    let html = Reply::Answer(502, String::new(), "<html>".to_owned());
    let cases = [
        (Reply::problem(429, "rate_limited", 0), 4, 9, "rate_limited"),
        (Reply::Answer(429, "Retry-After: 0\r\n".to_owned(), "slow down".to_owned()), 4, 9, "rate_limited"),
        (Reply::problem(503, "store_unavailable", 0), 4, 3, "store_unavailable"),
        (Reply::Cut, 3, 3, "unreachable"),
        (html, 4, 1, "unexpected"),
        (Reply::problem(500, "internal", 0), 1, 1, "internal"),
        (Reply::problem(409, "name_taken", 0), 1, 6, "name_taken"),
    ];
    for (reply, tries, exit, code) in cases {
        let (run, seen) = against(&[reply], CREATE);
        assert_eq!((run.code, run.stdout.as_str()), (exit, ""), "{}", run.shown());
        assert_eq!((run.error()["code"].as_str(), seen.len()), (Some(code), tries), "{}", run.shown());
    }
}

#[test]
fn a_server_that_asks_for_long_patience_is_not_waited_for() {
    let (run, seen) = against(&[Reply::problem(429, "rate_limited", 11)], &["org", "list"]);
    assert_eq!((run.code, seen.len()), (9, 1), "{}", run.shown());
    assert!(run.stderr.contains("11 seconds"), "the user is not told for how long: {}", run.shown());
}

#[test]
fn a_change_that_would_meet_its_own_trace_is_not_repeated_when_nobody_knows_whether_it_was_done() {
    let guarded = [UPDATE, &["--if-match", "1"]].concat();
    for reply in [Reply::Cut, Reply::problem(503, "store_unavailable", 0)] {
        assert_eq!(against(std::slice::from_ref(&reply), &guarded).1.len(), 1, "{reply:?}");
    }
    let (run, _) = against(&[Reply::Cut], &guarded);
    assert!(
        run.error()["hint"].as_str().is_some_and(|hint| hint.contains("look before you repeat it")),
        "{}",
        run.shown()
    );
    // Turned away at the door, it was surely not done.
    let (run, seen) = against(&[Reply::problem(429, "rate_limited", 0), Reply::json(200, ORG)], &guarded);
    assert_eq!((run.code, seen.len()), (0, 2), "{}", run.shown());
    // Without a version it says what is to be, which it may say twice.
    let (run, seen) = against(&[Reply::Cut, Reply::json(200, ORG)], UPDATE);
    assert_eq!((run.code, seen.len()), (0, 2), "{}", run.shown());
}

#[test]
fn a_raw_request_is_repeated_by_the_same_rules() {
    let body = ["--data", "{}"];
    let post = [&["api", "POST", "/v1/anything"][..], &body].concat();
    let (run, seen) = against(&[Reply::Cut, Reply::json(200, "{}")], &post);
    assert_eq!((run.code, seen.len()), (0, 2), "{}", run.shown());
    assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
    assert!(!seen[0].header("idempotency-key").is_empty());
    let put = [&["api", "PUT", "/v1/anything", "-H", "If-Match: \"1\""][..], &body].concat();
    assert_eq!(against(&[Reply::Cut], &put).1.len(), 1);
}

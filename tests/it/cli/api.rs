//! Raw requests: on a store they are judged as a server judges them.

const ACME: &str = r#"{"name":"acme","admin_email":"ops@acme.example"}"#;

#[test]
fn the_options_of_a_raw_request_are_judged_on_a_store_as_by_a_server() {
    let cli = super::customer();
    let post =
        |path: &str, header: &str, body: &str| cli.run(&["api", "POST", path, "-d", body, "-H", header, "-o", "json"]);
    let other = ACME.replace("acme", "other");
    for (path, header) in [
        ("/v1/organizations?dry_run=1", "X-A: b"),
        ("/v1/organizations?dry_run=true&dry_run=true", "X-A: b"),
        ("/v1/organizations", "If-Match: 3"),
        ("/v1/organizations", "Idempotency-Key: a b"),
    ] {
        let run = post(path, header, &other);
        assert_ne!(run.code, 0, "{path} with {header} was done: {}", run.shown());
    }
    assert_eq!(cli.ok(&["org", "list", "-o", "name"]), "acme", "a request that is wrong was done");

    let first = post("/v1/organizations", "Idempotency-Key: k-1", &other).json();
    let again = post("/v1/organizations", "Idempotency-Key: k-1", &other).json();
    assert_eq!(first["id"], again["id"], "the key for safe retries was not looked at");
}

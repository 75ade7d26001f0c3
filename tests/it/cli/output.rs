//! The forms of results.

use super::{customer, script};

#[test]
fn every_form_of_a_list_and_of_a_thing() {
    let cli = customer();
    cli.ok(&["project", "create", "=1+1", "--org", "acme", "--label", "team=a,b"]);
    let mut commands: Vec<Vec<&str>> = Vec::new();
    for form in ["table", "json", "jsonl", "yaml", "csv", "name"] {
        commands.push(vec!["project", "list", "-o", form, "--columns", "name,labels,deleted_at"]);
    }
    commands.push(vec!["org", "get", "acme", "-o", "yaml"]);
    commands.push(vec!["org", "get", "acme", "-o", "csv"]);
    commands.push(vec!["project", "list", "--no-headers", "--columns", "name"]);
    commands.push(vec!["project", "list", "--jq", "map({name})"]);
    commands.push(vec!["project", "list", "-q"]);
    commands.push(vec!["project", "list", "--name-prefix", "none", "-o", "json"]);
    commands.push(vec!["project", "list", "--name-prefix", "none", "-o", "yaml"]);
    commands.push(vec!["project", "list", "--name-prefix", "none"]);
    let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
    insta::assert_snapshot!(script(&cli, &commands));
}

#[test]
fn a_long_list_comes_page_by_page() {
    let cli = customer();
    for number in 0..23 {
        cli.ok(&["project", "create", &format!("p{number:02}"), "--org", "acme", "-q"]);
    }
    let first = cli.run(&["project", "list", "-o", "json"]);
    assert_eq!(first.json().as_array().map(Vec::len), Some(20));
    let cursor = first.stderr.trim().rsplit(' ').next().expect("a cursor").to_owned();
    let rest = cli.run(&["project", "list", "-o", "json", "--cursor", &cursor]);
    assert_eq!((rest.json().as_array().map(Vec::len), rest.stderr.as_str()), (Some(4), ""), "{}", first.shown());
    assert_eq!(cli.ok(&["project", "list", "--all", "--jq", "length"]), "24");
    assert_eq!(cli.ok(&["project", "list", "--limit", "3", "-o", "name"]), "p22\np21\np20");
}

#[test]
fn an_error_is_one_object_for_a_program() {
    let cli = customer();
    let run = cli.run(&["project", "get", "nosuch", "-o", "json"]);
    assert_eq!(
        (run.stdout.as_str(), run.error()["code"].as_str(), run.error()["exit"].as_i64()),
        ("", Some("not_found"), Some(5))
    );
    let usage = cli.run(&["project", "get", "-o", "json"]);
    assert_eq!((usage.stdout.as_str(), usage.error()["code"].as_str(), usage.code), ("", Some("usage"), 2));
    assert_eq!(cli.run(&["project", "list", "--jq", ".["]).code, 2);
}

#[test]
fn curl_shows_the_request_and_sends_nothing() {
    let cli = customer();
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["org", "create", "never", "--email", "a@b.example", "--curl"],
            &["project", "list", "--org", "acme", "--curl"],
            &[
                "key",
                "revoke",
                "key_01J00000000000000000000000",
                "--project",
                "prj_01J00000000000000000000000",
                "--if-match",
                "2",
                "--curl",
                "--server",
                "https://pulse.example"
            ],
            &["org", "list", "-o", "name"],
        ]
    ));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let cli = customer();
    for number in 0..30 {
        cli.ok(&["org", "create", &format!("o{number}"), "--email", "a@b.example", "-q"]);
    }
    let pulse = pulse_tests::cli::program("pulse");
    let line = format!(
        "{} --local --store sqlite:{} org list --all -o json | head -1; echo ${{PIPESTATUS[0]}}",
        pulse.display(),
        cli.path("store/pulse.db").display()
    );
    let output = std::process::Command::new("bash").args(["-c", &line]).output().expect("bash");
    assert_eq!((String::from_utf8_lossy(&output.stdout).as_ref(), output.stderr.as_slice()), ("[\n0\n", &b""[..]));
}

#[test]
fn every_field_of_the_api_can_be_a_column_and_nothing_else() {
    let cli = customer();
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json")).expect("the description");
    let api: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    let lists: [(&[&str], &str); 4] = [
        (&["org", "list"], "/v1/organizations"),
        (&["project", "list"], "/v1/projects"),
        (&["key", "list", "--project", "standup"], "/v1/projects/{id}/keys"),
        (&["audit", "list"], "/v1/audit-logs"),
    ];
    for (list, path) in lists {
        let answer = &api["components"]["schemas"][api["paths"][path]["get"]["operationId"].as_str().expect(path)];
        let fields = answer["properties"]["data"]["items"]["properties"].as_object().expect(path);
        let all: Vec<&str> = fields.keys().map(String::as_str).collect();
        let run = cli.run(&[list, &["--columns", &all.join(","), "-o", "csv"]].concat());
        assert_eq!(run.code, 0, "{}", run.shown());
        for nonsense in ["nosuch", "name_", ""] {
            let run = cli.run(&[list, &["--columns", nonsense, "-o", "json"]].concat());
            assert_eq!((run.code, run.error()["code"].as_str()), (2, Some("usage")), "{}", run.shown());
            assert!(
                run.error()["fields"].as_array().is_some_and(|fields| fields.len() >= all.len()),
                "{}",
                run.shown()
            );
        }
    }
    // Below a field lies what people have put there.
    cli.ok(&["project", "list", "--columns", "name,labels.team"]);
}

#[test]
fn a_result_that_could_not_be_shown_is_not_made() {
    let cli = customer();
    for form in [["--columns", "nosuch"], ["--jq", ".["], ["--jq", "nosuch"]] {
        let run = cli.run(&[&["project", "create", "never", "--org", "acme"][..], &form].concat());
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.shown());
    }
    assert_eq!(cli.ok(&["project", "list", "-o", "name"]), "standup");
    insta::assert_snapshot!(cli.run(&["org", "list", "--columns", "id,nmae"]).shown());
}

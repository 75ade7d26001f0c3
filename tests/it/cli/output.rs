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
fn a_bad_jq_expression_is_found_before_anything_is_made() {
    let cli = customer();
    let run = cli.run(&["key", "create", "k1", "--project", "standup", "--jq", ".["]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.shown());
    assert_eq!(cli.ok(&["key", "list", "--project", "standup", "-o", "name"]), "default", "the key was made");
    assert_eq!(cli.run(&["project", "list", "--jq", ".[", "-o", "json"]).error()["code"], "usage");
}

#[test]
fn a_jq_expression_that_does_not_fit_repeats_no_value_and_does_not_hide_that_the_change_was_made() {
    let cli = customer();
    let run = cli.run(&["key", "create", "k1", "--project", "standup", "--jq", ".pulse_api_secret.deeper"]);
    assert_eq!(run.code, 11, "{}", run.shown());
    assert!(!run.stderr.contains("pulse_secret_"), "{}", run.shown());
    assert!(run.stderr.contains("The change was made") && run.stderr.contains("pulse key rotate"), "{}", run.shown());
}

#[test]
fn a_secret_that_is_shown_once_is_never_left_out_in_silence() {
    let cli = customer();
    for (name, form) in
        [("a", &["-q"][..]), ("b", &["-o", "name"]), ("c", &["--columns", "id"]), ("d", &["--jq", ".id"])]
    {
        let run = cli.run(&[&["key", "create", name, "--project", "standup"], form].concat());
        assert!(!run.stdout.contains("pulse_secret_") && run.code == 0, "{}", run.shown());
        assert!(run.stderr.contains("warning: the result leaves pulse_api_secret out"), "{}", run.shown());
    }
    let run = cli.run(&["key", "create", "e", "--project", "standup", "--jq", ".pulse_api_secret"]);
    assert!(run.stdout.starts_with("pulse_secret_") && !run.stderr.contains("warning"), "{}", run.shown());
    assert_eq!(cli.run(&["key", "get", "e", "--project", "standup", "-q"]).stderr, "");
}

#[test]
fn at_a_terminal_of_80_columns_secrets_and_tokens_can_be_copied_and_wide_lists_be_read() {
    let cli = customer();
    let key = cli.run_at_terminal(&["key", "create", "k1", "--project", "standup"], "", "");
    let secret = key.stdout.lines().find(|line| line.starts_with("pulse_secret_"));
    assert!(secret.is_some_and(|line| line.len() == 83), "{}", key.stdout);
    let words = ["token", "create", "--project", "standup", "--room", "daily", "--identity", "ada"];
    let token = cli.run_at_terminal(&words, "", "");
    assert!(
        token.stdout.lines().any(|line| line.starts_with("eyJ") && line.matches('.').count() == 2),
        "{}",
        token.stdout
    );
    let wide = cli.run_at_terminal(&["key", "list", "--project", "standup", "-o", "wide"], "", "");
    let id = cli.ok(&["key", "get", "k1", "--project", "standup", "-q"]);
    assert!(wide.stdout.contains(&id) && wide.stdout.contains("tokens:mint"), "{}", wide.stdout);
    assert!(wide.stdout.lines().all(|line| line.chars().count() <= 80), "{}", wide.stdout);
}

#[test]
fn an_update_that_changes_nothing_and_a_token_as_a_flags_value_are_wrong_usage() {
    let cli = customer();
    for words in [&["org", "update", "acme"][..], &["project", "update", "standup", "--if-match", "1"]] {
        assert_eq!(cli.run(words).code, 2, "{words:?} was taken");
    }
    let token = cli.ok(&["token", "create", "--project", "standup", "--room", "daily", "--identity", "ada", "-q"]);
    let run = cli.run(&["token", "revoke", "--project", "standup", "--token", &token]);
    assert_eq!(run.code, 2, "{}", run.shown());
    assert!(run.stderr.contains("never a flag's value"), "{}", run.shown());
    let words = ["token", "revoke", "--project", "standup", "--token", "-", "-o", "json", "--jq", ".kind"];
    assert_eq!(cli.run_with(&words, &token).stdout, "jti\n");
}

#[test]
fn what_is_not_there_is_null_to_a_program_and_the_store_of_the_settings_is_named() {
    let cli = customer();
    let words = ["project", "delete", "nosuch", "--ignore-not-found", "-o", "json"];
    assert_eq!(cli.run(&words).stdout, "null\n");
    let target = cli.ok(&["status", "--jq", ".target"]);
    assert!(target.ends_with("store/pulse.db"), "{target}");
    let run = cli.run_with(&["project", "create", "p", "--org", "acme", "--storage-file", "-"], r#"{"kind":"s3"}"#);
    assert!(run.stderr.contains("missing field `bucket`"), "{}", run.shown());
    let run = cli.run_with(
        &["project", "create", "p", "--org", "acme", "--storage-file", "-"],
        r#"{"kind":"s3","bucket":"b","force_path_style":"hush"}"#,
    );
    assert!(run.stderr.contains("force_path_style") && !run.stderr.contains("hush"), "{}", run.shown());
}

#[test]
fn a_suspended_projects_operator_is_told_how_to_resume_it() {
    let cli = customer();
    cli.ok(&["project", "suspend", "standup", "--reason", "unpaid", "--yes", "-q"]);
    let run = cli.run(&["token", "create", "--project", "standup", "--room", "daily", "--identity", "ada"]);
    assert!(run.code == 7 && run.stderr.contains("pulse project resume standup"), "{}", run.shown());
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

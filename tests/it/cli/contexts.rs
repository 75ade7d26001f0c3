//! Which target is used, and what is kept about it.

use std::os::unix::fs::PermissionsExt as _;

use pulse_tests::cli::Cli;

use super::script;

#[test]
fn contexts_are_made_used_and_deleted() {
    let cli = Cli::new();
    assert_eq!(
        cli.run_with(
            &["context", "set", "prod", "--url", "https://pulse.example", "--credential-file", "-"],
            "a-token\n"
        )
        .code,
        0
    );
    insta::assert_snapshot!(script(
        &cli,
        &[
            &["context", "set", "here", "--path", "sqlite:data/pulse.db", "--default-org", "acme"],
            &["context", "set", "bad", "--url", "pulse.example"],
            &["context", "list"],
            &["context", "use", "here"],
            &["context", "use", "nosuch"],
            &["config", "explain"],
            &["context", "delete", "here"],
            &["context", "delete", "here", "--yes", "-q"],
            &["config", "explain", "-o", "json", "--jq", "map(select(.used))"],
        ]
    ));
    let file = cli.path(".config/pulse/credentials.toml");
    let mode = |path| std::fs::metadata(path).expect("the file").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert!(!std::fs::read_to_string(cli.path(".config/pulse/config.toml")).expect("the file").contains("a-token"));
}

#[test]
fn credentials_that_others_can_read_are_refused() {
    let cli = Cli::new();
    cli.run_with(&["context", "set", "prod", "--url", "http://127.0.0.1:1", "--credential-file", "-"], "a-token");
    std::fs::set_permissions(cli.path(".config/pulse/credentials.toml"), std::fs::Permissions::from_mode(0o644))
        .expect("chmod");
    insta::assert_snapshot!(cli.run(&["whoami"]).shown());
}

#[test]
fn another_server_does_not_get_the_old_ones_token() {
    let cli = Cli::new();
    cli.run_with(&["context", "set", "prod", "--url", "https://one.example", "--credential-file", "-"], "a-token");
    assert_eq!(
        cli.ok(&["context", "set", "prod", "--url", "https://two.example", "-o", "json", "--jq", ".has_token"]),
        "false"
    );
}

#[test]
fn a_folder_file_names_a_store_but_never_a_server() {
    let cli = Cli::new();
    cli.ok(&["--local", "--store", "sqlite:data/pulse.db", "org", "create", "acme", "--email", "a@b.example", "-q"]);
    std::fs::write(cli.path(".pulse.toml"), "store = \"sqlite:data/pulse.db\"\n").expect("a file");
    assert_eq!(cli.ok(&["org", "list", "-o", "name"]), "acme");
    std::fs::write(cli.path(".pulse.toml"), "server = \"http://evil.example\"\n").expect("a file");
    insta::assert_snapshot!(cli.run(&["org", "list"]).shown());
}

#[test]
fn a_server_outside_the_networks_that_are_allowed_is_not_connected_to() {
    let cli = Cli::with_server("http://127.0.0.1:1", "token").env("PULSE_OUTBOUND_ONLY", "192.0.2.0/24");
    for url in ["http://127.0.0.1:1", "http://localhost:1"] {
        let run = cli.run(&["whoami", "--server", url]);
        assert_eq!(run.code, 3, "{}", run.shown());
        assert!(run.stderr.contains("outside PULSE_OUTBOUND_ONLY"), "{}", run.shown());
    }
}

#[test]
fn the_rules_of_the_target_are_explained_without_credentials() {
    for (name, value, shown) in [
        ("PULSE_SERVER", "https://user:hush@pulse.example", "https://<set>@pulse.example"),
        ("PULSE_SERVER", "https://pulse.example/?token=hush", "https://pulse.example/?token=<set>"),
        ("PULSE_SERVER", "user:hush@pulse.example", "<set>"),
        ("PULSE_STORE", "mongodb://user:hush@h/db", "mongodb://<set>@h/db"),
        (
            "PULSE_STORE",
            "mongodb://h/db?authMechanismProperties=AWS_SESSION_TOKEN:hush",
            "mongodb://h/db?authMechanismProperties=<set>",
        ),
    ] {
        let (explain, rule) =
            (["config", "explain", "-o", "json"], format!(".[] | select(.rule == {name:?}) | .value"));
        let said = Cli::new().env(name, value).run(&explain);
        assert!(said.code == 0 && !format!("{}{}", said.stdout, said.stderr).contains("hush"), "{said:?}");
        assert_eq!(Cli::new().env(name, value).ok(&[&explain[..], &["--jq", rule.as_str()]].concat()), shown);
        if name == "PULSE_SERVER" {
            let flagged = Cli::new().run(&["config", "explain", "--server", value]);
            assert!(flagged.code == 0 && flagged.stdout.contains(shown), "{flagged:?}");
            assert!(!format!("{}{}", flagged.stdout, flagged.stderr).contains("hush"), "{flagged:?}");
        }
    }
}

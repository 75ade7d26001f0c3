//! Every command there is: each answers a program with JSON, and what is generated from them is as it is kept.

use pulse_tests::cli::Cli;

use super::customer;

/// Arguments for commands that cannot do without.
fn arguments(command: &str) -> &'static [&'static str] {
    match command {
        "pulse org create" => &["fresh", "--email", "a@b.example"],
        "pulse org get" | "pulse org update" | "pulse org restore" => &["acme"],
        "pulse org delete" => &["acme", "--dry-run"],
        "pulse project create" => &["fresh", "--org", "acme"],
        "pulse project get" | "pulse project update" | "pulse project restore" | "pulse project resume" => &["standup"],
        "pulse project delete" => &["standup", "--dry-run"],
        "pulse project suspend" => &["standup", "--reason", "x", "--dry-run"],
        "pulse project regenerate-keys" => &["standup", "--dry-run"],
        "pulse key create" => &["fresh", "--project", "standup"],
        "pulse key list" | "pulse key usage" => &["--project", "standup"],
        "pulse key get" => &["default", "--project", "standup"],
        "pulse key rotate" | "pulse key revoke" => &["default", "--project", "standup", "--dry-run"],
        "pulse key scan" => &["."],
        "pulse token create" => &["--project", "standup", "--room", "r", "--identity", "i"],
        "pulse token validate" | "pulse token refresh" => &["x.y.z", "--project", "standup"],
        "pulse token revoke" => &["--project", "standup", "--identity", "i"],
        "pulse token inspect" | "pulse token lint" => &["x.y.z"],
        "pulse token verify" => &["x.y.z", "--key", "k"],
        "pulse context use" | "pulse context delete" => &["nosuch"],
        "pulse context set" => &["here", "--path", "sqlite:x.db"],
        "pulse admin rotate" => &["--dry-run"],
        "pulse store backup" => &["backup.db"],
        "pulse store restore" => &["backup.db", "--dry-run"],
        "pulse store migrate" => &["--dry-run"],
        "pulse api" => &["GET", "/v1/status"],
        "pulse completions" => &["bash"],
        _ => &[],
    }
}

/// The commands that the help of `command` lists.
fn children(cli: &Cli, command: &[String]) -> Vec<String> {
    let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    let help = cli.ok(&words);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  "));
    listed.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_command_answers_a_program_with_json() {
    let cli = customer();
    let (mut open, mut leaves) = (vec![Vec::new()], 0);
    while let Some(command) = open.pop() {
        let names = children(&cli, &command);
        if !names.is_empty() {
            open.extend(names.into_iter().map(|name| [command.clone(), vec![name]].concat()));
            continue;
        }
        let name = format!("pulse {}", command.join(" "));
        let words: Vec<&str> =
            command.iter().map(String::as_str).chain(arguments(&name).iter().copied()).chain(["-o", "json"]).collect();
        let run = cli.run(&words);
        leaves += 1;
        if run.stdout.is_empty() {
            assert!(run.code != 0 && run.error()["code"].is_string(), "{}", run.shown());
        } else {
            run.json();
        }
    }
    assert!(leaves > 40, "only {leaves} commands were found");
}

#[test]
fn what_is_generated_is_as_it_is_kept() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let run = Cli::new().run(&["generate", "--check", "--root", root]);
    assert_eq!(run.code, 0, "run `pulse generate`: {}", run.stderr);
}

#[test]
fn names_of_projects_and_keys_are_completed() {
    let cli = customer().env("COMPLETE", "fish");
    let complete = |words: &[&str]| cli.run(&[&["--", "pulse"][..], words].concat()).stdout;
    assert!(complete(&["project", "get", "st"]).contains("standup"));
    assert!(complete(&["key", "get", "--project", "standup", "de"]).contains("default"));
    assert!(complete(&["project", "g"]).contains("get"));
}

#[test]
fn exit_codes_are_documented() {
    insta::assert_snapshot!(Cli::new().run(&["help", "exit-codes"]).shown());
}

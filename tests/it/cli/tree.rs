//! Every command there is: each answers a program with JSON, and what is generated from them is as it is kept.

use pulse_tests::cli::Cli;

use super::{customer, history::with_history};

/// What commands are about, made before any of them runs.
struct Things {
    cli: Cli,
    token: String,
    delivery: String,
    event: String,
    replay: String,
}

impl Things {
    fn new() -> Self {
        let cli = with_history().env("PULSE_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        cli.ok(&["webhook", "endpoint", "create", HOOK, "--project", "standup", "-q"]);
        let delivery = cli.ok(&["webhook", "test", HOOK, "--project", "standup", "--jq", ".delivery_id"]);
        let token = ["token", "create", "--project", "standup", "--room", "r", "--identity", "i", "-q"];
        let token = cli.ok(&token).trim().to_owned();
        cli.ok(&["ban", "create", "eve", "--project", "standup", "-q"]);
        cli.ok(&["store", "backup", "earlier.db", "-q"]);
        for context in ["there", "gone"] {
            cli.ok(&["context", "set", context, "--path", "sqlite:y.db", "-q"]);
        }
        let event = cli.ok(&["trigger", "room_started", "--project", "standup", "-q"]).trim().to_owned();
        let replay = ["webhook", "replay", "--project", "standup", "--all", "--yes", "-q"];
        let replay = cli.ok(&replay).trim().to_owned();
        Self { cli, replay, token, delivery: delivery.trim().to_owned(), event }
    }

    /// Arguments for commands that cannot do without.
    fn arguments(&self, command: &str) -> Vec<&str> {
        match command {
            "pulse token validate" | "pulse token refresh" => vec![&self.token, "--project", "standup"],
            "pulse token inspect" | "pulse token lint" | "pulse token verify" => vec![&self.token],
            "pulse webhook delivery get" | "pulse webhook delivery attempts" | "pulse webhook delivery resend" => {
                vec![&self.delivery, "--project", "standup"]
            }
            "pulse webhook replay get" | "pulse webhook replay cancel" => vec![&self.replay, "--project", "standup"],
            "pulse events get" => vec![&self.event, "--project", "standup"],
            _ => arguments(command).to_vec(),
        }
    }
}

/// The endpoint that there is.
const HOOK: &str = "https://hooks.example/in";

/// Arguments for commands that cannot do without.
fn arguments(command: &str) -> &'static [&'static str] {
    match command {
        "pulse org create" => &["fresh", "--email", "a@b.example"],
        "pulse org get" | "pulse org restore" => &["acme"],
        "pulse org update" => &["acme", "--label", "a=b"],
        "pulse org delete" => &["acme", "--dry-run"],
        "pulse project create" => &["fresh", "--org", "acme"],
        "pulse project get" | "pulse project restore" | "pulse project resume" => &["standup"],
        "pulse project update" => &["standup", "--label", "a=b"],
        "pulse project delete" => &["standup", "--dry-run"],
        "pulse project suspend" => &["standup", "--reason", "x", "--dry-run"],
        "pulse project regenerate-keys" => &["standup", "--dry-run"],
        "pulse key create" => &["fresh", "--project", "standup"],
        "pulse key list" | "pulse key usage" => &["--project", "standup"],
        "pulse key get" => &["default", "--project", "standup"],
        "pulse key rotate" => &["default", "--project", "standup", "--dry-run"],
        "pulse key revoke" => &["default", "--project", "standup", "--force", "--dry-run"],
        "pulse key scan" => &["."],
        "pulse token create" => &["--project", "standup", "--room", "r", "--identity", "i"],
        "pulse token revoke" => &["--project", "standup", "--identity", "another"],
        "pulse webhook endpoint create" => &["https://hooks.example/fresh", "--project", "standup"],
        "pulse webhook endpoint list" | "pulse webhook delivery list" | "pulse webhook replay list" => {
            &["--project", "standup"]
        }
        "pulse webhook endpoint get" | "pulse webhook endpoint pause" | "pulse webhook endpoint resume" => {
            &[HOOK, "--project", "standup"]
        }
        "pulse webhook endpoint update" => &[HOOK, "--project", "standup", "--clear", "rate"],
        "pulse webhook endpoint delete"
        | "pulse webhook endpoint disable"
        | "pulse webhook endpoint enable"
        | "pulse webhook endpoint rotate-secret"
        | "pulse webhook test" => &[HOOK, "--project", "standup", "--dry-run"],
        "pulse session list" | "pulse ban list" | "pulse usage show" => &["--project", "standup"],
        "pulse events list" => &["--project", "standup"],
        "pulse events tail" => &["--project", "standup", "--since", "1h", "--limit", "1"],
        // Nobody listens there, which is a result like any other.
        "pulse listen" => &[
            "--project",
            "standup",
            "--since",
            "1h",
            "--limit",
            "1",
            "--forward-to",
            "http://127.0.0.1:9/",
            "--secret-to-cmd",
            "true",
        ],
        "pulse trigger" => &["participant_left", "--project", "standup"],
        "pulse session show" => &["daily", "--project", "standup"],
        "pulse ban create" => &["mallory", "--project", "standup"],
        "pulse ban delete" => &["eve", "--project", "standup", "--dry-run"],
        "pulse webhook verify" => &["-", "--id", "x", "--timestamp", "1", "--signature", "v1,x"],
        "pulse webhook sign" => &["-"],
        "pulse context use" => &["there"],
        "pulse context delete" => &["gone", "--yes"],
        "pulse context set" => &["here", "--path", "sqlite:x.db"],
        "pulse admin rotate" => &["--dry-run"],
        "pulse store backup" => &["backup.db"],
        "pulse store restore" => &["earlier.db", "--dry-run"],
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

/// What a command ends with here when that is not 0.
fn expected(command: &str) -> i32 {
    match command {
        // A signature that does not fit is a finding, and the result says so.
        "pulse webhook verify" => 1,
        _ => 0,
    }
}

#[test]
fn every_command_answers_a_program_with_json() {
    let things = Things::new();
    let cli = &things.cli;
    let (mut open, mut leaves) = (vec![Vec::new()], 0);
    while let Some(command) = open.pop() {
        let names = children(cli, &command);
        if !names.is_empty() {
            open.extend(names.into_iter().map(|name| [command.clone(), vec![name]].concat()));
            continue;
        }
        let name = format!("pulse {}", command.join(" "));
        let arguments = things.arguments(&name);
        let words: Vec<&str> = command.iter().map(String::as_str).chain(arguments).chain(["-o", "json"]).collect();
        let run = cli.run(&words);
        leaves += 1;
        assert_eq!(run.code, expected(&name), "{}", run.shown());
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "a result, and nothing beside it: {}", run.shown());
        run.json();
    }
    assert!(leaves > 40, "only {leaves} commands were found");
}

#[test]
fn what_fails_tells_a_program_why_in_one_object_and_has_no_result() {
    let things = Things::new();
    let nobody = "dlv_01J00000000000000000000000";
    for (words, code, why) in [
        (&["project", "get", "nosuch"][..], 5, "not_found"),
        (&["project", "update", "standup"], 2, "usage"),
        (&["key", "revoke", "default", "--project", "standup", "--yes"], 6, "last_key"),
        (&["token", "inspect", "x.y.z"], 2, "invalid_fields"),
        (&["session", "show", "nosuch", "--project", "standup"], 5, "not_found"),
        (&["webhook", "delivery", "get", nobody, "--project", "standup"], 5, "not_found"),
        (&["webhook", "endpoint", "delete", HOOK, "--project", "standup"], 2, "usage"),
        (&["context", "use", "nosuch"], 5, "not_found"),
        (&["store", "restore", "nosuch.db", "--dry-run"], 5, "not_found"),
    ] {
        let run = things.cli.run(&[words, &["-o", "json"]].concat());
        let error = run.error();
        assert_eq!((run.code, error["code"].as_str()), (code, Some(why)), "{}", run.shown());
        assert_eq!((run.stdout.as_str(), error["exit"].as_i64()), ("", Some(code.into())), "{}", run.shown());
    }
}

#[test]
fn what_is_generated_is_as_it_is_kept() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let run = Cli::new().run(&["generate", "--check", "--root", root]);
    assert_eq!(run.code, 0, "run `pulse generate`: {}", run.stderr);
}

#[test]
fn names_of_projects_and_keys_and_endpoints_are_completed() {
    let cli = customer();
    let url = HOOK;
    let id = cli.ok(&["webhook", "endpoint", "create", url, "--project", "standup", "-q"]).trim().to_owned();
    let cli = cli.env("COMPLETE", "fish");
    let complete = |words: &[&str]| cli.run(&[&["--", "pulse"][..], words].concat()).stdout;
    assert!(complete(&["project", "get", "st"]).contains("standup"));
    assert!(complete(&["key", "get", "--project", "standup", "de"]).contains("default"));
    assert!(complete(&["project", "g"]).contains("get"));
    let all = complete(&["webhook", "endpoint", "pause", "--project", "standup", ""]);
    assert!(all.starts_with(&format!("{id}\t{url}\n--")), "by id when nothing is typed: {all}");
    for (command, typed, proposed) in [
        (&["webhook", "test", "-p", "standup"][..], "ep_", format!("{id}\t{url}\n")),
        (&["webhook", "endpoint", "get", "-p", "standup"], "https://hooks", format!("{url}\t{id}\n")),
        (&["webhook", "delivery", "list", "-p", "standup", "--endpoint"], "https", format!("{url}\t{id}\n")),
        (&["webhook", "endpoint", "get", "-p", "standup"], "https://other", String::new()),
    ] {
        assert_eq!(complete(&[command, &[typed]].concat()), proposed, "{command:?} {typed}");
    }
}

#[test]
fn bash_completes_commands_and_the_names_of_the_target() {
    let cli = customer();
    let folder = pulse_tests::cli::program("pulse").parent().expect("a folder").to_owned();
    std::fs::write(cli.path("complete.bash"), cli.ok(&["completions", "bash"])).expect("a file");
    let complete = |words: &[&str]| {
        // What bash does at a tab: the words in an array, the place of the cursor, and the function that is registered.
        let script = format!(
            "PATH={}:$PATH; source complete.bash; COMP_WORDS=({}); COMP_CWORD={}; COMP_LINE=\"${{COMP_WORDS[*]}}\"; \
             COMP_POINT=${{#COMP_LINE}}; f=$(complete -p pulse | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             \"$f\" pulse \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            folder.display(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1
        );
        let store = format!("sqlite:{}", cli.path("store/pulse.db").display());
        let output = std::process::Command::new("bash")
            .args(["--norc", "-c", &script])
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("HOME", &cli.folder().to_string_lossy()), ("PULSE_STORE", &store)])
            .current_dir(cli.folder())
            .output()
            .expect("bash runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "a completion must not write to the terminal");
        String::from_utf8(output.stdout).expect("UTF-8").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["pulse", "proj"]), ["project"]);
    assert_eq!(complete(&["pulse", "project", "get", "st"]), ["standup"]);
    assert_eq!(complete(&["pulse", "key", "get", "--project", "standup", "de"]), ["default"]);
    assert!(complete(&["pulse", "key", "rotate", "--over"]).contains(&"--overlap".to_owned()));
}

#[test]
fn manual_pages_show_their_examples_and_are_good_roff() {
    let cli = Cli::new();
    let page = cli.ok(&["man", "key", "rotate"]);
    assert!(page.contains("\n.SH EXAMPLES\n.nf\n  pulse key rotate default"), "{page}");
    cli.ok(&["man", "--folder", "pages", "-q"]);
    for entry in std::fs::read_dir(cli.path("pages")).expect("pages") {
        let page = entry.expect("a page").path();
        let mut groff = std::process::Command::new("groff");
        let output = groff.args(["-man", "-ww", "-z", "-Tascii"]).arg(&page).output().expect("groff runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", page.display());
    }
}

#[test]
fn exit_codes_are_documented() {
    insta::assert_snapshot!(Cli::new().run(&["help", "exit-codes"]).shown());
}

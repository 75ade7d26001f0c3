//! `docs/WEBHOOKS.md` is true: the receivers that it shows are run as they are printed, and take what Pulse signs and
//! nothing else; its commands work; and the official libraries judge alike.

mod cases;
#[expect(unreachable_pub, reason = "it is printed in the document, where it stands in a crate of its own")]
mod receiver;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use pulse_tests::{
    cli::Cli,
    peers::{
        python,
        standard_webhooks::{Library, Message, judge},
    },
    ports,
    process::{Child, READY},
    receiver::{Action, Receiver},
    temporary_folder,
};

use cases::{Case, ID, all, known};

/// The code blocks of a language, one after the other.
fn snippets(language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/WEBHOOKS.md");
    let text = fs::read_to_string(path).expect("docs/WEBHOOKS.md is there");
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1).map(|rest| rest.split_once("```"));
    blocks.map(|block| block.expect("a block ends").0.to_owned()).collect()
}

/// The one program in a language, in a file.
fn program(language: &str, folder: &Path, name: &str) -> PathBuf {
    let snippets = snippets(language);
    assert_eq!(snippets.len(), 1, "the document has one {language} program");
    let path = folder.join(name);
    fs::write(&path, &snippets[0]).expect("the program is written");
    path
}

/// Starts a receiver that knows the secrets, and gives its address.
async fn started(mut command: Command, folder: &Path) -> (Child, String) {
    let address = ports::free_address();
    let secrets = known().map(|secret| secret.text().expose().to_owned()).join(" ");
    command.current_dir(folder).env("PULSE_WEBHOOK_SECRET", secrets).env("PORT", address.port().to_string());
    let child = Child::spawn("receiver", &mut command, folder);
    child.until_connects(address).await;
    (child, format!("http://{address}/"))
}

/// Sends every case and looks at the answers.
async fn receives(language: &str, command: Command, folder: &Path) {
    let (child, url) = started(command, folder).await;
    pulse_core::boot::open::install_cryptography();
    let client = reqwest::Client::builder().no_proxy().timeout(READY).build().expect("a client can be made");
    for Case { what, good, headers, body } in all() {
        let mut request = client.post(&url).body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{language}, {what}: {error}"));
        let expected = if good { 204 } else { 400 };
        assert_eq!(answer.status().as_u16(), expected, "the {language} receiver, with a webhook that {what}");
    }
    child.until_logged(&format!("participant_joined {ID}")).await;
}

#[tokio::test]
async fn the_python_receiver_takes_what_pulse_signs_and_nothing_else() {
    let folder = temporary_folder("receiver");
    let mut command = python::command();
    command.arg(program("python", folder.path(), "receiver.py"));
    receives("Python", command, folder.path()).await;
}

#[tokio::test]
async fn the_javascript_receiver_takes_what_pulse_signs_and_nothing_else() {
    let folder = temporary_folder("receiver");
    let mut command = Command::new("node");
    command.arg(program("js", folder.path(), "receiver.mjs"));
    receives("JavaScript", command, folder.path()).await;
}

#[tokio::test]
async fn the_go_receiver_takes_what_pulse_signs_and_nothing_else() {
    let folder = temporary_folder("receiver");
    program("go", folder.path(), "receiver.go");
    fs::write(folder.path().join("go.mod"), "module receiver\n\ngo 1.21\n").expect("a file can be written");
    let mut build = Command::new("go");
    build.args(["build", "-o", "receiver", "."]).current_dir(folder.path());
    build.envs([("CGO_ENABLED", "0"), ("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local")]);
    let built = tokio::task::spawn_blocking(move || build.output()).await.expect("it ends").expect("go runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    receives("Go", Command::new(folder.path().join("receiver")), folder.path()).await;
}

#[test]
fn the_rust_function_takes_what_pulse_signs_and_nothing_else() {
    let shown = snippets("rust");
    assert!(shown.len() == 1 && include_str!("docs_webhooks/receiver.rs").ends_with(&shown[0]), "the document differs");
    let known = known().map(|secret| secret.text().expose().to_owned());
    for Case { what, good, headers, body } in all() {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let secrets = known.each_ref().map(String::as_str);
        let taken = receiver::verify(&secrets, &headers, body.as_bytes(), cases::now());
        assert_eq!(taken, good, "with a webhook that {what}");
    }
}

#[tokio::test]
async fn the_commands_of_the_document_work() {
    let folder = temporary_folder("receiver");
    let mut command = python::command();
    command.arg(program("python", folder.path(), "receiver.py"));
    let (_child, url) = started(command, folder.path()).await;
    let body = all().swap_remove(0).body;
    fs::write(folder.path().join("body.json"), body).expect("a file can be written");
    fs::write(folder.path().join("secret.txt"), known()[0].text().expose()).expect("a file can be written");
    let script = snippets("sh").concat().replace("http://127.0.0.1:8000/", &url);
    let binaries = pulse_tests::cli::program("pulse").parent().expect("a folder").to_owned();

    let mut shell = Command::new("sh");
    shell.args(["-eux", "-c", &script]).current_dir(folder.path()).env_clear();
    shell.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", binaries.display()));
    let output = tokio::task::spawn_blocking(move || shell.output()).await.expect("it ends").expect("sh runs");

    let (shown, traced) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "a command failed:\n{traced}\n{shown}");
    assert!(shown.contains(" 204 ") && shown.contains("good"), "{traced}\n{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_ones_own_machine_work_as_they_are_printed() {
    let receiver = Receiver::start(Action::status(204));
    let cli = Cli::with_store();
    cli.ok(&["org", "create", "acme", "--email", "ops@acme.example", "-q"]);
    cli.ok(&["project", "create", "app", "--org", "acme", "-q"]);
    cli.ok(&["trigger", "participant_left", "--project", "app", "-q"]);
    let commands = snippets("bash").concat().replace("http://127.0.0.1:3000", &receiver.url());
    let mut ran = 0;
    for command in commands.lines() {
        // What goes on until it is ended is given an end.
        let endless = command.starts_with("pulse listen") || command.starts_with("pulse events tail");
        let end = if endless { " --since 1h --limit 1" } else { "" };
        let command = format!("{}{end}", command.replace(" --since 10m", ""));
        let words = shell_words(&command);
        cli.ok(&words.iter().skip(1).map(String::as_str).collect::<Vec<_>>());
        ran += 1;
    }
    assert_eq!((ran, receiver.received().len()), (5, 1));
}

/// The words of a command, as a shell splits it.
fn shell_words(command: &str) -> Vec<String> {
    let printed = Command::new("sh").args(["-c", &format!("printf '%s\\n' {command}")]).output().expect("sh runs");
    String::from_utf8(printed.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// The libraries know one secret each, and do not say what they do with malformed headers.
#[test]
fn the_official_libraries_judge_alike() {
    for library in [Library::Python, Library::JavaScript] {
        for secret in known() {
            let cases: Vec<Case> = all().into_iter().filter(Case::is_well_formed).collect();
            let message = |case: &Case| Message {
                secret: secret.text().expose().to_owned(),
                headers: case.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
                body: case.body.clone(),
            };
            let messages: Vec<Message> = cases.iter().map(message).collect();
            let verdicts = judge(library, &messages);
            assert!(cases.len() >= 12, "only {} cases", cases.len());
            for (case, verdict) in cases.iter().zip(verdicts) {
                let expected = case.good && case.signed_with(&secret);
                assert_eq!(verdict.is_none(), expected, "{library:?}, a webhook that {}: {verdict:?}", case.what);
            }
        }
    }
}

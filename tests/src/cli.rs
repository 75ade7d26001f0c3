//! The `pulse` command as a test runs it: the real program, with an environment that has nothing in it but what the test
//! puts there, a home of its own, and no terminal. A [`Run`] shows stdout, stderr and exit code together, with ids, times
//! and secrets replaced, so that it can be compared with a snapshot.

use std::{
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::Value;

use crate::{secrets::Secrets, temporary_folder, terminal::Terminal};

/// The words of commands whose result shows a secret that they made: of projects, keys, webhook endpoints and the operator's
/// token; and `api`, which answers what the API does.
const MAKING: [&str; 7] = ["create", "rotate", "regenerate-keys", "rotate-secret", "--webhook-url", "api", "listen"];

/// A home, a folder to work in, and an environment.
#[derive(Debug)]
pub struct Cli {
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// What one invocation came to.
#[derive(Debug)]
pub struct Run {
    /// The arguments.
    pub arguments: Vec<String>,
    /// Its result.
    pub stdout: String,
    /// Everything else that it said.
    pub stderr: String,
    /// Its exit code; as a shell tells it, 128 and the signal when it was killed.
    pub code: i32,
    folder: String,
}

/// What a terminal has shown so far.
#[derive(Clone, Debug, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Shown {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl std::io::Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The program of that name, built beside this test.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let path = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps").join(name);
    assert!(path.exists(), "{} is missing: cargo build --bins", path.display());
    path
}

impl Default for Cli {
    fn default() -> Self {
        Self::new()
    }
}

impl Cli {
    /// A new home, with no target.
    pub fn new() -> Self {
        let home = temporary_folder("cli");
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut variables = vec![
            ("HOME".to_owned(), text(home.path().to_owned())),
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("COLUMNS".to_owned(), "100".to_owned()),
            ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
        ];
        variables.extend(crate::daemon::OUTBOUND.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Self { home, variables }
    }

    /// With a store of its own as target, and a LiveKit key pair.
    pub fn with_store() -> Self {
        let cli = Self::new();
        let store = format!("sqlite:{}", cli.path("store/pulse.db").display());
        cli.env("PULSE_STORE", &store).env("LIVEKIT_API_KEY", "devkey").env("LIVEKIT_API_SECRET", "secret-of-livekit")
    }

    /// With a server as target.
    pub fn with_server(url: &str, token: &str) -> Self {
        Self::new().env("PULSE_SERVER", url).env("PULSE_TOKEN", token)
    }

    /// With a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder in which commands run.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// A path in that folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs `pulse` with these arguments and an empty stdin.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, "")
    }

    /// Runs `pulse` with a text on stdin.
    ///
    /// # Panics
    /// When it cannot be run, or does not write UTF-8.
    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> Run {
        let mut child = Command::new(program("pulse"))
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pulse starts");
        // A command that does not read its stdin is no fault of the test.
        let _ = child.stdin.take().map(|mut pipe| pipe.write_all(stdin.as_bytes()));
        let output = child.wait_with_output().expect("pulse ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("pulse writes UTF-8");
        let run = Run {
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default()),
            folder: self.folder().to_string_lossy().into_owned(),
        };
        self.assert_no_secret(&run);
        run
    }

    /// No command shows a secret, but for the result of those that make one: there it is shown this once.
    fn assert_no_secret(&self, run: &Run) {
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let secrets = Secrets::default().and(variables).and_files(self.folder());
        let makes = run.arguments.iter().any(|word| MAKING.contains(&word.as_str()));
        let shown = if makes { secrets.given_shown_in(&run.stdout) } else { secrets.shown_in(&run.stdout) };
        assert!(shown.is_empty(), "pulse {} shows {shown:?} on stdout", run.arguments.join(" "));
        // GitHub is told a secret in this line, so that it hides it in the log.
        let stderr: String =
            run.stderr.split_inclusive('\n').filter(|line| !line.starts_with("::add-mask::")).collect();
        let shown = secrets.shown_in(&stderr);
        assert!(shown.is_empty(), "pulse {} shows {shown:?} on stderr", run.arguments.join(" "));
    }

    /// Runs `pulse` at a terminal, of 80 columns unless `COLUMNS` says otherwise; when it shows `question`, `answer` is
    /// typed. The whole screen is in the result's stdout.
    ///
    /// # Panics
    /// When it cannot be run, or does not end in time.
    pub fn run_at_terminal(&self, arguments: &[&str], question: &str, answer: &str) -> Run {
        let (terminal, screen) = Terminal::open();
        let mut command = Command::new(program("pulse"));
        command.args(arguments).env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("COLUMNS", "80").env("TERM", "xterm").current_dir(self.folder());
        command.stdin(terminal.again()).stdout(terminal.again()).stderr(terminal);
        let mut child = command.spawn().expect("pulse starts");
        // The command holds ends of the terminal, too.
        drop(command);
        let shown = Shown::default();
        let copy = (screen.again(), shown.clone());
        let reader = std::thread::spawn(move || copy.0.copy_to(copy.1));
        let mut asked = question.is_empty();
        let status = (0..3_000).find_map(|_| {
            if !asked && shown.text().contains(question) {
                asked = true;
                screen.type_in(answer);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            child.try_wait().expect("pulse can be waited for")
        });
        if status.is_none() {
            let _ = child.kill();
        }
        let ended = child.wait().expect("pulse ends");
        reader.join().expect("the screen is read");
        assert!(status.is_some(), "pulse {arguments:?} did not end: {}", shown.text());
        Run {
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            stdout: shown.text().replace("\r\n", "\n"),
            stderr: String::new(),
            code: ended.code().unwrap_or(-1),
            folder: self.folder().to_string_lossy().into_owned(),
        }
    }

    /// Runs a command that must work, and gives its stdout without the line end.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{}", run.shown());
        run.stdout.trim_end().to_owned()
    }
}

impl Run {
    /// Stdout as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.shown()))
    }

    /// The one error on stderr as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn error(&self) -> Value {
        let parsed: Value =
            serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.shown()));
        parsed["error"].clone()
    }

    /// Command, stdout, stderr and exit code in one text for a snapshot.
    pub fn shown(&self) -> String {
        let mut text = format!("$ pulse {}\n", self.arguments.join(" "));
        text.push_str(&self.stdout);
        for line in self.stderr.lines() {
            text.push_str(&format!("! {line}\n"));
        }
        text.push_str(&format!("=> {}\n", self.code));
        redacted(&text.replace(&self.folder, "<folder>"))
    }
}

/// The text without what differs from run to run. The same id keeps the same number.
pub fn redacted(text: &str) -> String {
    const KINDS: [(&str, usize); 19] = [
        ("pulse_key_", 37),
        ("pulse_secret_", 83),
        ("pulse_admin_", 61),
        ("org_", 30),
        ("prj_", 30),
        ("key_", 30),
        ("aud_", 30),
        ("rev_", 30),
        ("ses_", 30),
        ("ban_", 30),
        ("use_", 30),
        ("req_", 28),
        ("ep_", 29),
        ("dlv_", 30),
        ("evt_", 30),
        ("att_", 30),
        ("job_", 30),
        ("eyJ", 0),
        ("whsec_", 0),
    ];
    let (mut out, mut seen, mut rest) = (String::new(), Vec::<String>::new(), text);
    while let Some(letter) = rest.chars().next() {
        let word = |extra: &str| {
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || extra.contains(c))).unwrap_or(rest.len())
        };
        let within = out.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let time =
            rest.get(..24).filter(|text| text.ends_with('Z') && text.as_bytes()[10] == b'T' && text.starts_with("20"));
        let kind = KINDS
            .iter()
            .find(|(start, length)| !within && rest.starts_with(start) && (*length == 0 || word("") == *length));
        let length = match (kind, time) {
            (Some(("eyJ", _)), _) if word("-.") > 60 => {
                out.push_str("<token>");
                word("-.")
            }
            (Some(("whsec_", _)), _) if word("+/=") > 30 => {
                out.push_str("<whsec>");
                word("+/=")
            }
            (Some((start, length)), _) if *length > 0 => {
                let id = &rest[..*length];
                let number = seen.iter().position(|known| known == id).unwrap_or_else(|| {
                    seen.push(id.to_owned());
                    seen.len() - 1
                });
                out.push_str(&format!("<{start}{}>", number + 1));
                *length
            }
            (_, Some(_)) => {
                out.push_str("<time>");
                24
            }
            _ => {
                out.push(letter);
                letter.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    out
}

//! A program under the harness: started with its output in files, awaited until it is ready, ended by its own id.
//!
//! When it has ended, neither output may show a secret; when it is dropped, no SQLite store in its folder may hold one.
//!
//! A `Child` never outlives the test: dropping it asks the program to end and kills it if it does not, and the
//! reaper does the same when the test process itself dies. Every wait is bounded and ends at once when the program
//! ends; what it wrote is part of the failure. A `Child` belongs to no runtime, so tests can share one.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
pub use rustix::process::Signal;

use crate::{reaper, secrets::Secrets, terminal::Terminal};

/// The bound of a wait for readiness: long enough for a busy two-core machine, short enough to fail a test.
pub const READY: Duration = Duration::from_secs(30);
/// How long a dropped program may take to end before it is killed.
const LAST_CALL: Duration = Duration::from_secs(5);
/// Pause between two looks at something that cannot be awaited.
const POLL: Duration = Duration::from_millis(10);
/// Lines of each output that a failure shows.
const TAIL: usize = 40;

/// A running program. See the head of this file.
#[derive(Debug)]
pub struct Child {
    name: String,
    id: u32,
    process: Mutex<Process>,
    stdout: PathBuf,
    stderr: PathBuf,
    secrets: Secrets,
    folder: PathBuf,
    /// Whether a person reads stderr, who is shown what was made.
    at_terminal: bool,
}

#[derive(Debug)]
struct Process {
    handle: std::process::Child,
    /// Whether the reaper has it on its list: until it has been waited for, when its id becomes free.
    watched: bool,
}

impl Process {
    fn exit_status(&mut self) -> std::io::Result<Option<ExitStatus>> {
        let status = self.handle.try_wait()?;
        if status.is_some() && self.watched {
            self.watched = false;
            reaper::forget(self.handle.id());
        }
        Ok(status)
    }
}

impl Child {
    /// Starts `command`, writing its output to `NAME.stdout` and `NAME.stderr` in `folder`. Its stdin is empty.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command, folder: &Path) -> Self {
        Self::start(name, command, folder, Stdio::from)
    }

    /// The same for a program that finds a terminal where its stderr is. What it writes there is in the file, too.
    ///
    /// # Panics
    /// When the program cannot be started, or there is no terminal to be had.
    pub fn spawn_at_terminal(name: &str, command: &mut Command, folder: &Path) -> Self {
        let mut child = Self::start(name, command, folder, |file| {
            let (terminal, screen) = Terminal::open();
            std::thread::spawn(move || screen.copy_to(file));
            terminal.into()
        });
        child.at_terminal = true;
        child
    }

    fn start(name: &str, command: &mut Command, folder: &Path, stderr_of: impl FnOnce(File) -> Stdio) -> Self {
        let output = |kind: &str| {
            let path = folder.join(format!("{name}.{kind}"));
            let file = File::create(&path).unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
            (path, file)
        };
        let (stdout, stdout_file) = output("stdout");
        let (stderr, stderr_file) = output("stderr");
        // Its own group: an interrupt from the terminal reaches the test process, which ends its programs in order.
        command.stdin(Stdio::null()).stdout(stdout_file).stderr(stderr_of(stderr_file)).process_group(0);
        let handle = command.spawn().unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        // The command has its own ends of files and terminals: what only the program holds ends with it.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let id = handle.id();
        reaper::watch(id);
        let process = Mutex::new(Process { handle, watched: true });
        let (secrets, folder) = (Secrets::of(command), folder.to_owned());
        Self { name: name.to_owned(), id, process, stdout, stderr, secrets, folder, at_terminal: false }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Everything that the program has written to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Everything that the program has written to stderr so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Asks `probe` again and again until it answers.
    ///
    /// # Panics
    /// When the program ends first or `bound` passes; the message says `what` was awaited and shows the log.
    pub async fn until<T>(&self, what: &str, bound: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
        let answer = async {
            loop {
                // Asked before the probe: a program that answered and then ended has answered.
                let ended = self.exit_status();
                if let Some(answer) = probe().await {
                    return answer;
                }
                if let Some(status) = ended {
                    self.fail(&format!("ended ({status}) before {what}"));
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(bound, answer).await {
            Ok(answer) => answer,
            Err(_) => self.fail(&format!("did not reach this within {bound:?}: {what}")),
        }
    }

    /// Waits until `address` accepts a connection.
    pub async fn until_connects(&self, address: SocketAddr) {
        let what = format!("{address} accepted a connection");
        self.until(&what, READY, async || tokio::net::TcpStream::connect(address).await.ok()).await;
    }

    /// Waits until either output has a whole line that contains `text`, and returns that line.
    pub async fn until_logged(&self, text: &str) -> String {
        let what = format!("a line with {text:?} was written");
        self.until(&what, READY, async || {
            [self.stdout(), self.stderr()].iter().find_map(|output| {
                let whole = &output[..=output.rfind('\n')?];
                whole.lines().find(|line| line.contains(text)).map(str::to_owned)
            })
        })
        .await
    }

    /// Waits until the file exists and is not empty, and returns its content.
    pub async fn until_file(&self, path: &Path) -> String {
        let what = format!("{} was written", path.display());
        self.until(&what, READY, async || std::fs::read_to_string(path).ok().filter(|content| !content.is_empty()))
            .await
    }

    /// How the program ended, or `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.process().exit_status().unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.name))
    }

    /// Sends a signal; one that ended before gets none.
    pub fn signal(&self, signal: Signal) {
        // Held while signalling: the id becomes free only under this lock.
        let mut process = self.process();
        if matches!(process.exit_status(), Ok(None)) {
            let id = i32::try_from(self.id).ok().and_then(Pid::from_raw).expect("a process id is positive");
            rustix::process::kill_process(id, signal)
                .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
        }
    }

    /// Waits until the program ends by itself.
    ///
    /// # Panics
    /// When it still runs after `bound`.
    pub async fn exited(&self, bound: Duration) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.exit_status() {
                    return status;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        match tokio::time::timeout(bound, ended).await {
            Ok(status) => {
                self.assert_shows_no_secret();
                status
            }
            Err(_) => self.fail(&format!("still runs after {bound:?}")),
        }
    }

    /// Asks the program to end (SIGTERM) and waits for that.
    ///
    /// # Panics
    /// When it still runs after `bound`.
    pub async fn terminate(&self, bound: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exited(bound).await
    }

    /// Kills the program (SIGKILL), as a crash or a power cut would, and waits until it is gone.
    pub async fn kill(&self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.exited(LAST_CALL).await
    }

    /// The last lines of both outputs, for a failure message.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        for (kind, output) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            if !output.is_empty() {
                let lines: Vec<&str> = output.lines().collect();
                let last = &lines[lines.len().saturating_sub(TAIL)..];
                text.push_str(&format!("--- {} {kind}, last lines ---\n{}\n", self.name, last.join("\n")));
            }
        }
        if text.is_empty() { format!("--- {} wrote nothing ---\n", self.name) } else { text }
    }

    /// The secrets that it was given, and those in the private files of its folder.
    pub fn secrets(&self) -> Secrets {
        self.secrets.clone().and_files(&self.folder)
    }

    /// Looked at when the program has ended, and again when it is dropped: another one may by then write into the same
    /// files.
    fn assert_shows_no_secret(&self) {
        let secrets = self.secrets();
        for (kind, output) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            let person = self.at_terminal && kind == "stderr";
            let shown = if person { secrets.given_shown_in(&output) } else { secrets.shown_in(&output) };
            assert!(shown.is_empty(), "{} shows {shown:?} on {kind}", self.name);
        }
    }

    /// Looked at when the program is dropped, where the next one may already write into the same store: it is large, and a look
    /// between a crash and the next start would be most of the time that a daemon is away.
    fn assert_keeps_no_secret(&self) {
        let secrets = self.secrets();
        let kept = secrets.kept_in(&self.folder);
        assert!(kept.is_empty(), "{} keeps secrets in its store: {kept:?}", self.name);
    }

    fn fail(&self, message: &str) -> ! {
        panic!("{} {message}\n{}", self.name, self.log_tail());
    }

    fn end_now(&self) {
        self.signal(Signal::TERM);
        for _ in 0..LAST_CALL.as_millis() / POLL.as_millis() {
            if self.exit_status().is_some() {
                return;
            }
            std::thread::sleep(POLL);
        }
        self.signal(Signal::KILL);
        let mut process = self.process();
        let _ = process.handle.wait();
        let _ = process.exit_status();
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Child {
    #[expect(clippy::print_stderr, reason = "the test runner captures it and shows it with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
        self.end_now();
        if !std::thread::panicking() {
            self.assert_shows_no_secret();
            self.assert_keeps_no_secret();
        }
    }
}

/// What is there so far; a character that is only half written must not hide the rest.
fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn shell(script: &str, folder: &Path) -> Child {
        Child::spawn("shell", Command::new("sh").args(["-c", script]), folder)
    }

    #[tokio::test]
    async fn a_whole_line_is_awaited_and_the_program_ends_when_asked() {
        let folder = reaper::temporary_folder("process");
        let child = shell("printf 'rea'; echo 'dy on 7' ; exec sleep 600", folder.path());

        assert_eq!(child.until_logged("ready").await, "ready on 7");
        assert_eq!(child.terminate(READY).await.signal(), Some(15));
    }

    fn leaking(script: &str, folder: &Path) -> Child {
        let mut command = Command::new("sh");
        Child::spawn(
            "leak",
            command.args(["-c", script]).env("API_KEY_PEPPER", "pepper-of-32-characters-or-more"),
            folder,
        )
    }

    #[tokio::test]
    #[should_panic(expected = "leak shows [\"API_KEY_PEPPER\"] on stderr")]
    async fn a_program_that_writes_a_secret_it_was_given_fails_the_test_that_ends_it() {
        let folder = reaper::temporary_folder("process");
        leaking("echo under $API_KEY_PEPPER >&2", folder.path()).exited(READY).await;
    }

    #[tokio::test]
    #[should_panic(expected = "leak shows [\"pulse_secret_live_\"] on stdout")]
    async fn a_program_that_writes_a_secret_it_made_fails_the_test_that_drops_it() {
        let folder = reaper::temporary_folder("process");
        let leak = leaking("echo made pulse_secret_live_0123; exec sleep 600", folder.path());
        leak.until_logged("made").await;
    }

    #[tokio::test]
    #[should_panic(expected = "leak keeps secrets in its store")]
    async fn a_program_that_keeps_a_secret_fails_the_test_that_drops_it() {
        let folder = reaper::temporary_folder("process");
        let script = format!("echo under $API_KEY_PEPPER >'{}'", folder.path().join("pulse.db").display());
        leaking(&script, folder.path()).exited(READY).await;
    }

    #[tokio::test]
    #[should_panic(expected = "cannot open the door")]
    async fn a_program_that_ends_early_fails_the_wait_with_its_log() {
        let folder = reaper::temporary_folder("process");

        shell("echo 'cannot open the door' >&2; exit 3", folder.path()).until_logged("ready").await;
    }
}

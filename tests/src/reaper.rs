//! Ends what a test process started, should that process die without cleaning up.
//!
//! Shared peers live in statics, which are never dropped, and a killed test process drops nothing at all. So one small
//! shell beside the test process reads orders from a pipe; when the pipe closes, for whatever reason, it terminates the
//! processes still on its list by their own ids, kills those that remain after five seconds, and removes the folders
//! it was told of. (The kernel's parent-death signal is no help: it fires when the spawning thread ends, and each test
//! is a thread.)

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

const SCRIPT: &str = r#"
watched=" "
while read -r order subject; do
    case $order in
        watch) watched="$watched$subject " ;;
        forget)
            case $watched in
                *" $subject "*) watched="${watched%% "$subject" *} ${watched#* "$subject" }" ;;
            esac
            ;;
        remove) set -- "$@" "$subject" ;;
    esac
done
for process in $watched; do kill -TERM "$process"; done
tries=0
for process in $watched; do
    while kill -0 "$process"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 50 ]; then
            kill -KILL "$process"
            break
        fi
        sleep 0.1
    done
done
for folder in "$@"; do rm -rf -- "$folder"; done
"#;

static REAPER: LazyLock<Mutex<Reaper>> = LazyLock::new(|| Mutex::new(Reaper::start()));

/// Has the process ended when this process is gone. Every `watch` needs its `forget`, or the id may by then belong
/// to somebody else.
pub(crate) fn watch(process: u32) {
    order("watch", &process.to_string());
}

/// The process has been waited for: its id is free.
pub(crate) fn forget(process: u32) {
    order("forget", &process.to_string());
}

/// A new temporary folder, removed when the value is dropped or else when this process is gone.
pub fn temporary_folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix(&format!("pulse-{name}-"))
        .tempdir()
        .unwrap_or_else(|error| panic!("cannot create a temporary folder: {error}"));
    order("remove", &printable(folder.path()));
    folder
}

fn order(verb: &str, subject: &str) {
    REAPER.lock().unwrap_or_else(PoisonError::into_inner).order(verb, subject);
}

fn printable(path: &Path) -> String {
    let path = PathBuf::from(path).into_os_string().into_string().expect("temporary folders have UTF-8 names");
    assert!(!path.contains('\n'), "temporary folders have names without line breaks");
    path
}

#[derive(Debug)]
struct Reaper {
    /// Nobody waits for it: it outlives this process.
    shell: Child,
}

impl Reaper {
    fn start() -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its own group: an interrupt from the terminal must not end it before the test process.
        shell.process_group(0);
        let shell = shell.spawn().unwrap_or_else(|error| panic!("cannot start sh: {error}"));
        Self { shell }
    }

    fn order(&mut self, verb: &str, subject: &str) {
        let orders = self.shell.stdin.as_mut().expect("stdin is piped");
        writeln!(orders, "{verb} {subject}").unwrap_or_else(|error| panic!("the reaper is gone: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::Reaper;

    #[test]
    fn what_is_watched_ends_and_what_is_forgotten_remains_when_the_pipe_closes() {
        let mut watched = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let mut forgotten = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let folder = tempfile::tempdir().expect("a folder");
        let mut reaper = Reaper::start();
        reaper.order("watch", &forgotten.id().to_string());
        reaper.order("watch", &watched.id().to_string());
        reaper.order("forget", &forgotten.id().to_string());
        reaper.order("remove", &super::printable(folder.path()));

        drop(reaper.shell.stdin.take());

        let status = watched.wait().expect("it can be waited for");
        assert_eq!(status.signal(), Some(15), "the watched process was not terminated: {status}");
        assert_eq!(forgotten.try_wait().expect("it can be asked"), None, "a forgotten process was ended");
        forgotten.kill().expect("it can be killed");
        forgotten.wait().expect("it can be waited for");
        reaper.shell.wait().expect("it can be waited for");
        assert!(!folder.path().exists(), "the folder was not removed");
    }
}

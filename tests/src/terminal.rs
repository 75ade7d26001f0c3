//! A terminal for a program under test: the program holds the one end, the test sees the screen at the other.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write},
    process::Stdio,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The program's end.
#[derive(Debug)]
pub struct Terminal(File);

/// The other end: what is written here is typed, what is read here was shown.
#[derive(Debug)]
pub struct Screen(File);

impl Terminal {
    /// A new terminal, which is nobody's controlling one.
    ///
    /// # Panics
    /// When the system has none left.
    pub fn open() -> (Self, Screen) {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("a terminal of this user");
        let path = ptsname(&screen, Vec::new()).expect("the terminal has a name").into_string().expect("a path");
        // Not the controlling terminal: programs of a test are in groups of their own and have none.
        let own = rustix::fs::OFlags::NOCTTY.bits();
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, own as i32);
        let terminal = options.read(true).write(true).open(path).expect("the terminal opens");
        (Self(terminal), Screen(File::from(screen)))
    }

    /// Another handle on the same end.
    ///
    /// # Panics
    /// When the process has too many open files.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(self.0.try_clone().expect("a handle"))
    }
}

impl From<Terminal> for Stdio {
    fn from(terminal: Terminal) -> Self {
        terminal.0.into()
    }
}

impl Screen {
    /// Copies what is shown until the last program has let go of the terminal.
    pub fn copy_to(mut self, mut file: impl Write) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = self.0.read(&mut buffer) {
            if file.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    }

    /// Types.
    ///
    /// # Panics
    /// When nobody holds the terminal any more.
    pub fn type_in(&self, text: &str) {
        (&self.0).write_all(text.as_bytes()).expect("somebody is at the terminal");
    }

    /// Another handle on the same end.
    ///
    /// # Panics
    /// When the process has too many open files.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(self.0.try_clone().expect("a handle"))
    }
}

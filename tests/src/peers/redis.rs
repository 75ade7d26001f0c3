//! A real Redis on a loopback port and in a temporary folder of its own, which keeps nothing on disk: after a restart it
//! is empty.
//!
//! There is no shared one: tests flush it, kill it and have it hang.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use redis::{FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;

use crate::{
    ports,
    process::{Child, READY, Signal},
    reaper,
};

const SHUTDOWN: Duration = Duration::from_secs(5);

/// A Redis server, ended when dropped.
#[derive(Debug)]
pub struct Redis {
    process: Option<Child>,
    address: SocketAddr,
    options: Options,
    // Removed after the process has ended: fields are dropped in order.
    folder: TempDir,
}

/// How it is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The password that it wants.
    pub password: Option<String>,
    /// Certificate chain and private key: it then speaks TLS and nothing else.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Redis {
    /// One that lets everybody in.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// One with these options.
    pub async fn start_with(options: Options) -> Self {
        let folder = reaper::temporary_folder("redis");
        let mut redis = Self { process: None, address: ports::free_address(), options, folder };
        redis.restart().await;
        redis
    }

    fn command(&self) -> Command {
        let mut command = Command::new(super::installed("bin/redis-server"));
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--dir").arg(self.folder.path());
        let port = self.address.port().to_string();
        if let Some((chain, key)) = &self.options.tls {
            command.args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"]);
            let file = |path: &Path| path.display().to_string();
            command.args(["--tls-cert-file", &file(chain), "--tls-key-file", &file(key)]);
        } else {
            command.args(["--port", &port]);
        }
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password]);
        }
        command
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "rediss" } else { "redis" };
        let login = self.options.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        format!("{scheme}://{login}{}", self.address)
    }

    /// The process.
    ///
    /// # Panics
    /// While it is stopped.
    pub fn process(&self) -> &Child {
        self.process.as_ref().expect("Redis is stopped")
    }

    /// Kills it as a power cut would; it keeps its port and nothing else.
    pub async fn kill(&mut self) {
        self.process().kill().await;
        self.process = None;
    }

    /// Ends it in order.
    pub async fn stop(&mut self) {
        self.process().terminate(SHUTDOWN).await;
        self.process = None;
    }

    /// Starts a stopped one again, empty, on the same port, and waits until it accepts.
    pub async fn restart(&mut self) {
        let process = Child::spawn("redis", &mut self.command(), self.folder.path());
        process.until_connects(self.address).await;
        self.process = Some(process);
    }

    /// Lets it accept connections and answer nothing.
    pub fn hang(&self) {
        self.process().signal(Signal::STOP);
    }

    /// Lets it answer again, everything that it was asked meanwhile included.
    pub fn go_on(&self) {
        self.process().signal(Signal::CONT);
    }

    /// Removes everything that it has.
    pub async fn flush(&self) {
        self.ask::<String>(&["FLUSHALL"]).await;
    }

    /// Runs a command on database 0; not over TLS.
    ///
    /// # Panics
    /// When Redis answers with an error.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        command.arg(words);
        let mut connection = self.connect().await;
        let answer = command.query_async(&mut connection).await;
        answer.unwrap_or_else(|error| panic!("{words:?} failed: {error}\n{}", self.process().log_tail()))
    }

    async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("the URL is valid");
        let connecting = tokio::time::timeout(READY, client.get_multiplexed_async_connection()).await;
        connecting.expect("Redis answers").expect("a connection")
    }
}

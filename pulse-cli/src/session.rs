//! One invocation: its options, its printer, its target, and the client that is opened when it is first needed.

use std::sync::Arc;

use pulse_core::time::{Clock, SystemClock, Timestamp};
use tokio::sync::OnceCell;

use crate::{
    args::Global,
    client::{Client, Opening},
    env::Env,
    exit::{Failure, Outcome},
    target::Target,
    ui::{Printer, prompt::Prompts},
};

/// One invocation.
#[derive(Debug)]
pub struct Session {
    /// Options that every command takes.
    pub global: Global,
    /// The environment.
    pub env: Env,
    /// The owner of stdout and stderr.
    pub printer: Printer,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    client: OnceCell<Client>,
}

impl Session {
    /// An invocation with these options.
    pub fn new(global: Global, env: Env) -> Self {
        let printer = Printer::new(&global, &env);
        Self { global, env, printer, clock: Arc::new(SystemClock::new()), client: OnceCell::new() }
    }

    /// The wall clock's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The target.
    pub fn target(&self) -> Result<Target, Failure> {
        Target::resolve(&self.global, &self.env)
    }

    /// The client of the target. A store that does not exist is not made.
    pub async fn client(&self) -> Result<&Client, Failure> {
        self.open(Opening::Existing).await
    }

    /// The client of the target, for a command that may be the first one in a new store. A dry run makes none.
    pub async fn client_making_store(&self, dry_run: bool) -> Result<&Client, Failure> {
        self.open(if dry_run { Opening::OrImagine } else { Opening::OrMake }).await
    }

    async fn open(&self, opening: Opening) -> Result<&Client, Failure> {
        self.client.get_or_try_init(|| Client::open(self, opening)).await
    }

    /// Questions to the user.
    pub fn prompts(&self) -> Prompts<'_> {
        Prompts::new(&self.printer, &self.global, &self.env)
    }

    /// The organization that a command is about when it names none.
    pub fn default_org(&self) -> Option<String> {
        self.env.get("PULSE_ORG").map(str::to_owned).or_else(|| self.target().ok()?.org)
    }

    /// The project that a command is about when it names none.
    pub fn default_project(&self) -> Option<String> {
        self.env.get("PULSE_PROJECT").map(str::to_owned).or_else(|| self.target().ok()?.project)
    }

    /// Says what has to be said about the outcome and gives the exit code.
    pub fn finish(&self, outcome: Outcome) -> u8 {
        match outcome {
            Ok(exit) => exit.code(),
            Err(failure) => {
                self.printer.failure(&failure);
                failure.exit_code()
            }
        }
    }
}

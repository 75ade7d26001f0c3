//! Questions. They are asked only when somebody is there to answer: stdin and stderr are terminals, and neither
//! `--no-input` nor `CI` is set. Otherwise the flag that answers must be given: there is never an implied yes.

use std::io::IsTerminal as _;

use inquire::{Confirm, InquireError, Text, ui::RenderConfig};

use super::Printer;
use crate::{args::Global, env::Env, exit::Failure};

/// Asks questions.
#[derive(Debug)]
pub struct Prompts<'a> {
    printer: &'a Printer,
    global: &'a Global,
    somebody_is_there: bool,
}

impl<'a> Prompts<'a> {
    /// For this invocation.
    pub fn new(printer: &'a Printer, global: &'a Global, env: &Env) -> Self {
        let silent = global.no_input || env.get("CI").is_some_and(|value| value != "false" && value != "0");
        if !printer.err_has_color() {
            inquire::set_global_render_config(RenderConfig::empty());
        }
        let somebody_is_there = !silent && std::io::stdin().is_terminal() && printer.err_is_terminal();
        Self { printer, global, somebody_is_there }
    }

    /// Whether a question would be put to a person, so that it pays to find out what hangs on the answer.
    pub fn would_ask(&self, severe: bool) -> bool {
        let answered = if severe { self.global.confirm.is_some() } else { self.global.yes };
        self.somebody_is_there && !answered
    }

    /// Asks y/N before something that can be undone or has an end.
    pub fn confirm(&self, question: &str, stakes: &[String]) -> Result<(), Failure> {
        if self.global.yes {
            return Ok(());
        }
        if !self.somebody_is_there {
            return Err(Failure::usage(format!("this needs a confirmation: {question}")).hint("Repeat with --yes."));
        }
        self.tell(stakes);
        match Confirm::new(question).with_default(false).prompt() {
            Ok(true) => Ok(()),
            Ok(false) => Err(declined()),
            Err(error) => Err(stopped(&error)),
        }
    }

    /// Asks for the name before a deletion.
    pub fn confirm_by_name(&self, what: &str, name: &str, stakes: &[String]) -> Result<(), Failure> {
        if let Some(given) = &self.global.confirm {
            let same = given == name;
            let other = || {
                Failure::usage(format!("--confirm says {given:?}, but the {what} is named {name:?}"))
                    .hint("Nothing was deleted.")
            };
            return if same { Ok(()) } else { Err(other()) };
        }
        if !self.somebody_is_there {
            return Err(Failure::usage(format!("deleting the {what} {name:?} needs its name as confirmation"))
                .hint(format!("Repeat with --confirm {name:?}. --yes is not enough.")));
        }
        self.tell(stakes);
        match Text::new(&format!("Type {name:?} to delete the {what}:")).prompt() {
            Ok(typed) if typed == name => Ok(()),
            Ok(_) => Err(declined()),
            Err(error) => Err(stopped(&error)),
        }
    }

    fn tell(&self, stakes: &[String]) {
        for line in stakes {
            self.printer.note(&format!("  {line}"));
        }
    }
}

fn declined() -> Failure {
    Failure::new(crate::exit::USAGE, "declined", "not confirmed: nothing was changed")
}

fn stopped(error: &InquireError) -> Failure {
    match error {
        InquireError::OperationCanceled => declined(),
        InquireError::OperationInterrupted => Failure::interrupted(),
        other => Failure::unexpected(format!("the question cannot be asked: {other}"))
            .hint("Repeat with --yes, or --confirm NAME."),
    }
}

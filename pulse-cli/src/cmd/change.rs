//! What changes have in common: questions before them, and things that are not there.

use pulse_core::{error::Code, op::Operation, plane::Answer};

use super::DONE;
use crate::{
    client::{CallOptions, Client},
    exit::{Failure, Outcome},
    session::Session,
    ui::printer::counted,
};

/// Asks y/N before a change, with what hangs on it in numbers. What changes nothing is not asked about.
pub(super) async fn confirm<O: Operation>(
    session: &Session,
    client: &Client,
    op: &O,
    options: CallOptions,
    question: &str,
) -> Result<(), Failure> {
    if options.dry_run || client.is_curl() {
        return Ok(());
    }
    let prompts = session.prompts();
    let stakes = if prompts.would_ask(false) { stakes(client, op).await? } else { Vec::new() };
    prompts.confirm(question, &stakes)
}

/// Asks for the name before a deletion, with what goes with it in numbers.
pub(super) async fn confirm_by_name<O: Operation>(
    session: &Session,
    client: &Client,
    op: &O,
    (kind, name): (&str, &str),
) -> Result<(), Failure> {
    let prompts = session.prompts();
    let stakes = if prompts.would_ask(true) { stakes(client, op).await? } else { Vec::new() };
    prompts.confirm_by_name(kind, name, &stakes)
}

/// What a change would touch, as lines for a question.
async fn stakes<O: Operation>(client: &Client, op: &O) -> Result<Vec<String>, Failure> {
    match client.call(op, CallOptions::dry(true)).await? {
        Answer::DryRun(dry) => Ok(dry.effects.iter().map(|(what, count)| counted(*count, what)).collect()),
        Answer::Done { .. } => Ok(Vec::new()),
    }
}

/// With `--ignore-not-found`, what is not there is fine.
pub(super) fn forgiving(session: &Session, ignore_not_found: bool, outcome: Outcome) -> Outcome {
    match outcome {
        Err(failure) if ignore_not_found && failure.code() == Code::NotFound.info().name => {
            session.printer.nothing()?;
            session.printer.advice(failure.message());
            DONE
        }
        other => other,
    }
}

//! `pulse key rotate`: a successor that is only pending, sinks, checks, and the commit last. Whatever fails before the
//! commit takes the successor back and leaves the old key as it was; a crash leaves the successor to end by itself.

use pulse_core::{
    id::{KeyId, ProjectId},
    ops::keys::{CancelRotation, CommitRotation, RotateKey, RotatedKey},
    plane::Answer,
    secret::SecretText,
};
use serde_json::{Value, json};

use super::{
    DONE,
    key::VIEW,
    org::stakes,
    sinks::{self, Sink, Stored},
};
use crate::{
    args::{key, values::Span},
    client::{CallOptions, Client},
    exit::{AWAITED_FAILED, Failure, INTERRUPTED, Outcome, PARTLY},
    names,
    session::Session,
};

pub(super) async fn run(session: &Session, args: key::Rotate) -> Outcome {
    let sinks = sinks::plan(session, &args)?;
    let client = session.client().await?;
    let (id, key_id, _) = names::key(session, client, &args.which).await?;
    let staged = !sinks.is_empty() || !args.verify.is_empty();
    let op =
        RotateKey { id, key_id, overlap_seconds: args.overlap.map(Span::seconds), commit: staged.then_some(false) };
    let options = CallOptions::dry(args.change.dry_run);
    if args.change.dry_run || client.is_curl() {
        session.printer.answer(&VIEW, client.call(&op, options).await?)?;
        return DONE;
    }
    let hanging = if session.prompts().would_ask(false) { stakes(client, &op).await? } else { Vec::new() };
    session.prompts().confirm(&format!("Rotate key {}?", args.which.key), &hanging)?;
    let made = match client.call(&op, options).await? {
        Answer::Done { output, .. } => output,
        Answer::DryRun(dry) => dry.result,
    };
    if staged {
        return Rotation { session, client, id, key_id, args: &args, made }.run(&sinks).await;
    }
    session.printer.document(&VIEW, &made)?;
    session.printer.advice("The secret is shown this once: keep it now.");
    DONE
}

/// A rotation whose successor is pending.
struct Rotation<'a> {
    session: &'a Session,
    client: &'a Client,
    id: ProjectId,
    key_id: KeyId,
    args: &'a key::Rotate,
    made: RotatedKey,
}

/// What failed, in which step.
struct Broken {
    step: &'static str,
    why: Failure,
}

impl Rotation<'_> {
    async fn run(self, sinks: &[Sink]) -> Outcome {
        let mut stored = Vec::new();
        let secret = match &self.made.pulse_api_secret {
            Some(secret) => secret.clone(),
            None => {
                let why = Failure::unexpected("the answer has no secret");
                return Err(self.roll_back(Broken { step: "create", why }, stored).await);
            }
        };
        let steps = self.hand_on(sinks, &secret, &mut stored);
        let ended = tokio::select! {
            // In this order: an interrupt is listened for before a step begins, whose command may be what sends it.
            biased;
            _ = tokio::signal::ctrl_c() => Err(Broken { step: "interrupted", why: Failure::interrupted() }),
            ended = steps => ended,
        };
        if let Err(broken) = ended {
            return Err(self.roll_back(broken, stored).await);
        }
        let commit =
            CommitRotation { id: self.id, key_id: self.key_id, overlap_seconds: self.args.overlap.map(Span::seconds) };
        match self.client.call(&commit, CallOptions::default()).await {
            Ok(answer) => self.show(answer.into_output(), &secret, &stored),
            Err(why) => Err(self.roll_back(Broken { step: "commit", why }, stored).await),
        }
    }

    /// Runs the sinks, then the checks.
    async fn hand_on(&self, sinks: &[Sink], secret: &SecretText, stored: &mut Vec<Stored>) -> Result<(), Broken> {
        for sink in sinks {
            self.session.printer.advice(&format!("storing the new secret: {}", sink.name()));
            let kept = sink.store(self.session, secret.expose()).await.map_err(|why| Broken { step: "sink", why })?;
            stored.push(kept);
        }
        let failed = |why| Broken { step: "verify", why };
        if self.made.key.networks.is_empty() {
            self.client.try_secret(secret.expose()).await.map_err(failed)?;
        } else {
            self.session.printer.advice("the key is bound to networks: only --verify checks the new secret");
        }
        for command in &self.args.verify {
            self.session.printer.advice(&format!("checking: {command}"));
            sinks::command(self.session, command, None, secret.expose()).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Takes the successor back and says what is left of it.
    async fn roll_back(&self, broken: Broken, stored: Vec<Stored>) -> Failure {
        let cancel = CancelRotation { id: self.id, key_id: self.key_id };
        let cancelled = self.client.call(&cancel, CallOptions::default()).await;
        let left: Vec<String> = stored.into_iter().filter_map(Stored::undo).collect();
        let rolled_back = cancelled.is_ok();
        let interrupted = broken.step == "interrupted";
        let exit = match (left.is_empty(), interrupted) {
            (_, true) => INTERRUPTED,
            (true, false) => AWAITED_FAILED,
            (false, false) => PARTLY,
        };
        let fate = if rolled_back {
            "the successor was revoked and the old key is as it was"
        } else {
            "the successor could not be revoked; unless it was kept just now, it ends by itself within 15 minutes"
        };
        let mut hint = broken.why.hint_text().map(|hint| format!("{hint} ")).unwrap_or_default();
        if !left.is_empty() {
            hint.push_str(&format!("The revoked secret is still in: {}.", left.join(", ")));
        }
        let message = format!("the rotation failed ({}): {}; {fate}", broken.step, broken.why.message());
        Failure::new(exit, "rotation_failed", message)
            .hint(hint.trim().to_owned())
            .detail("step", broken.step)
            .detail("rolled_back", rolled_back)
            .detail("stored_in", left)
            .detail("successor_id", self.made.key.id.to_string())
            .detail("key_id", self.key_id.to_string())
    }

    fn show(&self, rotation: pulse_core::ops::keys::Rotation, secret: &SecretText, stored: &[Stored]) -> Outcome {
        let mut value = serde_json::to_value(rotation).map_err(|error| Failure::unexpected(error.to_string()))?;
        if let Value::Object(fields) = &mut value {
            if self.args.show_secret || stored.is_empty() {
                fields.insert("pulse_api_secret".to_owned(), json!(secret.expose()));
            }
            let names: Vec<&str> = stored.iter().map(Stored::name).collect();
            fields.insert("stored_in".to_owned(), json!(names));
        }
        self.session.printer.value(&VIEW, &value)?;
        DONE
    }
}

//! `pulse key rotate`: a successor that is only pending, sinks, checks, and the commit last. Whatever fails before the
//! commit takes the successor back and leaves the old key as it was; a crash leaves the successor to end by itself.
//!
//! When the commit's answer is lost, the successor itself is asked what became of it. Only a secret that is known to open
//! nothing is taken out of the sinks: while that is not known, it may be the one that stays.

use pulse_core::{
    id::{KeyId, ProjectId},
    model::api_key::KeyStatus,
    ops::keys::{CancelRotation, CommitRotation, GetKey, RotateKey, RotatedKey, Rotation as Committed},
    plane::Answer,
    secret::SecretText,
};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    DONE,
    change::confirm,
    key::VIEW,
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
    let sinks = sinks::plan(session, &args.sinks)?;
    let client = session.client().await?;
    let (id, key_id, _) = names::key(session, client, &args.which).await?;
    let staged = !sinks.is_empty() || !args.verify.is_empty();
    let op =
        RotateKey { id, key_id, overlap_seconds: args.overlap.map(Span::seconds), commit: staged.then_some(false) };
    let options = CallOptions::from(&args.change);
    if args.change.dry_run || client.is_curl() {
        session.printer.answer(&VIEW, client.call(&op, options).await?)?;
        return DONE;
    }
    confirm(session, client, &op, options, &format!("Rotate key {}?", args.which.key)).await?;
    // Before the successor is made: from then on an interruption must take it back.
    let interruption = if staged { Some(Interruption::listen()?) } else { None };
    let made = match client.call(&op, options).await? {
        Answer::Done { output, .. } => output,
        Answer::DryRun(dry) => dry.result,
    };
    if let Some(interruption) = interruption {
        return Rotation { session, client, id, key_id, args: &args, made }.run(&sinks, interruption).await;
    }
    session.printer.document(&VIEW, &made)?;
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

/// What became of the successor after a failure.
enum Fate {
    /// It opens nothing any more, and the old key is as it was.
    Ended,
    /// It was committed all the same.
    Kept(Box<Committed>),
    /// Nobody can say.
    Unknown,
}

impl Rotation<'_> {
    async fn run(self, sinks: &[Sink], mut interruption: Interruption) -> Outcome {
        let mut stored = Vec::new();
        let Some(secret) = self.made.pulse_api_secret.clone() else {
            let why = Failure::unexpected("the answer has no secret");
            return Err(self.failed(Broken { step: "create", why }, self.take_back().await, stored));
        };
        let steps = self.hand_on(sinks, &secret, &mut stored);
        let ended = tokio::select! {
            // In this order: a step's own command may be what sends the interruption, and ends at the same moment.
            biased;
            () = interruption.came() => Err(Broken { step: "interrupted", why: Failure::interrupted() }),
            ended = steps => ended,
        };
        if let Err(broken) = ended {
            return Err(self.failed(broken, self.take_back().await, stored));
        }
        let commit =
            CommitRotation { id: self.id, key_id: self.key_id, overlap_seconds: self.args.overlap.map(Span::seconds) };
        let committed = match self.client.call(&commit, CallOptions::default()).await {
            Ok(answer) => answer.into_output(),
            Err(why) => match self.take_back().await {
                Fate::Kept(rotation) => {
                    self.session.printer.advice("the answer to the commit was lost, but the new key was kept");
                    *rotation
                }
                fate => return Err(self.failed(Broken { step: "commit", why }, fate, stored)),
            },
        };
        self.show(committed, &secret, &stored)
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

    /// Revokes the successor; when that fails, because the answer to an earlier try was lost perhaps, looks at it.
    async fn take_back(&self) -> Fate {
        let cancel = CancelRotation { id: self.id, key_id: self.key_id };
        if self.client.call(&cancel, CallOptions::default()).await.is_ok() {
            return Fate::Ended;
        }
        let key = async |key_id| self.client.ask(&GetKey { id: self.id, key_id }).await;
        match (key(self.made.key.id).await, key(self.key_id).await) {
            (Ok(new), Ok(old)) => match new.state {
                KeyStatus::Revoked | KeyStatus::Expired => Fate::Ended,
                KeyStatus::Active | KeyStatus::Rotated => Fate::Kept(Box::new(Committed { key: new, replaces: old })),
                KeyStatus::Pending => Fate::Unknown,
            },
            _ => Fate::Unknown,
        }
    }

    /// Takes the secret out of the sinks where that is safe, and says what is left of the rotation.
    fn failed(&self, broken: Broken, fate: Fate, stored: Vec<Stored>) -> Failure {
        let rolled_back = matches!(fate, Fate::Ended);
        let left: Vec<String> = if rolled_back {
            stored.into_iter().filter_map(Stored::undo).collect()
        } else {
            stored.iter().map(|stored| stored.name().to_owned()).collect()
        };
        let (told, next) = match fate {
            Fate::Ended => ("the successor was revoked and the old key is as it was", "The revoked secret is still in"),
            Fate::Kept(_) => ("meanwhile somebody else has kept the successor", "The new secret is in"),
            Fate::Unknown => (
                "the successor could not be revoked; unless it was kept just now, it ends by itself within 15 minutes",
                "The new secret is in",
            ),
        };
        let mut hints = Vec::new();
        if matches!(fate, Fate::Unknown) {
            let look = format!("pulse key get {} --project {}", self.made.key.id, self.id);
            hints.push(format!(
                "{look} tells: active means that the rotation is done, anything else that the old key stays."
            ));
        }
        if !left.is_empty() {
            hints.push(format!("{next}: {}.", left.join(", ")));
        }
        // What a command said comes last: nobody knows how it ends.
        hints.extend(broken.why.hint_text().map(str::to_owned));
        let exit = match (broken.step, left.is_empty()) {
            ("interrupted", _) => INTERRUPTED,
            (_, true) => AWAITED_FAILED,
            (_, false) => PARTLY,
        };
        let message = format!("the rotation failed ({}): {}; {told}", broken.step, broken.why.message());
        Failure::new(exit, "rotation_failed", message)
            .hint(hints.join(" "))
            .detail("step", broken.step)
            .detail("rolled_back", rolled_back)
            .detail("stored_in", left)
            .detail("successor_id", self.made.key.id.to_string())
            .detail("key_id", self.key_id.to_string())
    }

    fn show(&self, rotation: Committed, secret: &SecretText, stored: &[Stored]) -> Outcome {
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

/// What stops a rotation from outside: the user, or the runner of a job.
struct Interruption {
    user: Signal,
    runner: Signal,
}

impl Interruption {
    /// From now on a signal does not end the process any more but is kept until somebody waits for it.
    fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|cause| Failure::unexpected(format!("signals cannot be listened to: {cause}")));
        Ok(Self { user: listen(SignalKind::interrupt())?, runner: listen(SignalKind::terminate())? })
    }

    async fn came(&mut self) {
        tokio::select! {
            _ = self.user.recv() => {}
            _ = self.runner.recv() => {}
        }
    }
}

//! Commits: which batches need a transaction, how one is retried, and what is said when nobody knows.
//!
//! A batch of one write that is atomic in itself goes without a session, as a retryable write of the driver: the server
//! knows the attempt by its number and applies it once, even if the first answer was lost. Every other batch is a
//! transaction over a majority snapshot. It begins again when the server says that it changed nothing
//! (`TransientTransactionError`), and its commit, which is retryable by the same number, is asked for again while its
//! outcome is unknown (`UnknownTransactionCommitResult`). So nothing is applied twice, and no attempt ever meets its own
//! traces and takes them for a conflict. When the time for all this is over, the answer is `store_unavailable` and says
//! nothing about whether the batch was applied, as with every store behind a network.
//!
//! Transactions of this process that would clash for sure (the same log, the same guard) wait for each other here: the
//! server would stop all but one of them, again and again.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use mongodb::{
    Client, ClientSession, Collection as DriverCollection, Database,
    bson::{Document, oid::ObjectId},
    error::Error as DriverError,
    options::{ReadConcern, WriteConcern},
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, MutexGuard},
};

use super::{
    STATE,
    fault::{is_transient, is_unknown},
    write::{Stop, Writer},
};
use crate::{
    error::{Error, Result},
    store::{Batch, CommitMode, Outcome, Write},
};

/// The span of the first pause between two attempts, and of the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(128);

/// How long to wait for the answer to an abort. The driver does not tell whether an abort arrived; one that has to be
/// sent twice takes longer than this.
const ABORT_TIME: Duration = Duration::from_millis(250);

/// Locks that stand for the documents which transactions fight over.
#[derive(Debug)]
pub(super) struct Locks {
    stripes: Vec<Mutex<()>>,
}

impl Locks {
    pub(super) fn new() -> Self {
        Self { stripes: std::iter::repeat_with(Mutex::default).take(256).collect() }
    }

    /// Waits for the turn of a batch. Stripes are taken in one order, so nobody waits in a circle.
    async fn turn(&self, batch: &Batch) -> Vec<MutexGuard<'_, ()>> {
        let mut places: BTreeSet<usize> = batch.writes.iter().filter_map(|write| self.place(write)).collect();
        if batch.bumps_generation {
            places.insert(self.stripe("generation"));
        }
        let mut guards = Vec::with_capacity(places.len());
        for place in places {
            guards.push(self.stripes[place].lock().await);
        }
        guards
    }

    fn place(&self, write: &Write) -> Option<usize> {
        match write {
            Write::Append { collection, log, .. } => Some(self.stripe(("log", collection.name, log))),
            // Records of a log change no more, so that nobody fights over them; and a batch may require very many.
            Write::Require { collection, .. } if collection.log.is_some() => None,
            Write::Require { collection, id, .. } | Write::Increment { collection, id, .. } => {
                Some(self.stripe((collection.name, id)))
            }
            Write::Delete { collection, id, .. } => {
                collection.logs_of_documents().map(|logs| self.stripe(("log", logs.name, id)))
            }
            Write::Insert { .. } | Write::Replace { .. } => None,
        }
    }

    fn stripe(&self, key: impl Hash) -> usize {
        usize::try_from(hash(key) % self.stripes.len() as u64).unwrap_or_default()
    }
}

fn hash(key: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Applies a batch.
pub(super) async fn commit(
    client: &Client,
    db: &Database,
    locks: &Locks,
    batch: &Batch,
    mode: CommitMode,
) -> Result<Outcome> {
    let result = if batch.is_empty() && !batch.bumps_generation {
        Ok(Vec::new())
    } else if mode == CommitMode::Apply && is_atomic_alone(batch) {
        Writer::new(db, None).apply(&batch.writes, false).await
    } else {
        let _turn = locks.turn(batch).await;
        transaction(client, db, batch, mode).await
    };
    match result {
        Ok(seqs) => Ok(Outcome::Committed { seqs }),
        Err(Stop::Refused(outcome)) => Ok(outcome),
        Err(Stop::Driver(error)) => Err(error.into()),
        Err(Stop::Fault(error)) => Err(error),
    }
}

/// Whether the batch is one operation on one document.
fn is_atomic_alone(batch: &Batch) -> bool {
    let alone = match batch.writes.as_slice() {
        [Write::Insert { .. } | Write::Replace { .. } | Write::Increment { .. }] => true,
        [Write::Delete { collection, .. }] => collection.logs_of_documents().is_none(),
        _ => false,
    };
    alone && !batch.bumps_generation
}

/// Begins again until the transaction is committed or refused. The caller bounds the time.
async fn transaction(client: &Client, db: &Database, batch: &Batch, mode: CommitMode) -> Result<Vec<u64>, Stop> {
    let session = Some(client.start_session().await?);
    let mut open = Open { session, is_closed: true, state: db.collection(STATE) };
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt(&mut open, db, batch, mode).await {
            Err(Stop::Driver(error)) if is_transient(&error) => {
                tracing::debug!(%error, "a transaction begins again");
                wait(&mut pause).await;
            }
            result => return result,
        }
    }
}

async fn attempt(open: &mut Open, db: &Database, batch: &Batch, mode: CommitMode) -> Result<Vec<u64>, Stop> {
    let Some(session) = &mut open.session else { return Err(Stop::Fault(Error::internal("no session"))) };
    open.is_closed = false;
    session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(durable()).await?;
    let result = Writer::new(db, Some(&mut *session)).apply(&batch.writes, batch.bumps_generation).await;
    if mode == CommitMode::Apply && result.is_ok() {
        finish(session).await?;
        open.is_closed = true;
    } else if tokio::time::timeout(ABORT_TIME, session.abort_transaction()).await.is_ok() {
        open.is_closed = true;
    }
    result
}

/// A session whose transaction may still be open on the server, where it would keep its documents locked for a minute:
/// dropped like that, by an error or because the time was over, it is taken care of in the background.
struct Open {
    session: Option<ClientSession>,
    is_closed: bool,
    state: DriverCollection<Document>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let (false, Some(session), Ok(runtime)) = (self.is_closed, self.session.take(), Handle::try_current()) {
            runtime.spawn(close(session, self.state.clone()));
        }
    }
}

/// Aborts what a session has open. Where the abort gets lost, the next transaction of the session does it: the server
/// ends the one before.
async fn close(mut session: ClientSession, state: DriverCollection<Document>) {
    for _ in 0..60 {
        let _ = session.abort_transaction().await;
        let begun = session.start_transaction().await.is_ok();
        if begun && state.find_one(Document::new()).session(&mut session).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Commits, asking again while the outcome is unknown.
async fn finish(session: &mut ClientSession) -> Result<(), DriverError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match session.commit_transaction().await {
            Err(error) if is_unknown(&error) => wait(&mut pause).await,
            result => return result,
        }
    }
}

/// Waits somewhere within the span, so that those who clashed come back at different times, and doubles it.
async fn wait(span: &mut Duration) {
    let share = u32::try_from(hash(ObjectId::new()) % 1_000).unwrap_or_default();
    tokio::time::sleep(*span * share / 1_000).await;
    *span = (*span * 2).min(LONGEST_PAUSE);
}

/// Acknowledged by a majority, in their journals.
pub(super) fn durable() -> WriteConcern {
    let mut concern = WriteConcern::majority();
    concern.journal = Some(true);
    concern
}

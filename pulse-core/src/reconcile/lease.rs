//! One reconciler a cluster: several daemons on one store take turns. The lease also keeps when the last good round was
//! begun, so that a daemon that starts, or takes over, knows until when things were as they are on record. And it is what
//! says that there is such a cluster: a project that brings its LiveKit along has one at once, before anything is heard of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    model::project::Project,
    parts::Parts,
    repo::{Document, get},
    store::{Batch, Collection, CommitMode, Order, Outcome, Scan, schema},
    time::Timestamp,
};

/// Who looks at a cluster, and until when nobody else does.
#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    cluster: String,
    holder: String,
    until: Timestamp,
    #[serde(flatten)]
    good: Good,
    #[serde(skip)]
    version: u64,
}

/// When the last good rounds over a cluster were begun, whoever made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Good {
    /// The last one.
    #[serde(default, rename = "good_at", skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Timestamp>,
    /// The last one in which all egresses and ingresses were listed, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_at: Option<Timestamp>,
}

impl Good {
    /// The later ones of two.
    fn max(self, other: Self) -> Self {
        Self { at: self.at.max(other.at), media_at: self.media_at.max(other.media_at) }
    }
}

/// Leases that one scan reads.
const PAGE: usize = 1_000;
/// Leases that are ended in one batch.
const STEP: usize = 100;

/// The id of the document that says who looks at a cluster.
pub(crate) fn lease_of(cluster: &str) -> String {
    format!("reconciler:{cluster}")
}

impl Document for Lease {
    const COLLECTION: &'static Collection = &schema::META;
    const KIND: &'static str = "reconciler's lease";

    fn document_id(&self) -> String {
        lease_of(&self.cluster)
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

/// For how long a cluster is taken.
fn length(parts: &Parts) -> Duration {
    parts.settings.pipeline.reconcile_every * 2
}

/// How long one look may last, so that it is over well before another daemon may begin one.
pub(super) fn time_to_look(parts: &Parts) -> Duration {
    length(parts) * 3 / 4
}

/// Takes or keeps the cluster for two rounds, and tells of the last good ones; `good` are this daemon's own. None when another
/// daemon has it, which cannot be when this one is `alone`: what is held then is left from one that crashed.
pub(super) async fn take(parts: &Parts, cluster: &str, good: Good, alone: bool) -> Result<Option<Good>> {
    let now = parts.clock.now();
    let held = get::<Lease>(&parts.store, &lease_of(cluster)).await?;
    if held.as_ref().is_some_and(|lease| lease.holder != parts.process_id && lease.until > now && !alone) {
        return Ok(None);
    }
    let until = now.plus(length(parts));
    let version = held.as_ref().map_or(0, |lease| lease.version);
    let good = held.map_or(good, |lease| lease.good.max(good));
    let mine = Lease { cluster: cluster.to_owned(), holder: parts.process_id.clone(), until, good, version };
    let mut batch = Batch::new();
    if version == 0 { mine.insert_into(&mut batch) } else { mine.replace_in(&mut batch) }?;
    let committed = matches!(parts.store.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. });
    Ok(committed.then_some(good))
}

/// Adds to the batch what makes a cluster looked at from now on, unless it is already.
pub(crate) async fn watch(parts: &Parts, cluster: &str, batch: &mut Batch) -> Result<()> {
    if get::<Lease>(&parts.store, &lease_of(cluster)).await?.is_some() {
        return Ok(());
    }
    let until = parts.clock.now();
    let free = Lease { cluster: cluster.to_owned(), holder: String::new(), until, good: Good::default(), version: 0 };
    free.insert_into(batch)
}

/// Every cluster that was ever to be looked at, and is not forgotten.
pub(super) async fn clusters(parts: &Parts) -> Result<Vec<String>> {
    let prefix = lease_of("");
    let mut scan =
        Scan { order: Order::Ascending, limit: PAGE, ..Scan::new(&schema::META, schema::PRIMARY, Vec::new()) };
    scan.from = Some(prefix.clone().into());
    // The character after the colon.
    scan.to = Some(prefix.replace(':', ";").into());
    let mut found = Vec::new();
    loop {
        let rows = parts.store.scan(scan.clone()).await?;
        found.extend(rows.rows.iter().filter_map(|row| row.id.strip_prefix(&prefix)).map(str::to_owned));
        match rows.next {
            Some(next) => scan.after = Some(next),
            None => return Ok(found),
        }
    }
}

/// Forgets a cluster that cannot be asked any more, as long as the project, if there is still one, is as it was read.
pub(super) async fn forget(parts: &Parts, cluster: &str, project: Option<&Project>) -> Result<()> {
    let Some(row) = parts.store.get(&schema::META, &lease_of(cluster)).await? else { return Ok(()) };
    let mut batch = Batch::new();
    if let Some(project) = project {
        project.require_in(&mut batch);
    }
    batch.delete(&schema::META, row.id, row.version);
    parts.store.commit(batch, CommitMode::Apply).await.map(drop)
}

/// Ends this daemon's leases of clusters now, and records when the last good round over each was begun. What somebody else
/// took in between is theirs.
pub(super) async fn release(parts: &Parts, clusters: &[(String, Good)]) -> Result<()> {
    let now = parts.clock.now();
    for some in clusters.chunks(STEP) {
        let mut batch = Batch::new();
        for (cluster, good) in some {
            let held = get::<Lease>(&parts.store, &lease_of(cluster)).await?;
            if let Some(lease) = held.filter(|lease| lease.holder == parts.process_id && lease.until > now) {
                let good = lease.good.max(*good);
                Lease { until: now, good, ..lease }.replace_in(&mut batch)?;
            }
        }
        if !batch.is_empty() {
            parts.store.commit(batch, CommitMode::Apply).await?;
        }
    }
    Ok(())
}

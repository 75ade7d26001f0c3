//! Shards of endpoints, and the daemons that share them, in the store. A shard's row is an entry of a queue: whoever claims
//! it has it until it is due again, and puts that off as long as it lives.

use super::{Document, get};
use crate::{
    error::{Error, Result},
    model::shard::{Member, SHARDS, Shard},
    store::{Batch, Claim, Collection, CommitMode, Order, Outcome, Scan, SharedStore, schema},
    time::Timestamp,
};

/// What the id of a member's document begins with, among the single documents of the store.
const MEMBER: &str = "daemon:";
/// The most daemons that share one store.
const MOST: usize = 1_000;

impl Document for Shard {
    const COLLECTION: &'static Collection = &schema::SHARDS;
    const KIND: &'static str = "shard";

    fn document_id(&self) -> String {
        format!("{:02}", self.number)
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

impl Document for Member {
    const COLLECTION: &'static Collection = &schema::META;
    const KIND: &'static str = "daemon";

    fn document_id(&self) -> String {
        format!("{MEMBER}{}", self.process)
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
}

/// Reads and takes shards.
#[derive(Clone, Debug)]
pub struct Shards(pub SharedStore);

impl Shards {
    /// Makes the rows, where they are missing: all are anybody's.
    pub async fn prepare(&self) -> Result<()> {
        if self.0.get(Shard::COLLECTION, &format!("{:02}", SHARDS - 1)).await?.is_some() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for number in 0..SHARDS {
            let free = Shard { number, holder: None, generation: 0, due_at: Timestamp::from_millis(0), version: 0 };
            free.insert_into(&mut batch)?;
        }
        // A conflict means that another daemon has just made them.
        self.0.commit(batch, CommitMode::Apply).await.map(drop)
    }

    /// Takes up to `limit` shards that are anybody's, for `lease_millis` by the store's clock.
    pub async fn take(&self, process: &str, limit: usize, lease_millis: u64, now: Timestamp) -> Result<Vec<Shard>> {
        let claim = Claim { collection: Shard::COLLECTION, limit, lease_millis };
        let claimed = self.0.claim(claim, now).await?.into_iter().map(Shard::from_stored).collect::<Result<_>>()?;
        let mine = |shard: Shard| Shard { holder: Some(process.to_owned()), generation: shard.generation + 1, ..shard };
        self.change(claimed, mine).await
    }

    /// Writes these shards as `to` has them: all at once, or one by one when one is not as it is known. Gives those that were
    /// written. One that was only written by an earlier call of this process, which did not say so, is written still: nobody has
    /// taken it meanwhile.
    pub async fn change(&self, known: Vec<Shard>, to: impl Fn(Shard) -> Shard) -> Result<Vec<Shard>> {
        if let Some(written) = self.write(known.iter().cloned().map(&to)).await? {
            return Ok(written);
        }
        let mut all = Vec::new();
        for shard in known {
            let Some(stored) = get::<Shard>(&self.0, &shard.document_id()).await? else { continue };
            if (&stored.holder, stored.generation) == (&shard.holder, shard.generation) {
                all.extend(self.write([to(stored)]).await?.into_iter().flatten());
            }
        }
        Ok(all)
    }

    /// Writes all of these, if nobody has changed one meanwhile.
    async fn write(&self, shards: impl IntoIterator<Item = Shard>) -> Result<Option<Vec<Shard>>> {
        let mut batch = Batch::new();
        let written = shards.into_iter().map(|shard| shard.replaced_in(&mut batch)).collect::<Result<Vec<_>>>()?;
        let is_written =
            batch.is_empty() || matches!(self.0.commit(batch, CommitMode::Apply).await?, Outcome::Committed { .. });
        Ok(is_written.then_some(written))
    }

    /// Says that this process lives.
    pub async fn beat(&self, process: &str) -> Result<()> {
        let mut batch = Batch::new();
        match self.member(process).await? {
            Some(member) => Member { beats: member.beats + 1, ..member }.replace_in(&mut batch)?,
            None => Member { process: process.to_owned(), beats: 1, version: 0 }.insert_into(&mut batch)?,
        }
        match self.0.commit(batch, CommitMode::Apply).await? {
            Outcome::Committed { .. } => Ok(()),
            other => Err(Error::internal(format!("a daemon's own beat was not written: {other:?}"))),
        }
    }

    /// What a daemon has said, unless it was struck off.
    pub async fn member(&self, process: &str) -> Result<Option<Member>> {
        get(&self.0, &format!("{MEMBER}{process}")).await
    }

    /// Every daemon that has said that it lives and was not struck off.
    pub async fn members(&self) -> Result<Vec<Member>> {
        let scan =
            Scan { order: Order::Ascending, limit: MOST, ..Scan::new(&schema::META, schema::PRIMARY, Vec::new()) };
        // The character after the colon ends the range.
        let scan = Scan { from: Some(MEMBER.into()), to: Some(MEMBER.replace(':', ";").into()), ..scan };
        self.0.scan(scan).await?.rows.into_iter().map(Member::from_stored).collect()
    }

    /// Strikes a daemon off, unless it has said in between that it lives.
    pub async fn strike_off(&self, member: &Member) -> Result<()> {
        let mut batch = Batch::new();
        batch.delete(Member::COLLECTION, member.document_id(), member.version);
        self.0.commit(batch, CommitMode::Apply).await.map(drop)
    }
}

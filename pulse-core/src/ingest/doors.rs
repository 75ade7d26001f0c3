//! The doors of projects' own LiveKits. Anybody may knock at any id, without a limit of requests: knocking must not cost the
//! store more than a little, whoever knocks.

use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use crate::{
    access::keyring::Keyring,
    error::{Code, Error, Result},
    id::ProjectId,
    model::tenant::Tenant,
};

/// Ids of no project that are kept in memory, each for [`UNKNOWN_FOR`].
const CAPACITY: usize = 10_000;
/// For how long an id stays unknown without asking the store again.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Look-ups of projects that are not in memory that may be under way in the store at once.
const LOOKUPS_AT_ONCE: usize = 16;

/// Who stands behind which door.
pub(super) struct Doors {
    /// Until when (monotonic).
    unknown: Cache<ProjectId, Duration>,
    lookups: Semaphore,
}

impl Default for Doors {
    fn default() -> Self {
        Self { unknown: Cache::new(CAPACITY), lookups: Semaphore::new(LOOKUPS_AT_ONCE) }
    }
}

impl Doors {
    /// The project of that id, as of the monotonic time `now`; none when there is none. Projects in memory do not wait for
    /// look-ups of those that are not.
    pub(super) async fn tenant(&self, keyring: &Keyring, id: ProjectId, now: Duration) -> Result<Option<Tenant>> {
        if self.unknown.get(&id).is_some_and(|until| until > now) {
            return Ok(None);
        }
        if keyring.has_at_hand(id) {
            return keyring.tenant(id).await;
        }
        let closed = |_| Error::new(Code::Overloaded, "too many projects are being looked up");
        let _turn = self.lookups.acquire().await.map_err(closed)?;
        let found = keyring.tenant(id).await?;
        if found.is_none() {
            self.unknown.insert(id, now.saturating_add(UNKNOWN_FOR));
        }
        Ok(found)
    }
}

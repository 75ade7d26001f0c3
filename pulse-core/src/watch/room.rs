//! Memory for events that are read from the store for one reader alone, while it catches up. It is bounded over all readers,
//! and one project has a quarter of it: whoever takes nothing makes those of its own project wait first.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of events that all readers that catch up hold: with as many for the rings, what watching adds to the 300 MB that a
/// daemon may have is a fifth of it.
pub(super) const HELD: usize = 32 << 20;
/// Bytes of events that one reader has read ahead: a largest event with its 64 KiB of metadata fits twice.
pub(super) const AHEAD: usize = 128 << 10;

/// The memory for the readers of one project.
#[derive(Clone, Debug)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Room {
    /// A project's part of what there is for `all`, which has [`HELD`].
    pub(super) fn new(all: &Arc<Semaphore>) -> Self {
        Self { all: Arc::clone(all), own: Arc::new(Semaphore::new(HELD / 4)) }
    }

    /// Waits for [`AHEAD`] bytes. Nobody who waits for its own project's part keeps others from theirs.
    pub(super) async fn take(&self) -> Option<Hold> {
        let own = Arc::clone(&self.own).acquire_many_owned(AHEAD as u32).await.ok()?;
        let all = Arc::clone(&self.all).acquire_many_owned(AHEAD as u32).await.ok()?;
        Some(Hold { own, all })
    }
}

/// Bytes that are taken, until this is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
}

impl Hold {
    /// So many bytes of it, if they are left. The first part may be larger than the whole: an event is given out whatever its
    /// size.
    pub(super) fn part(&mut self, bytes: usize) -> Option<Self> {
        let left = self.all.num_permits();
        let bytes = if left == AHEAD { bytes.min(left) } else { bytes };
        Some(Self { all: self.all.split(bytes)?, own: self.own.split(bytes)? })
    }
}

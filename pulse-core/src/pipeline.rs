//! The pipeline of one daemon: what takes LiveKit's webhooks in, what sends to customers, and what repairs what was lost on
//! the way, put together once over a plane.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{deliver::dispatch::Dispatcher, ingest::Ingest, plane::ControlPlane, reconcile::Reconciler};

/// The parts of the pipeline.
#[derive(Debug)]
pub struct Pipeline {
    /// The plane under it.
    pub plane: Arc<ControlPlane>,
    /// Sends to customers.
    pub dispatcher: Arc<Dispatcher>,
    /// Takes LiveKit's webhooks in.
    pub ingest: Ingest,
    /// Repairs what was lost on the way.
    pub reconciler: Reconciler,
    /// Cancelled when the daemon stops: nothing new is begun, and what takes long and can be gone on with later is broken off.
    pub stopping: CancellationToken,
    /// Cancelled when the last request has ended: nobody needs the caches and the log of uses any more.
    pub drained: CancellationToken,
}

impl Pipeline {
    /// A pipeline that has not begun: [`worker::run`](crate::worker::run) runs it.
    pub fn new(plane: Arc<ControlPlane>) -> Arc<Self> {
        let stopping = CancellationToken::new();
        let dispatcher = Dispatcher::new(Arc::clone(&plane), stopping.clone());
        Arc::new(Self {
            ingest: Ingest::new(Arc::clone(&plane), Arc::clone(&dispatcher)),
            reconciler: Reconciler::new(Arc::clone(&plane), stopping.clone()),
            dispatcher,
            stopping,
            drained: CancellationToken::new(),
            plane,
        })
    }
}

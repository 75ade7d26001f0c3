//! Which media server answers for a cluster: the installation's own LiveKit, or a project's.

use std::sync::Arc;

use super::{
    breaker::Breakers,
    cluster::{Signer, signer_of},
    engine::MediaEngine,
    livekit::LiveKit,
};
use crate::{
    access::seal::Sealer,
    error::Result,
    model::{event::SERVER_CLUSTER, tenant::Tenant},
    outbound::Outbound,
    time::Clock,
};

/// A media server, and the key pair with which it is asked.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Engine {
    /// The key pair; it also says how rooms are called there.
    pub signer: Signer,
    /// The server.
    pub client: Arc<dyn MediaEngine>,
}

/// Makes media servers out of what is known of clusters.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Engines {
    outbound: Outbound,
    own: Signer,
    clock: Arc<dyn Clock>,
    breakers: Arc<Breakers>,
    /// Stands in for every server, in tests.
    script: Option<Arc<dyn MediaEngine>>,
}

impl Engines {
    /// Over the client for what leaves Pulse; `own` is the installation's LiveKit, and `script`, if any, answers in place of
    /// every server.
    pub fn new(outbound: Outbound, own: Signer, clock: Arc<dyn Clock>, script: Option<Arc<dyn MediaEngine>>) -> Self {
        Self { outbound, own, breakers: Arc::new(Breakers::new(Arc::clone(&clock))), clock, script }
    }

    /// The server of a cluster; `tenant` is whose it is, for a project's own. Errors: `wrong_state` when there is no key
    /// pair for it.
    pub fn of(&self, cluster: &str, tenant: Option<&Tenant>, sealer: &Sealer) -> Result<Engine> {
        let of_tenant = tenant.filter(|_| cluster != SERVER_CLUSTER);
        let signer = match of_tenant {
            Some(tenant) => signer_of(&tenant.project, &self.own, sealer)?,
            None => self.own.clone(),
        };
        let (outbound, clock) = (self.outbound.clone(), Arc::clone(&self.clock));
        let client: Arc<dyn MediaEngine> = match (&self.script, of_tenant) {
            (Some(script), _) => Arc::clone(script),
            (None, Some(_)) => {
                Arc::new(LiveKit::of_tenant(outbound, signer.clone(), clock, Arc::clone(&self.breakers)))
            }
            (None, None) => Arc::new(LiveKit::own(outbound, signer.clone(), clock)),
        };
        Ok(Engine { signer, client })
    }

    /// Whether the installation has a LiveKit of its own with a key pair.
    pub fn has_own(&self) -> bool {
        !self.own.api_key.is_empty()
    }
}

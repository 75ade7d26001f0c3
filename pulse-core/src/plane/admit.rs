//! Rate limits of the API: who pays for a call, and what is left to them. Over a Redis that is set, daemons count
//! together; without one, each by itself.

use std::{fmt, net::IpAddr, sync::Arc};

use super::ControlPlane;
use crate::{
    access::{Caller, network},
    error::{Code, Error, Result},
    id::{KeyId, ProjectId},
    limit::{Decision, Limiter, Patience, Rate, SharedLimiter},
    op::Call,
    parts::Parts,
};

/// Requests a minute from one address without credentials (the plan's figure).
const ANONYMOUS: Rate = Rate { per_minute: 100 };
/// Payers that are remembered.
const REMEMBERED: usize = 200_000;

/// Who is counted by a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Payer {
    Address(IpAddr),
    Key(KeyId),
    Project(ProjectId),
}

impl fmt::Display for Payer {
    /// Its name among all daemons.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => write!(f, "address:{ip}"),
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Project(id) => write!(f, "project:{id}"),
        }
    }
}

/// Who counts.
#[derive(Debug)]
pub(super) enum Limits {
    Alone(Limiter<Payer>),
    Together(SharedLimiter<Payer>),
}

impl Limits {
    pub(super) fn of(parts: &Parts) -> Self {
        match &parts.redis {
            None => Self::Alone(Limiter::new(REMEMBERED)),
            Some(redis) => Self::Together(SharedLimiter::new(REMEMBERED, Arc::clone(redis), Arc::clone(&parts.clock))),
        }
    }
}

impl ControlPlane {
    /// Spends the cost against every limit that holds for the caller; the tightest is told to the edge. A call pays
    /// once: an edge asks before it reads the request, so that refused requests cost as much as others. Waits for a shared
    /// limit no longer than [`BOUND`](crate::limit::BOUND).
    pub async fn admit(&self, call: &Call, cost: u32) -> Result<()> {
        if call.rate.is_told() {
            return Ok(());
        }
        let payers: [Option<(Payer, Rate, &str)>; 2] = match &call.caller {
            Caller::Operator(_) => return Ok(()),
            Caller::Anonymous => [call.ip.map(|ip| (Payer::Address(network::bucket(ip)), ANONYMOUS, "address")), None],
            Caller::Key(key) => {
                let record = &key.record;
                let own = record.project.limits.requests_per_minute;
                let Some(per_minute) = own.or(record.org.plan.requests_per_minute()) else { return Ok(()) };
                let rate = Rate { per_minute };
                let project = Payer::Project(record.project.id);
                [Some((Payer::Key(record.id), rate, "key")), Some((project, rate, "project"))]
            }
        };
        let mut patience = Patience::default();
        for (payer, rate, kind) in payers.into_iter().flatten() {
            let decision = self.spend(&payer, rate, cost, &mut patience).await;
            call.rate.tell(decision);
            if !decision.allowed {
                self.parts.metrics.limited.with_label_values(&[kind]).inc();
                return Err(Error::new(
                    Code::RateLimited,
                    format!("the limit of {} requests a minute is used up", rate.per_minute),
                )
                .retry_after(decision.reset_seconds.max(1)));
            }
        }
        Ok(())
    }

    async fn spend(&self, payer: &Payer, rate: Rate, cost: u32, patience: &mut Patience) -> Decision {
        match &self.limits {
            Limits::Alone(limiter) => limiter.spend(payer, rate, cost, self.parts.clock.monotonic()),
            Limits::Together(limiter) => limiter.spend(payer, rate, cost, patience).await,
        }
    }
}

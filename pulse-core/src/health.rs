//! How the parts of this installation are. Anybody may ask, so asking costs next to nothing: a part is probed for a short
//! time, by one request for all that ask soon after.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    fresh::Fresh,
    limit::Standing,
    media::cluster::reach,
    parts::Parts,
    time::Clock,
};

/// For how long a probe waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long it is told again what the store was: load balancers ask once in a few seconds, and each look is a write.
const STORE_LIFE: Duration = Duration::from_secs(1);
/// For how long it is told again what LiveKit was.
const LIVEKIT_LIFE: Duration = Duration::from_secs(3);

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Health {
    /// It works.
    Ok,
    /// Some of it works.
    Degraded,
    /// It does not work.
    Down,
}

/// How one part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartStatus {
    /// How it is.
    pub state: Health,
    /// What it is: an engine, an address.
    pub name: String,
    /// What is wrong, when something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How long it took to answer, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
}

/// What the store and LiveKit were when they were last probed.
#[derive(Debug)]
pub(crate) struct Probes {
    store: Fresh<PartStatus>,
    livekit: Fresh<PartStatus>,
}

impl Probes {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { store: Fresh::new(STORE_LIFE, Arc::clone(clock)), livekit: Fresh::new(LIVEKIT_LIFE, Arc::clone(clock)) }
    }
}

impl Parts {
    /// How the store is, or was less than a second ago.
    pub async fn store_health(&self) -> PartStatus {
        self.probes.store.get(probe(self.clock.as_ref(), self.store.info().engine, self.store.ping())).await
    }

    /// How the server's own LiveKit is, or was in the last seconds.
    pub async fn livekit_health(&self) -> PartStatus {
        let url = &self.settings.livekit.url;
        self.probes.livekit.get(probe(self.clock.as_ref(), url, reach(&self.outbound, url))).await
    }

    /// How Redis is, as of its last answer; `None` where none is set. Without it limits hold, daemon by daemon, so it is
    /// degraded and never down.
    pub fn redis_health(&self) -> Option<PartStatus> {
        let redis = self.redis.as_ref()?;
        let name = redis.place().to_string();
        Some(match redis.standing() {
            Standing::Up { latency } => {
                PartStatus { state: Health::Ok, name, detail: None, latency_ms: Some(millis(latency)) }
            }
            Standing::Away { why } => PartStatus { state: Health::Degraded, name, detail: Some(why), latency_ms: None },
        })
    }
}

async fn probe(clock: &dyn Clock, name: &str, answers: impl Future<Output = Result<()>>) -> PartStatus {
    let began = clock.monotonic();
    let wrong = match tokio::time::timeout(PATIENCE, answers).await {
        Ok(answer) => answer.err().map(|error| told(name, &error)),
        Err(_) => Some(format!("no answer within {} seconds", PATIENCE.as_secs())),
    };
    let took = clock.monotonic().saturating_sub(began);
    PartStatus {
        state: if wrong.is_none() { Health::Ok } else { Health::Down },
        name: name.to_owned(),
        latency_ms: wrong.is_none().then(|| millis(took)),
        detail: wrong,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What is wrong in words for anybody; the log alone has the cause.
fn told(name: &str, error: &Error) -> String {
    tracing::warn!(part = name, cause = ?error.cause().map(ToString::to_string), "a probe failed: {}", error.message());
    error.message().to_owned()
}

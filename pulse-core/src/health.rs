//! How the parts of this installation are. Anybody may ask, so asking costs next to nothing: all parts are probed at once,
//! for a short time, by one request for all that ask in the next seconds.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{error::Result, time::Clock};

/// For how long a probe waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// For how long what a probe found is told again.
const KEPT: Duration = Duration::from_secs(3);

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

/// What the store and LiveKit were when they were last probed, and when that was by the monotonic clock.
#[derive(Debug, Default)]
pub struct Probes(tokio::sync::Mutex<Option<(Duration, PartStatus, PartStatus)>>);

impl Probes {
    /// What was found in the last seconds; else probes, while all others who ask wait for that.
    pub async fn look(
        &self,
        clock: &dyn Clock,
        (store, store_answers): (&str, impl Future<Output = Result<()>>),
        (livekit, livekit_answers): (&str, impl Future<Output = Result<()>>),
    ) -> (PartStatus, PartStatus) {
        let mut last = self.0.lock().await;
        if let Some((at, store, livekit)) = last.as_ref()
            && clock.monotonic().saturating_sub(*at) < KEPT
        {
            return (store.clone(), livekit.clone());
        }
        let (store, livekit) = tokio::join!(probe(clock, store, store_answers), probe(clock, livekit, livekit_answers));
        *last = Some((clock.monotonic(), store.clone(), livekit.clone()));
        (store, livekit)
    }
}

async fn probe(clock: &dyn Clock, name: &str, answers: impl Future<Output = Result<()>>) -> PartStatus {
    let began = clock.monotonic();
    let wrong = match tokio::time::timeout(PATIENCE, answers).await {
        Ok(answer) => answer.err().map(|error| error.message().to_owned()),
        Err(_) => Some(format!("no answer within {} seconds", PATIENCE.as_secs())),
    };
    let took = clock.monotonic().saturating_sub(began);
    PartStatus {
        state: if wrong.is_none() { Health::Ok } else { Health::Down },
        name: name.to_owned(),
        latency_ms: wrong.is_none().then(|| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        detail: wrong,
    }
}

//! The state of this installation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::health::{Health, PartStatus};
use crate::{
    error::Result,
    op::{Cx, Meta, Operation, Planned, Scope},
};

/// Say how this installation is. The operator sees all of it, others only whether it works.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetStatus {}

/// How this installation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// `down` without the store, `degraded` without LiveKit or a Redis that is set: tokens are still made then, and limits hold
    /// for each daemon by itself.
    pub state: Health,
    /// The store; for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<PartStatus>,
    /// The server's own LiveKit; for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit: Option<PartStatus>,
    /// The Redis through which daemons share limits, where one is set; for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<PartStatus>,
    /// For how long this process has been up, in seconds; for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<u64>,
    /// The version of Pulse; for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version of the store's schema; for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
}

impl Operation for GetStatus {
    type Output = Status;
    const META: Meta = Meta::read("status.get", "/v1/status", &[], "Say how this installation is");

    fn scope(&self) -> Scope {
        Scope::System
    }

    async fn plan(&self, cx: &Cx<'_>) -> Result<Planned<Status>> {
        let (store, livekit) = tokio::join!(cx.parts.store_health(), cx.parts.livekit_health());
        let redis = cx.parts.redis_health();
        let whole = livekit.state == Health::Ok && redis.as_ref().is_none_or(|redis| redis.state == Health::Ok);
        let state = match store.state {
            Health::Ok if whole => Health::Ok,
            Health::Ok => Health::Degraded,
            Health::Degraded | Health::Down => Health::Down,
        };
        let bare = Status {
            state,
            store: None,
            livekit: None,
            redis: None,
            uptime_seconds: None,
            version: None,
            schema_version: None,
        };
        if !cx.call.caller.is_operator() {
            return Ok(Planned::read(bare));
        }
        Ok(Planned::read(Status {
            store: Some(store),
            livekit: Some(livekit),
            redis,
            uptime_seconds: Some(cx.parts.uptime().as_secs()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            schema_version: Some(cx.parts.store.info().schema_version),
            ..bare
        }))
    }
}

//! LiveKit: room names on the wire, grants, tokens, its server API, and reachability. No other module knows LiveKit's words.

pub mod breaker;
pub mod cluster;
pub mod engine;
pub mod engines;
pub mod event;
pub mod grants;
pub mod inspect;
pub mod livekit;
pub mod preset;
#[cfg(test)]
mod recorded;
pub mod room;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod token;
pub mod webhook;

//! The operations, one file a resource: request struct, `META` and plan side by side.

pub mod admin;
pub mod audit;
pub mod bans;
mod bounds;
pub mod deliveries;
mod diff;
pub mod endpoints;
pub mod events;
mod evict;
pub mod keys;
pub mod me;
pub mod organizations;
pub mod projects;
pub mod replays;
pub mod sessions;
pub mod status;
pub mod tokens;
pub mod unclaimed;
pub mod usage;

pub(crate) use evict::look_again;

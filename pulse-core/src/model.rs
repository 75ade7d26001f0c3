//! Plain data, one file an aggregate: what is stored, and how it is shown. No store, no clock, no I/O.

pub mod absence;
pub mod api_key;
pub mod audit;
pub mod ban;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod event_data;
pub mod interval;
pub mod job;
pub mod key_use;
pub mod organization;
pub mod project;
pub mod replay;
pub mod revocation;
pub mod session;
pub mod shard;
pub mod storage;
pub mod tenant;
pub mod text;
pub mod unclaimed;
pub mod usage;

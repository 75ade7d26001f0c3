//! Plain data, one file an aggregate: what is stored, and how it is shown. No store, no clock, no I/O.

pub mod api_key;
pub mod audit;
pub mod job;
pub mod key_use;
pub mod organization;
pub mod project;
pub mod revocation;
pub mod storage;
pub mod tenant;
pub mod text;

//! The operations, one file a resource: request struct, `META` and plan side by side.

pub mod admin;
pub mod audit;
mod diff;
pub mod keys;
pub mod me;
pub mod organizations;
pub mod projects;
pub mod status;
pub mod tokens;

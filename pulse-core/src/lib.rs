//! All control-plane logic of Pulse, as a library that could run inside any server.
//!
//! # The layering law
//!
//! A module may use the ones above it in this list, never those below:
//!
//! 1. [`error`], [`id`], [`time`], [`entropy`], [`secret`], [`files`], [`fresh`], [`page`], [`patch`]: words that everything else is written in.
//! 2. [`model`]: plain data, one file an aggregate.
//! 3. [`store`]: a dozen primitives over documents; engines for memory, SQLite and MongoDB.
//! 4. [`repo`]: typed access to the store, one file an aggregate. A query without its tenant has no name here.
//! 5. [`access`]: who calls, what they may do, how keys are checked, how secrets are sealed.
//! 6. [`media`]: LiveKit: room names, grants, tokens; [`health`]: whether the store and LiveKit answer.
//! 7. [`op`], [`wire`]: what an operation is, and how it becomes an HTTP request and back.
//! 8. [`plane`]: [`plane::ControlPlane::execute`], the only door to every operation.
//! 9. [`ops`], [`registry`]: the operations themselves, and the list of all of them.
//! 10. [`config`], [`boot`]: settings, and a plane put together from them over a store.
//! 11. [`worker`]: what happens without being asked: purge, sweeps, cache refresh.
//!
//! Nothing here knows a terminal, the environment, a home directory or an HTTP server.

pub mod access;
pub mod boot;
pub mod config;
pub mod entropy;
pub mod error;
pub mod files;
pub mod fresh;
pub mod health;
pub mod id;
pub mod limit;
pub mod media;
pub mod metrics;
pub mod model;
pub mod op;
pub mod openapi;
pub mod ops;
pub mod outbound;
pub mod page;
pub mod patch;
pub mod plane;
pub mod registry;
pub mod repo;
pub mod secret;
pub mod store;
pub mod time;
pub mod wire;
pub mod worker;

pub use error::{Error, Result};

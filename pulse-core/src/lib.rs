//! All control-plane logic of Pulse, as a library that could run inside any server.
//!
//! # The layering law
//!
//! A module may use those of its own line and of the lines above it, never one below; a test reads this list and holds
//! the modules to it.
//!
//! 1. [`error`], [`id`], [`time`], [`entropy`], [`secret`], [`patch`], [`files`], [`fresh`], [`metrics`], [`limit`],
//!    [`outbound`]: words and tools that everything else is written with.
//! 2. [`model`], [`access::key`], [`access::network`], [`access::pepper`], [`access::permission`], [`access::seal`],
//!    [`media::grants`], [`media::preset`], [`media::room`], [`media::token`]: plain data and its rules.
//! 3. [`store`], [`page`]: a dozen primitives over documents; engines for memory, SQLite and MongoDB.
//! 4. [`repo`]: typed access to the store, one file an aggregate. A query without its tenant has no name here.
//! 5. [`access`]: who calls, and how keys are checked.
//! 6. All of [`media`]: LiveKit.
//! 7. [`parts`], [`health`]: everything that operations use, put together; whether the store and LiveKit answer.
//! 8. [`op`], [`wire`]: what an operation is, and how it becomes an HTTP request and back.
//! 9. [`plane`]: [`plane::ControlPlane::execute`], the only door to every operation.
//! 10. [`ops`], [`registry`], [`openapi`]: the operations themselves, the list of all of them, and its documents.
//! 11. [`config`], [`boot`]: settings, and a plane put together from them over a store.
//! 12. [`worker`]: what happens without being asked: purge, sweeps, cache refresh.
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
pub mod parts;
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

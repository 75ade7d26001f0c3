//! All control-plane logic of Pulse, as a library that could run inside any server.
//!
//! # The layering law
//!
//! A module may use those of its own line and of the lines above it, never one below; a test reads this list and holds
//! the modules to it.
//!
//! 1. [`error`], [`fault`], [`id`], [`time`], [`entropy`], [`secret`], [`patch`], [`files`], [`fresh`], [`metrics`],
//!    [`limit`], [`outbound`], [`deliver::courtesy`]: words and tools that everything else is written with.
//! 2. [`model`], [`deliver::breaker`], [`deliver::event_filter`], [`deliver::pace`], [`deliver::schedule`], [`deliver::sign`],
//!    [`deliver::state`], [`access::key`], [`access::network`], [`access::pepper`],
//!    [`access::permission`], [`access::seal`], [`media::event`], [`media::grants`], [`media::preset`], [`media::room`],
//!    [`media::token`], [`media::webhook`]: plain data and its rules.
//! 3. [`store`], [`page`]: a dozen primitives over documents; engines for memory, SQLite and MongoDB.
//! 4. [`repo`]: typed access to the store, one file an aggregate. A query without its tenant has no name here.
//! 5. [`access`], [`meter`], [`watch`]: who calls, and how keys are checked; what evidence comes to; events as they happen.
//! 6. All of [`media`]: LiveKit.
//! 7. [`parts`], [`health`]: everything that operations use, put together; whether the store and LiveKit answer.
//! 8. [`op`], [`wire`]: what an operation is, and how it becomes an HTTP request and back.
//! 9. [`plane`]: [`plane::ControlPlane::execute`], the only door to every operation.
//! 10. [`ingest`], [`deliver`], [`reconcile`], [`retention`]: from LiveKit's events to durable facts and to the
//!     customer, and back to order when something was lost.
//! 11. [`ops`], [`registry`], [`openapi`]: the operations themselves, the list of all of them, and its documents.
//! 12. [`config`], [`boot`]: settings, and a plane put together from them over a store.
//! 13. [`pipeline`], [`worker`]: what happens without being asked, put together and run.
//!
//! Nothing here knows a terminal, the environment, a home directory or an HTTP server.

pub mod access;
pub mod boot;
pub mod config;
pub mod deliver;
pub mod entropy;
pub mod error;
pub mod fault;
pub mod files;
pub mod fresh;
pub mod health;
pub mod id;
pub mod ingest;
pub mod limit;
pub mod media;
pub mod meter;
pub mod metrics;
pub mod model;
pub mod op;
pub mod openapi;
pub mod ops;
pub mod outbound;
pub mod page;
pub mod parts;
pub mod patch;
pub mod pipeline;
pub mod plane;
pub mod reconcile;
pub mod registry;
pub mod repo;
pub mod retention;
pub mod secret;
pub mod store;
pub mod time;
pub mod watch;
pub mod wire;
pub mod worker;

pub use error::{Error, Result};

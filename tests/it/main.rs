//! The integration tests, one binary: the peers are started once for all of them.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails and says why"
)]

mod api;
mod cli;
mod daemon;
mod docs_webhooks;
mod engine;
mod events;
mod faults;
mod invariants;
mod layers;
mod limits;
mod media;
mod openapi;
mod operations;
mod peers;
mod pipeline;
mod registry;
mod scaling;
mod store;
mod tour;

//! The integration tests, one binary: the peers are started once for all of them.

mod api;
mod cli;
mod daemon;
mod media;
mod peers;
mod registry;
mod store;

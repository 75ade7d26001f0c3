//! The integration tests, one binary: the peers are started once for all of them.

mod api;
mod peers;
mod registry;
mod store;

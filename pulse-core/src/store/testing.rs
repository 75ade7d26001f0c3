//! What tests of stores and of everything above them need: the conformance suite that each engine passes, a comparison
//! of random programs with the memory engine, and a store that fails when a test wants it to.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

pub mod conformance;
pub mod faulty;
pub mod model;
pub mod sample;

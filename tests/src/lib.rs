//! The harness of the whole-system tests: real peers on the loopback address, and the programs under test.
//!
//! Readiness is awaited, never slept for; everything started is ended with the test, or with the test process; a
//! harness that cannot go on fails the test that asked for it and says what it saw.

#![expect(clippy::panic, clippy::expect_used, reason = "a harness that cannot go on fails the test that asked for it")]

pub mod cli;
pub mod daemon;
pub mod jwt;
pub mod latency;
pub mod livekit_sender;
pub mod peers;
pub mod plane;
pub mod ports;
pub mod process;
pub mod proxy;
mod reaper;
pub mod receiver;
pub mod secrets;
pub mod stub;
pub mod terminal;

pub use reaper::temporary_folder;

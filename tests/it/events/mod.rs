//! Events on their way through the real daemon, from LiveKit, or a sender that does what LiveKit does, to customers'
//! receivers, while processes die and disks fail.

mod crashes;
mod daemons;
mod disks;
mod kept;
mod ledger;
mod livekit;
mod load;
mod replays;
mod scene;
mod secrecy;
mod shutdown;
mod signatures;
mod timing;

/// How often a test does what it does at random: as told for a soak, else so often.
#[expect(clippy::disallowed_methods, reason = "tests/soak tells the tests through the environment")]
fn rounds(usual: u32) -> u32 {
    std::env::var("PULSE_SOAK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

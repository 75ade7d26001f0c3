//! Sending webhooks. The rules are values and functions without a clock, a store or a socket; the dispatcher asks them
//! what to do, and does it.
//!
//! - [`sign`]: signatures of Standard Webhooks, made and checked.
//! - [`schedule`]: when the next attempt is due; `Retry-After`.
//! - [`state`]: the states of a delivery and the only function that changes them.
//! - [`breaker`], [`pace`]: when an endpoint is left alone, and how fast it may be called.
//! - [`courtesy`]: how replays make way for what happens now.
//! - [`event_filter`]: which types of events an endpoint gets.
//! - [`ending`]: deliveries that end without being sent.
//! - [`replay`]: events that are sent once more, or for the first time, because somebody asked for it.
//! - [`dispatch`]: who asks and does it.

pub mod breaker;
pub mod courtesy;
pub mod dispatch;
pub mod ending;
pub mod event_filter;
pub mod pace;
pub mod replay;
pub mod schedule;
pub mod sign;
pub mod state;

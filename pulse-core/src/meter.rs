//! What is metered, as pure rules: evidence becomes spans of time, spans become facts. Nothing here reads or writes; the
//! same evidence in any order, and any number of times, comes to the same facts.

pub mod fact;
pub mod span;
pub mod sums;

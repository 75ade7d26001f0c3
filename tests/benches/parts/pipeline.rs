//! Figures of events on their way, from LiveKit's webhook to the customer's server.
//!
//! `pulsed` is a process of its own over a SQLite file, set as it is shipped: every commit synced, sweeps, the reconciler
//! and the gauges at work, a LiveKit that answers it with who is there. Who sends and who receives is in this process.
//! Latencies count from the moment for which an event was due, so that a stall shows in every event behind it.
//!
//! Every part takes its counts from a [`Scale`], so that all of it can be run small. Some parts are gone through over a real
//! MongoDB as well, with counts of its own.

mod audience;
mod backlog;
mod ceiling;
mod cores;
mod daemons;
mod drain;
mod ground;
mod livekit;
mod load;
mod memory;
mod neighbour;
mod recording;
mod replay;
mod scale;
mod scene;
mod spread;
mod stop;
mod streams;

pub(crate) use self::{
    ceiling::ceiling, daemons::daemons, drain::drain, load::load, memory::memory, neighbour::neighbour, replay::replay,
    scale::Scale, stop::stop_and_start, streams::streams,
};

/// A count as a person writes it: `1,000,000`.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

//! Figures of events on their way, from LiveKit's webhook to the customer's server.
//!
//! `pulsed` is a process of its own over a SQLite file, set as it is shipped: every commit synced, sweeps, the reconciler
//! and the gauges at work, a LiveKit that answers it with who is there. Who sends and who receives is in this process.
//! Latencies count from the moment for which an event was due, so that a stall shows in every event behind it.
//!
//! Every part takes its counts from a [`Scale`], so that all of it can be run small.

mod backlog;
mod ceiling;
mod cores;
mod drain;
mod livekit;
mod load;
mod memory;
mod neighbour;
mod recording;
mod scene;
mod stop;
mod streams;

use std::time::Duration;

pub(crate) use self::{
    ceiling::ceiling, drain::drain, load::load, memory::memory, neighbour::neighbour, stop::stop_and_start,
    streams::streams,
};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Decisions of rate limits of each kind.
    pub(super) decisions: usize,
    /// Projects of the crowd, each with one endpoint.
    projects: usize,
    /// Rooms of each of them.
    rooms: usize,
    /// People in each life of a room.
    participants: usize,
    /// Connections of the sender.
    senders: usize,
    /// The load: events in a second, and for how long.
    load: (u32, Duration),
    /// The load that is aimed at.
    aimed_load: (u32, Duration),
    /// Events of one round against the store alone, and rounds.
    ceiling: (usize, usize),
    /// Deliveries that wait for one fast receiver.
    backlog: usize,
    /// Turns of the plain loop, at most.
    plain_loop: usize,
    /// Deliveries that wait for a receiver that hangs.
    hanging: usize,
    /// The neighbour's load beside it: events in a second, for how long while the first attempts run out of time, and for
    /// how long afterwards.
    neighbour: (u32, [Duration; 2]),
    /// Pairs of runs with and without.
    pairs: usize,
    /// Pending rows: projects, endpoints of each, events of each.
    pending: (usize, usize, usize),
    /// For how long some of them are sent while memory is looked at.
    sending: Duration,
    /// Claims that are timed.
    claims: usize,
    /// The load under which the daemon is asked to end: events in a second, and after how long.
    ending: (u32, Duration),
    /// Deliveries that wait when the daemon starts.
    waiting: usize,
    /// How often the daemon is ended and started.
    ends: usize,
    /// Readers of one project's events.
    readers: usize,
    /// What they read: events in a second, and for how long.
    watched: (u32, Duration),
}

impl Scale {
    /// What is reported.
    pub(crate) const FULL: Self = Self {
        decisions: 400_000,
        projects: 100,
        rooms: 10,
        participants: 3,
        senders: 64,
        load: (2_000, Duration::from_secs(60)),
        aimed_load: (4_000, Duration::from_secs(20)),
        ceiling: (20_000, 3),
        backlog: 100_000,
        plain_loop: 5_000,
        hanging: 50_000,
        neighbour: (500, [Duration::from_secs(5), Duration::from_secs(30)]),
        pairs: 3,
        pending: (50, 20, 1_000),
        sending: Duration::from_secs(10),
        claims: 2_000,
        ending: (1_000, Duration::from_secs(3)),
        waiting: 10_000,
        ends: 3,
        readers: 1_000,
        watched: (200, Duration::from_secs(20)),
    };
    /// Enough to go once through everything.
    pub(crate) const SMALL: Self = Self {
        decisions: 8_000,
        projects: 5,
        rooms: 4,
        participants: 2,
        senders: 16,
        load: (100, Duration::from_secs(4)),
        aimed_load: (150, Duration::from_secs(2)),
        ceiling: (400, 1),
        backlog: 1_000,
        plain_loop: 200,
        hanging: 1_000,
        neighbour: (50, [Duration::from_secs(4), Duration::from_secs(1)]),
        pairs: 2,
        pending: (3, 4, 1_000),
        sending: Duration::from_millis(500),
        claims: 50,
        ending: (50, Duration::from_secs(1)),
        waiting: 500,
        ends: 2,
        readers: 40,
        watched: (20, Duration::from_secs(2)),
    };
}

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

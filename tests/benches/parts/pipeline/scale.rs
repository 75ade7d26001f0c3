//! How much of everything the parts about events and limits go through: to be reported, or only to see that they work.

use std::time::Duration;

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Over SQLite.
    pub(super) sqlite: Counts,
    /// Over MongoDB, which carries less.
    pub(super) mongodb: Counts,
    /// Decisions of rate limits of each kind.
    pub(crate) decisions: usize,
    /// Projects of the crowd, each with one endpoint.
    pub(super) projects: usize,
    /// Rooms of each of them.
    pub(super) rooms: usize,
    /// People in each life of a room.
    pub(super) participants: usize,
    /// Connections of the sender.
    pub(super) senders: usize,
    /// The load that is aimed at.
    pub(super) aimed_load: (u32, Duration),
    /// Turns of the plain loop, at most.
    pub(super) plain_loop: usize,
    /// Deliveries that wait for a receiver that hangs.
    pub(super) hanging: usize,
    /// The neighbour's load beside it: events in a second, for how long while the first attempts run out of time, and for
    /// how long afterwards.
    pub(super) neighbour: (u32, [Duration; 2]),
    /// Pairs of runs with and without.
    pub(super) pairs: usize,
    /// Pending rows: projects, endpoints of each, events of each.
    pub(super) pending: (usize, usize, usize),
    /// For how long some of them are sent while memory is looked at.
    pub(super) sending: Duration,
    /// Claims that are timed.
    pub(super) claims: usize,
    /// The load under which the daemon is asked to end: events in a second, and after how long.
    pub(super) ending: (u32, Duration),
    /// Deliveries that wait when the daemon starts.
    pub(super) waiting: usize,
    /// How often the daemon is ended and started.
    pub(super) ends: usize,
    /// Readers of one project's events.
    pub(super) readers: usize,
    /// What they read: events in a second, and for how long.
    pub(super) watched: (u32, Duration),
    /// Events of one turn of one daemon, and of several that share a store.
    pub(super) shared: usize,
}

/// What is more over one engine than over the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// The load: events in a second, and for how long.
    pub(super) load: (u32, Duration),
    /// Events of one round against the store alone, and rounds.
    pub(super) ceiling: (usize, usize),
    /// Deliveries that wait for one fast receiver.
    pub(super) backlog: usize,
    /// Events that are replayed.
    pub(super) replayed: usize,
    /// Another project's load beside that: events in a second, and for how long.
    pub(super) live: (u32, Duration),
}

impl Scale {
    /// What is reported.
    pub(crate) const FULL: Self = Self {
        sqlite: Counts {
            load: (2_000, Duration::from_secs(60)),
            ceiling: (20_000, 3),
            backlog: 100_000,
            replayed: 100_000,
            live: (500, Duration::from_secs(12)),
        },
        mongodb: Counts {
            load: (200, Duration::from_secs(30)),
            ceiling: (4_000, 1),
            backlog: 10_000,
            replayed: 10_000,
            live: (50, Duration::from_secs(12)),
        },
        decisions: 400_000,
        projects: 100,
        rooms: 10,
        participants: 3,
        senders: 64,
        aimed_load: (4_000, Duration::from_secs(20)),
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
        shared: 4_000,
    };
    /// Enough to go once through everything.
    pub(crate) const SMALL: Self = Self {
        sqlite: Counts {
            load: (100, Duration::from_secs(4)),
            ceiling: (400, 1),
            backlog: 1_000,
            replayed: 1_000,
            live: (50, Duration::from_secs(1)),
        },
        mongodb: Counts {
            load: (20, Duration::from_secs(2)),
            ceiling: (200, 1),
            backlog: 300,
            replayed: 300,
            live: (20, Duration::from_secs(1)),
        },
        decisions: 8_000,
        projects: 5,
        rooms: 4,
        participants: 2,
        senders: 16,
        aimed_load: (150, Duration::from_secs(2)),
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
        shared: 200,
    };
}

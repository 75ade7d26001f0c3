//! Connections that wait for another request to the same place.
//!
//! A pool of its own, where hyper-util has one: there, the connection that a request gets is known only to the pool, so
//! nobody could say whether a byte of that very request went out, and a slow place gets more connections than requests. Here
//! an exchange owns its connection from the first to the last byte.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use url::Host;

use super::{line::Line, policy::Trust};

/// Idle connections to one place: as many as a project has requests under way at once, unless the operator allows more. Endpoints of
/// many projects may be at one place: when 8 were kept, 40 % of 2,000 deliveries a second made a new connection.
pub(super) const MAX_IDLE_PER_PLACE: usize = 64;
/// Idle connections in all: each costs a descriptor.
const MAX_IDLE: usize = 512;
/// How often idle connections are looked through, and for how many looks one is kept: 30 to 40 seconds.
const LOOK: Duration = Duration::from_secs(10);
const LOOKS: u32 = 3;
/// For how long hyper may take to be done with the request before.
const READY: Duration = Duration::from_millis(100);

/// Where a connection leads, and for whom: what one customer named is never reached over what the operator allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Who named it.
    pub(super) trust: Trust,
    /// Whether it speaks TLS.
    pub(super) tls: bool,
    /// Its host.
    pub(super) host: Host<String>,
    /// Its port.
    pub(super) port: u16,
}

/// An idle connection and how many looks it has seen.
#[derive(Debug)]
struct Idle {
    line: Line,
    looks: u32,
}

#[derive(Debug, Default)]
struct Idles {
    places: HashMap<Place, Vec<Idle>>,
    count: usize,
    is_watched: bool,
}

/// Idle connections by place.
#[derive(Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Idles>>);

impl Pool {
    /// The connection to the place that was used last, if one is still open.
    pub(super) async fn take(&self, place: &Place) -> Option<Line> {
        loop {
            let mut line = self.0.lock().take(place)?;
            if let Ok(true) = tokio::time::timeout(READY, line.is_ready()).await {
                return Some(line);
            }
        }
    }

    /// Keeps a connection for the next request. One too many is closed.
    pub(super) fn put(&self, place: Place, line: Line) {
        if !line.is_open() {
            return;
        }
        let mut idles = self.0.lock();
        if idles.put(place, line) && !idles.is_watched {
            idles.is_watched = true;
            tokio::spawn(watch(Arc::downgrade(&self.0)));
        }
    }

    /// How many connections are idle.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.0.lock().count
    }
}

impl Idles {
    fn take(&mut self, place: &Place) -> Option<Line> {
        let idle = self.places.get_mut(place)?.pop()?;
        self.count -= 1;
        Some(idle.line)
    }

    fn put(&mut self, place: Place, line: Line) -> bool {
        let kept = self.places.entry(place).or_default();
        if kept.len() >= MAX_IDLE_PER_PLACE || self.count >= MAX_IDLE {
            return false;
        }
        kept.push(Idle { line, looks: 0 });
        self.count += 1;
        true
    }

    /// Drops what was idle for too long or has ended; tells whether anything is left.
    fn look_through(&mut self) -> bool {
        self.places.retain(|_, kept| {
            kept.retain_mut(|idle| {
                idle.looks += 1;
                idle.looks <= LOOKS && idle.line.is_open()
            });
            !kept.is_empty()
        });
        self.count = self.places.values().map(Vec::len).sum();
        self.is_watched = self.count > 0;
        self.is_watched
    }
}

/// Looks through the idle connections while there are any.
async fn watch(idles: Weak<Mutex<Idles>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(idles) = idles.upgrade() else { return };
        if !idles.lock().look_through() {
            return;
        }
    }
}

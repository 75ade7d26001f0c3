//! A customer's webhook receiver on the loopback address, as good or as hostile as a test wants it, down to the bytes.
//!
//! It reads each request whole, writes it down, asks its [`Behaviour`] what to do, and does that. What it does can be
//! changed while it runs, for all paths or for one. It counts what the invariants of sending are about: attempts per
//! webhook id, deliveries that came twice, bytes that differ between attempts, signatures that do not hold.
//!
//! It has a thread and a runtime of its own, so it serves tests that block as well as benchmarks, and answers
//! thousands of requests a second. Waiting for it is awaiting: nothing here sleeps to find out. All that it does to a
//! client is bounded in bytes and in time, and it goes away when dropped.

mod action;
mod certificates;
mod connection;
mod faults;
mod ledger;
mod listening;
mod perform;
mod request;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

pub use action::{Action, Answer, Behaviour, Gate};
pub use certificates::{Certificate, authority_pem};
pub use faults::{Fault, table};
pub use ledger::{Counts, End, Exchange, Recording, Tally};
pub use request::Received;

use self::{ledger::Ledger, listening::Order};
use crate::{
    latency::{Departures, Latencies},
    ports,
    secrets::{Secrets, shows_wire_name},
};

/// The name of a receiver's thread.
pub const THREAD: &str = "receiver";

/// What stands between a client and the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTP.
    Plain,
    /// HTTPS with this certificate.
    Tls(Certificate),
    /// The connection is accepted and what the client says first is read, but the handshake never goes on.
    TlsStall,
}

/// Looks at a request and says why it is not what a customer can trust.
type Verify = Box<dyn Fn(&Received) -> Result<(), String> + Send + Sync>;
/// The text by which a request's event is known from end to end.
type Correlate = Box<dyn Fn(&Received) -> Option<String> + Send + Sync>;

/// How a receiver is started.
pub struct ReceiverOptions {
    door: Door,
    recording: Recording,
    verify: Option<Verify>,
    correlate: Option<(Correlate, Arc<Departures>)>,
}

impl std::fmt::Debug for ReceiverOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiverOptions").field("door", &self.door).field("recording", &self.recording).finish()
    }
}

impl Default for ReceiverOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiverOptions {
    /// Plain HTTP, and everything is kept.
    pub fn new() -> Self {
        Self { door: Door::Plain, recording: Recording::Everything, verify: None, correlate: None }
    }

    /// Has another door.
    #[must_use]
    pub fn door(mut self, door: Door) -> Self {
        self.door = door;
        self
    }

    /// Keeps counters but no request: for loads.
    #[must_use]
    pub fn counting(mut self) -> Self {
        self.recording = Recording::Counters;
        self
    }

    /// Has every request looked at, for example whether its signature holds; the answer does not change. Failures are
    /// counted, and [`Receiver::objections`] tells the first of them.
    #[must_use]
    pub fn verify(mut self, verify: impl Fn(&Received) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.verify = Some(Box::new(verify));
        self
    }

    /// Finds in every request the text under which its event set out, so that latencies are measured from end to end
    /// and deliveries counted by event. The first arrival on each path counts. A request without a webhook id is tallied
    /// under this text.
    #[must_use]
    pub fn correlate(
        mut self,
        departures: &Arc<Departures>,
        correlate: impl Fn(&Received) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.correlate = Some((Box::new(correlate), Arc::clone(departures)));
        self
    }
}

/// What the receiver's thread and its owner share.
struct Shared {
    door: RwLock<Door>,
    usual: RwLock<Behaviour>,
    by_path: RwLock<HashMap<String, Behaviour>>,
    ledger: Ledger,
    verify: Option<Verify>,
    correlate: Option<(Correlate, Arc<Departures>)>,
    connections: AtomicU64,
    news: Notify,
}

impl Shared {
    fn behaviour_at(&self, path: &str) -> Behaviour {
        let by_path = self.by_path.read();
        by_path.get(path).cloned().unwrap_or_else(|| self.usual.read().clone())
    }
}

/// A running receiver, ended when dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: Option<mpsc::UnboundedSender<Order>>,
    runtime: tokio::runtime::Handle,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("url", &self.url()).field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Receiver {
    /// One that keeps everything, over plain HTTP.
    pub fn start(behaviour: impl Into<Behaviour>) -> Self {
        Self::start_with(ReceiverOptions::new(), behaviour)
    }

    /// One as the options say.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start_with(options: ReceiverOptions, behaviour: impl Into<Behaviour>) -> Self {
        let address = ports::free_address();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let listener = {
            let _entered = handle.enter();
            listening::listener(address)
        };
        let shared = Arc::new(Shared {
            door: RwLock::new(options.door),
            usual: RwLock::new(behaviour.into()),
            by_path: RwLock::default(),
            ledger: Ledger::new(options.recording),
            verify: options.verify,
            correlate: options.correlate,
            connections: AtomicU64::new(0),
            news: Notify::new(),
        });
        let (orders, received) = mpsc::unbounded_channel();
        let serving = listening::serve(address, listener, Arc::clone(&shared), received);
        // Named, so that a measurement can tell its processor time from that of the rest.
        let thread = std::thread::Builder::new().name(THREAD.to_owned());
        let thread = thread.spawn(move || runtime.block_on(serving)).expect("a thread");
        Self { address, shared, orders: Some(orders), runtime: handle, thread: Some(thread) }
    }

    /// Where it listens, without a path: `http://127.0.0.1:PORT`, or `https://` behind a TLS door.
    pub fn url(&self) -> String {
        let scheme = if *self.shared.door.read() == Door::Plain { "http" } else { "https" };
        format!("{scheme}://{}", self.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this from the next request on, at every path that has no behaviour of its own.
    pub fn behave(&self, behaviour: impl Into<Behaviour>) {
        *self.shared.usual.write() = behaviour.into();
    }

    /// Does this from the next request on at one path, its query included.
    pub fn behave_at(&self, path: &str, behaviour: impl Into<Behaviour>) {
        self.shared.by_path.write().insert(path.to_owned(), behaviour.into());
    }

    /// Puts in another door for the connections that come from now on.
    pub fn set_door(&self, door: Door) {
        *self.shared.door.write() = door;
    }

    /// Stops listening and ends all connections, as a process that died. When this returns, the port refuses.
    pub async fn close(&self) {
        self.order(Order::Close).await;
    }

    /// Listens again at the same port.
    pub async fn open(&self) {
        self.order(Order::Open).await;
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, carried_out) = oneshot::channel();
        let orders = self.orders.as_ref().expect("orders are taken until the drop");
        assert!(orders.send(order(done)).is_ok(), "the receiver's thread has ended");
        carried_out.await.expect("the receiver's thread has ended");
    }

    /// Every request so far, in order of arrival; none when it only counts.
    pub fn received(&self) -> Vec<Received> {
        self.shared.ledger.received()
    }

    /// Every exchange that has ended so far; none when it only counts.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.ledger.exchanges()
    }

    /// The counters.
    pub fn counts(&self) -> Counts {
        self.shared.ledger.counts()
    }

    /// What is known of one webhook id at one path.
    pub fn tally(&self, path: &str, webhook_id: &str) -> Option<Tally> {
        self.shared.ledger.tally(path, webhook_id)
    }

    /// What is known of all webhook ids: path, id, tally.
    pub fn tallies(&self) -> Vec<(String, String, Tally)> {
        self.shared.ledger.tallies()
    }

    /// How often each event was delivered, which is answered with a 2xx, by the text that correlates: over all paths,
    /// or at one.
    pub fn deliveries(&self, path: Option<&str>) -> HashMap<String, u32> {
        self.shared.ledger.deliveries(path)
    }

    /// How long events took from their departure to their first arrival at each path.
    pub fn latencies(&self) -> Latencies {
        self.shared.ledger.latencies()
    }

    /// The same, and begins anew: for a run in several parts.
    pub fn take_latencies(&self) -> Latencies {
        self.shared.ledger.take_latencies()
    }

    /// The first faults of what came: what `verify` said, requests that were none.
    pub fn objections(&self) -> Vec<String> {
        self.shared.ledger.objections()
    }

    /// Waits until so many requests have come, and gives them.
    ///
    /// # Panics
    /// When they have not within `bound`.
    pub async fn wait_for(&self, requests: u64, bound: Duration) -> Vec<Received> {
        self.wait_until(&format!("{requests} requests came"), bound, move |counts| counts.requests >= requests).await;
        self.received()
    }

    /// Waits until the counters are as told.
    ///
    /// # Panics
    /// When they are not within `bound`, measured by the machine's clock whatever the caller's runtime does with its
    /// own. The message says `what` was awaited and how far it came.
    pub async fn wait_until(
        &self,
        what: &str,
        bound: Duration,
        reached: impl Fn(&Counts) -> bool + Send + Sync + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        let waiting = async move {
            loop {
                let mut news = std::pin::pin!(shared.news.notified());
                // Before the look: what comes after it is heard.
                news.as_mut().enable();
                if reached(&shared.ledger.counts()) {
                    return;
                }
                news.await;
            }
        };
        let bounded = self.runtime.spawn(async move { tokio::time::timeout(bound, waiting).await });
        if bounded.await.expect("the receiver's thread runs").is_err() {
            panic!("{} did not reach this within {bound:?}: {what}; {:?}", self.url(), self.counts());
        }
    }

    /// What was delivered in a test shows nothing that Pulse keeps to itself.
    fn assert_no_secret(&self) {
        let secrets = Secrets::default();
        for received in self.received() {
            let body = String::from_utf8_lossy(&received.body);
            let shown = secrets.shown_in(&body);
            assert!(
                shown.is_empty() && !shows_wire_name(&body),
                "a delivery shows what is Pulse's own ({shown:?}): {body}"
            );
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            self.assert_no_secret();
        }
    }
}

/// The moment, by the machine's clock.
fn now() -> Instant {
    Instant::now()
}

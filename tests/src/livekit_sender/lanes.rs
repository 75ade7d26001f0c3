//! The sender itself: lanes side by side, in each lane one webhook after the other.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use pulse_core::time::Clock;
use tokio::{sync::Notify, time, time::Instant};

use super::{
    manner::{Fate, Manner, Next},
    post::{HttpPost, Post},
    report::{Outcome, Report},
    webhook::{ApiKey, Webhook},
};

/// See the head of [`crate::livekit_sender`]. A copy is the same sender.
#[derive(Debug)]
pub struct LiveKitSender<P = HttpPost> {
    inner: Arc<Inner<P>>,
}

impl<P> Clone for LiveKitSender<P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

#[derive(Debug)]
struct Inner<P> {
    key: ApiKey,
    manner: Manner,
    clock: Arc<dyn Clock>,
    post: P,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The webhooks that wait in each lane that has a worker.
    lanes: HashMap<String, VecDeque<Queued>>,
    queued: usize,
    outcomes: Vec<Outcome>,
}

#[derive(Debug)]
struct Queued {
    webhook: Webhook,
    scheduled: Instant,
    queued: Instant,
}

impl LiveKitSender<HttpPost> {
    /// One that posts to this address over so many connections. The clock says when tokens are signed.
    pub fn to(url: &str, connections: usize, key: ApiKey, manner: Manner, clock: Arc<dyn Clock>) -> Self {
        Self::over(HttpPost::to(url, connections, manner.answer_within), key, manner, clock)
    }

    /// Posts to another address from now on, tries of earlier webhooks included.
    pub fn aim(&self, url: &str) {
        self.inner.post.aim(url);
    }
}

impl<P: Post> LiveKitSender<P> {
    /// One that posts in its own way.
    pub fn over(post: P, key: ApiKey, manner: Manner, clock: Arc<dyn Clock>) -> Self {
        let (state, news) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { key, manner, clock, post, state, news }) }
    }

    /// Queues a webhook now.
    pub fn send(&self, webhook: Webhook) {
        self.send_scheduled(webhook, Instant::now());
    }

    /// Queues a webhook that was to be sent at `scheduled`: its latency counts from there.
    pub fn send_scheduled(&self, webhook: Webhook, scheduled: Instant) {
        let queued = Queued { webhook, scheduled, queued: Instant::now() };
        let mut state = self.inner.state.lock();
        state.queued += 1;
        if let Some(waiting) = state.lanes.get_mut(&queued.webhook.lane) {
            if waiting.len() >= self.inner.manner.max_depth {
                self.inner.end(&mut state, queued, Fate::QueueFull, 0);
            } else {
                waiting.push_back(queued);
            }
            return;
        }
        let lane = queued.webhook.lane.clone();
        state.lanes.insert(lane.clone(), VecDeque::from([queued]));
        tokio::spawn(Arc::clone(&self.inner).work(lane));
    }

    /// Waits until every webhook has met its fate, and gives the outcomes in the order of their ends.
    ///
    /// # Panics
    /// When that is not so within `bound`.
    pub async fn settled(&self, bound: Duration) -> Vec<Outcome> {
        let ended = async {
            loop {
                let mut news = std::pin::pin!(self.inner.news.notified());
                // Before the look: what ends after it is heard.
                news.as_mut().enable();
                {
                    let state = self.inner.state.lock();
                    if state.outcomes.len() == state.queued {
                        return state.outcomes.clone();
                    }
                }
                news.await;
            }
        };
        match time::timeout(bound, ended).await {
            Ok(outcomes) => outcomes,
            Err(_) => {
                let (unsettled, queued) = (self.unsettled(), self.inner.state.lock().queued);
                panic!("{unsettled} of {queued} webhooks have not met their fate within {bound:?}");
            }
        }
    }

    /// How many webhooks have not met their fate.
    pub fn unsettled(&self) -> usize {
        let state = self.inner.state.lock();
        state.queued - state.outcomes.len()
    }

    /// The outcomes so far.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.inner.state.lock().outcomes.clone()
    }

    /// The outcomes so far of a load that `began` then, joined with what arrived.
    pub fn report(&self, deliveries: &HashMap<String, u32>, began: Instant) -> Report {
        Report::join(&self.inner.state.lock().outcomes, deliveries, began)
    }
}

impl<P: Post> Inner<P> {
    /// Sends what waits in a lane until nothing does.
    async fn work(self: Arc<Self>, lane: String) {
        while let Some(queued) = self.next_in(&lane) {
            let (fate, tries) = if self.manner.is_fresh(queued.queued.elapsed()) {
                self.deliver(&queued.webhook).await
            } else {
                (Fate::TooOld, 0)
            };
            self.end(&mut self.state.lock(), queued, fate, tries);
        }
    }

    fn next_in(&self, lane: &str) -> Option<Queued> {
        let mut state = self.state.lock();
        let next = state.lanes.get_mut(lane).and_then(VecDeque::pop_front);
        if next.is_none() {
            state.lanes.remove(lane);
        }
        next
    }

    /// Tries until the end, with the same bytes and the same token.
    async fn deliver(&self, webhook: &Webhook) -> (Fate, u32) {
        let authorization = self.key.authorization(&webhook.body, self.clock.now());
        let mut made = 0;
        loop {
            made += 1;
            let tried = self.post.post(&authorization, webhook.body.clone()).await;
            match self.manner.next(made, &tried) {
                Next::Done(fate) => return (fate, made),
                Next::Again(wait) => time::sleep(wait).await,
            }
        }
    }

    fn end(&self, state: &mut State, queued: Queued, fate: Fate, tries: u32) {
        let Queued { webhook: Webhook { id, correlation, .. }, scheduled, .. } = queued;
        let ended = Instant::now();
        let took = ended.saturating_duration_since(scheduled);
        state.outcomes.push(Outcome { id, correlation, fate, tries, took, ended });
        self.news.notify_waiters();
    }
}

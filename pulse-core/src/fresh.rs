//! A value that costs something to find out and may be a little old.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use crate::time::Clock;

/// Keeps a value for a while. Whoever asks meanwhile gets it, and of those who ask together one finds it out.
#[derive(Debug)]
pub struct Fresh<T> {
    life: Duration,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<(Duration, T)>>,
}

impl<T: Clone> Fresh<T> {
    /// No value yet; one that is found out is kept for `life`.
    pub fn new(life: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { life, clock, kept: Mutex::new(None) }
    }

    /// The value that is kept, else the one that `find` gives. When whoever finds it out goes away, the next one does.
    pub async fn get(&self, find: impl Future<Output = T>) -> T {
        let mut kept = self.kept.lock().await;
        if let Some((since, value)) = &*kept
            && self.clock.monotonic().saturating_sub(*since) < self.life
        {
            return value.clone();
        }
        let value = find.await;
        *kept = Some((self.clock.monotonic(), value.clone()));
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::time::{ManualClock, Timestamp};

    #[tokio::test]
    async fn many_who_ask_together_cause_one_look_until_the_value_is_old() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000)));
        let fresh = Fresh::new(Duration::from_secs(1), clock.clone());
        let looks = AtomicU32::new(0);
        let look = || async {
            tokio::task::yield_now().await;
            looks.fetch_add(1, Ordering::SeqCst) + 1
        };
        let (a, b, c) = tokio::join!(fresh.get(look()), fresh.get(look()), fresh.get(look()));
        assert_eq!((a, b, c), (1, 1, 1));
        clock.advance(Duration::from_millis(999));
        assert_eq!(fresh.get(look()).await, 1);
        clock.advance(Duration::from_millis(1));
        assert_eq!(fresh.get(look()).await, 2, "an old value was given");
    }
}

//! How long a connection may keep the server waiting: one bound for the headers of a request, from their first byte on,
//! and a longer one for a connection on which nothing is asked, so that clients can keep theirs. hyper has a single timer
//! for both. A request under way has no bound here: its body has one of its own, and so has a stream that nobody takes.
//!
//! Everything here happens in the task of the connection, or wakes it, so that the deadline is looked at whenever it may
//! have changed. A request that arrives in one piece never touches the timer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Version;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// What the other side is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The rest of a request's headers, or its first byte on a new connection.
    Headers,
    /// Any request at all.
    Request,
}

/// What happens on a connection.
#[derive(Debug)]
struct State {
    /// Requests under way.
    requests: u32,
    /// Whether requests share the connection, so that its bytes say nothing about one request.
    multiplexed: bool,
    awaited: Awaited,
    since: Instant,
}

/// The bounds of one connection.
#[derive(Debug)]
pub(super) struct Patience {
    headers: Duration,
    idle: Duration,
    state: Mutex<State>,
}

impl Patience {
    /// For a connection that was made just now.
    pub(super) fn new(headers: Duration, idle: Duration) -> Arc<Self> {
        let state = State { requests: 0, multiplexed: false, awaited: Awaited::Headers, since: Instant::now() };
        Arc::new(Self { headers, idle, state: Mutex::new(state) })
    }

    /// A request is under way until what this returns is dropped.
    pub(super) fn request(self: &Arc<Self>, version: Version) -> UnderWay {
        let mut state = self.state.lock();
        state.requests += 1;
        state.multiplexed = version == Version::HTTP_2;
        UnderWay(Arc::clone(self))
    }

    /// Whether requests share the connection, as in HTTP/2.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.state.lock().multiplexed
    }

    /// Waits until the other side has taken too long, and says with what.
    pub(super) async fn end(&self) -> Awaited {
        let sleep = tokio::time::sleep(self.headers);
        tokio::pin!(sleep);
        std::future::poll_fn(|cx| self.poll_end(sleep.as_mut(), cx)).await
    }

    /// Waits until for as long as a connection may be idle no request was under way, from now on.
    pub(super) async fn quiet(&self) {
        let mut began = Instant::now();
        loop {
            tokio::time::sleep_until(began + self.idle).await;
            let state = self.state.lock();
            let since = if state.requests > 0 { Instant::now() } else { state.since };
            if since <= began {
                return;
            }
            began = since;
        }
    }

    fn poll_end(&self, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Awaited> {
        loop {
            let Some((deadline, awaited)) = self.deadline() else { return Poll::Pending };
            // A later deadline is looked up when the timer fires, an earlier one moves the timer.
            if deadline < sleep.deadline() {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(awaited);
            }
            sleep.as_mut().reset(deadline);
        }
    }

    /// `None` while a request is under way.
    fn deadline(&self) -> Option<(Instant, Awaited)> {
        let state = self.state.lock();
        let bound = match state.awaited {
            Awaited::Headers => self.headers,
            Awaited::Request => self.idle,
        };
        (state.requests == 0).then(|| (state.since + bound, state.awaited))
    }

    fn has_read(&self) {
        let mut state = self.state.lock();
        if state.requests == 0 && !state.multiplexed && state.awaited == Awaited::Request {
            state.awaited = Awaited::Headers;
            state.since = Instant::now();
        }
    }

    /// A connection that still takes an answer is not idle. In HTTP/2 the bytes may be those of a ping.
    fn has_written(&self) {
        let mut state = self.state.lock();
        if state.awaited == Awaited::Request && !state.multiplexed {
            state.since = Instant::now();
        }
    }
}

/// What a request gives to an answer that goes on after it has begun: a stream without an end.
#[derive(Clone, Debug)]
pub(crate) struct KeepOpen {
    patience: Arc<Patience>,
    version: Version,
}

impl KeepOpen {
    pub(super) fn of(patience: &Arc<Patience>, version: Version) -> Self {
        Self { patience: Arc::clone(patience), version }
    }

    /// The request is under way until what this returns is dropped, too.
    pub(crate) fn request(&self) -> UnderWay {
        self.patience.request(self.version)
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Patience>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.requests -= 1;
        state.awaited = Awaited::Request;
        state.since = Instant::now();
    }
}

/// A stream whose traffic is told to the patience of its connection.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) patience: Arc<Patience>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.patience.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.patience.has_written();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.patience.has_written();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(75);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_goes_on_keeps_its_connection_until_it_ends() {
        let patience = Patience::new(Duration::from_secs(10), IDLE);
        let request = patience.request(Version::HTTP_2);
        let stream = KeepOpen::of(&patience, Version::HTTP_2).request();
        drop(request);
        let ended = tokio::time::timeout(IDLE * 10, patience.end()).await;
        assert!(ended.is_err(), "{ended:?}");
        drop(stream);
        let began = Instant::now();
        assert_eq!((patience.end().await, began.elapsed()), (Awaited::Request, IDLE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_told_to_end_is_cut_when_it_is_quiet_for_long_enough() {
        let patience = Patience::new(Duration::from_secs(10), IDLE);
        drop(patience.request(Version::HTTP_2));
        let late = patience.request(Version::HTTP_2);
        let began = Instant::now();
        let answers = async {
            tokio::time::sleep(IDLE * 3).await;
            drop(late);
        };
        tokio::join!(patience.quiet(), answers);
        assert_eq!(began.elapsed(), IDLE * 4, "what was under way had its time, and as long again");
    }
}

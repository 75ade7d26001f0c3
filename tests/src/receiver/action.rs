//! What a receiver does with a request, and how it decides.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::watch;

use super::Received;

/// A whole answer with its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header fields beside the length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A status with nothing else.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes on the wire.
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(128 + self.body.len());
        bytes.put_slice(format!("HTTP/1.1 {} Received\r\n", self.status).as_bytes());
        for (name, value) in &self.headers {
            bytes.put_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        // These have no body, and so no length.
        if !matches!(self.status, 100..=199 | 204 | 304) {
            bytes.put_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.put_slice(b"\r\n");
        bytes.put_slice(&self.body);
        bytes.freeze()
    }
}

/// What becomes of a request once it has been read.
#[derive(Clone, Debug)]
pub enum Action {
    /// This answer; the connection is kept alive.
    Answer(Answer),
    /// This answer, and then the connection is closed, though the answer did not say so: as a server whose time for idle
    /// connections is over. It is closed when the exchange is counted as ended; a client that hurries can be faster.
    AnswerThenClose(Answer),
    /// So much later.
    After(Duration, Box<Self>),
    /// When the gate is opened.
    Hold(Gate, Box<Self>),
    /// No answer; the connection is held until the client leaves.
    Hang,
    /// No answer; the connection is closed in order.
    Close,
    /// No answer; the connection is reset.
    Reset,
    /// The connection is reset in the middle of the answer's headers.
    ResetMidHeaders,
    /// A status of 200 and headers without end, one byte after each pause.
    SlowHeaders(Duration),
    /// The headers of a 200 at once, and of its body, a megabyte long, one byte after each pause.
    SlowBody(Duration),
    /// The headers of a 200 at once, and a body that does not end, as fast as the client takes it.
    EndlessBody,
    /// A 200 with a body of so many bytes.
    LargeBody(u64),
    /// Bytes that are not HTTP, and then the end of the connection.
    Garbage,
    /// So many interim answers (103), and then a 200.
    Interim(u32),
    /// A 204 that goes on with a length and a body, which it must not have.
    NoContentWithBody,
}

impl Action {
    /// A status with nothing else.
    pub fn status(status: u16) -> Self {
        Self::Answer(Answer::new(status))
    }

    /// All is well.
    pub fn ok() -> Self {
        Self::status(204)
    }

    /// Somewhere else.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::Answer(Answer::new(status).header("Location", location))
    }

    /// Never again.
    pub fn gone() -> Self {
        Self::status(410)
    }

    /// Not so fast, with this text as the time to wait.
    pub fn too_many(retry_after: &str) -> Self {
        Self::Answer(Answer::new(429).header("Retry-After", retry_after))
    }

    /// Not now, with this text as the time to wait, if any.
    pub fn unavailable(retry_after: Option<&str>) -> Self {
        let answer = Answer::new(503);
        Self::Answer(match retry_after {
            Some(text) => answer.header("Retry-After", text),
            None => answer,
        })
    }

    /// This action, so much later.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self::After(pause, Box::new(self))
    }

    /// This action, when the gate is opened.
    #[must_use]
    pub fn held_by(self, gate: &Gate) -> Self {
        Self::Hold(gate.clone(), Box::new(self))
    }
}

/// Holds requests until the test opens it; it stays open.
#[derive(Clone, Debug)]
pub struct Gate {
    open: watch::Sender<bool>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: watch::Sender::new(false) }
    }
}

impl Gate {
    /// A closed one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets go all that it holds, and all that comes.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn passed(&self) {
        // The sender is here, so the wait ends with the gate's opening only.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// Decides what becomes of each request.
#[derive(Clone)]
pub struct Behaviour {
    decide: Arc<dyn Fn(&Received) -> Action + Send + Sync>,
}

impl std::fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Behaviour")
    }
}

impl Behaviour {
    /// As the function says.
    pub fn by(decide: impl Fn(&Received) -> Action + Send + Sync + 'static) -> Self {
        Self { decide: Arc::new(decide) }
    }

    /// The n-th request with a webhook id gets the n-th action, and those after the last one get the last one.
    ///
    /// # Panics
    /// When there is no action.
    pub fn by_attempt(actions: impl Into<Vec<Action>>) -> Self {
        let actions: Vec<Action> = actions.into();
        assert!(!actions.is_empty(), "there is an action for the first attempt");
        Self::by(move |received| {
            let attempt = usize::try_from(received.attempt).expect("a count of requests").max(1);
            actions[attempt.min(actions.len()) - 1].clone()
        })
    }

    pub(super) fn decide(&self, received: &Received) -> Action {
        (self.decide)(received)
    }
}

impl From<Action> for Behaviour {
    /// Always the same.
    fn from(action: Action) -> Self {
        Self::by(move |_| action.clone())
    }
}

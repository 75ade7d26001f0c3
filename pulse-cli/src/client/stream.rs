//! Events as they happen: from a server as server-sent events, from a store by looking.

use std::{io, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use pulse_core::{
    error::Code,
    id::EventId,
    time::Timestamp,
    watch::{Item, Watching, Why},
};
use serde::Deserialize;
use sse_stream::{Sse, SseByteStream};

use crate::exit::Failure;

/// After how long without a word a server is taken for gone: it says something every 15 seconds.
pub(super) const SILENCE: Duration = Duration::from_secs(45);

/// The exit code of a stream that ended by itself.
const LOST: u8 = 3;

/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// An event of the project.
    Event {
        /// Its id.
        id: EventId,
        /// The envelope, as webhooks carry it.
        envelope: String,
    },
    /// Where the stream begins: to go on after, until the first event has come.
    Position(EventId),
    /// Events between these moments may be missing.
    Gap {
        /// From then.
        from: Timestamp,
        /// Until then.
        to: Timestamp,
    },
    /// The stream has ended, for this reason; another one goes on where it was, where that makes sense.
    End(Failure),
}

/// A stream of events.
pub struct EventStream(Source);

enum Source {
    Local { watching: Box<Watching>, position: Option<EventId> },
    Remote(Frames),
}

type Frames = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>>>>;

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EventStream").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Gap {
    from: Timestamp,
    to: Timestamp,
}

#[derive(Deserialize)]
struct End {
    code: String,
    detail: String,
    hint: Option<String>,
}

impl EventStream {
    /// What a store gives.
    pub(super) fn local(watching: Watching) -> Self {
        let position = watching.position();
        Self(Source::Local { watching: Box::new(watching), position })
    }

    /// The body of a server's answer, until it has had nothing for longer than `silence`.
    pub(super) fn remote(response: reqwest::Response, silence: Duration) -> Self {
        let bytes = stream::unfold(response, |mut response| async move {
            let chunk = response.chunk().await.map_err(io::Error::other).transpose()?;
            Some((chunk, response))
        });
        Self::of_bytes(bytes, silence)
    }

    /// What comes as bytes, until there are none for longer than `silence`. The bytes are waited for, not the events: a comment
    /// is a sign of life, too.
    fn of_bytes(bytes: impl Stream<Item = io::Result<Bytes>> + 'static, silence: Duration) -> Self {
        let bytes = stream::unfold(Box::pin(bytes), move |mut bytes| async move {
            let chunk = tokio::time::timeout(silence, bytes.next()).await;
            Some((chunk.unwrap_or_else(|_| Some(Err(io::ErrorKind::TimedOut.into())))?, bytes))
        });
        Self(Source::Remote(Box::pin(SseByteStream::new(bytes))))
    }

    /// What is heard next.
    pub async fn next(&mut self) -> Heard {
        match &mut self.0 {
            Source::Local { watching, position } => match position.take() {
                Some(position) => Heard::Position(position),
                None => next_local(watching).await,
            },
            Source::Remote(stream) => next_remote(stream).await,
        }
    }
}

async fn next_local(watching: &mut Watching) -> Heard {
    loop {
        match watching.next().await {
            Item::Event(told) => return Heard::Event { id: told.id, envelope: told.envelope().to_owned() },
            Item::Gap { from, to } => return Heard::Gap { from, to },
            Item::Tick { .. } => {}
            Item::End(Why::TooSlow) => return lost("more happened than could be read"),
            Item::End(Why::Stopping | Why::StoreUnavailable) => return lost("the store cannot be read"),
        }
    }
}

async fn next_remote(stream: &mut Frames) -> Heard {
    loop {
        let Some(Ok(heard)) = stream.next().await else { return lost("the connection to the server was lost") };
        match (heard.event.as_deref(), heard.data) {
            (None, data) => {
                let Some(id) = heard.id.and_then(|id| id.parse().ok()) else { continue };
                return data.map_or(Heard::Position(id), |envelope| Heard::Event { id, envelope });
            }
            (Some("gap"), Some(data)) => {
                if let Ok(Gap { from, to }) = serde_json::from_str(&data) {
                    return Heard::Gap { from, to };
                }
            }
            (Some("end"), Some(data)) => {
                return match serde_json::from_str::<End>(&data) {
                    Ok(End { code, detail, hint }) => {
                        let exit = Code::by_name(&code).map_or(LOST, |code| code.info().exit);
                        Heard::End(Failure::new(exit, &code, detail).hint(hint.unwrap_or_default()))
                    }
                    Err(_) => lost("the server has ended the stream"),
                };
            }
            // What this version does not know.
            (Some(_), _) => {}
        }
    }
}

fn lost(what: &str) -> Heard {
    Heard::End(Failure::new(LOST, "connection_lost", what))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says these things, each so many seconds after the one before, and then nothing, on a connection that stays
    /// open.
    fn says(what: Vec<(u64, &'static str)>) -> impl Stream<Item = io::Result<Bytes>> {
        let said = stream::iter(what).then(|(seconds, text)| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(Bytes::from_static(text.as_bytes()))
        });
        said.chain(stream::pending())
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_keeps_a_quiet_stream_and_silence_ends_it() {
        let began = tokio::time::Instant::now();
        let beats = [(15, ":\n\n"); 10];
        let event = (15, "id: evt_01J00000000000000000000001\ndata: {}\n\n");
        let mut heard = EventStream::of_bytes(says([&beats[..], &[event]].concat()), SILENCE);
        assert!(matches!(heard.next().await, Heard::Event { .. }), "beats are a sign of life");
        assert_eq!(began.elapsed(), Duration::from_secs(165));
        match heard.next().await {
            Heard::End(failure) => assert_eq!(failure.exit_code(), LOST),
            other => panic!("{other:?} on a dead connection"),
        }
        assert_eq!(began.elapsed(), Duration::from_secs(165) + SILENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_frame_is_no_event_and_its_connection_is_dead_as_well() {
        let mut heard = EventStream::of_bytes(says(vec![(1, "id: evt_01J00000000000000000000001\ndata: {")]), SILENCE);
        assert!(matches!(heard.next().await, Heard::End(_)));
    }
}

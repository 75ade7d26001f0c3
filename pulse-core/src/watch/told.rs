//! An event as all its readers get it.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{WatchFilter, room::Hold};
use crate::{
    id::{EventId, SessionId},
    media::room::RoomName,
    model::event::Event,
};

/// An event as all its readers get it.
#[derive(Debug)]
pub struct Told {
    /// The event.
    pub id: EventId,
    kind: String,
    room: Option<RoomName>,
    session_id: Option<SessionId>,
    /// The event as one of a stream of server-sent events. JSON has no line breaks of its own.
    pub frame: Bytes,
    /// Where the envelope lies in the frame.
    envelope: Range<usize>,
}

impl Told {
    pub(super) fn new(event: &Event) -> Self {
        let head = format!("id: {}\ndata: ", event.id);
        let envelope = event.envelope();
        let place = head.len()..head.len() + envelope.len();
        Self {
            id: event.id,
            kind: event.kind.clone(),
            room: event.room.clone(),
            session_id: event.session_id,
            frame: Bytes::from(head + &envelope + "\n\n"),
            envelope: place,
        }
    }

    /// The same, counted for as long as anybody has its frame, be it the connection.
    pub(super) fn counted(self, hold: Hold) -> Arc<Self> {
        let frame = Bytes::from_owner(Counted { frame: self.frame, _hold: hold });
        Arc::new(Self { frame, ..self })
    }

    /// Its size in bytes, but for a little.
    pub(super) fn size(&self) -> usize {
        self.frame.len()
    }

    /// The envelope, as webhooks carry it.
    pub fn envelope(&self) -> &str {
        self.frame.get(self.envelope.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Whether somebody with this filter gets it.
    pub(super) fn fits(&self, filter: &WatchFilter) -> bool {
        filter.types.matches(&self.kind)
            && filter.room.as_ref().is_none_or(|room| self.room.as_ref() == Some(room))
            && filter.session_id.is_none_or(|session| self.session_id == Some(session))
    }
}

/// A frame with what it takes of the memory for those that catch up.
struct Counted {
    frame: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

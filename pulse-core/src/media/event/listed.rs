//! Rows of LiveKit's lists. They are the messages of its webhooks, in the same JSON, and are read into the same words
//! within the same bounds: what is a secret or of no use to Pulse is skipped without being read.
//!
//! Who is not in a list counts as gone. So a list is whole or it is none: one that is cut off, of another kind, or longer
//! than it may be is refused. A row without an id is nobody's and is left out.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    EgressFacts, IngressFacts,
    data::{self, without_wire_names},
    facts,
    lenient::Part,
    wire,
};
use crate::{
    media::room::WireRoom,
    model::event_data::{EgressData, EventData, IngressData, ParticipantKind, ParticipantState},
    time::Timestamp,
};

/// A room that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// LiveKit's id of this opening of the room.
    pub sid: String,
    /// Its name on the wire.
    pub name: WireRoom,
    /// When it was opened.
    pub created_at: Timestamp,
    /// How many are in it, hidden ones not counted. LiveKit counts now and then, so it may be some seconds old.
    pub participants: u32,
}

/// Who is in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// LiveKit's id of this stay in the room.
    pub sid: String,
    /// Who it is: unique in the room.
    pub identity: String,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub kind: ParticipantKind,
    /// Whether it is connected. Others are about to be, or were until just now.
    pub active: bool,
    /// When it came.
    pub joined_at: Timestamp,
    /// Its attributes. A client that may change its own metadata may have changed these.
    pub attributes: BTreeMap<String, String>,
}

/// A recording or a stream out of a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Egress {
    /// What Pulse decides by.
    pub facts: EgressFacts,
    /// What customers read of it; the room's name is still LiveKit's.
    pub data: EgressData,
}

/// A way into a room for streams. It may be used again and again, each time with another resource id, which is absent
/// before the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingress {
    /// What Pulse decides by.
    pub facts: IngressFacts,
    /// What customers read of it; the room's name is still LiveKit's.
    pub data: IngressData,
}

/// How many attributes or results a row has at most, on average: an empty one has two bytes, and takes a hundred times as
/// much memory.
const PARTS: usize = 4;

/// A page of a list.
#[derive(Debug, PartialEq)]
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// The token of the next page, when there is one.
    pub(crate) next: Option<String>,
}

impl<T: Row> Page<T> {
    /// Reads an answer that came at `now`, with at most `most` rows, which on average have at most [`PARTS`] parts. `None`: it
    /// is no whole list of these, or has more.
    pub(crate) fn read(answer: &[u8], most: usize, now: Timestamp) -> Option<Self> {
        let mut json = serde_json::Deserializer::from_slice(answer);
        let page = PageSeed { most, now, row: PhantomData }.deserialize(&mut json).ok()?;
        json.end().ok()?;
        Some(page)
    }
}

/// What is listed.
pub(crate) trait Row: Sized {
    /// The field of the answer in which the rows are.
    const FIELD: &'static str;
    /// LiveKit's message of a row.
    type Wire: for<'de> Deserialize<'de>;

    /// Takes over what Pulse uses; nothing of a row without an id. What has no time of its own is as of `now`.
    fn of(wire: Self::Wire, now: Timestamp) -> Option<Self>;

    /// How many attributes or results it has.
    fn parts(&self) -> usize {
        0
    }
}

impl Row for Room {
    const FIELD: &'static str = "rooms";
    type Wire = wire::Room;

    fn of(room: wire::Room, now: Timestamp) -> Option<Self> {
        Some(Self {
            created_at: facts::opened_at(&room).unwrap_or(now),
            sid: room.sid.0?,
            name: WireRoom::heard(room.name.0?),
            participants: room.num_participants.small(),
        })
    }
}

impl Row for Participant {
    const FIELD: &'static str = "participants";
    type Wire = wire::Participant;

    fn of(participant: wire::Participant, now: Timestamp) -> Option<Self> {
        Some(Self {
            joined_at: facts::joined_at(&participant).unwrap_or(now),
            sid: participant.sid.0?,
            identity: participant.identity.0.unwrap_or_default(),
            name: participant.name.0.unwrap_or_default(),
            kind: participant.kind.or_zero(),
            active: participant.state.or_zero() == ParticipantState::Active,
            attributes: participant.attributes.0,
        })
    }

    fn parts(&self) -> usize {
        self.attributes.len()
    }
}

impl Row for Egress {
    const FIELD: &'static str = "items";
    type Wire = wire::Egress;

    fn of(egress: wire::Egress, _: Timestamp) -> Option<Self> {
        let facts = facts::egress(&egress)?;
        let mut data = EventData { egress: data::egress(egress), ..EventData::default() };
        without_wire_names(&mut data, facts.wire_room.as_deref());
        Some(Self { facts, data: data.egress? })
    }

    fn parts(&self) -> usize {
        let EgressData { files, segments, streams, images, .. } = &self.data;
        files.len() + segments.len() + streams.len() + images.len()
    }
}

impl Row for Ingress {
    const FIELD: &'static str = "items";
    type Wire = wire::Ingress;

    fn of(ingress: wire::Ingress, _: Timestamp) -> Option<Self> {
        let facts = facts::ingress(&ingress)?;
        let mut data = EventData { ingress: data::ingress(ingress), ..EventData::default() };
        without_wire_names(&mut data, facts.wire_room.as_deref());
        Some(Self { facts, data: data.ingress? })
    }
}

/// `livekit.TokenPagination`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NextPage {
    token: String,
}

/// Reads a page with at most so many rows.
struct PageSeed<T> {
    most: usize,
    now: Timestamp,
    row: PhantomData<T>,
}

impl<'de, T: Row> DeserializeSeed<'de> for PageSeed<T> {
    type Value = Page<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Page<T>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Row> Visitor<'de> for PageSeed<T> {
    type Value = Page<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {}", T::FIELD)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Page<T>, A::Error> {
        let (mut rows, mut next) = (None, None);
        while let Some(field) = entries.next_key::<String>()? {
            match field.as_str() {
                _ if field == T::FIELD => {
                    rows = Some(entries.next_value_seed(RowsSeed { most: self.most, now: self.now, row: self.row })?);
                }
                "next_page_token" | "nextPageToken" => {
                    let page = entries.next_value::<Part<NextPage>>()?.0;
                    next = page.map(|page| page.token).filter(|token| !token.is_empty());
                }
                _ => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        // LiveKit names an empty list, too: an object without it is the word of something else.
        let rows = rows.ok_or_else(|| A::Error::missing_field(T::FIELD))?;
        Ok(Page { rows, next })
    }
}

/// Reads at most so many rows, one after another: what is not kept of a row is gone before the next is read.
struct RowsSeed<T> {
    most: usize,
    now: Timestamp,
    row: PhantomData<T>,
}

impl<'de, T: Row> DeserializeSeed<'de> for RowsSeed<T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Row> Visitor<'de> for RowsSeed<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let (mut rows, mut left, mut parts_left) = (Vec::new(), self.most, self.most.saturating_mul(PARTS));
        let too_many = || A::Error::custom("too many rows");
        while let Some(Part(row)) = elements.next_element::<Part<T::Wire>>()? {
            left = left.checked_sub(1).ok_or_else(too_many)?;
            let Some(row) = row.and_then(|row| T::of(row, self.now)) else { continue };
            parts_left = parts_left.checked_sub(row.parts()).ok_or_else(too_many)?;
            rows.push(row);
        }
        Ok(rows)
    }
}

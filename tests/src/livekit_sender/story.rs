//! Made-up lives of rooms, as LiveKit would tell them: the room starts, participants join, publish and leave, the room
//! finishes. The same seed tells the same story.
//!
//! The bytes have the fields, the order and about the size of recorded ones, `turnPassword` included, which must never
//! reach a customer.

use std::time::Duration;

use bytes::Bytes;
use pulse_core::{
    entropy::{Entropy as _, SeededEntropy},
    time::Timestamp,
};
use serde_json::Value;

use super::webhook::{Webhook, correlation};

/// The alphabet of LiveKit's ids.
const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Characters of an id after its prefix.
const ID_LENGTH: usize = 12;
/// Characters of a TURN password.
const TURN_PASSWORD_LENGTH: usize = 44;
const CODECS: &str = r#"[{"mime":"audio/PCMU"}, {"mime":"audio/PCMA"}, {"mime":"audio/opus"}, {"mime":"audio/red"}, {"mime":"video/VP8"}, {"mime":"video/H264"}, {"mime":"video/VP9"}, {"mime":"video/AV1"}, {"mime":"video/H265"}, {"mime":"video/rtx"}]"#;

/// The events of several rooms, interleaved: an iterator, without end unless told otherwise.
#[derive(Debug)]
pub struct Story {
    entropy: SeededEntropy,
    participants: usize,
    now: Timestamp,
    step: Duration,
    carry: Duration,
    lives: Option<u32>,
    rooms: Vec<Room>,
}

#[derive(Debug)]
struct Room {
    /// The name as LiveKit has it.
    wire_name: String,
    /// The events of this life that have been told.
    told: usize,
    /// The lives that have ended.
    lived: u32,
    sid: String,
    created: Timestamp,
    turn_password: String,
    guests: Vec<Guest>,
}

#[derive(Clone, Debug, Default)]
struct Guest {
    sid: String,
    identity: String,
    /// Milliseconds since 1970.
    joined: i64,
    track: String,
}

/// What happens to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Started,
    Joined(usize),
    Published(usize),
    Left(usize),
    Finished,
}

impl Step {
    /// The n-th of a life with so many participants: one after the other they join and publish, then they leave.
    fn of(n: usize, participants: usize) -> Self {
        let Some(n) = n.checked_sub(1) else { return Self::Started };
        let joining = 2 * participants;
        if n < joining {
            if n % 2 == 0 { Self::Joined(n / 2) } else { Self::Published(n / 2) }
        } else if n < joining + participants {
            Self::Left(n - joining)
        } else {
            Self::Finished
        }
    }
}

impl Story {
    /// Rooms of these names as LiveKit has them (`<project id>~<room>` on a shared LiveKit), each with so many
    /// participants in each of its lives. The first event is at `start`, each one `step` after the one before.
    ///
    /// # Panics
    /// When there is no room.
    pub fn new(
        seed: u64,
        wire_names: impl IntoIterator<Item = String>,
        participants: usize,
        start: Timestamp,
        step: Duration,
    ) -> Self {
        let rooms: Vec<Room> = wire_names.into_iter().map(Room::named).collect();
        assert!(!rooms.is_empty(), "a story has a room");
        let (entropy, carry) = (SeededEntropy::new(seed), Duration::ZERO);
        Self { entropy, participants, now: start, step, carry, lives: None, rooms }
    }

    /// Ends when each room has lived so often, with every room finished.
    #[must_use]
    pub fn lives(mut self, lives: u32) -> Self {
        self.lives = Some(lives);
        self
    }

    /// Events of one life of a room with so many participants.
    pub fn events_of_a_life(participants: usize) -> usize {
        3 * participants + 2
    }

    fn text(&self, prefix: &str, length: usize) -> String {
        let mut random = [0; TURN_PASSWORD_LENGTH];
        self.entropy.fill(&mut random[..length]);
        let letters = random[..length].iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        prefix.chars().chain(letters).collect()
    }

    fn id(&self, prefix: &str) -> String {
        self.text(prefix, ID_LENGTH)
    }

    fn below(&self, bound: usize) -> usize {
        let mut random = [0; 4];
        self.entropy.fill(&mut random);
        u32::from_be_bytes(random) as usize % bound
    }

    /// The moment of the next event. Steps are finer than the clock's milliseconds, so what is left over is carried.
    fn moment(&mut self) -> Timestamp {
        let now = self.now;
        self.carry += self.step;
        let whole = Duration::from_millis(u64::try_from(self.carry.as_millis()).unwrap_or(u64::MAX));
        self.carry -= whole;
        self.now = now.plus(whole);
        now
    }

    /// Prepares the room for this step of its life.
    fn enter(&mut self, which: usize, step: Step, now: Timestamp) {
        match step {
            Step::Started => {
                let (sid, turn_password) = (self.id("RM_"), self.text("", TURN_PASSWORD_LENGTH));
                let guest = |n| Guest { identity: format!("participant-{n}"), ..Guest::default() };
                let guests = (0..self.participants).map(guest).collect();
                let room = &mut self.rooms[which];
                (room.sid, room.turn_password, room.created, room.guests) = (sid, turn_password, now, guests);
            }
            Step::Joined(n) => {
                let sid = self.id("PA_");
                let guest = &mut self.rooms[which].guests[n];
                (guest.sid, guest.joined) = (sid, now.as_millis());
            }
            Step::Published(n) => self.rooms[which].guests[n].track = self.id("TR_VC"),
            Step::Left(_) | Step::Finished => {}
        }
    }
}

impl Iterator for Story {
    type Item = Webhook;

    fn next(&mut self) -> Option<Webhook> {
        if self.rooms.is_empty() {
            return None;
        }
        let which = self.below(self.rooms.len());
        let (now, id) = (self.moment(), self.id("EV_"));
        let step = Step::of(self.rooms[which].told, self.participants);
        self.enter(which, step, now);
        let room = &mut self.rooms[which];
        let webhook = room.webhook(step, id, now);
        room.told += 1;
        if step == Step::Finished {
            (room.told, room.lived) = (0, room.lived + 1);
            if self.lives.is_some_and(|lives| room.lived >= lives) {
                self.rooms.swap_remove(which);
            }
        }
        Some(webhook)
    }
}

impl Room {
    fn named(wire_name: String) -> Self {
        let created = Timestamp::from_millis(0);
        let (sid, turn_password, guests) = (String::new(), String::new(), Vec::new());
        Self { wire_name, told: 0, lived: 0, sid, created, turn_password, guests }
    }

    fn webhook(&self, step: Step, id: String, now: Timestamp) -> Webhook {
        let (event, sid, about) = match step {
            Step::Started => ("room_started", &self.sid, self.whole()),
            Step::Finished => ("room_finished", &self.sid, self.whole()),
            Step::Joined(n) => {
                let guest = &self.guests[n];
                ("participant_joined", &guest.sid, format!("{}, {}", self.whole(), guest.whole("ACTIVE", "")))
            }
            Step::Left(n) => {
                let (guest, why) = (&self.guests[n], r#", "disconnectReason":"CLIENT_INITIATED""#);
                ("participant_left", &guest.sid, format!("{}, {}", self.whole(), guest.whole("DISCONNECTED", why)))
            }
            Step::Published(n) => ("track_published", &self.guests[n].track, self.published(&self.guests[n])),
        };
        let created = now.as_secs();
        let body = format!(r#"{{"event":"{event}", {about}, "id":"{id}", "createdAt":"{created}"}}"#);
        let (correlation, lane) = (correlation(event, sid), self.wire_name.clone());
        Webhook { id, event: event.to_owned(), lane, correlation, body: Bytes::from(body) }
    }

    /// As in events of the room and of its participants.
    fn whole(&self) -> String {
        let Self { sid, wire_name, created, turn_password, .. } = self;
        let (name, seconds, millis) = (Value::from(wire_name.as_str()), created.as_secs(), created.as_millis());
        format!(
            r#""room":{{"sid":"{sid}", "name":{name}, "emptyTimeout":300, "departureTimeout":20, "creationTime":"{seconds}", "creationTimeMs":"{millis}", "turnPassword":"{turn_password}", "enabledCodecs":{CODECS}}}"#
        )
    }

    /// As in events of tracks: sids and names only.
    fn published(&self, guest: &Guest) -> String {
        let Guest { sid, identity, track, .. } = guest;
        let (room, name) = (&self.sid, Value::from(self.wire_name.as_str()));
        format!(
            r#""room":{{"sid":"{room}", "name":{name}}}, "participant":{{"sid":"{sid}", "identity":"{identity}"}}, "track":{{"sid":"{track}", "type":"VIDEO", "name":"camera", "width":1280, "height":720, "simulcast":true, "source":"CAMERA", "layers":[{{"width":1280, "height":720, "bitrate":1700000, "ssrc":916762928}}], "mimeType":"video/VP8", "mid":"7", "stream":"camera"}}"#
        )
    }
}

impl Guest {
    fn whole(&self, state: &str, more: &str) -> String {
        let Self { sid, identity, joined, .. } = self;
        let seconds = joined.div_euclid(1_000);
        format!(
            r#""participant":{{"sid":"{sid}", "identity":"{identity}", "state":"{state}", "metadata":"{{\"team\":\"blue\"}}", "joinedAt":"{seconds}", "joinedAtMs":"{joined}", "name":"{identity}", "version":2, "permission":{{"canSubscribe":true, "canPublish":true, "canPublishData":true}}, "attributes":{{"seat":"7"}}{more}, "clientProtocol":2}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::livekit_sender::correlation_of_delivery;

    const START: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn story(seed: u64) -> Story {
        let rooms = (0..3).map(|n| format!("prj_00000000000000000000000000~room \"{n}\""));
        Story::new(seed, rooms, 4, START, Duration::from_micros(500))
    }

    fn parsed(webhook: &Webhook) -> Value {
        serde_json::from_slice(&webhook.body).expect("the body is JSON")
    }

    #[test]
    fn every_room_lives_whole_lives_in_order() {
        let all: Vec<Webhook> = story(1).lives(2).collect();
        assert_eq!(all.len(), 3 * 2 * Story::events_of_a_life(4));
        let mut lanes: HashMap<&str, Vec<&str>> = HashMap::new();
        for webhook in &all {
            lanes.entry(&webhook.lane).or_default().push(&webhook.event);
        }
        let life = [&["room_started"][..], &["participant_joined", "track_published"].repeat(4)];
        let life = [&life.concat()[..], &["participant_left"; 4], &["room_finished"]].concat();
        assert_eq!(lanes.len(), 3);
        for told in lanes.values() {
            assert_eq!(told[..], life.repeat(2));
        }
    }

    #[test]
    fn events_are_told_apart_and_say_what_livekit_says() {
        let all: Vec<Webhook> = story(1).lives(2).collect();
        let unique = |of: fn(&Webhook) -> &str| all.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(unique(|webhook| &webhook.id), all.len());
        assert_eq!(unique(|webhook| &webhook.correlation), all.len());
        for webhook in &all {
            let body = parsed(webhook);
            assert_eq!(body["event"], *webhook.event);
            assert_eq!(body["id"], *webhook.id);
            assert_eq!(body["room"]["name"], *webhook.lane);
            assert!(webhook.id.strip_prefix("EV_").is_some_and(|id| id.len() == ID_LENGTH), "{}", webhook.id);
            assert_eq!(body["room"]["turnPassword"].is_string(), webhook.event != "track_published");
            // What Pulse makes of it keeps the sids, so the delivery is recognized.
            let public = if webhook.event == "room_finished" { "room_ended" } else { &webhook.event };
            let delivery = serde_json::json!({ "type": public, "data": {
                "room": body["room"], "participant": body["participant"], "track": body["track"],
            }});
            let recognized = correlation_of_delivery(delivery.to_string().as_bytes());
            assert_eq!(recognized.as_deref(), Some(&*webhook.correlation));
        }
    }

    #[test]
    fn times_go_on_in_steps_and_a_guest_keeps_the_moment_of_joining() {
        let all: Vec<Webhook> = story(1).lives(1).collect();
        let bodies: Vec<Value> = all.iter().map(parsed).collect();
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<i64>().ok()).expect("a number");
        assert_eq!(bodies[0]["room"]["creationTimeMs"], "1790000000000");
        let last = bodies.len() - 1;
        // 500 µs each.
        assert_eq!(number(&bodies[last]["createdAt"]), 1_790_000_000);
        let mut joined = HashMap::new();
        for (n, body) in bodies.iter().enumerate() {
            let sid = body["participant"]["sid"].as_str().unwrap_or_default().to_owned();
            match body["event"].as_str() {
                Some("participant_joined") => {
                    let moment = number(&body["participant"]["joinedAtMs"]);
                    assert_eq!(moment, 1_790_000_000_000 + i64::try_from(n / 2).expect("few"));
                    joined.insert(sid, moment);
                }
                Some("participant_left") => {
                    assert_eq!(joined.get(&sid), Some(&number(&body["participant"]["joinedAtMs"])));
                }
                _ => {}
            }
        }
        assert_eq!(joined.len(), 12);
    }

    #[test]
    fn a_seed_tells_the_same_story_and_another_seed_another() {
        let first = |seed| story(seed).take(100).collect::<Vec<_>>();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}

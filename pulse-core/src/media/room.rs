//! The room-name codec. The customer's room `standup` of project `prj_X` is `prj_X~standup` on a shared LiveKit: the
//! project part has a fixed length and no `~`, so the name alone says whose room it is, and no name of one project is a
//! prefix of another's. A project with a LiveKit of its own keeps its names as they are.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::ProjectId,
    model::text::{Refused, texts},
};

/// LiveKit's own bound on room names, in bytes (`limit.max_room_name_length`, 256 by default).
pub const MAX_WIRE_BYTES: usize = 256;
/// The bound on customers' room names, in bytes: what the project part and `~` leave of LiveKit's bound.
pub const MAX_ROOM_BYTES: usize = MAX_WIRE_BYTES - 31;
const SEPARATOR: char = '~';

fn room(text: &str) -> Result<(), Refused> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.len() > MAX_ROOM_BYTES {
        return Err(Refused(format!("must have at most {MAX_ROOM_BYTES} bytes")));
    }
    if text.contains(SEPARATOR) || text.chars().any(char::is_control) {
        return Err("must not contain ~ or control characters".into());
    }
    Ok(())
}

fn pattern(text: &str) -> Result<(), Refused> {
    room(text)?;
    if text.matches('*').count() > 8 { Err("must have at most 8 *".into()) } else { Ok(()) }
}

/// LiveKit's bound on identities and names of participants, in bytes.
pub const MAX_PARTICIPANT_BYTES: usize = 256;

fn participant(text: &str) -> Result<(), Refused> {
    if text.is_empty() || text.len() > MAX_PARTICIPANT_BYTES || text.chars().any(char::is_control) {
        return Err(Refused(format!("must be 1 to {MAX_PARTICIPANT_BYTES} bytes without control characters")));
    }
    Ok(())
}

texts! {
    /// A room's name as the customer knows it: 1 to 225 bytes without `~` and control characters.
    RoomName, room, { "type": "string", "minLength": 1, "maxLength": 225, "pattern": "^[^~\\u0000-\\u001f\\u007f-\\u009f]*$" };
    /// A room's name in which `*` stands for any run of characters.
    RoomPattern, pattern, { "type": "string", "minLength": 1, "maxLength": 225, "pattern": "^[^~\\u0000-\\u001f\\u007f-\\u009f]*$" };
    /// A participant's identity: unique in a room.
    Identity, participant, { "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" };
    /// What a participant is called.
    DisplayName, participant, { "type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$" };
}

impl RoomPattern {
    /// Whether the room's name fits, compared byte by byte.
    pub fn matches(&self, room: &RoomName) -> bool {
        let mut parts = self.as_str().split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = room.as_str().strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

/// A room's name as LiveKit knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WireRoom(String);

impl WireRoom {
    /// The name on a LiveKit that many projects share.
    pub fn shared(project: ProjectId, room: &RoomName) -> Self {
        Self(format!("{project}{SEPARATOR}{room}"))
    }

    /// The name on a LiveKit of the project's own.
    pub fn own(room: &RoomName) -> Self {
        Self(room.as_str().to_owned())
    }

    /// A name as LiveKit says it, whoever made it.
    pub fn heard(name: String) -> Self {
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WireRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose room a wire name on a shared LiveKit is, and what the customer calls it. `None`: not one of Pulse's.
pub fn split(wire: &str) -> Option<(ProjectId, RoomName)> {
    let (project, room) = wire.split_once(SEPARATOR)?;
    let id = ProjectId::from_str(project).ok().filter(|id| id.to_string() == project)?;
    Some((id, room.parse().ok()?))
}

/// What the project part of a wire name begins with.
const PROJECT: &str = "prj_";
/// The length of the project part, in bytes.
const PROJECT_BYTES: usize = 30;
/// What stands in a text in the place of a room that is not the reader's.
const ELSEWHERE: &str = "<room>";

/// A text of LiveKit's as a customer may read it: rooms of the project `own` have the customer's names, and other wire
/// names are not in it. One that the end of the text has cut short counts as another's.
pub fn without_wire_names(text: &str, own: Option<ProjectId>) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(PROJECT) {
        let (before, name) = rest.split_at(at);
        let (id, after) = name.split_at(name.floor_char_boundary(PROJECT_BYTES));
        shown.push_str(before);
        rest = match (id.parse::<ProjectId>(), after.strip_prefix(SEPARATOR)) {
            (Ok(project), Some(room)) if Some(project) == own => room,
            (Ok(_), Some(room)) => {
                shown.push_str(ELSEWHERE);
                // Nobody knows where the name ends; a space or a quotation mark is likely.
                &room[room.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`')).unwrap_or(room.len())..]
            }
            _ if after.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                shown.push_str(ELSEWHERE);
                after
            }
            _ => {
                shown.push_str(PROJECT);
                &name[PROJECT.len()..]
            }
        };
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_name_says_whose_room_it_is() {
        let project = ProjectId::from_bits(7 << 80 | 0xFF);
        let room: RoomName = "Stand-up / täglich".parse().unwrap();
        let wire = WireRoom::shared(project, &room);
        assert_eq!(split(wire.as_str()), Some((project, room)));
        let lower = wire.as_str().to_lowercase();
        let none = "prj_00000000000000000000000000";
        for foreign in ["standup", "prj_~a", "~a", &lower, &format!("{none}~"), &format!("{none}~a~b")] {
            assert_eq!(split(foreign), None, "{foreign:?} was taken for a room of Pulse");
        }
    }

    #[test]
    fn names_that_could_be_mistaken_are_refused() {
        for bad in ["", "a~b", "a\nb", "\u{7f}", &"x".repeat(226), &"é".repeat(113)] {
            assert!(bad.parse::<RoomName>().is_err(), "{bad:?} was accepted");
        }
        assert!("é".repeat(112).parse::<RoomName>().is_ok());
    }

    #[test]
    fn patterns_match_whole_names() {
        let cases = [
            ("sales-*", "sales-emea", true),
            ("sales-*", "presales-emea", false),
            ("*", "anything", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("room", "room", true),
            ("room", "room2", false),
            ("*room", "my-room", true),
            ("a*a", "a", false),
        ];
        for (pattern, room, fits) in cases {
            let pattern: RoomPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&room.parse().unwrap()), fits, "{pattern} against {room}");
        }
    }

    #[test]
    fn a_text_shows_the_customers_names_of_rooms_and_nobody_elses() {
        let (own, other) = (ProjectId::from_bits(7 << 80), ProjectId::from_bits(8 << 80));
        let shown = |text: &str| without_wire_names(text, Some(own));
        assert_eq!(shown(&format!("no {own}~a b, {own}~c")), "no a b, c");
        assert_eq!(
            shown(&format!("requested room {other}~secret does not exist")),
            "requested room <room> does not exist"
        );
        assert_eq!(shown(&format!("room \"{other}~secret\" and '{own}~mine'")), "room \"<room>\" and 'mine'");
        assert_eq!(without_wire_names(&format!("no {own}~a"), None), "no <room>");
        let whole = format!("x {own}~");
        for cut in "x prj_".len()..whole.len() {
            assert_eq!(shown(&whole[..cut]), "x <room>", "cut at {cut}");
        }
        for plain in ["", "no room", "prj_", "a prj_x~y", "prj_täglich~", &format!("{own} is a project")] {
            let same = if plain == "prj_" { "<room>" } else { plain };
            assert_eq!(shown(plain), same);
        }
    }
}

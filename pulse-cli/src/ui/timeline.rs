//! A session as a drawing: a line for each connection, egress and ingress, with a bar between the session's start and its
//! end, or now. Plain letters only, so that it reads the same in a file and on every terminal.

use pulse_core::{ops::sessions::SessionDetail, time::Timestamp};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::view::visible;

/// The width where there is no terminal.
const PIPED: usize = 100;
/// Below this width a bar has a line of its own, under its label.
const NARROW: usize = 50;
/// The most that a label takes.
const LABEL: usize = 28;
/// What a length takes: `000:00:00`.
const LENGTH: usize = 9;
/// The least width of a bar's line.
const LEAST: usize = 10;

/// One line of the drawing.
struct Line {
    label: String,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    /// Whether the start and the end were found by looking, or follow from the end of the room.
    found: (bool, bool),
    billed: bool,
    seconds: f64,
}

/// The drawing of a session, `width` columns wide.
pub fn draw(width: Option<u16>, session: &SessionDetail) -> String {
    let lines = lines(session);
    let end = session.ended_at.unwrap_or(session.as_of);
    // What is told of late may lie outside of what the room's edges say.
    let first = lines.iter().filter_map(|line| line.start).fold(session.started_at, Timestamp::min);
    let last = lines.iter().filter_map(|line| line.end).fold(end, Timestamp::max);
    let width = width.map_or(PIPED, usize::from);
    let label =
        if width < NARROW { 0 } else { lines.iter().map(|line| line.label.width()).max().unwrap_or(0).min(LABEL) };
    let gap = if label == 0 { 0 } else { label + 2 };
    let cells = width.saturating_sub(gap + LENGTH + 2).max(LEAST);
    let mut text = " ".repeat(gap) + &scale(first, last, cells) + "\n";
    for line in &lines {
        let name = cut(&line.label, if label == 0 { width } else { label });
        let head = if label == 0 { format!("{name}\n") } else { name.clone() + &" ".repeat(gap - name.width()) };
        text += &format!("{head}{}  {:>LENGTH$}\n", bar(line, (first, last), cells), length(line.seconds));
    }
    text + &legend(&lines)
}

fn lines(session: &SessionDetail) -> Vec<Line> {
    let people = session.participants.iter().map(|one| Line {
        label: visible(&one.identity),
        start: one.joined_at,
        end: one.left_at,
        found: (one.synthetic_start, one.synthetic_end),
        billed: one.billable,
        seconds: one.seconds,
    });
    let media = |what: &'static str, list: &[pulse_core::model::interval::MediaView]| {
        let line = |one: &pulse_core::model::interval::MediaView| Line {
            label: format!("{what} {}", visible(&one.kind)),
            start: one.started_at,
            end: one.ended_at,
            found: (false, false),
            billed: one.billable,
            seconds: one.seconds,
        };
        list.iter().map(line).collect::<Vec<_>>()
    };
    people.chain(media("egress", &session.egresses)).chain(media("ingress", &session.ingresses)).collect()
}

/// The first and the last moment, to the second, over the bars.
fn scale(first: Timestamp, last: Timestamp, cells: usize) -> String {
    let clock = |at: Timestamp| at.to_string().get(11..19).unwrap_or_default().to_owned();
    let (first, last) = (clock(first), clock(last));
    if cells < first.len() + last.len() + 1 {
        return first;
    }
    format!("{first}{}{last}", " ".repeat(cells - first.len() - last.len()))
}

fn bar(line: &Line, (first, last): (Timestamp, Timestamp), cells: usize) -> String {
    let Some(start) = line.start else { return " ".repeat(cells) };
    let span = last.since(first).as_millis().max(1);
    let cell = |at: Timestamp| {
        let place = at.since(first).as_millis() * (cells as u128 - 1) / span;
        usize::try_from(place).unwrap_or(cells).min(cells - 1)
    };
    let (from, to) = (cell(start), cell(line.end.unwrap_or(last)));
    let left = if line.found.0 { '~' } else { '|' };
    let right = match line.end {
        None => '>',
        Some(_) if line.found.1 => '~',
        Some(_) => '|',
    };
    let body = if line.billed { "=" } else { "-" };
    let drawn = if to <= from {
        // One cell holds both edges: the one that tells more.
        if right == '|' { left.to_string() } else { right.to_string() }
    } else {
        format!("{left}{}{right}", body.repeat(to - from - 1))
    };
    let after = cells.saturating_sub(from + drawn.chars().count());
    format!("{}{drawn}{}", " ".repeat(from), " ".repeat(after))
}

/// A length in hours, minutes and seconds.
fn length(seconds: f64) -> String {
    let seconds = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The text in at most `width` columns.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        if kept.width() + letter.width().unwrap_or(0) >= width {
            break;
        }
        kept.push(letter);
    }
    kept + "…"
}

/// What the signs that occur mean.
fn legend(lines: &[Line]) -> String {
    let found = lines.iter().any(|line| line.found.0 || line.found.1);
    let signs = [
        (found, "~ inferred, not told by LiveKit"),
        (lines.iter().any(|line| line.end.is_none()), "> goes on"),
        (lines.iter().any(|line| !line.billed), "- not billed"),
    ];
    let told: Vec<&str> = signs.into_iter().filter(|(there, _)| *there).map(|(_, text)| text).collect();
    if told.is_empty() { String::new() } else { format!("{}\n", told.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn session() -> SessionDetail {
        let person = |identity: &str, joined: u64, left: Option<u64>, found: (bool, bool)| {
            let at = |seconds: u64| format!("2026-05-01T12:{:02}:{:02}.000Z", seconds / 60, seconds % 60);
            json!({ "sid": "PA_1", "identity": identity, "name": "", "kind": "standard", "joined_at": at(joined),
                "left_at": left.map(at), "seconds": left.unwrap_or(100) - joined, "billable": true,
                "disconnect_reason": null, "synthetic_start": found.0, "synthetic_end": found.1 })
        };
        let egress = json!({ "livekit_id": "EG_1", "kind": "room_composite", "status": "failed",
            "started_at": "2026-05-01T12:00:50.000Z", "ended_at": "2026-05-01T12:01:00.000Z", "seconds": 10.0, "billable": false });
        let people = [
            person("alice", 0, Some(50), (false, false)),
            person("bob with a name that is far too long", 25, Some(75), (true, true)),
            person("carol", 50, None, (false, false)),
            person("dan", 99, Some(99), (false, true)),
        ];
        serde_json::from_value(json!({
            "id": "ses_01J00000000000000000000000", "project_id": "prj_01J00000000000000000000000", "room": "daily",
            "livekit_sid": "RM_1", "state": "live", "started_at": "2026-05-01T12:00:00.000Z", "ended_at": null,
            "synthetic_start": false, "synthetic_end": false, "participant_count": 4, "peak": 2,
            "participant_seconds": 150.0, "as_of": "2026-05-01T12:01:40.000Z", "participants": people,
            "egresses": [egress], "ingresses": [], "gaps": []
        }))
        .unwrap()
    }

    #[test]
    fn a_bar_stands_where_its_time_was() {
        let drawn = draw(Some(82), &session());
        insta::assert_snapshot!(drawn);
        assert!(drawn.lines().all(|line| line.width() <= 82), "{drawn}");
    }

    #[test]
    fn in_a_file_it_is_a_hundred_columns_wide() {
        insta::assert_snapshot!(draw(None, &session()));
    }

    #[test]
    fn on_a_narrow_terminal_a_bar_stands_under_its_label() {
        let drawn = draw(Some(36), &session());
        insta::assert_snapshot!(drawn);
        assert!(drawn.lines().filter(|line| !line.starts_with('~')).all(|line| line.width() <= 36), "{drawn}");
    }

    #[test]
    fn a_session_in_which_nobody_was_is_a_scale() {
        let mut empty = session();
        (empty.participants, empty.egresses) = (Vec::new(), Vec::new());
        assert_eq!(draw(Some(60), &empty).lines().count(), 1);
    }
}

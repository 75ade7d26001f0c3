//! Tables for people. On a terminal they have borders and fit its width; piped, the same columns stand in plain text,
//! whole, with two spaces between.
//!
//! What people copy is never cut: lines break between words and after commas, a table that would need more drops columns
//! or shows its records one below the other, and a single value that is too long stands on a line of its own.

use std::iter::repeat_n;

use comfy_table::{
    ContentArrangement, Table,
    presets::{NOTHING, UTF8_FULL_CONDENSED},
};
use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::view::{at, cell, header};

/// Words up to this width stay in one piece: it holds ids, times and public keys. Longer ones, such as names without a
/// space in them, may be broken in a column.
const LONGEST_WORD: usize = 40;
/// The least width of the pieces in which longer ones are shown.
const PIECE: usize = 16;

/// Where a table goes.
#[derive(Clone, Copy, Debug)]
pub struct Surface {
    /// The width of the terminal; `None` when it is none.
    pub width: Option<u16>,
    /// Whether headers are left out.
    pub no_headers: bool,
}

/// What is done with a table that has more columns than fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrow {
    /// Columns are left out.
    LeaveOut,
    /// Every record gets lines of its own, so that everything is shown.
    Stack,
}

/// A table as it is shown.
#[derive(Debug)]
pub struct Drawn<'a> {
    /// The table.
    pub text: String,
    /// Columns for which there was no room.
    pub left_out: Vec<&'a str>,
}

/// Rows under columns.
pub fn rows<'a>(surface: Surface, columns: &[&'a str], rows: &[Value], narrow: Narrow) -> Drawn<'a> {
    let of = |columns: &[&str]| {
        let cells = |row: &Value| columns.iter().map(|path| shown(at(row, path))).collect();
        (columns.iter().map(|path| header(path)).collect::<Vec<_>>(), rows.iter().map(cells).collect::<Vec<_>>())
    };
    let (headers, cells) = of(columns);
    let Some(width) = surface.width.map(usize::from) else {
        return Drawn { text: plain(surface, headers, cells), left_out: Vec::new() };
    };
    let sizes = sizes(if surface.no_headers { &[] } else { &headers }, &cells);
    let fitting = fitting(width, &sizes);
    if fitting.len() < columns.len() && narrow == Narrow::Stack {
        let records: Vec<String> = rows.iter().map(|row| lines(surface, columns, row)).collect();
        return Drawn { text: records.join("\n"), left_out: Vec::new() };
    }
    let (kept, left_out): (Vec<_>, Vec<_>) = columns.iter().enumerate().partition(|(place, _)| fitting.contains(place));
    let kept: Vec<&str> = kept.into_iter().map(|(_, column)| *column).collect();
    let (headers, cells) = of(&kept);
    let widths = widths(width, &fitting.iter().map(|place| sizes[*place]).collect::<Vec<_>>());
    let headers = if surface.no_headers { Vec::new() } else { headers };
    Drawn {
        text: bordered(&widths, &headers, &cells),
        left_out: left_out.into_iter().map(|(_, column)| *column).collect(),
    }
}

/// One thing, a line for each field that it has.
pub fn lines(surface: Surface, fields: &[&str], thing: &Value) -> String {
    let present = fields.iter().filter_map(|path| Some((path, at(thing, path)?)));
    if surface.no_headers {
        return present.map(|(_, value)| cell(Some(value)) + "\n").collect();
    }
    let pairs: Vec<Vec<String>> =
        present.map(|(path, value)| vec![header(path).to_lowercase(), shown(Some(value))]).collect();
    let Some(width) = surface.width.map(usize::from) else {
        return plain(Surface { no_headers: true, ..surface }, Vec::new(), pairs);
    };
    let names = pairs.iter().map(|pair| pair[0].width()).max().unwrap_or_default();
    let room = width.saturating_sub(frame(2) + names);
    let (inside, below): (Vec<_>, Vec<_>) =
        pairs.into_iter().partition(|pair| word_widths(&pair[1]).all(|width| width <= room));
    let mut text = String::new();
    if !inside.is_empty() {
        let natural = inside.iter().map(|pair| pair[1].width()).max().unwrap_or_default();
        text = bordered(&[names, natural.min(room)], &[], &inside);
    }
    for pair in below {
        text.push_str(&format!("{}:\n{}\n", pair[0], pair[1]));
    }
    text
}

fn shown(value: Option<&Value>) -> String {
    match cell(value) {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    }
}

/// What a column needs.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// The width below which a word would be broken.
    least: usize,
    /// The width at which no line is broken.
    natural: usize,
}

fn sizes(headers: &[String], rows: &[Vec<String>]) -> Vec<Size> {
    let columns = rows.first().map_or(headers.len(), Vec::len);
    let of = |column: usize| {
        let cells = || headers.get(column).into_iter().chain(rows.iter().filter_map(move |row| row.get(column)));
        let whole = |word: usize| if word > LONGEST_WORD { PIECE } else { word };
        let least = cells().flat_map(|cell| word_widths(cell).map(whole)).max().unwrap_or_default();
        Size { least, natural: cells().map(|cell| cell.width()).max().unwrap_or_default() }
    };
    (0..columns).map(of).collect()
}

/// What the borders and paddings of so many columns take.
fn frame(columns: usize) -> usize {
    3 * columns + 1
}

/// The columns that fit beside each other, by their places; the first one always.
fn fitting(width: usize, sizes: &[Size]) -> Vec<usize> {
    let (mut chosen, mut taken) = (Vec::new(), 0);
    for (place, size) in sizes.iter().enumerate() {
        if chosen.is_empty() || taken + size.least + frame(chosen.len() + 1) <= width {
            taken += size.least;
            chosen.push(place);
        }
    }
    chosen
}

/// Widths that share what the columns' words leave.
fn widths(width: usize, sizes: &[Size]) -> Vec<usize> {
    let mut widths: Vec<usize> = sizes.iter().map(|size| size.least).collect();
    let mut left = width.saturating_sub(frame(sizes.len()) + widths.iter().sum::<usize>());
    while left > 0 && widths.iter().zip(sizes).any(|(width, size)| *width < size.natural) {
        for (width, _) in widths.iter_mut().zip(sizes).filter(|(width, size)| **width < size.natural).take(left) {
            *width += 1;
            left -= 1;
        }
    }
    widths
}

/// Pieces that stay whole: a line may break at a space and after a comma.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', ','])
}

fn word_widths(text: &str) -> impl Iterator<Item = usize> {
    words(text).map(|word| word.trim_end_matches(' ').width())
}

/// The text in lines of at most `width`.
fn wrapped(text: &str, width: usize) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in words(text) {
        if !line.is_empty() && line.width() + word.trim_end_matches(' ').width() > width {
            lines.push(std::mem::take(&mut line));
        }
        for letter in word.chars() {
            let fits = line.width() + letter.width().unwrap_or_default() <= width;
            if letter != ' ' && !line.is_empty() && !fits {
                lines.push(std::mem::take(&mut line));
            }
            line.push(letter);
        }
    }
    lines.push(line);
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

fn bordered(widths: &[usize], headers: &[String], rows: &[Vec<String>]) -> String {
    let fitted =
        |cells: &[String]| cells.iter().zip(widths).map(|(cell, width)| wrapped(cell, *width)).collect::<Vec<_>>();
    let mut table = Table::new();
    table.load_style(if rows.is_empty() { NOTHING } else { UTF8_FULL_CONDENSED });
    table.set_content_arrangement(ContentArrangement::Disabled);
    if !headers.is_empty() {
        table.set_header(fitted(headers));
    }
    table.add_rows(rows.iter().map(|row| fitted(row)));
    format!("{}\n", table.trim_fmt())
}

/// Columns padded to their widest cell; nothing is cut, and the last column is not padded.
fn plain(surface: Surface, headers: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let all: Vec<Vec<String>> = if surface.no_headers { rows } else { std::iter::once(headers).chain(rows).collect() };
    let columns = all.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &all {
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(repeat_n(' ', width - cell.width() + 2));
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PIPE: Surface = Surface { width: None, no_headers: false };

    #[test]
    fn piped_tables_cut_nothing() {
        let long = "x".repeat(300);
        let table = [json!({"id": "1", "name": long}), json!({"id": "22"})];
        let drawn = rows(PIPE, &["id", "name"], &table, Narrow::LeaveOut);
        assert_eq!(drawn.text, format!("ID  NAME\n1   {long}\n22  -\n"));
    }

    const ID: &str = "org_01J00000000000000000000000";
    const TIME: &str = "2026-01-31T12:00:00.000Z";

    fn terminal(width: u16) -> Surface {
        Surface { width: Some(width), no_headers: false }
    }

    fn fits(text: &str, width: usize) -> bool {
        text.lines().all(|line| line.width() <= width)
    }

    #[test]
    fn tables_fit_the_terminal() {
        let table = [json!({"id": "1", "name": "word ".repeat(40)}), json!({"id": "2", "name": "二".repeat(90)})];
        let drawn = rows(terminal(40), &["id", "name"], &table, Narrow::LeaveOut);
        assert!(fits(&drawn.text, 40) && drawn.left_out.is_empty(), "{}", drawn.text);
    }

    #[test]
    fn a_table_that_is_too_wide_leaves_columns_out_or_stacks_its_records_and_breaks_no_id_and_no_time() {
        let table = [json!({"id": ID, "name": "acme", "last_used_at": TIME, "project_id": ID, "state": "active"})];
        let columns = ["id", "name", "last_used_at", "project_id", "state"];
        let drawn = rows(terminal(80), &columns, &table, Narrow::LeaveOut);
        assert!(fits(&drawn.text, 80) && drawn.text.contains(ID) && drawn.text.contains(TIME), "{}", drawn.text);
        assert!(drawn.text.contains(" STATE ") && drawn.left_out == ["project_id"], "{}", drawn.text);
        let drawn = rows(terminal(80), &columns, &table, Narrow::Stack);
        assert!(fits(&drawn.text, 80) && drawn.left_out.is_empty(), "{}", drawn.text);
        assert_eq!(drawn.text.matches(ID).count(), 2, "{}", drawn.text);
    }

    #[test]
    fn a_value_that_is_too_long_to_be_copied_from_a_table_stands_on_a_line_of_its_own() {
        let secret = format!("pulse_secret_{}", "x".repeat(70));
        let text = lines(
            terminal(80),
            &["id", "scopes", "pulse_api_secret"],
            &json!({
                "id": ID, "scopes": ["tokens:mint", "tokens:revoke", "keys:list", "projects:read", "rooms:list"], "pulse_api_secret": secret
            }),
        );
        assert!(text.lines().any(|line| line == secret), "{text}");
        let others: Vec<&str> = text.lines().filter(|line| !line.contains(&secret)).collect();
        assert!(fits(&others.join("\n"), 80) && text.contains("projects:read,"), "{text}");
    }

    #[test]
    fn a_single_thing_has_no_line_for_what_it_does_not_have() {
        assert_eq!(
            lines(PIPE, &["id", "secret", "ended_at"], &json!({"id": "1", "ended_at": null})),
            "id        1\nended at  -\n"
        );
    }
}

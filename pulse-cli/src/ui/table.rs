//! Tables for people. On a terminal they have borders and fit its width; piped, the same columns stand in plain text,
//! whole, with two spaces between.

use comfy_table::{
    ColumnConstraint, ContentArrangement, Table,
    presets::{NOTHING, UTF8_FULL_CONDENSED},
};
use serde_json::Value;

use super::view::{at, cell, header};

/// Where a table goes.
#[derive(Clone, Copy, Debug)]
pub struct Surface {
    /// The width of the terminal; `None` when it is none.
    pub width: Option<u16>,
    /// Whether headers are left out.
    pub no_headers: bool,
}

/// Rows under columns.
pub fn rows(surface: Surface, columns: &[&str], rows: &[Value]) -> String {
    let cells = rows.iter().map(|row| columns.iter().map(|path| shown(at(row, path))).collect());
    let headers = columns.iter().map(|path| header(path)).collect();
    render(surface, headers, cells.collect())
}

/// One thing, a line for each field that it has.
pub fn lines(surface: Surface, fields: &[&str], thing: &Value) -> String {
    let present = fields.iter().filter_map(|path| Some((path, at(thing, path)?)));
    if surface.no_headers {
        return present.map(|(_, value)| cell(Some(value)) + "\n").collect();
    }
    let lines = present.map(|(path, value)| vec![header(path).to_lowercase(), shown(Some(value))]).collect();
    render(Surface { no_headers: true, ..surface }, Vec::new(), lines)
}

fn shown(value: Option<&Value>) -> String {
    match cell(value) {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    }
}

fn render(surface: Surface, headers: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let Some(width) = surface.width else { return plain(surface, headers, rows) };
    let mut table = Table::new();
    table.load_style(if rows.is_empty() { NOTHING } else { UTF8_FULL_CONDENSED });
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    if !surface.no_headers {
        table.set_header(headers);
    }
    let first = rows.iter().filter_map(|row| row.first()).map(|cell| cell.chars().count()).max().unwrap_or_default();
    table.add_rows(rows);
    // What a row begins with is what people copy: it stays in one piece where there is room for it.
    if first <= usize::from(width / 2)
        && let Some(column) = table.column_mut(0)
    {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    format!("{}\n", table.trim_fmt())
}

/// Columns padded to their widest cell; nothing is cut, and the last column is not padded.
fn plain(surface: Surface, headers: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let all: Vec<Vec<String>> = if surface.no_headers { rows } else { std::iter::once(headers).chain(rows).collect() };
    let columns = all.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &all {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
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
        let text = rows(PIPE, &["id", "name"], &[json!({"id": "1", "name": long}), json!({"id": "22"})]);
        assert_eq!(text, format!("ID  NAME\n1   {long}\n22  -\n"));
    }

    #[test]
    fn tables_fit_the_terminal() {
        let surface = Surface { width: Some(40), no_headers: false };
        let text = rows(surface, &["id", "name"], &[json!({"id": "1", "name": "word ".repeat(40)})]);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
    }

    #[test]
    fn a_single_thing_has_no_line_for_what_it_does_not_have() {
        assert_eq!(
            lines(PIPE, &["id", "secret", "ended_at"], &json!({"id": "1", "ended_at": null})),
            "id        1\nended at  -\n"
        );
    }
}

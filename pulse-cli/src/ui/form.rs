//! Results as JSON, YAML and CSV.

use serde::Serialize;
use serde_json::Value;

use super::view::{at, cell};
use crate::exit::Failure;

/// Indented JSON with a line end.
pub fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// YAML with a line end.
pub fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_saphyr::to_string(value)
        .map_err(|error| Failure::unexpected(format!("the result has no YAML form: {error}")))?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// A line of CSV.
pub fn csv(cells: impl Iterator<Item = String>) -> Result<String, Failure> {
    let failed = |_| Failure::unexpected("the result has no CSV form");
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(cells).map_err(failed)?;
    let bytes = writer.into_inner().map_err(|_| Failure::unexpected("the result has no CSV form"))?;
    String::from_utf8(bytes).map_err(|_| Failure::unexpected("the result has no CSV form"))
}

/// The header of a CSV file: field names, so that programs find their columns.
pub fn csv_header(columns: &[&str]) -> Result<String, Failure> {
    csv(columns.iter().map(|path| (*path).to_owned()))
}

/// A row of a CSV file.
pub fn csv_row(columns: &[&str], row: &Value) -> Result<String, Failure> {
    csv(columns.iter().map(|path| inert(cell(at(row, path)))))
}

/// A text that a spreadsheet would take for a formula gets a quote in front, as names come from other people.
fn inert(text: String) -> String {
    if text.starts_with(['=', '+', '@', '-']) && text.len() > 1 { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn csv_quotes_and_disarms_formulas() {
        let row = json!({"a": "x,\"y\"", "b": "=1+1", "c": null});
        assert_eq!(csv_row(&["a", "b", "c"], &row).unwrap(), "\"x,\"\"y\"\"\",'=1+1,\n");
    }

    #[test]
    fn yaml_keeps_texts_that_look_like_something_else() {
        let text = yaml(&json!({"a": "no", "b": "1.0", "c": [1, null], "d": "x\ny"})).unwrap();
        let back: Value = serde_json::from_str(&json!({"a": "no"}).to_string()).unwrap();
        assert_eq!(back["a"], "no");
        assert!(text.contains("\"no\"") || text.contains("'no'"), "{text}");
        assert!(text.contains("\"1.0\"") || text.contains("'1.0'"), "{text}");
    }
}

//! Lists: rows as they come, where the form allows it, so that a long list needs no memory and its first row is there at
//! once. A table has to see all rows before it knows its columns.

use serde::Serialize;
use serde_json::Value;

use super::{
    Printer, View, form,
    table::{self, Narrow},
    view,
};
use crate::{args::Output, exit::Failure};

/// A list that is being printed.
#[derive(Debug)]
pub struct List<'a> {
    printer: &'a Printer,
    view: &'a View,
    columns: Vec<&'a str>,
    kept: Vec<Value>,
    shown: usize,
}

impl<'a> List<'a> {
    pub(super) fn new(printer: &'a Printer, view: &'a View) -> Result<Self, Failure> {
        let form = printer.form();
        let columns = match (&form.columns, form.output) {
            (own, _) if !own.is_empty() => own.iter().map(|column| column.trim()).collect(),
            (_, Output::Wide) => [view.list, view.wide].concat(),
            _ => view.list.to_vec(),
        };
        Ok(Self { printer, view, columns, kept: Vec::new(), shown: 0 })
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.shown
    }

    /// Whether there is no row so far.
    pub fn is_empty(&self) -> bool {
        self.shown == 0
    }

    /// Adds a row.
    pub fn row(&mut self, row: &impl Serialize) -> Result<(), Failure> {
        let failed = |error: serde_json::Error| Failure::unexpected(error.to_string());
        let form = self.printer.form();
        let first = self.shown == 0;
        self.shown += 1;
        // Straight from the type, whose fields stand in the API's order.
        match form.output {
            _ if form.jq.is_some() || form.quiet => {}
            Output::Json => {
                let indented = serde_json::to_string_pretty(row).map_err(failed)?.replace('\n', "\n  ");
                return self.printer.text(&format!("{}  {indented}", if first { "[\n" } else { ",\n" }));
            }
            Output::Jsonl => return self.printer.text(&(serde_json::to_string(row).map_err(failed)? + "\n")),
            Output::Yaml => {
                let item = form::yaml(&[row])?;
                return self.printer.text(&item);
            }
            Output::Table | Output::Wide | Output::Csv | Output::Name => {}
        }
        let value = serde_json::to_value(row).map_err(failed)?;
        if form.jq.is_some() {
            self.kept.push(value);
            return Ok(());
        }
        if form.quiet {
            // What goes on still may have no id yet.
            let id = Some(view::cell(view::at(&value, self.view.id))).filter(|id| !id.is_empty());
            return self.printer.lines(id.into_iter().collect());
        }
        match form.output {
            Output::Csv => {
                let header = if first && !form.no_headers { form::csv_header(&self.columns)? } else { String::new() };
                self.printer.text(&(header + &form::csv_row(&self.columns, &value)?))
            }
            Output::Name => {
                let name = view::at(&value, self.view.name).or_else(|| view::at(&value, self.view.id));
                self.printer.lines(vec![view::cell(name)])
            }
            Output::Table | Output::Wide | Output::Json | Output::Jsonl | Output::Yaml => {
                self.kept.push(value);
                Ok(())
            }
        }
    }

    /// Ends the list.
    pub fn finish(mut self) -> Result<(), Failure> {
        let form = self.printer.form();
        if let Some(program) = &form.jq {
            return self.printer.lines(program.run(&Value::Array(self.kept))?);
        }
        if form.quiet {
            return Ok(());
        }
        match form.output {
            Output::Json => self.printer.text(if self.shown == 0 { "[]\n" } else { "\n]\n" }),
            Output::Csv if self.shown == 0 && !form.no_headers => self.printer.text(&form::csv_header(&self.columns)?),
            Output::Yaml if self.shown == 0 => self.printer.text("[]\n"),
            Output::Table | Output::Wide => {
                self.kept = self.kept.into_iter().map(|row| self.view.for_people(row)).collect();
                // Whoever asked for columns gets them all.
                let asked = form.output == Output::Wide || !form.columns.is_empty();
                let narrow = if asked { Narrow::Stack } else { Narrow::LeaveOut };
                let drawn = table::rows(self.printer.surface(), &self.columns, &self.kept, narrow);
                self.printer.text(&drawn.text)?;
                if !drawn.left_out.is_empty() {
                    let names = drawn.left_out.join(", ");
                    self.printer.advice(&format!("no room for: {names} (-o wide shows all, --columns chooses)"));
                }
                Ok(())
            }
            Output::Jsonl | Output::Yaml | Output::Csv | Output::Name => Ok(()),
        }
    }
}

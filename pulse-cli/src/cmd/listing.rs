//! Lists as results.

use serde::Serialize;

use crate::{
    args::{Output, Paging},
    client::Client,
    exit::Failure,
    pages::{Listing, walk},
    session::Session,
    ui::{View, list::List},
};

/// Rows of something that has no end: each is shown as it comes, for a person as a line.
pub(super) struct Endless<'a> {
    session: &'a Session,
    view: &'a View,
    list: List<'a>,
    left: Option<u64>,
}

impl<'a> Endless<'a> {
    /// With an end all the same, after `limit` rows.
    pub(super) fn new(session: &'a Session, view: &'a View, limit: Option<u64>) -> Result<Self, Failure> {
        Ok(Self { session, view, list: session.printer.list(view)?, left: limit })
    }

    /// Refuses a form that has an end for what has none.
    pub(super) fn check(session: &Session, limit: Option<u64>) -> Result<(), Failure> {
        let global = &session.global;
        let has_end = global.output == Output::Json && global.jq.is_none() && !global.quiet;
        if has_end && limit.is_none() {
            return Err(
                Failure::usage("a JSON array has an end, and this has none").hint("Use -o jsonl, or --limit N.")
            );
        }
        Ok(())
    }

    /// Whether another row is wanted.
    pub(super) fn goes_on(&self) -> bool {
        self.left != Some(0)
    }

    /// Shows a row.
    pub(super) fn row(&mut self, row: &impl Serialize, line: impl FnOnce() -> String) -> Result<(), Failure> {
        self.left = self.left.map(|left| left - 1);
        let printer = &self.session.printer;
        if printer.is_prose() {
            printer.text(&line())
        } else if self.is_by_itself() {
            printer.document(self.view, row)
        } else {
            self.list.row(row)
        }
    }

    /// Ends the rows.
    pub(super) fn finish(self) -> Result<(), Failure> {
        if self.is_by_itself() { Ok(()) } else { self.list.finish() }
    }

    /// Whether each row is a result of its own: a program is run, and a table drawn, for one at a time.
    fn is_by_itself(&self) -> bool {
        let global = &self.session.global;
        global.jq.is_some() || matches!(global.output, Output::Table | Output::Wide)
    }
}

/// Shows a list.
pub(super) async fn show<L: Listing>(
    session: &Session,
    client: &Client,
    view: &View,
    list: L,
    paging: &Paging,
) -> Result<usize, Failure> {
    let mut shown = session.printer.list(view)?;
    let next = walk(client, list, paging, |row| shown.row(&row)).await?;
    let rows = shown.len();
    shown.finish()?;
    if let Some(next) = next {
        session.printer.warning(&format!("there is more: --all, or --cursor {next}"));
    }
    Ok(rows)
}

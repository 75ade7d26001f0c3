//! `pulse usage`.

use std::collections::BTreeMap;

use pulse_core::{
    model::usage::{UsageType, UsageView},
    ops::usage::ListUsage,
    page::{Cursor, MAX_LIMIT, PageLimit},
};

use super::DONE;
use crate::{
    args::usage,
    exit::{Failure, Outcome},
    names,
    session::Session,
    ui::{View, printer::counted},
};

pub(super) const VIEW: View = View::new(
    &["event_type", "value", "timestamp", "metadata.room", "metadata.kind", "metadata.billable"],
    &[
        "id",
        "metadata.session_id",
        "metadata.livekit_id",
        "metadata.identity",
        "metadata.started_at",
        "metadata.synthetic",
        "metadata.revision",
    ],
)
.detail(&["project_id"])
.id("id");

/// What the rows of one type come to.
#[derive(Default)]
struct Total {
    rows: u64,
    seconds: f64,
}

/// Adds up what is billed, by type.
#[derive(Default)]
struct Totals(BTreeMap<UsageType, Total>);

impl Totals {
    fn add(&mut self, row: &UsageView) {
        let total = self.0.entry(row.event_type).or_default();
        if row.metadata.billable {
            total.rows += 1;
            total.seconds += row.value;
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let rows = |total: &Total| counted(total.rows, "rows");
        self.0
            .iter()
            .map(move |(kind, total)| format!("{}: {:.3} billed in {}", kind.name(), total.seconds, rows(total)))
    }
}

pub(super) async fn run(session: &Session, command: usage::Usage) -> Outcome {
    let usage::Usage::Show(args) = command;
    let client = session.client().await?;
    let now = session.now();
    let mut left = if args.paging.all { None } else { Some(args.paging.limit.unwrap_or(20)) };
    if left == Some(0) {
        return Err(Failure::usage("--limit must be at least 1"));
    }
    let mut op = ListUsage {
        project_id: names::project_or_own(session, client, args.of.project.as_deref(), args.of.org.as_deref()).await?,
        event_type: args.event_type,
        from: args.since.map(|moment| moment.from(now)),
        to: args.until.map(|moment| moment.from(now)),
        limit: None,
        cursor: args.paging.cursor.map(Cursor),
    };
    let (mut shown, mut totals) = (session.printer.list(&VIEW)?, Totals::default());
    let next = loop {
        op.limit = PageLimit::try_from(left.unwrap_or(MAX_LIMIT).min(MAX_LIMIT)).ok();
        let page = client.ask(&op).await?;
        left = left.map(|left| left.saturating_sub(u32::try_from(page.data.len()).unwrap_or(u32::MAX)));
        for row in page.live.iter().chain(&page.data) {
            totals.add(row);
            shown.row(row)?;
        }
        if page.live_truncated {
            session.printer.warning("more goes on now than is shown");
        }
        match page.next_cursor {
            Some(next) if left != Some(0) => op.cursor = Some(Cursor(next)),
            next => break next,
        }
    };
    shown.finish()?;
    totals.lines().for_each(|line| session.printer.advice(&line));
    if let Some(next) = next {
        session.printer.warning(&format!("there is more: --all, or --cursor {next}"));
    }
    DONE
}

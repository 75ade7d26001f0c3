//! Lists page by page.

use pulse_core::{
    model::{api_key::ApiKeyView, audit::AuditEntry, organization::OrganizationView, project::ProjectView},
    op::Operation,
    ops::{audit::ListAudit, keys::ListKeys, organizations::ListOrganizations, projects::ListProjects},
    page::{Cursor, MAX_LIMIT, Page, PageLimit},
};
use serde::Serialize;

use crate::{
    args::Paging,
    client::{CallOptions, Client},
    exit::Failure,
    session::Session,
    ui::View,
};

/// An operation that answers pages.
pub(super) trait Listing: Operation<Output = Page<Self::Row>> {
    type Row: Serialize;
    /// Asks for this page.
    fn page(&mut self, limit: Option<PageLimit>, cursor: Option<Cursor>);
}

macro_rules! listings {
    ($($operation:ty => $row:ty;)+) => {$(
        impl Listing for $operation {
            type Row = $row;
            fn page(&mut self, limit: Option<PageLimit>, cursor: Option<Cursor>) {
                (self.limit, self.cursor) = (limit, cursor);
            }
        }
    )+};
}

listings! {
    ListOrganizations => OrganizationView;
    ListProjects => ProjectView;
    ListKeys => ApiKeyView;
    ListAudit => AuditEntry;
}

/// Gives every row that `paging` asks for to `each`; the cursor of what is left, if something is.
pub(super) async fn walk<L: Listing>(
    client: &Client,
    mut list: L,
    paging: &Paging,
    mut each: impl FnMut(L::Row) -> Result<(), Failure>,
) -> Result<Option<String>, Failure> {
    let mut left = if paging.all { None } else { Some(paging.limit.unwrap_or(20)) };
    let mut cursor = paging.cursor.clone().map(Cursor);
    if left == Some(0) {
        return Err(Failure::usage("--limit must be at least 1"));
    }
    loop {
        let rows = left.unwrap_or(MAX_LIMIT).min(MAX_LIMIT);
        list.page(PageLimit::try_from(rows).ok(), cursor.take());
        let page = client.call(&list, CallOptions::default()).await?.into_output();
        left = left.map(|left| left.saturating_sub(u32::try_from(page.data.len()).unwrap_or(u32::MAX)));
        for row in page.data {
            each(row)?;
        }
        match page.next_cursor {
            Some(next) if left != Some(0) => cursor = Some(Cursor(next)),
            next => return Ok(next),
        }
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

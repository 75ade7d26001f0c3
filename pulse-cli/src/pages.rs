//! Lists, page by page.

use pulse_core::{
    model::{
        api_key::ApiKeyView,
        audit::AuditEntry,
        ban::Ban,
        delivery::{AttemptView, DeliveryView},
        endpoint::EndpointView,
        event::EventView,
        organization::OrganizationView,
        project::ProjectView,
        replay::ReplayView,
        session::SessionView,
    },
    op::Operation,
    ops::{
        audit::ListAudit,
        bans::ListBans,
        deliveries::{ListAttempts, ListDeliveries},
        endpoints::ListEndpoints,
        events::ListEvents,
        keys::ListKeys,
        organizations::ListOrganizations,
        projects::ListProjects,
        replays::ListReplays,
        sessions::ListSessions,
    },
    page::{Cursor, MAX_LIMIT, Page, PageLimit},
};
use serde::Serialize;

use crate::{args::Paging, client::Client, exit::Failure};

/// An operation that answers pages.
pub trait Listing: Operation<Output = Page<Self::Row>> {
    /// What stands in a page.
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
    ListEndpoints => EndpointView;
    ListDeliveries => DeliveryView;
    ListReplays => ReplayView;
    ListAttempts => AttemptView;
    ListAudit => AuditEntry;
    ListEvents => EventView;
    ListBans => Ban;
    ListSessions => SessionView;
}

/// Gives every row that `paging` asks for to `each`; the cursor of what is left, if something is.
pub async fn walk<L: Listing>(
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
        let page = client.ask(&list).await?;
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

/// Every row that fits, of all pages.
pub async fn matching<L: Listing>(
    client: &Client,
    list: L,
    fits: impl Fn(&L::Row) -> bool,
) -> Result<Vec<L::Row>, Failure> {
    let mut found = Vec::new();
    let all = Paging { all: true, ..Paging::default() };
    walk(client, list, &all, |row| {
        found.extend(Some(row).filter(|row| fits(row)));
        Ok(())
    })
    .await?;
    Ok(found)
}

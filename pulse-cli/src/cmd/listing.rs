//! Lists as results.

use crate::{
    args::Paging,
    client::Client,
    exit::Failure,
    pages::{Listing, walk},
    session::Session,
    ui::View,
};

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

//! Bans in the store: one at a time for an identity in a room, or in all rooms.

use serde_json::{Map, Value};

use super::{Document, document_basics, get, page};
use crate::{
    error::Result,
    id::{BanId, ProjectId},
    media::room::{Identity, RoomName},
    model::ban::Ban,
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Condition, Scan, SharedStore, schema},
    time::Timestamp,
};

/// What identifies a ban inside a project. The room comes last, behind a character that neither part can have.
fn subject(identity: &str, room: Option<&RoomName>) -> String {
    format!("{identity}\n{}", room.map_or("", RoomName::as_str))
}

impl Document for Ban {
    const COLLECTION: &'static Collection = &schema::BANS;
    const KIND: &'static str = "ban";
    document_basics!();

    fn derive(&self, doc: &mut Map<String, Value>) {
        doc.insert("subject".into(), subject(self.identity.as_str(), self.room_name.as_ref()).into());
    }
}

/// Reads bans.
#[derive(Clone, Debug)]
pub struct Bans(pub SharedStore);

impl Bans {
    /// The project's ban of that id.
    pub async fn get(&self, project: ProjectId, id: BanId) -> Result<Option<Ban>> {
        Ok(get::<Ban>(&self.0, &id.to_string()).await?.filter(|ban| ban.project_id == project))
    }

    /// The project's ban of an identity from exactly this: a room, or all rooms.
    pub async fn of(&self, project: ProjectId, identity: &str, room: Option<&RoomName>) -> Result<Option<Ban>> {
        let key = [project.to_string().into(), subject(identity, room).into()];
        self.0.find(Ban::COLLECTION, "subject", &key).await?.map(Ban::from_stored).transpose()
    }

    /// The ban, of all rooms or of this one, that keeps an identity out of a room at `now`.
    pub async fn keeping_out(
        &self,
        project: ProjectId,
        identity: &str,
        room: &RoomName,
        now: Timestamp,
    ) -> Result<Option<Ban>> {
        for room in [None, Some(room)] {
            if let Some(ban) = self.of(project, identity, room).await?.filter(|ban| ban.holds(now)) {
                return Ok(Some(ban));
            }
        }
        Ok(None)
    }

    /// How many bans the project has, counted up to `cap`.
    pub async fn count(&self, project: ProjectId, cap: u64) -> Result<u64> {
        self.0.count(Ban::COLLECTION, "project", &[project.to_string().into()], cap).await
    }

    /// A page of the project's bans, newest first.
    pub async fn list(
        &self,
        project: ProjectId,
        identity: Option<&Identity>,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<Ban>> {
        let mut scan = Scan::new(Ban::COLLECTION, "project", vec![project.to_string().into()]);
        scan.filter.extend(identity.map(|identity| Condition::Eq("identity", identity.as_str().into())));
        let binding = CursorBinding::new("bans", &(project, identity.map(Identity::as_str)));
        page::<Ban, _>(&self.0, scan, &binding, limit, cursor, Clone::clone).await
    }
}

//! Revocations of media tokens in the store.

use serde_json::{Map, Value};

use super::{Document, get};
use crate::{
    error::Result,
    id::ProjectId,
    media::{room::RoomName, token::Jti},
    model::revocation::{Revocation, SubjectKind},
    store::{Collection, SharedStore, schema},
    time::Timestamp,
};

/// A revocation with the store's version, which the answer does not show.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct StoredRevocation {
    /// The revocation.
    #[serde(flatten)]
    pub revocation: Revocation,
    /// Grows by one with each change.
    #[serde(skip)]
    pub version: u64,
}

/// What identifies a subject inside a project: also the end of the document's id, so one subject has one document.
pub fn subject(kind: SubjectKind, value: &str) -> String {
    let kind = match kind {
        SubjectKind::Jti => "jti",
        SubjectKind::Identity => "identity",
        SubjectKind::Room => "room",
        SubjectKind::Project => "project",
    };
    format!("{kind}:{value}")
}

fn document_id(project: ProjectId, subject: &str) -> String {
    format!("{project}/{subject}")
}

impl Document for StoredRevocation {
    const COLLECTION: &'static Collection = &schema::REVOCATIONS;
    const KIND: &'static str = "revocation";

    fn document_id(&self) -> String {
        document_id(self.revocation.project_id, &subject(self.revocation.kind, &self.revocation.value))
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn set_version(&mut self, version: u64) {
        self.version = version;
    }
    fn derive(&self, doc: &mut Map<String, Value>) {
        doc.insert("subject".into(), subject(self.revocation.kind, &self.revocation.value).into());
    }
}

/// A token that was issued, or what a participant shows of the one with which it joined.
#[derive(Clone, Copy, Debug)]
pub struct Issued<'a> {
    /// The token's id. Its family's moment counts as the moment of issue.
    pub jti: Option<Jti>,
    /// Whose.
    pub identity: &'a str,
    /// For which room.
    pub room: &'a RoomName,
    /// When it was issued, for a token without an id of Pulse.
    pub at: Timestamp,
}

/// Whether the revocation hits what was issued so: its family, its identity, its room, or everything, before its moment.
pub fn hits(revocation: &Revocation, issued: &Issued<'_>) -> bool {
    let named = match revocation.kind {
        SubjectKind::Jti => issued.jti.is_some_and(|jti| jti.family_text() == revocation.value),
        SubjectKind::Identity => issued.identity == revocation.value,
        SubjectKind::Room => issued.room.as_str() == revocation.value,
        SubjectKind::Project => true,
    };
    named && issued.jti.map_or(issued.at, Jti::issued_at) < revocation.before
}

/// Reads revocations.
#[derive(Clone, Debug)]
pub struct Revocations(pub SharedStore);

impl Revocations {
    /// The project's revocation of a subject.
    pub async fn get(&self, project: ProjectId, kind: SubjectKind, value: &str) -> Result<Option<StoredRevocation>> {
        get(&self.0, &document_id(project, &subject(kind, value))).await
    }

    /// The revocation that holds at `now` and hits what was issued so: its family, its identity, its room, or everything.
    pub async fn hitting(&self, project: ProjectId, issued: &Issued<'_>, now: Timestamp) -> Result<Option<Revocation>> {
        if self.0.count(StoredRevocation::COLLECTION, "project", &[project.to_string().into()], 1).await? == 0 {
            return Ok(None);
        }
        let family = issued.jti.map(Jti::family_text);
        let subjects = [
            family.as_deref().map(|family| (SubjectKind::Jti, family)),
            Some((SubjectKind::Identity, issued.identity)),
            Some((SubjectKind::Room, issued.room.as_str())),
            Some((SubjectKind::Project, "")),
        ];
        for (kind, value) in subjects.into_iter().flatten() {
            let found = self.get(project, kind, value).await?.map(|stored| stored.revocation);
            if let Some(hit) = found.filter(|found| hits(found, issued) && found.expires_at > now) {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    }
}

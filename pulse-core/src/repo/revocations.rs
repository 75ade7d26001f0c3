//! Revocations of media tokens in the store.

use serde_json::{Map, Value};

use super::{Document, get};
use crate::{
    error::Result,
    id::ProjectId,
    model::revocation::{Revocation, SubjectKind},
    store::{Collection, SharedStore, schema},
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

/// Reads revocations.
#[derive(Clone, Debug)]
pub struct Revocations(pub SharedStore);

impl Revocations {
    /// The project's revocation of a subject.
    pub async fn get(&self, project: ProjectId, kind: SubjectKind, value: &str) -> Result<Option<StoredRevocation>> {
        get(&self.0, &document_id(project, &subject(kind, value))).await
    }
}

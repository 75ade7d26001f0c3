//! The audit log in the store.

use serde_json::{Map, Value, json};

use super::{Document, Visible, page};
use crate::{
    error::Result,
    id::OrgId,
    model::audit::{AuditEntry, AuditOutcome},
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Batch, Collection, Condition, Scan, SharedStore, schema},
    time::Timestamp,
};

/// The chain of what belongs to no organization.
pub const SYSTEM_LOG: &str = "system";

impl Document for AuditEntry {
    const COLLECTION: &'static Collection = &schema::AUDIT;
    const KIND: &'static str = "audit entry";

    fn document_id(&self) -> String {
        self.id.to_string()
    }
    fn version(&self) -> u64 {
        1
    }
    fn set_version(&mut self, _version: u64) {}
    fn derive(&self, doc: &mut Map<String, Value>) {
        doc.insert("actor_id".into(), self.actor.id.clone().into());
        doc.insert("target_ids".into(), self.targets.iter().map(|target| target.id.clone()).collect());
        for allotted in ["log", "seq", "prev", "hash"] {
            doc.remove(allotted);
        }
    }
}

/// Which entries a list has.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of this organization's chain.
    pub org: Option<OrgId>,
    /// By this actor.
    pub actor_id: Option<String>,
    /// Of this action, or with this prefix when it ends with `*`.
    pub action: Option<String>,
    /// About this target.
    pub target_id: Option<String>,
    /// With this outcome.
    pub outcome: Option<AuditOutcome>,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
}

/// Reads the audit log.
#[derive(Clone, Debug)]
pub struct Audit(pub SharedStore);

impl Audit {
    /// Adds an entry to its organization's chain, or to `system`.
    pub fn append(batch: &mut Batch, entry: &AuditEntry) -> Result<()> {
        let log = entry.org_id.map_or_else(|| SYSTEM_LOG.to_owned(), |id| id.to_string());
        batch.append(AuditEntry::COLLECTION, log, entry.id, entry.to_doc()?);
        Ok(())
    }

    /// A page of those that the caller sees, newest first: a project's key sees what is about its project.
    pub async fn list(
        &self,
        visible: Visible,
        filter: &AuditFilter,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<AuditEntry>> {
        let own = match visible {
            Visible::Nothing => return Ok(Page::empty()),
            Visible::Everything => None,
            Visible::Project { project, org } => Some((project.to_string(), org.to_string())),
        };
        let (index, prefix) = match filter {
            AuditFilter { target_id: Some(target), .. } => ("target", vec![target.as_str().into()]),
            _ if own.is_some() => ("target", own.iter().map(|(project, _)| project.as_str().into()).collect()),
            AuditFilter { actor_id: Some(actor), .. } => ("actor", vec![actor.as_str().into()]),
            // Without bounds on time, the chain's own order: exact where two entries share a millisecond.
            AuditFilter { org: Some(org), since: None, until: None, .. } => ("log_seq", vec![org.to_string().into()]),
            AuditFilter { org: Some(org), .. } => ("log_time", vec![org.to_string().into()]),
            _ => ("time", Vec::new()),
        };
        let mut scan = Scan::new(AuditEntry::COLLECTION, index, prefix);
        scan.from = filter.since.map(|time| time.to_string().into());
        scan.to = filter.until.map(|time| time.to_string().into());
        if let Some((project, org)) = &own {
            scan.filter.push(Condition::Eq("log", org.as_str().into()));
            scan.filter.push(Condition::Contains("target_ids", project.as_str().into()));
        }
        scan.filter.extend(filter.org.map(|org| Condition::Eq("log", org.to_string().into())));
        scan.filter.extend(filter.actor_id.as_deref().map(|actor| Condition::Eq("actor_id", actor.into())));
        scan.filter.extend(filter.action.as_deref().map(|action| match action.strip_suffix('*') {
            Some(prefix) => Condition::Prefix("action", prefix.to_owned()),
            None => Condition::Eq("action", action.into()),
        }));
        scan.filter.extend(filter.outcome.map(|outcome| Condition::Eq("outcome", json!(outcome))));
        let binding = CursorBinding::new("audit", &format!("{own:?}{filter:?}"));
        page::<AuditEntry, _>(&self.0, scan, &binding, limit, cursor, Clone::clone).await
    }
}

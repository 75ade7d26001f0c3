//! What an operation is. Every control-plane operation is one struct: its fields are the request, its [`Meta`] is what
//! routes, permissions, audit, rate cost and documents are read off, and [`Operation::plan`] is what it does.

mod options;

use std::{collections::BTreeMap, fmt, future::Future, net::IpAddr};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    access::{Caller, Permission, Permissions},
    entropy::Entropy,
    error::{Code, Error, Result},
    id::{OrgId, ProjectId},
    limit::RateCell,
    model::{
        audit::{Change, Origin, Target},
        tenant::Tenant,
    },
    parts::Parts,
    store::Batch,
    time::Timestamp,
};

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, or does.
    Post,
    /// Merges.
    Put,
    /// Ends.
    Delete,
}

impl Method {
    /// The method's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Whether fields that are not in the path travel in the body.
    pub fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }
}

/// Everything about an operation that does not depend on the request.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// `<resource>.<verb>`, in the field's words.
    pub id: &'static str,
    /// The method of its route.
    pub method: Method,
    /// The path of its route, with `{field}` for fields that travel in it.
    pub path: &'static str,
    /// Every permission that some variant of the request needs. Empty: anybody may.
    pub permissions: &'static [Permission],
    /// The audit action of a mutation; `None` for what changes nothing.
    pub action: Option<&'static str>,
    /// What a call costs against the rate limits, in requests.
    pub cost: u32,
    /// The HTTP status of success.
    pub status: u16,
    /// Whether the answer shows a secret (and so a stored idempotent answer is sealed, and a dry run is cut).
    pub reveals_secret: bool,
    /// Whether unknown fields are ignored instead of refused.
    pub lenient: bool,
    /// Whether it changes one thing that has versions, so that `If-Match` can name one.
    pub versioned: bool,
    /// Whether its answer, over HTTP, is a stream of server-sent events: the operation says who may read which, and the edge
    /// gives them one by one.
    pub streams: bool,
    /// One line for documents and help.
    pub summary: &'static str,
}

impl Meta {
    /// A read: `GET`, cost 1, status 200.
    pub const fn read(
        id: &'static str,
        path: &'static str,
        permissions: &'static [Permission],
        summary: &'static str,
    ) -> Self {
        Self {
            id,
            method: Method::Get,
            path,
            permissions,
            action: None,
            cost: 1,
            status: 200,
            reveals_secret: false,
            lenient: false,
            versioned: false,
            streams: false,
            summary,
        }
    }

    /// A mutation that is audited as `id`: status 201 for `POST` to a collection is set with [`Meta::creates`].
    pub const fn mutation(
        id: &'static str,
        method: Method,
        path: &'static str,
        permissions: &'static [Permission],
        summary: &'static str,
    ) -> Self {
        Self { method, action: Some(id), ..Self::read(id, path, permissions, summary) }
    }

    /// A `POST` that changes nothing and is not audited.
    pub const fn query(
        id: &'static str,
        path: &'static str,
        permissions: &'static [Permission],
        summary: &'static str,
    ) -> Self {
        Self { method: Method::Post, ..Self::read(id, path, permissions, summary) }
    }

    /// Answers 201.
    #[must_use]
    pub const fn creates(self) -> Self {
        Self { status: 201, ..self }
    }

    /// Answers 202: what is asked for happens later.
    #[must_use]
    pub const fn accepts(self) -> Self {
        Self { status: 202, ..self }
    }

    /// Shows a secret in its answer.
    #[must_use]
    pub const fn reveals(self) -> Self {
        Self { reveals_secret: true, ..self }
    }

    /// Checks the version of what it changes with [`Cx::check_version`].
    #[must_use]
    pub const fn versioned(self) -> Self {
        Self { versioned: true, ..self }
    }

    /// Ignores unknown fields.
    #[must_use]
    pub const fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// Answers a stream.
    #[must_use]
    pub const fn streams(self) -> Self {
        Self { streams: true, ..self }
    }

    /// Whether it changes the store.
    pub fn is_mutation(&self) -> bool {
        self.action.is_some()
    }

    /// Names of the fields that travel in the path.
    pub fn path_fields(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// What an operation is about; execute resolves it, and what the caller may not know of is 404.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The installation.
    System,
    /// One organization.
    Org(OrgId),
    /// One project.
    Project(ProjectId),
    /// The caller's own project for a key, or the one that other callers name.
    CallerProject(Option<ProjectId>),
    /// The project of the key that calls; nobody else may.
    OwnProject,
    /// Whatever the caller can see; the operation filters.
    Visible,
}

/// One call: what belongs to no operation in particular.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// Whether everything but the commit is to happen.
    pub dry_run: bool,
    /// The client's key for safe retries of a mutating `POST`.
    pub idempotency_key: Option<String>,
    /// The version in `If-Match`.
    pub if_match: Option<u64>,
    /// The id of the request, in every log line and audit entry.
    pub request_id: String,
    /// The door.
    pub origin: Origin,
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The client's program.
    pub user_agent: Option<String>,
    /// Where the decision of the tightest rate limit is left, for the edge's headers.
    pub rate: RateCell,
}

impl Call {
    /// A call with no options, through the API.
    pub fn new(caller: Caller, request_id: impl Into<String>) -> Self {
        Self {
            caller,
            dry_run: false,
            idempotency_key: None,
            if_match: None,
            request_id: request_id.into(),
            origin: Origin::Api,
            ip: None,
            user_agent: None,
            rate: RateCell::default(),
        }
    }
}

/// A new id for a request that has none: `req_` and 24 hexadecimal digits.
pub fn request_id(entropy: &dyn Entropy) -> String {
    let mut random = [0_u8; 12];
    entropy.fill(&mut random);
    format!("req_{}", hex::encode(random))
}

/// What a plan may use: the parts of the plane, the call, and what its scope resolved to.
#[derive(Debug)]
pub struct Cx<'a> {
    /// Repositories, clock, randomness, sealing, media.
    pub parts: &'a Parts,
    /// The call.
    pub call: &'a Call,
    /// The project and organization of a project scope. A snapshot that may be a second old: fit for deciding a read
    /// or a token, not for replacing the document.
    pub tenant: Option<Tenant>,
    /// The time of this plan.
    pub now: Timestamp,
    /// The version that the caller expects, from the body or `If-Match`.
    pub expected_version: Option<u64>,
}

impl Cx<'_> {
    /// The tenant of a project scope.
    pub fn tenant(&self) -> Result<&Tenant> {
        self.tenant.as_ref().ok_or_else(|| Error::internal("the operation has no project scope"))
    }

    /// Refuses when the caller expects another version of the document.
    pub fn check_version(&self, kind: &str, id: &dyn fmt::Display, version: u64) -> Result<()> {
        match self.expected_version {
            Some(expected) if expected != version => {
                Err(Error::new(Code::VersionMismatch, format!("{kind} {id} is at version {version}, not {expected}")))
            }
            _ => Ok(()),
        }
    }
}

/// What the audit says about a mutation beside who, when and how.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// The organization in whose chain the entry stands; `None` is the chain `system`.
    pub org: Option<OrgId>,
    /// What it is about.
    pub targets: Vec<Target>,
    /// What changed.
    pub changes: Vec<Change>,
}

/// What an operation decided: nothing has happened yet.
#[derive(Debug)]
pub struct Planned<O> {
    /// The answer.
    pub output: O,
    /// What is to be committed; empty for a read.
    pub batch: Batch,
    /// What the audit says.
    pub trail: Trail,
    /// For a dry run: how many of each thing are touched.
    pub impact: BTreeMap<&'static str, u64>,
}

impl<O> Planned<O> {
    /// The plan of a read.
    pub fn read(output: O) -> Self {
        Self { output, batch: Batch::new(), trail: Trail::default(), impact: BTreeMap::new() }
    }

    /// The plan of a mutation.
    pub fn write(output: O, batch: Batch, trail: Trail) -> Self {
        Self { output, batch, trail, impact: BTreeMap::new() }
    }

    /// Adds a count to what a dry run tells.
    #[must_use]
    pub fn touching(mut self, what: &'static str, count: u64) -> Self {
        self.impact.insert(what, count);
        self
    }
}

/// One control-plane operation.
pub trait Operation: Serialize + DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static {
    /// What it answers.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// Everything that does not depend on the request.
    const META: Meta;

    /// What the request is about.
    fn scope(&self) -> Scope;

    /// The permissions that this very request needs.
    fn needs(&self) -> Permissions {
        Permissions::of(Self::META.permissions)
    }

    /// The version that the body expects, for updates.
    fn expected_version(&self) -> Option<u64> {
        None
    }

    /// The version of the document in the answer, for `ETag`.
    fn version_of(_output: &Self::Output) -> Option<u64> {
        None
    }

    /// Cuts secrets out of the answer, for a dry run. Operations that reveal secrets override it.
    fn without_secrets(output: Self::Output) -> Self::Output {
        output
    }

    /// Turns a uniqueness clash of this operation's batch into the caller's words.
    fn conflict(&self, _collection: &'static str, _index: &'static str) -> Option<Error> {
        None
    }

    /// Reads and decides; changes nothing. May run several times for one call.
    fn plan(&self, cx: &Cx<'_>) -> impl Future<Output = Result<Planned<Self::Output>>> + Send;
}

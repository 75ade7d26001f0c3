//! The list of all operations. Adding one is a file in [`crate::ops`] and a line here; routes, documents, the permission
//! matrix and the tests of tests follow.

use std::{
    future::Future,
    pin::Pin,
    sync::{LazyLock, OnceLock},
};

use serde_json::Value;

use crate::{
    error::Result,
    op::{Call, Meta, Operation},
    ops::{
        admin, audit, bans, deliveries, endpoints, events, keys, me, organizations, projects, replays, sessions,
        status, tokens, unclaimed, usage,
    },
    plane::{Answer, ControlPlane},
    wire::{self, Incoming, OpSchema},
};

/// An answer, ready for an edge.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Vec<u8>,
    /// The version of the document in the body.
    pub version: Option<u64>,
    /// Whether this is a stored answer.
    pub replayed: bool,
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Reply>> + Send + 'a>>;

/// One operation with its type erased.
#[derive(Debug)]
pub struct Route {
    /// What the operation is.
    pub meta: Meta,
    schema: OnceLock<OpSchema>,
    make_schema: fn() -> OpSchema,
    answer_schema: fn() -> Value,
    call: for<'a> fn(&'a ControlPlane, &'a OpSchema, &'a Call, Incoming<'a>) -> Answering<'a>,
}

impl Route {
    /// The route of an operation.
    pub const fn of<O: Operation>() -> Self {
        Self {
            meta: O::META,
            schema: OnceLock::new(),
            make_schema: || OpSchema::new::<O>(O::META.lenient),
            answer_schema: || wire::answer_schema::<O::Output>(),
            call: |plane, schema, call, incoming| Box::pin(answer::<O>(plane, schema, call, incoming)),
        }
    }

    /// The schema of the request.
    pub fn schema(&self) -> &OpSchema {
        self.schema.get_or_init(self.make_schema)
    }

    /// The JSON schema of the answer.
    pub fn answer_schema(&self) -> Value {
        (self.answer_schema)()
    }

    /// Decodes the request, does the operation and encodes the answer.
    pub async fn call(&self, plane: &ControlPlane, call: &Call, incoming: Incoming<'_>) -> Result<Reply> {
        (self.call)(plane, self.schema(), call, incoming).await
    }
}

async fn answer<O: Operation>(
    plane: &ControlPlane,
    schema: &OpSchema,
    call: &Call,
    incoming: Incoming<'_>,
) -> Result<Reply> {
    let op: O = wire::decode(schema, incoming).inspect_err(|error| plane.count_refused(O::META.id, error))?;
    match plane.execute(call, &op).await? {
        Answer::Done { output, replayed } => Ok(Reply {
            status: O::META.status,
            body: serde_json::to_vec(&output).map_err(crate::Error::internal)?,
            version: O::version_of(&output),
            replayed,
        }),
        Answer::DryRun(dry) => Ok(Reply {
            status: 200,
            body: serde_json::to_vec(&dry).map_err(crate::Error::internal)?,
            version: None,
            replayed: false,
        }),
    }
}

/// Every operation there is, in the order of the documents.
pub static OPERATIONS: LazyLock<Vec<Route>> = LazyLock::new(|| {
    vec![
        Route::of::<organizations::CreateOrganization>(),
        Route::of::<organizations::ListOrganizations>(),
        Route::of::<organizations::GetOrganization>(),
        Route::of::<organizations::UpdateOrganization>(),
        Route::of::<organizations::DeleteOrganization>(),
        Route::of::<organizations::RestoreOrganization>(),
        Route::of::<projects::CreateProject>(),
        Route::of::<projects::ListProjects>(),
        Route::of::<projects::GetProject>(),
        Route::of::<projects::UpdateProject>(),
        Route::of::<projects::DeleteProject>(),
        Route::of::<projects::RestoreProject>(),
        Route::of::<projects::SuspendProject>(),
        Route::of::<projects::ResumeProject>(),
        Route::of::<keys::RegenerateKeys>(),
        Route::of::<keys::CreateKey>(),
        Route::of::<keys::ListKeys>(),
        Route::of::<keys::GetKey>(),
        Route::of::<keys::RevokeKey>(),
        Route::of::<keys::RotateKey>(),
        Route::of::<keys::CommitRotation>(),
        Route::of::<keys::CancelRotation>(),
        Route::of::<tokens::CreateToken>(),
        Route::of::<tokens::ValidateToken>(),
        Route::of::<tokens::RefreshToken>(),
        Route::of::<tokens::RevokeTokens>(),
        Route::of::<tokens::TokenSource>(),
        Route::of::<endpoints::CreateEndpoint>(),
        Route::of::<endpoints::ListEndpoints>(),
        Route::of::<endpoints::GetEndpoint>(),
        Route::of::<endpoints::UpdateEndpoint>(),
        Route::of::<endpoints::DeleteEndpoint>(),
        Route::of::<endpoints::PauseEndpoint>(),
        Route::of::<endpoints::ResumeEndpoint>(),
        Route::of::<endpoints::DisableEndpoint>(),
        Route::of::<endpoints::EnableEndpoint>(),
        Route::of::<endpoints::RotateSecret>(),
        Route::of::<endpoints::TestEndpoint>(),
        Route::of::<deliveries::ListDeliveries>(),
        Route::of::<deliveries::GetDelivery>(),
        Route::of::<deliveries::ListAttempts>(),
        Route::of::<deliveries::ResendDelivery>(),
        Route::of::<replays::StartReplay>(),
        Route::of::<replays::ListReplays>(),
        Route::of::<replays::GetReplay>(),
        Route::of::<replays::CancelReplay>(),
        Route::of::<events::ListEvents>(),
        Route::of::<events::GetEvent>(),
        Route::of::<events::WatchEvents>(),
        Route::of::<events::TriggerEvent>(),
        Route::of::<unclaimed::ListUnclaimed>(),
        Route::of::<bans::CreateBan>(),
        Route::of::<bans::ListBans>(),
        Route::of::<bans::DeleteBan>(),
        Route::of::<sessions::ListSessions>(),
        Route::of::<sessions::GetSession>(),
        Route::of::<usage::ListUsage>(),
        Route::of::<audit::ListAudit>(),
        Route::of::<me::GetMe>(),
        Route::of::<status::GetStatus>(),
        Route::of::<admin::RotateAdminToken>(),
    ]
});

/// The operation of that id.
pub fn by_id(id: &str) -> Option<&'static Route> {
    OPERATIONS.iter().find(|route| route.meta.id == id)
}

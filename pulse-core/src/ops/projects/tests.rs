//! The worked example of `CONTRIBUTING.md` is an operation that works.

// Public, as an operation is for whoever sends it.
pub mod rename;

use std::sync::Arc;

use ipnet::IpNet;

use self::rename::RenameProject;
use super::*;
use crate::{
    access::{Caller, OperatorVia},
    boot::{self, Assembly, GivenSecrets},
    entropy::SeededEntropy,
    id::OrgId,
    media::cluster::Signer,
    metrics::Metrics,
    op::{Call, Operation},
    ops::organizations::CreateOrganization,
    outbound::{AddressPolicy, Outbound},
    parts::{PipelineSettings, Settings},
    plane::{Answer, ControlPlane},
    secret::Secret,
    store::memory::MemoryStore,
    time::{ManualClock, Timestamp},
};

#[test]
fn the_worked_example_is_the_file_that_is_compiled_here() {
    let document = include_str!("../../../../CONTRIBUTING.md");
    let (_, rest) = document.split_once("```rust,ignore\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    assert_eq!(example, include_str!("tests/rename.rs"));
}

#[tokio::test]
async fn the_worked_example_renames_the_living_and_refuses_names_that_are_taken() {
    let plane = plane().await;
    let org = json(r#"{ "name": "acme", "admin_email": "a@acme.example" }"#);
    let org = run::<CreateOrganization>(&plane, org).await.unwrap().id;
    let (first, second) = (project(&plane, org, "first").await, project(&plane, org, "second").await);
    let rename = |id: ProjectId, name: &str| RenameProject { id, name: name.parse().unwrap() };

    let renamed = run(&plane, rename(first, "third")).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.version), ("third", 2));
    let taken = run(&plane, rename(second, "third")).await.unwrap_err();
    assert_eq!(taken.code(), Code::NameTaken);
    run(&plane, DeleteProject { id: second, version: None }).await.unwrap();
    let deleted = run(&plane, rename(second, "fourth")).await.unwrap_err();
    assert_eq!(deleted.code(), Code::WrongState);
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

async fn project(plane: &ControlPlane, org: OrgId, name: &str) -> ProjectId {
    let create: CreateProject = json(&format!(r#"{{ "org_id": "{org}", "name": "{name}" }}"#));
    run(plane, create).await.unwrap().project.id
}

/// Does an operation as the operator.
async fn run<O: Operation>(plane: &ControlPlane, op: O) -> Result<O::Output> {
    let operator = Caller::Operator(OperatorVia::Local { os_user: "tester".to_owned() });
    plane.execute(&Call::new(operator, "req-test"), &op).await.map(Answer::into_output)
}

/// A plane over an empty memory store that connects to nothing.
async fn plane() -> ControlPlane {
    let livekit = Signer {
        url: "ws://127.0.0.1:9".to_owned(),
        api_key: "key".to_owned(),
        api_secret: Secret::new("a-secret-of-no-livekit"),
        shared: true,
    };
    let settings = Settings {
        livekit,
        regions: Vec::new(),
        operator_token_given: false,
        operator_token_file: None,
        purge_after: std::time::Duration::from_secs(86_400),
        pipeline: PipelineSettings::default(),
        redis: None,
    };
    let assembly = Assembly {
        store: Arc::new(MemoryStore::new()),
        beside: None,
        in_memory: true,
        secrets: GivenSecrets::default(),
        settings,
        outbound: Outbound::new(AddressPolicy::only(Vec::<IpNet>::new())),
        clock: Arc::new(ManualClock::new(Timestamp::from_secs(1_780_000_000))),
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Metrics::new().unwrap(),
        engine: None,
    };
    boot::assemble(assembly, false).await.unwrap().plane
}

//! Tests of the tests: what must hold for every operation that there is, and for every one that will be.

use std::collections::{BTreeMap, BTreeSet};

use pulse_core::{
    access::{Permission, Permissions, Role},
    op::{Meta, Method, Operation},
    ops::{bans, deliveries, endpoints, events, keys, organizations, projects, replays, sessions, tokens, usage},
    registry::{self, OPERATIONS},
    wire::{self, Incoming, OpSchema},
};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::{Value, json};

const ORG: &str = "org_01J00000000000000000000000";
const PROJECT: &str = "prj_01J00000000000000000000000";
const KEY: &str = "key_01J00000000000000000000000";
const ENDPOINT: &str = "ep_01J00000000000000000000000";
const DELIVERY: &str = "dlv_01J00000000000000000000000";
const EVENT: &str = "evt_01J00000000000000000000000";
const REPLAY: &str = "job_01J00000000000000000000000";
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A full request for each operation: every field set, so that what does not survive the wire shows.
fn samples() -> BTreeMap<&'static str, Value> {
    let preset = json!({ "can_publish": false, "can_subscribe": true, "can_publish_data": false, "can_publish_sources": ["camera"], "hidden": true, "max_ttl_seconds": 60 });
    let storage = json!({ "kind": "s3", "bucket": "b", "region": "eu", "endpoint": "https://s3.example", "prefix": "p", "force_path_style": true, "cdn_base_url": "https://cdn.example", "access_key_id": "a", "secret_access_key": "s" });
    let create_project = json!({ "org_id": ORG, "name": "N", "region": "eu-west", "labels": { "a": "b" }, "webhook_url": "https://hooks.example/x", "storage_config": storage, "livekit_url": "wss://lk.example", "livekit_api_key": "k", "livekit_api_secret": "s", "limits": { "requests_per_minute": 5, "max_token_ttl_seconds": 60 }, "token_presets": { "guest": preset } });
    let mut update_project = create_project.clone();
    update_project["id"] = json!(PROJECT);
    update_project["version"] = json!(3);
    update_project["webhook_url"] = Value::Null;
    update_project.as_object_mut().expect("an object").remove("org_id");
    let key = |extra: Value| {
        let mut fields = json!({ "id": PROJECT, "key_id": KEY });
        fields.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        fields
    };
    let endpoint = json!({ "project_id": PROJECT, "url": "https://hooks.example/in", "description": "the shop", "event_types": ["room_*", "participant_joined"], "headers": { "authorization": "Bearer x" }, "schedule": [5, 60], "rate": { "per_second": 5, "burst": 10 }, "timeout_seconds": 10, "max_in_flight": 4 });
    let mut create_endpoint = endpoint.clone();
    create_endpoint["secret"] = json!(SIGNING);
    let mut update_endpoint = endpoint;
    update_endpoint["id"] = json!(ENDPOINT);
    update_endpoint["version"] = json!(2);
    let one_endpoint = json!({ "id": ENDPOINT, "project_id": PROJECT });
    let mut with_reason = one_endpoint.clone();
    with_reason["reason"] = json!("it moves");
    let one_delivery = json!({ "id": DELIVERY, "project_id": PROJECT });
    BTreeMap::from([
        (
            "organizations.create",
            json!({ "name": "N", "admin_email": "a@b.example", "plan": "Pro", "labels": { "k": "v" } }),
        ),
        (
            "organizations.list",
            json!({ "name_prefix": "a b&c=d", "plan": "Free", "label": ["k:v", "l:"], "include_deleted": true, "limit": 7, "cursor": "abc" }),
        ),
        ("organizations.get", json!({ "id": ORG })),
        (
            "organizations.update",
            json!({ "id": ORG, "name": "M", "admin_email": "c@d.example", "plan": "Enterprise", "labels": null, "version": 2 }),
        ),
        ("organizations.delete", json!({ "id": ORG, "version": 2 })),
        ("organizations.restore", json!({ "id": ORG })),
        ("projects.create", create_project),
        (
            "projects.list",
            json!({ "org_id": ORG, "name_prefix": "é/%", "plan": "Pro", "region": "us-east", "label": ["k:v:w"], "include_deleted": false, "limit": 100, "cursor": "x" }),
        ),
        ("projects.get", json!({ "id": PROJECT })),
        ("projects.update", update_project),
        ("projects.delete", json!({ "id": PROJECT, "version": 1 })),
        ("projects.restore", json!({ "id": PROJECT })),
        ("projects.suspend", json!({ "id": PROJECT, "reason": "unpaid" })),
        ("projects.resume", json!({ "id": PROJECT })),
        ("projects.regenerate_keys", json!({ "id": PROJECT, "overlap_seconds": 60 })),
        (
            "keys.create",
            json!({ "id": PROJECT, "name": "ci", "environment": "test", "scopes": ["project:read", "tokens:mint"], "constraints": { "rooms": ["sales-*"], "max_ttl_seconds": 3600, "grants": ["subscribe"] }, "networks": ["10.0.0.0/8"], "expires_at": "2030-01-01T00:00:00.000Z" }),
        ),
        ("keys.list", json!({ "id": PROJECT, "include_revoked": true, "limit": 1, "cursor": "c" })),
        ("keys.get", key(json!({}))),
        ("keys.revoke", key(json!({ "force": true, "version": 4 }))),
        ("keys.rotate", key(json!({ "overlap_seconds": 0, "commit": false }))),
        ("keys.rotate_commit", key(json!({ "overlap_seconds": 5 }))),
        ("keys.rotate_cancel", key(json!({}))),
        (
            "tokens.create",
            json!({ "project_id": PROJECT, "room_name": "r", "identity": "i", "name": "n", "preset": "host", "can_publish": true, "can_subscribe": false, "can_publish_data": true, "can_publish_sources": ["microphone", "screen_share_audio"], "hidden": false, "metadata": "m", "attributes": { "a.b": "c" }, "ttl_seconds": 60, "region": "us-east", "room_config": { "maxParticipants": 3 } }),
        ),
        ("tokens.validate", json!({ "project_id": PROJECT, "token": "t" })),
        ("tokens.refresh", json!({ "project_id": PROJECT, "token": "t", "ttl_seconds": 9 })),
        (
            "tokens.revoke",
            json!({ "project_id": PROJECT, "jti": "j", "identity": "i", "room_name": "r", "all": true, "before": "2030-01-01T00:00:00.000Z", "reason": "why" }),
        ),
        (
            "tokens.source",
            json!({ "room_name": "r", "participant_identity": "i", "participant_name": "n", "participant_metadata": "m", "participant_attributes": { "k": "v" }, "room_config": { "name": "x" } }),
        ),
        (
            "bans.create",
            json!({ "project_id": PROJECT, "identity": "i", "room_name": "r", "reason": "why", "expires_at": "2030-01-01T00:00:00.000Z" }),
        ),
        ("bans.list", json!({ "project_id": PROJECT, "identity": "a b", "limit": 3, "cursor": "c" })),
        ("bans.delete", json!({ "project_id": PROJECT, "id": "ban_01J00000000000000000000000" })),
        (
            "sessions.list",
            json!({ "project_id": PROJECT, "room": "a&b", "from": "2026-01-01T00:00:00.000Z", "to": "2030-01-01T00:00:00.000Z", "live": false, "limit": 5, "cursor": "c" }),
        ),
        ("sessions.get", json!({ "project_id": PROJECT, "id": "ses_01J00000000000000000000000" })),
        (
            "usage.list",
            json!({ "project_id": PROJECT, "event_type": "egress_seconds", "from": "2026-01-01T00:00:00.000Z", "to": "2030-01-01T00:00:00.000Z", "limit": 9, "cursor": "c" }),
        ),
        (
            "audit.list",
            json!({ "org_id": ORG, "actor_id": "operator", "action": "keys.*", "target_id": KEY, "outcome": "success", "since": "2026-01-01T00:00:00.000Z", "until": "2030-01-01T00:00:00.000Z", "limit": 2, "cursor": "c" }),
        ),
        ("endpoints.create", create_endpoint),
        ("endpoints.list", json!({ "project_id": PROJECT, "limit": 2, "cursor": "c" })),
        ("endpoints.get", one_endpoint.clone()),
        ("endpoints.update", update_endpoint),
        ("endpoints.delete", json!({ "id": ENDPOINT, "project_id": PROJECT, "version": 2 })),
        ("endpoints.pause", with_reason.clone()),
        ("endpoints.resume", one_endpoint.clone()),
        ("endpoints.disable", with_reason),
        ("endpoints.enable", one_endpoint.clone()),
        (
            "endpoints.rotate_secret",
            json!({ "id": ENDPOINT, "project_id": PROJECT, "overlap_seconds": 60, "secret": SIGNING }),
        ),
        ("endpoints.test", one_endpoint),
        (
            "deliveries.list",
            json!({ "project_id": PROJECT, "endpoint_id": ENDPOINT, "event_id": EVENT, "type": "room_started", "room": "r", "status": "succeeded", "from": "2026-01-01T00:00:00.000Z", "to": "2030-01-01T00:00:00.000Z", "limit": 2, "cursor": "c" }),
        ),
        ("deliveries.get", one_delivery.clone()),
        ("deliveries.attempts", json!({ "id": DELIVERY, "project_id": PROJECT, "limit": 2, "cursor": "c" })),
        ("deliveries.resend", one_delivery),
        (
            "events.list",
            json!({ "project_id": PROJECT, "type": ["room_*", "a.b"], "room": "r", "session_id": "ses_01J00000000000000000000000", "after_sequence": 7, "from": "2026-01-01T00:00:00.000Z", "to": "2030-01-01T00:00:00.000Z", "limit": 2, "cursor": "c" }),
        ),
        ("events.get", json!({ "id": EVENT, "project_id": PROJECT })),
        (
            "events.stream",
            json!({ "project_id": PROJECT, "type": ["room_*"], "room": "r", "session_id": "ses_01J00000000000000000000000", "from": "2026-01-01T00:00:00.000Z" }),
        ),
        (
            "events.trigger",
            json!({ "project_id": PROJECT, "type": "room_started", "room": "r", "set": { "room.sid": "RM_1" } }),
        ),
        (
            "replays.start",
            json!({ "project_id": PROJECT, "since": "2026-01-01T00:00:00.000Z", "until": "2030-01-01T00:00:00.000Z", "types": ["room_*"], "rooms": ["r"], "status": "missing", "endpoint_id": ENDPOINT, "rate_per_second": 50 }),
        ),
        ("replays.list", json!({ "project_id": PROJECT, "limit": 2, "cursor": "c" })),
        ("replays.get", json!({ "id": REPLAY, "project_id": PROJECT })),
        ("replays.cancel", json!({ "id": REPLAY, "project_id": PROJECT })),
        ("unclaimed.list", json!({ "limit": 2, "cursor": "c" })),
        ("me.get", json!({})),
        ("status.get", json!({})),
        ("admin.rotate", json!({})),
    ])
}

/// Encodes and decodes the sample of one operation.
fn round_trip<O: Operation>(samples: &mut BTreeMap<&'static str, Value>) {
    let sample = samples.remove(O::META.id).unwrap_or_else(|| panic!("{} has no sample here", O::META.id));
    let op: O = serde_json::from_value(sample.clone())
        .unwrap_or_else(|e| panic!("{}: the sample is not valid: {e}", O::META.id));
    let request = wire::encode(&op).expect("encodes");
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let fields: Vec<(String, String)> = O::META
        .path
        .split('/')
        .zip(path.split('/'))
        .filter_map(|(name, value)| Some((name.strip_prefix('{')?.strip_suffix('}')?.to_owned(), value.to_owned())))
        .collect();
    let body = request.body.map(|body| body.to_string()).unwrap_or_default();
    let schema = OpSchema::new::<O>(O::META.lenient);
    let incoming = Incoming { path: &fields, query, body: body.as_bytes() };
    let back: O = wire::decode(&schema, incoming).unwrap_or_else(|e| panic!("{}: {e} {:?}", O::META.id, e.faults()));
    assert_eq!(serde_json::to_value(back).expect("encodes"), sample, "{} changes on the wire", O::META.id);
    let faults = schema.faults(&sample).expect("the schema compiles");
    assert!(faults.is_empty(), "{}: the schema refuses what decodes: {faults:?}", O::META.id);
}

#[test]
fn every_operation_survives_the_wire_with_all_its_fields() {
    let mut left = samples();
    macro_rules! each {
        ($($op:ty),+ $(,)?) => { $(round_trip::<$op>(&mut left);)+ };
    }
    each!(
        organizations::CreateOrganization,
        organizations::ListOrganizations,
        organizations::GetOrganization,
        organizations::UpdateOrganization,
        organizations::DeleteOrganization,
        organizations::RestoreOrganization,
        projects::CreateProject,
        projects::ListProjects,
        projects::GetProject,
        projects::UpdateProject,
        projects::DeleteProject,
        projects::RestoreProject,
        projects::SuspendProject,
        projects::ResumeProject,
        keys::RegenerateKeys,
        keys::CreateKey,
        keys::ListKeys,
        keys::GetKey,
        keys::RevokeKey,
        keys::RotateKey,
        keys::CommitRotation,
        keys::CancelRotation,
        tokens::CreateToken,
        tokens::ValidateToken,
        tokens::RefreshToken,
        tokens::RevokeTokens,
        tokens::TokenSource,
        endpoints::CreateEndpoint,
        endpoints::ListEndpoints,
        endpoints::GetEndpoint,
        endpoints::UpdateEndpoint,
        endpoints::DeleteEndpoint,
        endpoints::PauseEndpoint,
        endpoints::ResumeEndpoint,
        endpoints::DisableEndpoint,
        endpoints::EnableEndpoint,
        endpoints::RotateSecret,
        endpoints::TestEndpoint,
        deliveries::ListDeliveries,
        deliveries::GetDelivery,
        deliveries::ListAttempts,
        deliveries::ResendDelivery,
        events::ListEvents,
        events::GetEvent,
        events::WatchEvents,
        events::TriggerEvent,
        replays::StartReplay,
        replays::ListReplays,
        replays::GetReplay,
        replays::CancelReplay,
        pulse_core::ops::unclaimed::ListUnclaimed,
        bans::CreateBan,
        bans::ListBans,
        bans::DeleteBan,
        sessions::ListSessions,
        sessions::GetSession,
        usage::ListUsage,
        pulse_core::ops::audit::ListAudit,
        pulse_core::ops::me::GetMe,
        pulse_core::ops::status::GetStatus,
        pulse_core::ops::admin::RotateAdminToken,
    );
    assert!(left.is_empty(), "samples without an operation: {:?}", left.keys());
    let sampled = samples();
    for route in OPERATIONS.iter() {
        assert!(sampled.contains_key(route.meta.id), "{} is in the registry and has no sample", route.meta.id);
    }
}

#[test]
fn samples_set_every_field_of_their_operation() {
    let samples = samples();
    for route in OPERATIONS.iter() {
        let sample = &samples[route.meta.id];
        for name in route.schema().json()["properties"].as_object().into_iter().flat_map(|fields| fields.keys()) {
            assert!(sample.get(name).is_some(), "the sample of {} leaves {name} out", route.meta.id);
        }
    }
}

/// Values just outside the bounds of a schema, each with the place in the sample where it goes.
fn outside(schema: &Value, sample: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    let bound = |name: &str| schema[name].as_u64().and_then(|bound| usize::try_from(bound).ok());
    let mut add = |value: Value| found.push((at.to_owned(), value));
    match sample {
        Value::String(_) => {
            bound("minLength")
                .filter(|least| *least > 0)
                .into_iter()
                .for_each(|least| add(json!("x".repeat(least - 1))));
            bound("maxLength").into_iter().for_each(|most| add(json!("x".repeat(most + 1))));
        }
        Value::Number(_) => {
            schema["minimum"].as_i64().into_iter().for_each(|least| add(json!(least - 1)));
            schema["maximum"].as_i64().into_iter().for_each(|most| add(json!(most + 1)));
        }
        Value::Array(elements) => {
            bound("maxItems").into_iter().for_each(|most| add(vec![elements[0].clone(); most + 1].into()));
            outside(&schema["items"], &elements[0], &format!("{at}/0"), found);
        }
        Value::Object(fields) => {
            let any = fields.values().next().cloned().unwrap_or_default();
            let many =
                |most: usize| (0..=most).map(|n| (format!("k{n}"), any.clone())).collect::<serde_json::Map<_, _>>();
            bound("maxProperties").into_iter().for_each(|most| add(many(most).into()));
            for (name, value) in fields {
                let (named, other) = (&schema["properties"][name], &schema["additionalProperties"]);
                outside(if named.is_null() { other } else { named }, value, &format!("{at}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    for variant in schema["anyOf"].as_array().into_iter().flatten() {
        outside(variant, sample, at, found);
    }
}

#[tokio::test]
async fn what_is_just_outside_a_documented_bound_is_refused_by_name() {
    let t = TestPlane::new().await;
    let mut tried = 0;
    for (id, sample) in samples() {
        let route = registry::by_id(id).expect("in the registry");
        let mut values = Vec::new();
        outside(route.schema().json(), &sample, "", &mut values);
        for (at, value) in values {
            let mut request = sample.clone();
            *request.pointer_mut(&at).expect("a place in the sample") = value;
            let refused = send(&t, &route.meta, &request).await.expect_err("this is out of bounds");
            let named = refused
                .faults()
                .iter()
                .any(|fault| format!("/{}", fault.field.replace('[', "/").replace(']', "").replace('.', "/")) == at);
            assert!(named, "{id}: what is out of bounds at {at} is answered {refused:?}");
            tried += 1;
        }
    }
    assert!(tried > 80, "only {tried} bounds were found");
}

/// Sends the fields of a request where they belong: into the path, the query or the body.
async fn send(t: &TestPlane, meta: &Meta, request: &Value) -> pulse_core::Result<Value> {
    let mut fields = request.as_object().expect("an object").clone();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let path: Vec<_> = meta.path_fields().filter_map(|name| Some((name, text(&fields.remove(name)?)))).collect();
    let path: Vec<_> = path.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if meta.method.has_body() {
        return t.send(&operator(), meta.id, &path, "", &Value::Object(fields).to_string()).await;
    }
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in &fields {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        values.iter().for_each(|value| _ = query.append_pair(name, &text(value)));
    }
    t.send(&operator(), meta.id, &path, &query.finish(), "").await
}

#[test]
fn no_two_routes_clash_and_ids_are_unique() {
    let shape = |path: &str| {
        path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
    };
    let mut routes = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for route in OPERATIONS.iter() {
        assert!(routes.insert((route.meta.method, shape(route.meta.path))), "{} has another's route", route.meta.id);
        assert!(ids.insert(route.meta.id), "{} stands twice", route.meta.id);
    }
}

#[test]
fn every_mutation_names_its_audit_action_and_no_read_does() {
    for route in OPERATIONS.iter() {
        let meta = &route.meta;
        match meta.method {
            Method::Get => assert!(!meta.is_mutation(), "{} reads and is audited", meta.id),
            Method::Put | Method::Delete => assert!(meta.is_mutation(), "{} changes and is not audited", meta.id),
            Method::Post => {
                let query = ["tokens.create", "tokens.validate", "tokens.refresh", "tokens.source"].contains(&meta.id);
                assert_eq!(meta.is_mutation(), !query, "{}", meta.id);
            }
        }
        for field in meta.path_fields() {
            assert!(route.schema().json()["properties"].get(field).is_some(), "{}: {field} is no field", meta.id);
        }
    }
}

#[test]
fn every_operation_is_named_by_an_integration_test() {
    fn sources(folder: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("registry.rs") {
                text.push_str(&std::fs::read_to_string(&path).expect("a text"));
            }
        }
    }
    let mut text = String::new();
    sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("it"), &mut text);
    let gaps: Vec<_> =
        OPERATIONS.iter().map(|route| route.meta.id).filter(|id| !text.contains(&format!("\"{id}\""))).collect();
    assert!(gaps.is_empty(), "no integration test names {gaps:?}");
}

/// What one request of an operation needs.
fn needed<O: Operation>(what: &str, fields: Value) -> (String, String) {
    let op: O = serde_json::from_value(fields).unwrap_or_else(|error| panic!("{}, {what}: {error}", O::META.id));
    let needs: Vec<_> = op.needs().iter().map(Permission::name).collect();
    (format!("{}, {what}", O::META.id), needs.join(", "))
}

/// Requests of the operations whose needs depend on the request.
fn variants() -> Vec<(String, String)> {
    let org = |field: &str, value: Value| json!({ "id": ORG, field: value });
    let project = |field: &str, value: Value| json!({ "id": PROJECT, field: value });
    let key = json!({ "id": PROJECT, "key_id": KEY });
    let storage = json!({ "kind": "gcs", "bucket": "b", "credentials": "c" });
    vec![
        needed::<organizations::UpdateOrganization>("labels", org("labels", json!({}))),
        needed::<organizations::UpdateOrganization>("plan", org("plan", json!("Pro"))),
        needed::<projects::CreateProject>("no limits", json!({ "org_id": ORG, "name": "N" })),
        needed::<projects::CreateProject>("limits", json!({ "org_id": ORG, "name": "N", "limits": {} })),
        needed::<projects::UpdateProject>("labels", project("labels", json!({}))),
        needed::<projects::UpdateProject>("webhook_url", project("webhook_url", Value::Null)),
        needed::<projects::UpdateProject>("token_presets", project("token_presets", Value::Null)),
        needed::<projects::UpdateProject>("region", project("region", json!("eu-west"))),
        needed::<projects::UpdateProject>("livekit_url", project("livekit_url", Value::Null)),
        needed::<projects::UpdateProject>("livekit_api_secret", project("livekit_api_secret", json!("s"))),
        needed::<projects::UpdateProject>("storage_config", project("storage_config", storage)),
        needed::<projects::UpdateProject>("limits", project("limits", Value::Null)),
        // Decided by whose key it is, in the plan.
        needed::<keys::RotateKey>("any", key.clone()),
        needed::<keys::CommitRotation>("any", key.clone()),
        needed::<keys::CancelRotation>("any", key),
    ]
}

#[test]
fn every_operation_whose_needs_depend_on_the_request_has_its_variants_in_the_matrix() {
    let shown: BTreeSet<String> =
        variants().into_iter().filter_map(|(name, _)| Some(name.split_once(',')?.0.to_owned())).collect();
    let several =
        OPERATIONS.iter().filter(|route| route.meta.permissions.len() > 1).map(|route| route.meta.id.to_owned());
    assert_eq!(shown, several.collect());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the way to say that a change of the golden file is meant")]
fn the_matrix_of_roles_and_permissions_is_the_golden_one() {
    let mut table = String::from("permission               O A D V key default-key\n");
    for permission in Permission::ALL {
        let mark = |has: bool| if has { 'x' } else { '-' };
        let roles: String = Role::ALL.map(|role| format!(" {}", mark(permission.is_for(role)))).concat();
        let key = mark(permission.is_scope());
        let default = mark(Permissions::default_key().has(*permission));
        table.push_str(&format!("{:<24}{roles} {key}   {default}\n", permission.name()));
    }
    table.push_str("\noperation                    needs at most\n");
    for route in OPERATIONS.iter() {
        let needs: Vec<_> = route.meta.permissions.iter().map(|permission| permission.name()).collect();
        table.push_str(&format!(
            "{:<28} {}\n",
            route.meta.id,
            if needs.is_empty() { "-".into() } else { needs.join(", ") }
        ));
    }
    table.push_str("\nvariant of a request                          needs\n");
    for (name, needs) in variants() {
        table.push_str(&format!("{name:<45} {}\n", if needs.is_empty() { "-" } else { &needs }));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("it/golden/permissions.txt");
    if std::env::var_os("PULSE_BLESS").is_some() {
        std::fs::write(&path, &table).expect("writes");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(table, golden, "who may do what has changed; if that is meant, run again with PULSE_BLESS=1");
}

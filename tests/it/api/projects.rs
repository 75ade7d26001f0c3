//! Projects: fields, secrets that stay inside, suspension, deletion.

use pulse_core::{
    error::Code,
    id::OrgId,
    model::organization::Plan,
    op::{Call, Operation},
    ops::projects::{DeleteProject, SuspendProject},
    outbound::AddressPolicy,
    plane::Answer,
    store::{Batch, CommitMode, schema, testing::sample},
};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::{Value, json};

use super::{bad_fields, refused};

async fn create(t: &TestPlane, extra: Value) -> pulse_core::Result<Value> {
    let org = t.organization("the customer", Plan::Pro).await;
    create_in(t, org, extra).await
}

async fn create_in(t: &TestPlane, org: OrgId, extra: Value) -> pulse_core::Result<Value> {
    let mut body = json!({ "org_id": org, "name": "p" });
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    t.send(&operator(), "projects.create", &[], "", &body.to_string()).await
}

#[tokio::test]
async fn a_new_project_has_a_key_whose_secret_is_shown_once() {
    let t = TestPlane::new().await;
    let made =
        create(&t, json!({ "region": "moon-1", "webhook_url": "https://hooks.example/in" })).await.expect("creates");
    assert!(made["pulse_api_secret"].as_str().expect("shown once").starts_with("pulse_secret_live_"));
    assert!(made["pulse_api_key"].as_str().expect("shown").starts_with("pulse_key_live_"));
    assert_eq!((&made["region"], &made["webhook_active"]), (&json!("moon-1"), &json!(true)));
    let id = made["id"].as_str().expect("an id");
    let got = t.send(&operator(), "projects.get", &[("id", id)], "", "").await.expect("gets");
    assert_eq!(got.get("pulse_api_secret"), None, "never shown again");
    assert_eq!(got["pulse_api_key"], made["pulse_api_key"]);
}

#[tokio::test]
async fn secrets_are_sealed_in_the_store_and_never_returned() {
    let t = TestPlane::new().await;
    let storage = json!({ "kind": "r2", "bucket": "rec", "endpoint": "https://acc.r2.cloudflarestorage.com", "access_key_id": "AKIA-visible-nowhere", "secret_access_key": "storage-visible-nowhere" });
    let made = create(&t, json!({ "storage_config": storage, "livekit_url": "wss://lk.example", "livekit_api_key": "APIown", "livekit_api_secret": "livekit-visible-nowhere" })).await.expect("creates");
    assert_eq!(made["storage_config"]["active"], false);
    assert_eq!((&made["own_livekit"], &made["storage_config"]["force_path_style"]), (&json!(true), &json!(true)));
    let secret = made["pulse_api_secret"].as_str().expect("shown once").to_owned();
    let id = made["id"].as_str().expect("an id");
    let stored = t.store.get(&schema::PROJECTS, id).await.expect("reads").expect("is there").doc.to_string();
    let log = t.send(&operator(), "audit.list", &[], "", "").await.expect("lists").to_string();
    let shown = t.send(&operator(), "projects.get", &[("id", id)], "", "").await.expect("gets").to_string();
    for place in [&stored, &log, &shown] {
        assert!(!place.contains("visible-nowhere"), "a secret shows: {place}");
        assert!(!place.contains(&secret[..40]), "the key's secret shows: {place}");
    }
    assert!(log.contains("<set>"), "the audit says that a secret was set");
}

#[tokio::test]
async fn fields_that_belong_together_are_checked_together() {
    let t = TestPlane::new().await;
    let bad = create(&t, json!({ "region": "mars", "livekit_url": "wss://lk.example", "storage_config": { "kind": "gcs", "bucket": "b", "access_key_id": "x" } })).await;
    let mut fields = bad_fields(bad);
    fields.sort();
    assert_eq!(
        fields,
        [
            "livekit_api_key",
            "livekit_api_secret",
            "region",
            "storage_config.access_key_id",
            "storage_config.credentials"
        ]
    );
    let t = TestPlane::new().await;
    create(&t, json!({ "livekit_url": "ws://127.0.0.1:9" }))
        .await
        .expect("the server's own LiveKit needs no credentials");
}

#[tokio::test]
async fn updates_merge_and_null_clears() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let update =
        async |body: Value| t.send(&operator(), "projects.update", &[("id", &id)], "", &body.to_string()).await;
    let set = update(
        json!({ "webhook_url": "https://h.example/", "limits": { "requests_per_minute": 7 }, "labels": { "a": "b" } }),
    )
    .await
    .expect("sets");
    assert_eq!(set["limits"], json!({ "requests_per_minute": 7 }));
    let cleared = update(json!({ "webhook_url": null, "limits": null })).await.expect("clears");
    assert_eq!(
        (&cleared["webhook_url"], &cleared["limits"], &cleared["labels"]),
        (&Value::Null, &json!({}), &json!({ "a": "b" }))
    );
    let same = update(json!({ "labels": { "a": "b" } })).await.expect("changes nothing");
    assert_eq!(same["version"], cleared["version"], "what changes nothing makes no version");
}

#[tokio::test]
async fn a_suspended_project_is_refused_at_once_and_resumes() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let body = json!({ "reason": "unpaid invoice" }).to_string();
    let project = t.send(&operator(), "projects.suspend", &[("id", &id)], "", &body).await.expect("suspends");
    assert_eq!((&project["state"], &project["suspend_reason"]), (&json!("suspended"), &json!("unpaid invoice")));
    assert_eq!(refused(t.login(&c.secret).await), Code::Suspended);
    assert_eq!(refused(t.send(&c.caller, "projects.suspend", &[("id", &id)], "", &body).await), Code::Forbidden);
    t.send(&operator(), "projects.delete", &[("id", &id)], "", "").await.expect("deletes");
    let back = t.send(&operator(), "projects.restore", &[("id", &id)], "", "{}").await.expect("restores");
    assert_eq!(back["state"], "suspended", "a restored project is suspended again if it was");
    t.send(&operator(), "projects.resume", &[("id", &id)], "", "{}").await.expect("resumes");
    t.login(&c.secret).await.expect("the key works again");
}

/// What a dry run of the operation says that it would touch.
async fn effects<O: Operation>(t: &TestPlane, op: Value) -> Value {
    let call = Call { dry_run: true, ..t.call(&operator()) };
    let op: O = serde_json::from_value(op).expect("valid");
    match t.plane.execute(&call, &op).await.expect("foretold") {
        Answer::DryRun(dry) => serde_json::to_value(dry.effects).expect("encodes"),
        Answer::Done { .. } => panic!("the dry run was real"),
    }
}

#[tokio::test]
async fn a_dry_run_counts_what_stops_with_a_project() {
    let t = TestPlane::new().await;
    let (c, other) = (t.customer("a").await, t.customer("b").await);
    let id = c.id().to_string();
    let hook = json!({ "webhook_url": "https://hooks.example/in" }).to_string();
    t.send(&operator(), "projects.update", &[("id", &id)], "", &hook).await.expect("makes an endpoint");
    let mut batch = Batch::new();
    // Two rooms that are live, one that is over, and a neighbour's.
    for (sid, project, live) in
        [("RM_1", &id, true), ("RM_2", &id, true), ("RM_3", &id, false), ("RM_4", &other.id().to_string(), true)]
    {
        let mut session = sample::session(sid, &sample::far(0));
        session["project_id"] = project.as_str().into();
        if live {
            session["live"] = 1.into();
        }
        batch.insert(&schema::SESSIONS, sid, session);
    }
    t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    let expected = json!({ "endpoints": 1, "keys": 1, "live_rooms": 2 });
    assert_eq!(effects::<DeleteProject>(&t, json!({ "id": id })).await, expected);
    assert_eq!(effects::<SuspendProject>(&t, json!({ "id": id, "reason": "unpaid" })).await, expected);
}

#[tokio::test]
async fn a_key_changes_nothing_that_its_scopes_do_not_name() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    for (op, path, body) in [
        ("projects.update", vec![("id", id.as_str())], r#"{"name":"b"}"#),
        ("projects.delete", vec![("id", id.as_str())], ""),
        ("keys.create", vec![("id", id.as_str())], r#"{"name":"b"}"#),
        ("organizations.list", vec![], ""),
        ("admin.rotate", vec![], "{}"),
    ] {
        assert_eq!(refused(t.send(&c.caller, op, &path, "", body).await), Code::Forbidden, "{op}");
    }
    let me = t.send(&c.caller, "me.get", &[], "", "").await.expect("a key may ask who it is");
    assert_eq!((&me["kind"], &me["project_id"]), (&json!("key"), &json!(id)));
}

#[tokio::test]
async fn every_field_that_is_wrong_by_itself_is_named_at_once() {
    let t = TestPlane::new().await;
    let sent = async |id: &str, path: &[(&str, &str)], query: &str, body: Value| {
        t.send(&operator(), id, path, query, &body.to_string()).await
    };
    let org = sent("organizations.create", &[], "", json!({ "name": "", "admin_email": "nope" })).await;
    assert_eq!(bad_fields(org), ["admin_email", "name"]);
    let id = t.customer("a").await.id().to_string();
    let key = json!({ "name": " ci ", "networks": ["10.0.0.0/8", "10.0.0.0/99"], "expires_at": "tomorrow" });
    let mut fields = bad_fields(sent("keys.create", &[("id", &id)], "", key).await);
    fields.sort();
    assert_eq!(fields, ["expires_at", "name", "networks[1]"]);
    let storage = json!({ "kind": "s3", "bucket": "", "endpoint": "https://user:word@s3.example" });
    let mut fields = bad_fields(create(&t, json!({ "storage_config": storage, "livekit_url": "ftp://x" })).await);
    fields.sort();
    assert_eq!(fields, ["livekit_url", "storage_config.bucket", "storage_config.endpoint"]);
}

#[tokio::test]
async fn what_is_said_twice_is_refused() {
    let t = TestPlane::new().await;
    let id = t.customer("a").await.id().to_string();
    for body in [r#"{"name":"a","name":"b"}"#, r#"{"labels":{"a":"1","a":"2"}}"#] {
        let twice = t.send(&operator(), "projects.update", &[("id", &id)], "", body).await;
        assert_eq!(refused(twice), Code::BadRequest, "{body}");
    }
    let other = t.send(&operator(), "projects.get", &[("id", &id)], "id=prj_01J00000000000000000000000", "").await;
    assert_eq!(bad_fields(other), ["id"], "the path alone says which");
}

#[tokio::test]
async fn an_address_to_which_pulse_never_connects_is_not_saved() {
    let t = TestPlane::new().await;
    let own = json!({ "livekit_url": "ws://[fd00::1]:7880", "livekit_api_key": "k", "livekit_api_secret": "s" });
    let storage = json!({ "kind": "s3", "bucket": "b", "endpoint": "http://192.168.0.1", "access_key_id": "a", "secret_access_key": "s" });
    let mut all = json!({ "webhook_url": "http://169.254.169.254/latest", "storage_config": storage });
    all.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
    let outside = ["livekit_url", "webhook_url", "storage_config.endpoint"];
    assert_eq!(bad_fields(create(&t, all.clone()).await), outside);
    let id = t.customer("a").await.id().to_string();
    let update =
        async |body: &Value| t.send(&operator(), "projects.update", &[("id", &id)], "", &body.to_string()).await;
    assert_eq!(bad_fields(update(&all).await), outside);
    update(&json!({ "webhook_url": "http://127.0.0.1:9/in" })).await.expect("an address inside is saved");
    update(&json!({ "webhook_url": "https://hooks.example/in" })).await.expect("a name is judged when it is resolved");
}

/// What is saved is judged by what it says; that nothing forbidden is connected to is judged again at each connection.
#[tokio::test]
async fn customers_name_public_addresses_with_tls_unless_the_operator_says_otherwise() {
    let t = TestPlane::under(AddressPolicy::default()).await;
    let org = t.organization("the customer", Plan::Pro).await;
    let create = async |body: Value| create_in(&t, org, body).await;
    let own = |url: &str| json!({ "livekit_url": url, "livekit_api_key": "k", "livekit_api_secret": "s" });
    let hook = |url: &str| json!({ "webhook_url": url });
    for (body, field, code) in [
        (hook("https://2130706433/"), "webhook_url", "address_not_allowed"),
        (hook("https://[::ffff:169.254.169.254]/"), "webhook_url", "address_not_allowed"),
        (hook("https://app.localhost/"), "webhook_url", "address_not_allowed"),
        (hook("http://hooks.example/"), "webhook_url", "https_required"),
        (own("wss://10.0.0.1"), "livekit_url", "address_not_allowed"),
        (own("ws://lk.example"), "livekit_url", "https_required"),
    ] {
        let refused = create(body.clone()).await.expect_err("not saved");
        let faults: Vec<_> = refused.faults().iter().map(|fault| (fault.field.as_str(), fault.code.as_str())).collect();
        assert_eq!(faults, [(field, code)], "{body}");
    }
    create(hook("https://hooks.example/in")).await.expect("a public name with TLS");
    let mut storage = json!({ "kind": "s3", "bucket": "b", "endpoint": "http://10.0.0.1:9000" });
    storage["access_key_id"] = "a".into();
    storage["secret_access_key"] = "s".into();
    create(json!({ "name": "q", "storage_config": storage })).await.expect("Pulse sends nothing there by itself");
    create(json!({ "name": "r", "livekit_url": "ws://127.0.0.1:9" })).await.expect("the installation's own LiveKit");
}

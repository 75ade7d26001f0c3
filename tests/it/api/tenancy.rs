//! What one customer can find out about another: nothing.

use pulse_core::{
    access::{Caller, Permission, Permissions},
    error::{Code, Result},
    registry::{OPERATIONS, Route},
    store::schema,
};
use pulse_tests::plane::{Customer, START, TestPlane, operator};
use serde_json::{Value, json};

use super::refused;
use crate::pipeline::room::{Room, session, settle};

/// One thing of each kind that a customer has.
struct Things {
    org: String,
    project: String,
    key: String,
    session: String,
    endpoint: String,
    delivery: String,
    replay: String,
    event: String,
    ban: String,
}

impl Things {
    async fn of(t: &TestPlane, c: &Customer) -> Self {
        // While there is no endpoint: the worker would send to it.
        t.livekit_says(&Room::new(c, "daily", "RM_1", START).started()).await.expect("taken in");
        settle(t).await;
        let keys = made(t, c, "keys.list", &[("id", &c.id().to_string())], "").await;
        let endpoint = made(t, c, "endpoints.create", &[], r#"{"url":"http://127.0.0.1:9/in"}"#).await;
        let sent = made(t, c, "endpoints.test", &[("id", &text(&endpoint["id"]))], "{}").await;
        let replay = made(t, c, "replays.start", &[], "{}").await;
        let ban = made(t, c, "bans.create", &[], r#"{"identity":"mallory"}"#).await;
        Self {
            org: c.org.to_string(),
            project: c.id().to_string(),
            key: text(&keys["data"][0]["id"]),
            session: session(t, "RM_1").await.id.to_string(),
            endpoint: text(&endpoint["id"]),
            delivery: text(&sent["delivery_id"]),
            replay: text(&replay["id"]),
            event: text(&sent["event_id"]),
            ban: text(&ban["id"]),
        }
    }

    /// The id that a field of this path stands for: what is before it says of which kind.
    fn id(&self, path: &str, field: &str) -> &str {
        let place = format!("{{{field}}}");
        let kind = path.split('/').zip(path.split('/').skip(1)).find(|(_, part)| *part == place).map(|(kind, _)| kind);
        match kind {
            Some("organizations") => &self.org,
            Some("projects" | "usage") => &self.project,
            Some("keys") => &self.key,
            Some("sessions") => &self.session,
            Some("endpoints") => &self.endpoint,
            Some("deliveries") => &self.delivery,
            Some("events") => &self.event,
            Some("replays") => &self.replay,
            Some("bans") => &self.ban,
            other => panic!("{path}: nobody here has one of {other:?}"),
        }
    }

    /// All fields of a route's path.
    fn path(&self, route: &Route) -> Vec<(&'static str, &str)> {
        route.meta.path_fields().map(|field| (field, self.id(route.meta.path, field))).collect()
    }
}

/// What an operation answers to the customer itself.
async fn made(t: &TestPlane, c: &Customer, op: &str, path: &[(&str, &str)], body: &str) -> Value {
    t.send(&c.caller, op, path, "", body).await.unwrap_or_else(|error| panic!("{op} of one's own: {error:?}"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A key of the customer's project that may whatever a key can.
async fn with_all_scopes(t: &TestPlane, c: &Customer) -> Caller {
    let all: Vec<_> = Permissions::all_scopes().iter().map(Permission::name).collect();
    let make = json!({ "name": "all", "scopes": all }).to_string();
    let key = t.send(&operator(), "keys.create", &[("id", &c.id().to_string())], "", &make).await.expect("creates");
    t.login(&text(&key["pulse_api_secret"])).await.expect("works")
}

/// A body that is valid for an operation, but for the ids that travel in the path or name the tenant.
fn body(op: &str) -> Value {
    match op {
        "projects.suspend" => json!({ "reason": "x" }),
        "projects.create" | "projects.update" | "keys.create" => json!({ "name": "x" }),
        "tokens.create" => json!({ "room_name": "r", "identity": "i" }),
        "tokens.validate" | "tokens.refresh" => json!({ "token": "t" }),
        "tokens.revoke" => json!({ "all": true }),
        "endpoints.create" => json!({ "url": "http://127.0.0.1:9/in" }),
        "bans.create" => json!({ "identity": "eve" }),
        "events.trigger" => json!({ "type": "room_started" }),
        _ => json!({}),
    }
}

/// Asks for an operation about what is in the path, with one more field where there is one.
async fn ask(
    t: &TestPlane,
    caller: &Caller,
    route: &Route,
    path: &[(&str, &str)],
    named: Option<(&str, &str)>,
) -> Result<Value> {
    if !route.meta.method.has_body() {
        let query = named.map(|(field, id)| format!("{field}={id}")).unwrap_or_default();
        return t.send(caller, route.meta.id, path, &query, "").await;
    }
    let mut body = body(route.meta.id);
    if let Some((field, id)) = named {
        body[field] = json!(id);
    }
    t.send(caller, route.meta.id, path, "", &body.to_string()).await
}

#[tokio::test]
async fn another_tenants_ids_are_not_found_on_every_route() {
    let t = TestPlane::new().await;
    let (mine, theirs) = (t.customer("mine").await, t.customer("theirs").await);
    let caller = with_all_scopes(&t, &mine).await;
    let (mine, things) = (mine.id().to_string(), Things::of(&t, &theirs).await);
    for route in OPERATIONS.iter().filter(|route| route.meta.path_fields().next().is_some()) {
        let id = route.meta.id;
        let answer = ask(&t, &caller, route, &things.path(route), None).await;
        assert_eq!(refused(answer), Code::NotFound, "{id} tells that the other tenant exists");
        if route.meta.path.contains("{key_id}") {
            let path = [("id", mine.as_str()), ("key_id", things.key.as_str())];
            let answer = ask(&t, &caller, route, &path, None).await;
            assert_eq!(refused(answer), Code::NotFound, "{id}: their key under my project");
        }
    }
    // Each of these ids stands for something, before and after.
    for id in [
        "projects.get",
        "keys.get",
        "sessions.get",
        "endpoints.get",
        "deliveries.get",
        "replays.get",
        "events.get",
        "bans.delete",
    ] {
        let route = OPERATIONS.iter().find(|route| route.meta.id == id).expect("an operation of that id");
        made(&t, &theirs, id, &things.path(route), "").await;
    }
}

#[tokio::test]
async fn another_tenants_project_or_organization_is_not_found_wherever_a_request_names_one() {
    let t = TestPlane::new().await;
    let (mine, theirs) = (t.customer("mine").await, t.customer("theirs").await);
    let caller = with_all_scopes(&t, &mine).await;
    let (org, project) = (mine.org.to_string(), mine.id().to_string());
    let things = Things::of(&t, &theirs).await;
    let mut asked = Vec::new();
    for route in OPERATIONS.iter() {
        let (id, path) = (route.meta.id, things.path(route));
        for (field, theirs, own) in
            [("org_id", things.org.as_str(), org.as_str()), ("project_id", things.project.as_str(), project.as_str())]
        {
            let has_it = route.schema().json()["properties"].get(field).is_some();
            if !has_it || path.iter().any(|(name, _)| *name == field) {
                continue;
            }
            asked.push(id);
            let theirs = ask(&t, &caller, route, &path, Some((field, theirs))).await;
            let own = ask(&t, &caller, route, &path, Some((field, own))).await;
            if ["projects.list", "audit.list"].contains(&id) {
                assert_eq!(theirs.expect("lists")["data"], json!([]), "{id} shows what is another's");
                assert_ne!(own.expect("lists")["data"], json!([]), "{id} shows nothing at all");
                continue;
            }
            assert_eq!(refused(theirs), Code::NotFound, "{id} tells that their {field} exists");
            // What is in the path is theirs; elsewhere it was the name alone that was not found.
            let missing = own.as_ref().is_err_and(|error| error.code() == Code::NotFound);
            assert_eq!(missing, !path.is_empty(), "{id} with a {field} of my own: {own:?}");
            if id == "projects.create" {
                assert_eq!(refused(own), Code::Forbidden, "no key makes projects");
            }
        }
    }
    for id in ["projects.create", "projects.list", "audit.list", "tokens.refresh", "endpoints.delete", "bans.list"] {
        assert!(asked.contains(&id), "{id} was not asked: {asked:?}");
    }
    for query in [format!("endpoint_id={}", things.endpoint), format!("event_id={}", things.event)] {
        let found = t.send(&caller, "deliveries.list", &[], &query, "").await.expect("lists");
        assert_eq!(found["data"], json!([]), "{query}");
        let found = t.send(&theirs.caller, "deliveries.list", &[], &query, "").await.expect("lists");
        assert_eq!(found["data"].as_array().map(Vec::len), Some(1), "{query}");
    }
}

#[tokio::test]
async fn lists_and_the_audit_show_a_key_its_own_project_only() {
    let t = TestPlane::new().await;
    let (mine, theirs) = (t.customer("mine").await, t.customer("theirs").await);
    let list = t.send(&mine.caller, "projects.list", &[], "", "").await.expect("lists");
    let ids: Vec<&Value> = list["data"].as_array().expect("rows").iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&json!(mine.id())]);
    let asked = t.send(&mine.caller, "projects.list", &[], &format!("org_id={}", theirs.org), "").await.expect("lists");
    assert_eq!(asked["data"], json!([]));
    let log = t.send(&mine.caller, "audit.list", &[], "", "").await.expect("lists").to_string();
    assert!(log.contains(&mine.id().to_string()) && !log.contains(&theirs.id().to_string()), "{log}");
    let asked =
        t.send(&mine.caller, "audit.list", &[], &format!("target_id={}", theirs.id()), "").await.expect("lists");
    assert_eq!(asked["data"], json!([]));
}

#[tokio::test]
async fn nobody_gets_no_answer_but_401_and_no_id_in_a_path_breaks_anything() {
    let t = TestPlane::new().await;
    let nobody = Caller::Anonymous;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    assert_eq!(refused(t.send(&nobody, "projects.get", &[("id", &id)], "", "").await), Code::Unauthenticated);
    assert_eq!(refused(t.send(&nobody, "me.get", &[], "", "").await), Code::Unauthenticated);
    let status = t.send(&nobody, "status.get", &[], "", "").await.expect("anybody may ask");
    assert_eq!(status, json!({ "state": "degraded" }), "no LiveKit runs here, and nobody sees more than that");
    for bad in ["", "x", "prj_", "../..", "org_01J00000000000000000000000", &"p".repeat(10_000)] {
        assert_eq!(refused(t.send(&operator(), "projects.get", &[("id", bad)], "", "").await), Code::NotFound, "{bad}");
    }
}

#[tokio::test]
async fn one_tenants_name_in_the_store_does_not_keep_another_from_it() {
    let t = TestPlane::new().await;
    let (a, b) = (t.customer("a").await, t.customer("b").await);
    t.customer_of(a.org, "shared").await;
    t.customer_of(b.org, "shared").await;
    let count = t.store.count(&schema::PROJECTS, "org", &[json!(a.org)], 10).await.expect("counts");
    assert_eq!(count, 2);
}

//! Bans and revocations: no token, no stay.

use std::time::Duration;

use pulse_core::{
    error::Code,
    media::{
        engine::{EngineError, Participant},
        testing::{Course, person},
        token::{JTI_ATTRIBUTE, decode_unverified},
    },
    ops::keys::CreateKey,
    store::testing::faulty::{CallKind, Fault},
    time::Timestamp,
};
use pulse_tests::plane::{Customer, START, TestPlane};
use serde_json::{Value, json};

use super::room::{Room, connection};

/// When it is looked again whom a ban or a revocation puts out.
const SECOND_LOOK: Duration = Duration::from_millis(6_500);

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

async fn ban(t: &TestPlane, c: &Customer, body: Value) -> pulse_core::Result<Value> {
    t.send(&c.caller, "bans.create", &[], "", &body.to_string()).await
}

async fn bans(t: &TestPlane, c: &Customer) -> Vec<Value> {
    let page = t.send(&c.caller, "bans.list", &[], "", "").await.expect("lists");
    page["data"].as_array().expect("a list").clone()
}

async fn token(t: &TestPlane, c: &Customer, room: &str, identity: &str) -> pulse_core::Result<String> {
    let body = json!({ "room_name": room, "identity": identity }).to_string();
    let made = t.send(&c.caller, "tokens.create", &[], "", &body).await?;
    Ok(made["token"].as_str().expect("a text").to_owned())
}

fn jti(token: &str) -> String {
    decode_unverified(token).expect("a token").jti
}

async fn work(t: &TestPlane) {
    pulse_core::worker::run_until_idle(&t.pipeline).await.expect("works");
}

/// A room with these in it, of whom LiveKit has told.
async fn room_with(t: &TestPlane, c: &Customer, name: &str, people: &[(&str, &str, &str)]) -> Room {
    let room = Room::new(c, name, &format!("RM_{name}"), at(0));
    t.livekit_says(&room.started()).await.expect("taken in");
    for (sid, identity, jti) in people {
        t.livekit_says(&room.joined_with(sid, identity, at(0), jti)).await.expect("taken in");
    }
    let there = people.iter().map(|(sid, identity, _)| person(sid, identity, at(0))).collect();
    t.engine.put_room(&room.sid, &room.name(), at(0), there);
    room
}

fn removed(t: &TestPlane) -> Vec<String> {
    let mut removed: Vec<String> = t.engine.removed().into_iter().map(|(_, identity)| identity).collect();
    removed.sort();
    removed
}

#[tokio::test]
async fn a_banned_identity_gets_no_token_and_its_tokens_are_bad_until_the_ban_ends() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let old = token(&t, &c, "daily", "mallory").await.expect("before the ban");
    let made =
        ban(&t, &c, json!({ "identity": "mallory", "reason": "spam", "expires_at": at(3_600) })).await.expect("bans");
    assert_eq!((made["identity"].as_str(), made["room_name"].is_null()), (Some("mallory"), true), "{made}");
    assert_eq!(token(&t, &c, "daily", "mallory").await.expect_err("banned").code(), Code::Banned);
    let validate = async || {
        let body = json!({ "token": old }).to_string();
        t.send(&c.caller, "tokens.validate", &[], "", &body).await.expect("validates")
    };
    assert_eq!(validate().await["reasons"][0]["code"], "banned");
    token(&t, &c, "daily", "alice").await.expect("others may");
    t.advance(Duration::from_secs(3_600)).await;
    token(&t, &c, "daily", "mallory").await.expect("the ban is over");
    assert_eq!(validate().await["valid"], true);
}

#[tokio::test]
async fn who_is_in_a_room_when_banned_or_joins_later_is_put_out() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let room = room_with(&t, &c, "daily", &[("PA_1", "mallory", ""), ("PA_2", "alice", "")]).await;
    let body = json!({ "identity": "mallory" });
    let call = pulse_core::op::Call { dry_run: true, ..t.call(&c.caller) };
    let op: pulse_core::ops::bans::CreateBan = serde_json::from_value(body.clone()).expect("valid");
    let foretold = serde_json::to_value(
        t.plane
            .execute(&call, &op)
            .await
            .map(|answer| match answer {
                pulse_core::plane::Answer::DryRun(dry) => dry.effects,
                pulse_core::plane::Answer::Done { .. } => Default::default(),
            })
            .expect("foretold"),
    )
    .expect("encodes");
    assert_eq!(foretold, json!({ "participants": 1 }));
    ban(&t, &c, body).await.expect("bans");
    work(&t).await;
    assert_eq!(removed(&t), ["mallory"]);
    // She comes back with a token that she still has.
    t.engine.put_room(&room.sid, &room.name(), at(0), vec![person("PA_3", "mallory", at(9))]);
    t.livekit_says(&room.joined("PA_3", "mallory", at(9))).await.expect("taken in");
    work(&t).await;
    assert_eq!(removed(&t), ["mallory", "mallory"]);
}

#[tokio::test]
async fn a_ban_from_one_room_is_for_that_room() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    room_with(&t, &c, "daily", &[("PA_1", "mallory", "")]).await;
    room_with(&t, &c, "party", &[("PA_2", "mallory", "")]).await;
    ban(&t, &c, json!({ "identity": "mallory", "room_name": "daily" })).await.expect("bans");
    work(&t).await;
    assert_eq!(t.engine.removed().len(), 1);
    assert!(t.engine.removed()[0].0.ends_with("~daily"), "{:?}", t.engine.removed());
    token(&t, &c, "party", "mallory").await.expect("another room");
    assert_eq!(token(&t, &c, "daily", "mallory").await.expect_err("banned").code(), Code::Banned);
}

#[tokio::test]
async fn a_removal_is_tried_until_livekit_does_it_and_not_when_she_has_gone_by_herself() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let room = room_with(&t, &c, "daily", &[("PA_1", "mallory", ""), ("PA_2", "eve", "")]).await;
    t.engine.course("remove_participant", Course::Fails(EngineError::Timeout));
    for identity in ["mallory", "eve"] {
        ban(&t, &c, json!({ "identity": identity })).await.expect("bans");
    }
    work(&t).await;
    assert!(removed(&t).is_empty());
    // Eve leaves, her ban is lifted, and she comes again: the job of before is not about that.
    t.livekit_says(&room.left("PA_2", "eve", at(0), at(5))).await.expect("taken in");
    let eve = bans(&t, &c).await.into_iter().find(|ban| ban["identity"] == "eve").expect("listed");
    t.send(&c.caller, "bans.delete", &[("id", eve["id"].as_str().expect("an id"))], "", "").await.expect("lifts");
    t.livekit_says(&room.joined("PA_3", "eve", at(6))).await.expect("taken in");
    t.engine.course("remove_participant", Course::Well);
    t.advance(Duration::from_secs(10)).await;
    work(&t).await;
    assert_eq!(removed(&t), ["mallory"]);
}

#[tokio::test]
async fn the_reconciler_puts_out_who_is_banned_when_the_webhook_was_lost() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    ban(&t, &c, json!({ "identity": "mallory" })).await.expect("bans");
    let room = Room::new(&c, "daily", "RM_daily", at(0));
    t.engine.put_room(&room.sid, &room.name(), at(0), vec![person("PA_1", "mallory", at(0))]);
    t.clock.set(at(30));
    t.pipeline.reconciler.round().await.expect("answers");
    work(&t).await;
    assert_eq!(removed(&t), ["mallory"]);
}

#[tokio::test]
async fn who_comes_with_a_revoked_token_is_put_out_whether_livekit_tells_of_it_or_a_round_finds_it() {
    for told in [true, false] {
        let t = TestPlane::new().await;
        let c = t.customer("acme").await;
        let revoked = jti(&token(&t, &c, "daily", "alice").await.expect("made"));
        let body = json!({ "jti": revoked }).to_string();
        t.send(&c.caller, "tokens.revoke", &[], "", &body).await.expect("revokes");
        // It has been looked again whom this puts out: nobody yet.
        t.clock.set(at(30));
        work(&t).await;
        let good = jti(&token(&t, &c, "daily", "bob").await.expect("made"));
        let room = Room::new(&c, "daily", "RM_daily", at(30));
        let people = [("PA_1", "alice", &revoked), ("PA_2", "bob", &good)];
        let there = people.map(|(sid, identity, jti)| {
            let shown = (JTI_ATTRIBUTE.to_owned(), jti.clone());
            Participant { attributes: [shown].into(), ..person(sid, identity, at(30)) }
        });
        t.engine.put_room(&room.sid, &room.name(), at(30), there.into());
        if told {
            for (sid, identity, jti) in people {
                t.livekit_says(&room.joined_with(sid, identity, at(30), jti)).await.expect("taken in");
            }
        } else {
            t.clock.set(at(60));
            t.pipeline.reconciler.round().await.expect("answers");
        }
        work(&t).await;
        assert_eq!(removed(&t), ["alice"], "told by LiveKit: {told}");
    }
}

#[tokio::test]
async fn a_ban_made_again_is_the_same_with_another_reason_and_end_and_one_that_is_lifted_is_gone() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let first = ban(&t, &c, json!({ "identity": "m", "reason": "one", "expires_at": at(60) })).await.expect("bans");
    let second = ban(&t, &c, json!({ "identity": "m", "reason": "two" })).await.expect("bans");
    assert_eq!(first["id"], second["id"]);
    assert_eq!((second["reason"].as_str(), second["expires_at"].is_null()), (Some("two"), true));
    ban(&t, &c, json!({ "identity": "m", "room_name": "daily" })).await.expect("another ban: of one room");
    assert_eq!(bans(&t, &c).await.len(), 2);
    for listed in bans(&t, &c).await {
        t.send(&c.caller, "bans.delete", &[("id", listed["id"].as_str().expect("an id"))], "", "")
            .await
            .expect("lifts");
    }
    token(&t, &c, "daily", "m").await.expect("lifted");
    let id = first["id"].as_str().expect("an id");
    assert_eq!(t.send(&c.caller, "bans.delete", &[("id", id)], "", "").await.expect_err("gone").code(), Code::NotFound);
    let past = ban(&t, &c, json!({ "identity": "m", "expires_at": at(0) })).await.expect_err("past");
    assert_eq!(past.faults()[0].field, "expires_at");
    // Another project knows nothing of it.
    let other = t.customer("other").await;
    let made = ban(&t, &c, json!({ "identity": "m" })).await.expect("bans");
    let id = made["id"].as_str().expect("an id");
    assert_eq!(
        t.send(&other.caller, "bans.delete", &[("id", id)], "", "").await.expect_err("another's").code(),
        Code::NotFound
    );
    token(&t, &other, "daily", "m").await.expect("another project's rooms");
}

#[tokio::test]
async fn a_key_that_is_bound_to_rooms_bans_from_its_rooms_only() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let create: CreateKey = serde_json::from_value(json!({
        "id": c.id(), "name": "sales", "constraints": { "rooms": ["sales-*"] }
    }))
    .expect("valid");
    let secret = t.operate(create).await.pulse_api_secret.expect("shown once").expose().to_owned();
    let bound = Customer { caller: t.login(&secret).await.expect("works"), ..c.clone() };
    for body in [json!({ "identity": "m" }), json!({ "identity": "m", "room_name": "daily" })] {
        assert_eq!(ban(&t, &bound, body).await.expect_err("not its room").code(), Code::Forbidden);
    }
    ban(&t, &bound, json!({ "identity": "m", "room_name": "sales-emea" })).await.expect("its own room");
    let of_all = ban(&t, &c, json!({ "identity": "m" })).await.expect("bans");
    let id = of_all["id"].as_str().expect("an id");
    assert_eq!(
        t.send(&bound.caller, "bans.delete", &[("id", id)], "", "").await.expect_err("not its room").code(),
        Code::Forbidden
    );
}

#[tokio::test]
async fn who_is_connected_with_a_revoked_token_is_put_out_and_nobody_else() {
    /// What is revoked, and who goes with it.
    type Subject<'a> = (fn(&str) -> Value, &'a [&'a str]);
    let subjects: [Subject<'_>; 4] = [
        (|jti| json!({ "jti": jti }), &["alice"]),
        (|_| json!({ "identity": "bob" }), &["bob"]),
        (|_| json!({ "room_name": "daily" }), &["alice", "bob"]),
        (|_| json!({ "all": true }), &["alice", "bob", "carol"]),
    ];
    for (subject, hit) in subjects {
        let t = TestPlane::new().await;
        let c = t.customer("acme").await;
        let (alice, bob, carol) = (
            jti(&token(&t, &c, "daily", "alice").await.expect("made")),
            jti(&token(&t, &c, "daily", "bob").await.expect("made")),
            jti(&token(&t, &c, "party", "carol").await.expect("made")),
        );
        room_with(&t, &c, "daily", &[("PA_1", "alice", &alice), ("PA_2", "bob", &bob)]).await;
        room_with(&t, &c, "party", &[("PA_3", "carol", &carol)]).await;
        t.advance(Duration::from_secs(60)).await;
        // Who has a token that was made after the moment stays.
        let late = jti(&token(&t, &c, "daily", "dan").await.expect("made"));
        let room = Room::new(&c, "daily", "RM_daily", at(0));
        t.livekit_says(&room.joined_with("PA_4", "dan", at(60), &late)).await.expect("taken in");
        let mut body = subject(&alice);
        body["before"] = json!(at(30));
        t.send(&c.caller, "tokens.revoke", &[], "", &body.to_string()).await.expect("revokes");
        work(&t).await;
        assert_eq!(removed(&t), hit, "{body}");
        assert!(connection(&t, "PA_4").await.is_open());
    }
}

#[tokio::test]
async fn who_was_let_in_in_the_moment_of_the_ban_is_put_out_when_it_is_looked_again() {
    for (operation, body) in
        [("bans.create", json!({ "identity": "mallory" })), ("tokens.revoke", json!({ "all": true }))]
    {
        let (store, t) = TestPlane::over_faulty_store().await;
        let c = t.customer("acme").await;
        let room = room_with(&t, &c, "daily", &[]).await;
        store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
        let joins = room.joined("PA_1", "mallory", at(0));
        let (joined, ()) = tokio::join!(t.livekit_says(&joins), async {
            store.until_stalled().await;
            t.send(&c.caller, operation, &[], "", &body.to_string()).await.expect("made");
            store.release();
        });
        joined.expect("taken in");
        t.engine.put_room(&room.sid, &room.name(), at(0), vec![person("PA_1", "mallory", at(0))]);
        work(&t).await;
        assert!(removed(&t).is_empty(), "neither saw the other");
        t.advance(SECOND_LOOK).await;
        work(&t).await;
        assert_eq!(removed(&t), ["mallory"], "{operation}");
    }
}

#[tokio::test]
async fn a_ban_that_was_lifted_puts_nobody_out_when_it_is_looked_again() {
    let t = TestPlane::new().await;
    let c = t.customer("acme").await;
    let room = room_with(&t, &c, "daily", &[]).await;
    let made = ban(&t, &c, json!({ "identity": "mallory" })).await.expect("bans");
    t.send(&c.caller, "bans.delete", &[("id", made["id"].as_str().expect("an id"))], "", "").await.expect("lifts");
    t.livekit_says(&room.joined("PA_1", "mallory", at(1))).await.expect("taken in");
    t.engine.put_room(&room.sid, &room.name(), at(0), vec![person("PA_1", "mallory", at(1))]);
    t.advance(SECOND_LOOK).await;
    work(&t).await;
    assert!(removed(&t).is_empty());
}

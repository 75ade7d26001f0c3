//! Verification of credentials: garbage costs nothing, one body for all failures, revocation travels.

use pulse_core::{
    access::{
        key::{Environment, generate},
        keyring::{Credentials, MAX_STALE},
    },
    entropy::SeededEntropy,
    error::Code,
    id::KeyId,
    model::key_use::KeyUse,
    store::{
        SharedStore,
        memory::MemoryStore,
        testing::faulty::{CallKind, Fault},
    },
    worker,
};
use pulse_tests::plane::{TestPlane, operator};
use serde_json::json;
use std::{net::IpAddr, sync::Arc, time::Duration};

use super::refused;

fn lookups(t: &TestPlane, result: &str) -> u64 {
    t.plane.parts().metrics.key_lookups.with_label_values(&[result]).get()
}

#[tokio::test]
async fn a_secret_with_one_changed_character_is_refused_without_a_look_into_the_store() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let before = lookups(&t, "miss");
    for position in (0..c.secret.len()).step_by(7) {
        let mut bytes = c.secret.clone().into_bytes();
        bytes[position] = if bytes[position] == b'z' { b'y' } else { b'z' };
        let changed = String::from_utf8(bytes).expect("text");
        assert_eq!(refused(t.login(&changed).await), Code::Unauthenticated, "position {position}");
    }
    assert_eq!(lookups(&t, "miss"), before);
}

#[tokio::test]
async fn a_forged_secret_with_a_right_checksum_and_a_known_id_is_refused() {
    let t = TestPlane::new().await;
    let (a, b) = (t.customer("a").await, t.customer("b").await);
    // The id of A's key with another secret part and a fresh checksum.
    let body = format!("{}{}", &a.secret[..34], &b.secret[34..77]);
    let forged = with_checksum(&body);
    assert!(matches!(pulse_core::access::key::parse(&forged), Some(pulse_core::access::key::Presented::Secret { .. })));
    let error = t.login(&forged).await.expect_err("forged");
    let garbage = t.login("garbage").await.expect_err("garbage");
    assert_eq!((error.code(), error.message()), (garbage.code(), garbage.message()), "one body for every cause");
}

fn with_checksum(body: &str) -> String {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut crc = u32::MAX;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (0_u32.wrapping_sub(crc & 1)));
        }
    }
    let mut rest = !crc as usize;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    format!("{body}{}", String::from_utf8_lossy(&digits))
}

#[tokio::test]
async fn a_key_with_anothers_secret_is_refused_and_a_public_key_alone_opens_nothing() {
    let t = TestPlane::new().await;
    let (a, b) = (t.customer("a").await, t.customer("b").await);
    let key = a.project.pulse_api_key.clone().expect("a primary key");
    let keyring = &t.plane.parts().keyring;
    keyring.verify(Credentials::Pair { key: &key, secret: &a.secret }, None).await.expect("the right pair");
    let mixed = keyring.verify(Credentials::Pair { key: &key, secret: &b.secret }, None).await;
    assert_eq!(refused(mixed), Code::Unauthenticated);
    assert_eq!(refused(t.login(&key).await), Code::Unauthenticated);
}

#[tokio::test]
async fn a_key_is_bound_to_its_networks() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let id = c.id().to_string();
    let body = json!({ "name": "office", "networks": ["10.1.0.0/16", "2001:db8::/32"] }).to_string();
    let made = t.send(&operator(), "keys.create", &[("id", &id)], "", &body).await.expect("creates");
    let secret = made["pulse_api_secret"].as_str().expect("shown");
    let from = async |ip: &str| {
        let ip: IpAddr = ip.parse().expect("an address");
        t.plane.parts().keyring.verify(Credentials::Bearer(secret), Some(ip)).await
    };
    from("10.1.2.3").await.expect("inside");
    from("::ffff:10.1.2.3").await.expect("the same, mapped");
    from("2001:db8::7").await.expect("inside");
    assert_eq!(refused(from("10.2.0.1").await), Code::Forbidden);
    assert_eq!(refused(t.plane.parts().keyring.verify(Credentials::Bearer(secret), None).await), Code::Forbidden);
}

#[tokio::test]
async fn garbage_with_right_checksums_soon_stops_reaching_the_store_but_a_neighbours_warm_key_works() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let before = lookups(&t, "miss");
    let mut limited = 0;
    for n in 0..5_000_u32 {
        let garbage = with_checksum(&format!("pulse_secret_live_{n:0>16}{n:0>43}"));
        limited += u32::from(refused(t.login(&garbage).await) == Code::RateLimited);
    }
    let misses = lookups(&t, "miss") - before;
    assert!(misses <= 101, "{misses} look-ups reached the store");
    assert!(limited >= 4_800, "only {limited} were refused by the limit");
    t.login(&c.secret).await.expect("a warm key behind the same address");
}

#[tokio::test]
async fn a_revocation_reaches_another_process_on_the_same_store() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let a = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let b = TestPlane::over(store, 2).await.expect("a second plane on the same store");
    let c = a.customer("a").await;
    b.login(&c.secret).await.expect("works at the other process");
    let id = c.id().to_string();
    a.send(&operator(), "projects.suspend", &[("id", &id)], "", r#"{"reason":"x"}"#).await.expect("suspends");
    assert_eq!(refused(a.login(&c.secret).await), Code::Suspended, "at once in the process that did it");
    b.login(&c.secret).await.expect("the other one has not looked yet");
    worker::follow(&b.plane).await.expect("follows");
    assert_eq!(refused(b.login(&c.secret).await), Code::Suspended);
}

#[tokio::test]
async fn cached_keys_are_not_trusted_when_the_store_cannot_be_followed() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let c = t.customer("a").await;
    store.plan(Fault::FailBefore { call: CallKind::Generation, nth: 1 });
    t.clock.advance(MAX_STALE);
    t.login(&c.secret).await.expect("within the bound");
    t.clock.advance(Duration::from_millis(1));
    assert_eq!(refused(t.login(&c.secret).await), Code::StoreUnavailable);
    t.login(&c.secret).await.expect("the store answers again");
}

#[tokio::test]
async fn a_process_without_a_worker_reads_for_itself_what_others_changed() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let a = TestPlane::over(Arc::clone(&store), 1).await.expect("a plane");
    let local = TestPlane::over(store, 2).await.expect("a second plane on the same store");
    let c = a.customer("a").await;
    local.login(&c.secret).await.expect("works");
    let id = c.id().to_string();
    a.send(&operator(), "projects.suspend", &[("id", &id)], "", r#"{"reason":"x"}"#).await.expect("suspends");
    local.clock.advance(MAX_STALE + Duration::from_millis(1));
    assert_eq!(refused(local.login(&c.secret).await), Code::Suspended);
}

#[tokio::test]
async fn what_was_used_under_the_previous_pepper_is_brought_under_the_current_one() {
    const OLD: &str = "the-pepper-before-that-is-long-enough";
    const NEW: &str = "the-pepper-after-that-is-long-enough-too";
    let store: SharedStore = Arc::new(MemoryStore::new());
    let before = TestPlane::with_peppers(Arc::clone(&store), 1, OLD, None).await.expect("a plane");
    let c = before.customer("a").await;
    let made = before.send(&operator(), "admin.rotate", &[], "", "").await.expect("rotates");
    let admin = made["pulse_admin_token"].as_str().expect("shown").to_owned();
    let both = TestPlane::with_peppers(Arc::clone(&store), 2, NEW, Some(OLD)).await.expect("a plane with both");
    for secret in [&c.secret, &admin] {
        both.login(secret).await.expect("works under the previous pepper");
    }
    worker::record_uses(&both.plane).await.expect("records");
    let after = TestPlane::with_peppers(store, 3, NEW, None).await.expect("a plane with the new one alone");
    for secret in [&c.secret, &admin] {
        after.login(secret).await.expect("works under the current pepper");
    }
}

#[tokio::test]
async fn a_use_that_could_not_be_recorded_is_recorded_later() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let keys = [t.customer("a").await, t.customer("b").await];
    store.plan(Fault::FailBefore { call: CallKind::Commit, nth: 1 });
    assert_eq!(refused(worker::record_uses(&t.plane).await), Code::StoreUnavailable);
    worker::record_uses(&t.plane).await.expect("records");
    for c in keys {
        let key = t.plane.parts().keys.live(c.id()).await.expect("reads").remove(0);
        assert!(t.plane.parts().key_uses.get(key.id).await.expect("reads").is_some(), "{}", key.id);
    }
}

#[tokio::test]
async fn many_who_ask_for_one_unknown_key_cost_one_look_into_the_store() {
    let (store, t) = TestPlane::over_faulty_store().await;
    let unknown = generate(Environment::Live, &SeededEntropy::new(7)).secret;
    store.plan(Fault::Stall { call: CallKind::Find, nth: 1 });
    let before = store.calls(CallKind::Find);
    let asked = futures_util::future::join_all((0..20).map(|_| t.login(unknown.expose())));
    let (answers, ()) = tokio::join!(asked, async {
        store.until_stalled().await;
        store.release();
    });
    answers.into_iter().for_each(|answer| assert_eq!(refused(answer), Code::Unauthenticated));
    assert_eq!(store.calls(CallKind::Find) - before, 1);
}

#[tokio::test]
async fn the_operators_token_is_known_and_rotates() {
    let t = TestPlane::new().await;
    let made = t.send(&operator(), "admin.rotate", &[], "", "").await.expect("rotates");
    let first = made["pulse_admin_token"].as_str().expect("shown").to_owned();
    let caller = t.login(&first).await.expect("works");
    assert!(caller.is_operator());
    let second = t.send(&caller, "admin.rotate", &[], "", "{}").await.expect("rotates again");
    assert_eq!(refused(t.login(&first).await), Code::Unauthenticated, "the old one stops at once");
    t.login(second["pulse_admin_token"].as_str().expect("shown")).await.expect("the new one works");
}

#[tokio::test]
async fn many_uses_are_recorded_before_their_time() {
    let t = TestPlane::new().await;
    let parts = t.plane.parts();
    let worker = tokio::spawn(worker::run(Arc::clone(&t.pipeline)));
    let (now, project_id) = (parts.clock.now(), t.customer("a").await.id());
    let mut last = None;
    for _ in 0..10_000 {
        let key_id = KeyId::new(now, parts.entropy.as_ref());
        parts.keyring.uses().note(key_id, KeyUse { key_id, project_id, last_used_at: now, last_used_ip: None });
        last = Some(key_id);
    }
    let recorded = async {
        while parts.key_uses.get(last.expect("noted")).await.expect("reads").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recorded).await.expect("not only once a minute");
    t.pipeline.stopping.cancel();
    t.pipeline.drained.cancel();
    worker.await.expect("ends");
}

//! How many bans a project can have: the bound holds whatever is made at once, and what has ended takes no place.

use std::time::Duration;

use pulse_core::{
    error::Code,
    id::BanId,
    model::ban::{Ban, MAX_BANS},
    repo::Document as _,
    store::{
        Batch, CommitMode, schema,
        testing::faulty::{CallKind, Fault},
    },
    time::Timestamp,
};
use pulse_tests::plane::{Customer, TestPlane};
use serde_json::{Value, json};

use super::refused;

async fn ban(t: &TestPlane, c: &Customer, identity: &str) -> pulse_core::Result<Value> {
    let body = json!({ "identity": identity }).to_string();
    t.send(&c.caller, "bans.create", &[], "", &body).await
}

/// Bans as an older version wrote them, which counted none: `count` of them, the last ten of which end at `end`.
async fn seed(t: &TestPlane, c: &Customer, count: u64, end: Timestamp) {
    let (now, entropy) = (t.plane.parts().clock.now(), t.plane.parts().entropy.as_ref());
    let bans: Vec<u64> = (0..count).collect();
    for some in bans.chunks(500) {
        let mut batch = Batch::new();
        for n in some {
            let ban = Ban {
                id: BanId::new(now, entropy),
                project_id: c.id(),
                identity: format!("seeded-{n}").parse().expect("an identity"),
                room_name: None,
                reason: None,
                created_at: now,
                expires_at: (n + 10 >= count).then_some(end),
                version: 0,
            };
            ban.insert_into(&mut batch).expect("encodes");
        }
        t.store.commit(batch, CommitMode::Apply).await.expect("commits");
    }
}

async fn count(t: &TestPlane, c: &Customer) -> u64 {
    let project = c.id().to_string().into();
    t.store.count(&schema::BANS, "project", &[project], 2 * MAX_BANS).await.expect("counts")
}

#[tokio::test]
async fn bans_that_are_made_at_once_do_not_exceed_the_bound() {
    let never = Timestamp::from_secs(4_000_000_000);
    // Before anything was counted, and when one ban was.
    for counted in [0, 1] {
        let (store, slow, quick) = TestPlane::two_over_faulty_store().await;
        let c = slow.customer("a").await;
        seed(&slow, &c, MAX_BANS - 1 - counted, never).await;
        if counted == 1 {
            ban(&quick, &c, "zero").await.expect("counts");
        }
        store.plan(Fault::Stall { call: CallKind::Commit, nth: 1 });
        let other = async {
            store.until_stalled().await;
            ban(&quick, &c, "two").await.expect("takes the last place");
            store.release();
        };
        let (late, ()) = tokio::join!(ban(&slow, &c, "one"), other);
        assert!(late.as_ref().is_err_and(|error| error.to_string().contains("10000 bans")), "{late:?}");
        assert_eq!((refused(late), count(&slow, &c).await), (Code::Conflict, MAX_BANS));
        ban(&slow, &c, "two").await.expect("one that is there can be made again");
    }
}

#[tokio::test]
async fn a_ban_that_was_lifted_or_has_ended_makes_room_for_another() {
    let t = TestPlane::new().await;
    let c = t.customer("a").await;
    let end = t.plane.parts().clock.now().plus(Duration::from_secs(60));
    seed(&t, &c, MAX_BANS - 1, end).await;
    let last = ban(&t, &c, "last").await.expect("the last place");
    assert_eq!(refused(ban(&t, &c, "more").await), Code::Conflict);
    let id = last["id"].as_str().expect("an id");
    t.send(&c.caller, "bans.delete", &[("id", id)], "", "").await.expect("lifts");
    ban(&t, &c, "more").await.expect("the place of the one that was lifted");
    assert_eq!(refused(ban(&t, &c, "again").await), Code::Conflict);
    t.advance(Duration::from_secs(61)).await;
    assert_eq!(t.store.sweep(t.plane.parts().clock.now(), 100).await.expect("sweeps"), 10);
    for n in 0..10 {
        ban(&t, &c, &format!("after-{n}")).await.expect("the places of those that ended");
    }
    assert_eq!((refused(ban(&t, &c, "again").await), count(&t, &c).await), (Code::Conflict, MAX_BANS));
}

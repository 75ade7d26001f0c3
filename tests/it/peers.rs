//! The peers themselves work: what the other tests build on.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use pulse_tests::peers::livekit::{LiveKit, Options};
use pulse_tests::peers::mongo::Mongo;
use pulse_tests::peers::python::{Join, Media};
use serde_json::json;

#[tokio::test]
async fn a_client_joins_livekit_with_a_token_of_the_test() {
    let livekit = LiveKit::shared().await;
    let token = livekit.sign(&json!({
        "iss": livekit.key(), "sub": "ann", "name": "Ann", "metadata": "of the token", "exp": 4_102_444_800_u64,
        "attributes": { "team": "blue" },
        "video": { "roomJoin": true, "room": "peers-join" },
    }));

    let report = Join::new(livekit.ws_url(), token).run().await;

    assert_eq!(report.error, None, "LiveKit refused the token");
    assert_eq!(report.room_name.as_deref(), Some("peers-join"));
    assert_eq!(report.identity.as_deref(), Some("ann"));
    assert_eq!(report.name.as_deref(), Some("Ann"));
    assert_eq!(report.metadata.as_deref(), Some("of the token"));
    assert_eq!(report.attributes.get("team").map(String::as_str), Some("blue"));
    assert_eq!(report.disconnect_reason.as_deref(), Some("CLIENT_INITIATED"));
    assert!(report.room_sid.is_some_and(|sid| sid.starts_with("RM_")), "the room has no session id");
}

#[tokio::test]
async fn media_goes_from_one_client_to_another() {
    let livekit = LiveKit::shared().await;
    let kinds = [Media::Audio, Media::Video];

    let ann = Join::new(livekit.ws_url(), livekit.join_token("peers-media", "ann")).publish(&kinds).stay().await;
    let bob = Join::new(livekit.ws_url(), livekit.join_token("peers-media", "bob")).subscribe(&kinds).run().await;
    let ann = ann.leave().await;

    assert_eq!((ann.error, ann.publish_error), (None, None), "ann could not publish");
    assert_eq!((bob.error, bob.subscribe_error), (None, None), "bob received nothing");
    for published in &ann.published {
        let received = bob.subscribed.iter().find(|track| track.sid == published.sid);
        let received = received.expect("a published track was not received");
        assert_eq!((received.identity.as_str(), received.kind), ("ann", published.kind));
    }
    assert_eq!(bob.subscribed.len(), 2, "received: {:?}", bob.subscribed);
}

#[tokio::test]
async fn a_refused_join_and_a_refused_publication_are_reported() {
    let livekit = LiveKit::start_with(&Options { auto_create: false, ..Options::default() }).await;
    let shared = LiveKit::shared().await;
    let mute = shared.sign(&json!({
        "iss": shared.key(), "sub": "ann", "exp": 4_102_444_800_u64,
        "video": { "roomJoin": true, "room": "peers-mute", "canPublish": false },
    }));

    let no_room = Join::new(livekit.ws_url(), livekit.join_token("nowhere", "ann")).run().await;
    let no_signature = Join::new(shared.ws_url(), "not.a.token").run().await;
    let no_publishing = Join::new(shared.ws_url(), mute).publish(&[Media::Audio]).run().await;

    assert!(!no_room.connected, "a room came into being without being created");
    assert!(no_signature.error.is_some_and(|error| error.contains("401")), "a forged token was not refused");
    assert!(no_publishing.connected && no_publishing.published.is_empty(), "canPublish false was not enforced");
    assert!(no_publishing.publish_error.is_some());
}

#[tokio::test]
async fn a_mongo_transaction_commits_and_aborts_as_a_whole() {
    let mongo = Mongo::shared().await;
    let client = mongo.client().await;
    let database = client.database(&mongo.unique_database());
    let (left, right) = (database.collection::<Document>("left"), database.collection::<Document>("right"));
    for (id, commit) in [(1, false), (2, true)] {
        let mut session = client.start_session().await.expect("a session");
        session.start_transaction().await.expect("a transaction");
        left.insert_one(doc! { "_id": id }).session(&mut session).await.expect("an insert");
        right.insert_one(doc! { "_id": id }).session(&mut session).await.expect("an insert");
        let ended = if commit { session.commit_transaction().await } else { session.abort_transaction().await };
        ended.expect("the transaction ends");
    }

    for collection in [left, right] {
        let aborted = collection.find_one(doc! { "_id": 1 }).await.expect("a read");
        let committed = collection.find_one(doc! { "_id": 2 }).await.expect("a read");
        assert_eq!((aborted.is_some(), committed.is_some()), (false, true), "in {}", collection.name());
    }
}

#[tokio::test]
async fn mongo_keeps_its_data_through_a_crash_a_restart_and_a_step_down() {
    let mut mongo = Mongo::start().await;
    let name = mongo.unique_database();
    let insert = async |mongo: &Mongo, id: i32| {
        let collection = mongo.client().await.database(&name).collection::<Document>("kept");
        collection.insert_one(doc! { "_id": id }).await.expect("an insert");
    };

    insert(&mongo, 1).await;
    mongo.kill().await;
    mongo.restart().await;
    insert(&mongo, 2).await;
    mongo.stop().await;
    mongo.restart().await;
    mongo.step_down(1).await;
    mongo.until_primary().await;
    insert(&mongo, 3).await;

    let kept = mongo.client().await.database(&name).collection::<Document>("kept");
    assert_eq!(kept.count_documents(doc! {}).await.expect("a count"), 3);
}

#[tokio::test]
async fn a_standalone_mongo_refuses_transactions() {
    let mongo = Mongo::standalone().await;
    let client = mongo.client().await;
    let mut session = client.start_session().await.expect("a session");
    session.start_transaction().await.expect("a transaction begins on the client");

    let collection = client.database(&mongo.unique_database()).collection::<Document>("any");
    let refused = collection.insert_one(doc! { "_id": 1 }).session(&mut session).await;

    assert!(refused.is_err(), "a server without a replica set took a transaction");
    let status = mongo.process().terminate(Duration::from_secs(20)).await;
    assert!(status.success(), "mongod ended badly: {status}");
}

//! `PULSE_OUTBOUND_ONLY`: no host outside of it is ever connected to, not even one that the replica set names.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use mongodb::{Client, bson::doc, options::ClientOptions};
use pulse_core::{
    error::Code,
    outbound::AddressPolicy,
    store::{
        Batch, CommitMode, Outcome, Store as _,
        mongo::{MongoOptions, MongoStore},
        schema::{META, PROJECTS},
        testing::sample::project,
    },
};
use pulse_tests::peers::mongo::Mongo;
use serde_json::json;
use tokio::{io::AsyncReadExt as _, net::TcpListener, time::Instant};

/// Options under which only these networks may be connected to.
fn only(uri: &str, network: &str) -> MongoOptions {
    let mut options = super::impatient(uri);
    options.app_name = "under-policy".to_owned();
    options.outbound = AddressPolicy::only(vec![network.parse().expect("a network")]);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_outside_is_refused_before_anything_is_connected() {
    let refused = [
        "mongodb://192.0.2.1/pulse",
        "mongodb://127.0.0.1,192.0.2.1:27018/pulse?replicaSet=rs0",
        "mongodb://[2001:db8::1]/pulse",
        "mongodb://mongo.invalid/pulse",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock/pulse",
        "mongodb+srv://mongo.invalid/pulse",
        "mongodb://127.0.0.1/pulse?proxyHost=127.0.0.1",
    ];
    for uri in refused {
        let started = Instant::now();
        let error = MongoStore::connect(only(uri, "127.0.0.0/8")).await.expect_err("a host outside is refused");
        assert!(started.elapsed() < Duration::from_millis(500), "{uri}: {:?}", started.elapsed());
        assert_eq!(error.code(), Code::Misconfigured, "{uri}");
        assert!(error.message().contains("PULSE_OUTBOUND_ONLY"), "{uri}: {}", error.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_inside() {
    let database = super::Database::of(Mongo::shared().await).await;
    let localhost = database.uri.replace("127.0.0.1", "localhost").replace("?replicaSet=rs0", "?directConnection=true");
    for uri in [&database.uri, &localhost] {
        let options = only(uri, "127.0.0.0/8");
        let store = MongoStore::connect(options).await.expect("the host is inside");
        store.prepare().await.expect("the database can be prepared");
        let mut batch = Batch::new();
        batch.insert(&META, uri, json!({})).insert(&PROJECTS, uri, project("org_1", uri));
        let outcome = store.commit(batch, CommitMode::Apply).await.expect("it commits");
        assert_eq!(outcome, Outcome::Committed { seqs: vec![] });
        assert!(store.get(&META, uri).await.expect("it can be read").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discovered_member_outside_is_never_connected_to() {
    let mongo = Mongo::start().await;
    let stranger = Recorder::start().await;
    let early = MongoStore::connect(only(&mongo.uri("pulse"), "127.0.0.1/32")).await.expect("the host is inside");
    early.prepare().await.expect("all members are inside");

    let mut config =
        mongo.admin(doc! { "replSetGetConfig": 1 }).await.get_document("config").expect("a config").clone();
    let version = config.get_i32("version").expect("a version");
    config.insert("version", version + 1);
    let member = doc! { "_id": 1, "host": stranger.address.to_string(), "priority": 0, "votes": 0 };
    config.get_array_mut("members").expect("members").push(member.into());
    mongo.admin(doc! { "replSetReconfig": config, "force": true }).await;

    let late = MongoStore::connect(only(&mongo.uri("pulse"), "127.0.0.1/32")).await.expect("the host is inside");
    let refused = late.prepare().await.expect_err("a member is outside");
    assert_eq!(refused.code(), Code::Misconfigured);
    assert!(refused.message().contains("127.0.0.2"), "{}", refused.message());

    // A client without a policy connects at once, which shows that the recorder hears whoever comes.
    let mut options = ClientOptions::parse(mongo.uri("pulse")).await.expect("the string is valid");
    options.app_name = Some("without-policy".to_owned());
    let free = Client::with_options(options).expect("the options are valid");
    free.list_database_names().await.expect("the server is there");
    stranger.until_heard("without-policy").await;

    let mut batch = Batch::new();
    batch.insert(&META, "still", json!({}));
    early.commit(batch, CommitMode::Apply).await.expect("the members inside still serve");
    assert!(late.get(&META, "still").await.expect("it can be read").is_some());
    assert!(!stranger.heard("under-policy"), "a host outside was connected to");
}

/// A member that answers nothing and writes down what it is told.
struct Recorder {
    address: SocketAddr,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).await.expect("loopback has this address");
        let address = listener.local_addr().expect("it is bound");
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&bytes);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut greeting = [0; 4_096];
                if let Ok(Ok(count)) = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut greeting)).await {
                    heard.lock().expect("no writer fails").extend_from_slice(&greeting[..count]);
                }
            }
        });
        Self { address, bytes }
    }

    fn heard(&self, name: &str) -> bool {
        self.bytes.lock().expect("no writer fails").windows(name.len()).any(|window| window == name.as_bytes())
    }

    async fn until_heard(&self, name: &str) {
        let heard = async {
            while !self.heard(name) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), heard).await.expect("the recorder hears it");
    }
}

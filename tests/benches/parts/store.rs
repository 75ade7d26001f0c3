//! Figures of the store and of key verification, in this process.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use pulse_core::{
    access::{
        Permissions,
        key::{Environment, generate},
        keyring::Credentials,
    },
    boot::{self, Assembly, GivenSecrets},
    entropy::SystemEntropy,
    id::{KeyId, OrgId, ProjectId},
    media::cluster::Signer,
    metrics::Metrics,
    model::{
        api_key::{ApiKey, Constraints, KeyState},
        organization::{Organization, Plan},
        project::{Limits, Project, ProjectState},
        text::Labels,
    },
    outbound::{AddressPolicy, Outbound},
    parts::{PipelineSettings, Settings},
    plane::ControlPlane,
    repo::Document,
    secret::Secret,
    store::{
        Batch, CommitMode, Outcome, Store as _,
        schema::ORGANIZATIONS,
        sqlite::{SqliteOptions, SqliteStore},
    },
    time::{Clock, SystemClock},
};
use serde_json::{Value, json};

use super::{Row, histogram, median, record};

const BATCH: usize = 400;
const ROUNDS: usize = 5;

/// A plane over the SQLite file, with the secrets beside it.
async fn plane(path: &Path) -> ControlPlane {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = SqliteStore::open(SqliteOptions::new(path, Arc::clone(&clock))).expect("opens");
    let loopback = vec!["127.0.0.0/8".parse().expect("a network")];
    let assembly = Assembly {
        store: Arc::new(store),
        beside: Some(path.to_owned()),
        in_memory: false,
        secrets: GivenSecrets::default(),
        settings: Settings {
            livekit: Signer {
                url: "ws://127.0.0.1:7880".to_owned(),
                api_key: "APIbench".to_owned(),
                api_secret: Secret::new("a-secret-of-the-benchmarks-0123456789"),
                shared: true,
            },
            regions: Vec::new(),
            operator_token_given: false,
            operator_token_file: None,
            purge_after: Duration::from_secs(30 * 86_400),
            pipeline: PipelineSettings::default(),
            redis: None,
        },
        outbound: Outbound::new(AddressPolicy::only(loopback)),
        clock,
        entropy: Arc::new(SystemEntropy::default()),
        metrics: Metrics::new().expect("series"),
        engine: None,
    };
    boot::assemble(assembly, false).await.expect("a plane").plane
}

/// Fills a new store with one organization and `count` projects, each with a key; gives the keys' secrets.
pub(crate) async fn seed(path: &Path, count: usize) -> Vec<String> {
    let plane = plane(path).await;
    let parts = plane.parts();
    let (clock, entropy) = (&parts.clock, parts.entropy.as_ref());
    let now = clock.now();
    let org = Organization {
        id: OrgId::new(now, entropy),
        name: "seeded".parse().expect("a name"),
        admin_email: "a@b.example".parse().expect("an address"),
        plan: Plan::Enterprise,
        labels: Labels::default(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
        purge_at: None,
        version: 1,
    };
    let mut batch = Batch::new();
    org.insert_into(&mut batch).expect("encodes");
    let mut secrets = Vec::with_capacity(count);
    for n in 0..count {
        let now = clock.now();
        let fresh = generate(Environment::Live, entropy);
        let project = seeded_project(org.id, n, ProjectId::new(now, entropy), now);
        let key = ApiKey {
            id: KeyId::new(now, entropy),
            project_id: project.id,
            digest: parts.keyring.digest(&fresh.secret),
            public_id: fresh.public_id,
            name: "default".parse().expect("a name"),
            environment: Environment::Live,
            scopes: Permissions::default_key(),
            constraints: Constraints::default(),
            networks: Vec::new(),
            state: KeyState::Active,
            primary: true,
            expires_at: None,
            final_expires_at: None,
            rotated_to: None,
            rotated_from: None,
            revoked_at: None,
            created_by: "bench".to_owned(),
            created_at: now,
            version: 1,
        };
        secrets.push(fresh.secret.expose().to_owned());
        Project { pulse_api_key: Some(key.public_text()), ..project }.insert_into(&mut batch).expect("encodes");
        key.insert_into(&mut batch).expect("encodes");
        if batch.writes.len() >= BATCH || n + 1 == count {
            let outcome = parts.store.commit(std::mem::take(&mut batch), CommitMode::Apply).await.expect("commits");
            assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
        }
    }
    secrets
}

fn seeded_project(org_id: OrgId, n: usize, id: ProjectId, now: pulse_core::time::Timestamp) -> Project {
    Project {
        id,
        org_id,
        name: format!("project {n:06}").parse().expect("a name"),
        pulse_api_key: None,
        webhook_url: None,
        storage_config: None,
        livekit_url: None,
        livekit_credentials: None,
        region: "us-east".parse().expect("a region"),
        state: ProjectState::Active,
        suspended_at: None,
        suspend_reason: None,
        limits: Limits::default(),
        labels: Labels::default(),
        token_presets: std::collections::BTreeMap::new(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
        purge_at: None,
        deleted_by: None,
        version: 1,
    }
}

/// Key verification with 100,000 keys in the store, all of them warm, in an order that no cache likes.
pub(crate) async fn verification() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pulse.db");
    let secrets = seed(&path, 100_000).await;
    let plane = plane(&path).await;
    let keyring = &plane.parts().keyring;
    let verify = async |secret: &str| keyring.verify(Credentials::Bearer(secret), Some([127, 0, 0, 1].into())).await;
    for secret in &secrets {
        verify(secret).await.expect("a seeded key works");
        keyring.confirm(0);
    }
    let mut latencies = histogram();
    for n in 0..200_000_usize {
        if n % 10_000 == 0 {
            keyring.confirm(0);
        }
        let secret = &secrets[n.wrapping_mul(7_919) % secrets.len()];
        let began = Instant::now();
        verify(secret).await.expect("a seeded key works");
        record(&mut latencies, began.elapsed());
    }
    let micros = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
    let note = format!("p50 {:.2} µs, p99.9 {:.2} µs", micros(0.5), micros(0.999));
    vec![Row::less("key verification, 100,000 keys, warm, p99", "µs", micros(0.99), (20.0, 5.0), note)]
}

fn document(n: usize) -> Value {
    json!({
        "id": format!("org_{n}"), "name": format!("organization {n}"), "admin_email": "a@b.example", "plan": "Free",
        "living_name": format!("organization {n}"), "created_at": "2026-01-01T00:00:00.000Z", "label_pairs": [],
        "labels": {}, "updated_at": "2026-01-01T00:00:00.000Z",
    })
}

async fn insert(store: &SqliteStore, n: usize) {
    let mut batch = Batch::new();
    batch.insert(&ORGANIZATIONS, format!("org_{n:09}"), document(n));
    let outcome = store.commit(batch, CommitMode::Apply).await.expect("commits");
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
}

async fn prepared(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(SqliteOptions::new(path, Arc::new(SystemClock::new()))).expect("opens");
    store.prepare().await.expect("prepares");
    store
}

/// Commits of one document: one at a time against raw rusqlite with the engine's own statement, and 64 writers against
/// one at a time. Both are measured once their logs are as long as they get: while a log's file grows, its length is
/// synced with each commit, which is so for raw rusqlite's first few hundred commits and for the engine's first ten thousand.
pub(crate) async fn commits() -> Vec<Row> {
    const ONE_BY_ONE: usize = 600;
    const UNTIL_LOGS_ARE_LONG: usize = 15_000;
    const TOGETHER: usize = 12_800;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pulse.db");
    let store = prepared(&path).await;
    // What the 64 write goes into a store of its own, so that the one and its twin are always of the same size.
    let shared = Arc::new(prepared(&folder.path().join("shared.db")).await);
    // A twin with the same tables, for the raw statements.
    let twin = folder.path().join("twin.db");
    let source = rusqlite::Connection::open(&path).expect("opens");
    source.execute("VACUUM INTO ?1", [twin.to_str().expect("a text")]).expect("copies");
    let raw = rusqlite::Connection::open(&twin).expect("opens");
    raw.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;")
        .expect("sets");
    let columns: Vec<String> = raw
        .prepare("SELECT name FROM pragma_table_info('organizations')")
        .and_then(|mut columns| columns.query_map([], |row| row.get(0))?.collect())
        .expect("columns");
    let marks = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT INTO organizations ({}) VALUES ({marks})", columns.join(", "));
    let raw_insert = |n: usize| {
        let doc = document(n);
        let values = columns.iter().map(|column| match column.as_str() {
            "id" => format!("org_{n:09}").into(),
            "version" => rusqlite::types::Value::Integer(1),
            "doc" => doc.to_string().into(),
            name => match doc.get(name.trim_start_matches("c_")).and_then(Value::as_str) {
                Some(text) => text.to_owned().into(),
                None => rusqlite::types::Value::Null,
            },
        });
        raw.execute_batch("BEGIN IMMEDIATE").expect("begins");
        raw.prepare_cached(&sql).expect("prepares").execute(rusqlite::params_from_iter(values)).expect("inserts");
        raw.execute_batch("COMMIT").expect("commits");
    };
    let (mut engine, mut bare, mut grouped) = (Vec::new(), Vec::new(), Vec::new());
    (0..UNTIL_LOGS_ARE_LONG).for_each(raw_insert);
    let began = Instant::now();
    for n in 0..UNTIL_LOGS_ARE_LONG {
        insert(&store, n).await;
    }
    let growing = UNTIL_LOGS_ARE_LONG as f64 / began.elapsed().as_secs_f64();
    let (mut next, mut next_shared) = (UNTIL_LOGS_ARE_LONG, 0);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        (next..next + ONE_BY_ONE).for_each(raw_insert);
        bare.push(ONE_BY_ONE as f64 / began.elapsed().as_secs_f64());
        let began = Instant::now();
        for n in next..next + ONE_BY_ONE {
            insert(&store, n).await;
        }
        engine.push(ONE_BY_ONE as f64 / began.elapsed().as_secs_f64());
        next += ONE_BY_ONE;
        let began = Instant::now();
        let writers: Vec<_> = (0..64)
            .map(|writer| {
                let (shared, from) = (Arc::clone(&shared), next_shared + writer * TOGETHER / 64);
                tokio::spawn(async move {
                    for n in from..from + TOGETHER / 64 {
                        insert(&shared, n).await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("a writer ends");
        }
        grouped.push(TOGETHER as f64 / began.elapsed().as_secs_f64());
        next_shared += TOGETHER;
    }
    let (engine, bare, grouped) = (median(engine), median(bare), median(grouped));
    vec![
        Row::more(
            "sqlite commits one at a time, against raw rusqlite",
            "x",
            engine / bare,
            (0.8, 0.9),
            format!("{engine:.0}/s against {bare:.0}/s; the first 15,000 of a new store {growing:.0}/s"),
        ),
        Row::more(
            "sqlite commits, 64 writers against one at a time",
            "x",
            grouped / engine,
            (5.0, 10.0),
            format!("{grouped:.0}/s against {engine:.0}/s"),
        ),
    ]
}

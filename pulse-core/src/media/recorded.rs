//! Webhooks of a real LiveKit, recorded, for tests; `tests/fixtures/livekit` says what they tell.

use std::{fs, path::Path};

use serde::Deserialize;

use crate::{secret::Secret, time::Timestamp};

/// The key that signed them.
pub(super) const KEY: &str = "APIpulsefixture";
/// The key's secret.
pub(super) const SECRET: &str = "pulse-fixture-secret-pulse-fixture-secret";
/// The room that they are about, by LiveKit's name.
pub(super) const WIRE_ROOM: &str = "prj_00000000000000000000000000~standup";

/// A recorded webhook.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// Its file's name without `.json`: `001-room_started`.
    pub(super) name: String,
    /// When it came.
    pub(super) received_at: Timestamp,
    /// Its `Authorization`.
    pub(super) authorization: String,
    /// Its body, the exact bytes that were signed.
    pub(super) body: String,
}

#[derive(Deserialize)]
struct File {
    received_at: f64,
    headers: Headers,
    body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Headers {
    authorization: String,
}

/// All of them, in the order in which they came.
pub(super) fn recorded() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/livekit/webhooks");
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// The recorded one of that number, from 1.
pub(super) fn nth(number: usize) -> Recorded {
    recorded().swap_remove(number - 1)
}

/// The secret as the code takes it.
pub(super) fn secret() -> Secret {
    Secret::new(SECRET)
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
fn read(path: &Path) -> Recorded {
    let file: File = serde_json::from_slice(&fs::read(path).expect("a fixture")).expect("a recorded webhook");
    Recorded {
        name: path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned(),
        received_at: Timestamp::from_millis((file.received_at * 1_000.0) as i64),
        authorization: file.headers.authorization,
        body: file.body,
    }
}

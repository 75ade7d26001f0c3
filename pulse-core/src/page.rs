//! Pages of lists: a limit, an opaque cursor, and the answer's shape.
//!
//! A cursor is the position after the last row, bound to the list and its filters by a digest. It is not a secret and
//! opens nothing: the tenant is part of every query, whatever the cursor says.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    error::{Code, Error, Result},
    store::Position,
};

/// Rows on a page when the request does not say.
pub const DEFAULT_LIMIT: u32 = 20;
/// The most rows that a page can have.
pub const MAX_LIMIT: u32 = 100;

/// Rows on a page: 1 to 100, 20 when the request does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u32", into = "u32")]
#[schemars(inline)]
pub struct PageLimit(#[schemars(range(min = 1, max = 100))] u32);

impl TryFrom<u32> for PageLimit {
    type Error = String;

    fn try_from(rows: u32) -> Result<Self, String> {
        if (1..=MAX_LIMIT).contains(&rows) { Ok(Self(rows)) } else { Err(format!("must be from 1 to {MAX_LIMIT}")) }
    }
}

impl From<PageLimit> for u32 {
    fn from(limit: PageLimit) -> Self {
        limit.0
    }
}

impl PageLimit {
    /// The number of rows to read.
    pub fn rows(limit: Option<Self>) -> usize {
        limit.map_or(DEFAULT_LIMIT, |limit| limit.0) as usize
    }
}

/// `next_cursor` of the page before: opaque, and of the same list with the same filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Cursor(#[schemars(length(min = 1, max = 2048))] pub String);

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The rows. A page with filters may be short, or even empty, while there is a next one.
    pub data: Vec<T>,
    /// Where the next page begins; `null` on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A list without rows.
    pub fn empty() -> Self {
        Self { data: Vec::new(), next_cursor: None }
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    b: String,
    k: Vec<Value>,
    i: String,
}

/// Binds cursors to one list: `list` names it, `filters` is everything that decides which rows it has.
#[derive(Clone, Debug)]
pub struct CursorBinding(String);

impl CursorBinding {
    /// The binding for `list` with these filters; anything that serializes the same is the same list.
    pub fn new(list: &str, filters: &impl Serialize) -> Self {
        let text = serde_json::to_string(filters).unwrap_or_default();
        let digest = Sha256::new().chain_update(list).chain_update([0]).chain_update(text).finalize();
        Self(URL_SAFE_NO_PAD.encode(&digest[..9]))
    }

    /// The opaque text of a position.
    pub fn encode(&self, position: Position) -> String {
        let wire = Wire { b: self.0.clone(), k: position.key, i: position.id };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// The position of a cursor that this list gave out; anything else is [`Code::BadCursor`].
    pub fn decode(&self, cursor: &Cursor) -> Result<Position> {
        let bad = || Error::new(Code::BadCursor, "the cursor does not belong to this list and these filters");
        let bytes = URL_SAFE_NO_PAD.decode(&cursor.0).map_err(|_| bad())?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        let scalar = |value: &Value| value.is_string() || value.is_i64();
        if wire.b != self.0 || !wire.k.iter().all(scalar) {
            return Err(bad());
        }
        Ok(Position { key: wire.k, id: wire.i })
    }
}

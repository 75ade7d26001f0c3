//! Looks into a LiveKit token without a server: what its claims mean in words, and which traps are in them. Nothing here
//! trusts the token: every claim is read as the JSON that it is.
//!
//! The rules are LiveKit's own: an absent `canPublish` or `canSubscribe` means yes, an absent `canPublishData` means as
//! `canPublish`; grants on rooms other than joining one are for the whole server; `exp` is taken with a leeway of a minute.

mod lint;
mod words;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    cluster::Signer,
    room,
    token::{self, LIVEKIT_LEEWAY_SECONDS, MAX_TOKEN_BYTES},
};
use crate::{
    error::{Error, Result},
    secret::Secret,
    time::Timestamp,
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Probably not what was meant.
    Warning,
    /// Refused by LiveKit, or dangerous to hand out.
    Error,
}

impl Severity {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A trap in a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A stable word.
    pub code: String,
    /// The claim, with dots.
    pub field: String,
    /// A sentence.
    pub detail: String,
}

/// What a token says. Its signature has not been checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Inspection {
    /// The algorithm of the signature.
    pub algorithm: Option<String>,
    /// The LiveKit key that is said to have signed it.
    pub key: Option<String>,
    /// Who joins.
    pub identity: Option<String>,
    /// What the participant is called.
    pub name: Option<String>,
    /// What kind of participant it is; absent for a person.
    pub kind: Option<String>,
    /// The room, as LiveKit knows it.
    pub room: Option<String>,
    /// The project of Pulse in the room's name.
    pub project_id: Option<String>,
    /// The token's id.
    pub jti: Option<String>,
    /// From when on it is good.
    pub not_before: Option<Timestamp>,
    /// Until when it is good.
    pub expires_at: Option<Timestamp>,
    /// From its beginning, or from now, to its end, in seconds.
    pub life_seconds: Option<i64>,
    /// What it allows, as sentences.
    pub means: Vec<String>,
    /// Traps, worst first.
    pub findings: Vec<Finding>,
    /// Its claims as they are.
    pub claims: Map<String, Value>,
}

/// Whether a client with the token would be let into a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Whether it would.
    pub valid: bool,
    /// `good`, or `bad` for another key, another secret, or a changed token.
    pub signature: String,
    /// Why it would not.
    pub reasons: Vec<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// The claims of a token, with what the rules ask about them.
struct Claims<'a> {
    header: &'a Map<String, Value>,
    all: &'a Map<String, Value>,
    now: Timestamp,
}

impl Claims<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn moment(&self, name: &str) -> Option<Timestamp> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a fraction of a second does not matter, and the cast saturates"
        )]
        let seconds = |value: &Value| value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
        self.all.get(name).and_then(seconds).map(Timestamp::from_secs)
    }

    fn video(&self, name: &str) -> Option<&Value> {
        self.all.get("video")?.get(name).filter(|value| !value.is_null())
    }

    /// A grant that is given only when it is said.
    fn grants(&self, name: &str) -> bool {
        self.video(name) == Some(&Value::Bool(true))
    }

    /// A grant that is given unless it is denied.
    fn not_denied(&self, name: &str) -> bool {
        self.video(name) != Some(&Value::Bool(false))
    }

    /// Data messages follow publishing unless the token says otherwise.
    fn may_send_data(&self) -> bool {
        self.video("canPublishData").map_or_else(|| self.not_denied("canPublish"), |value| value != &Value::Bool(false))
    }

    fn room(&self) -> Option<&str> {
        self.video("room").and_then(Value::as_str).filter(|room| !room.is_empty())
    }

    fn life_seconds(&self) -> Option<i64> {
        let begin = self.moment("nbf").unwrap_or(self.now);
        self.moment("exp").map(|end| end.as_secs() - begin.as_secs())
    }
}

/// Explains a token.
///
/// # Errors
/// `invalid_fields` when it is not a JWT.
pub fn inspect(token: &str, now: Timestamp) -> Result<Inspection> {
    let (header, all) = decode(token)?;
    let claims = Claims { header: &header, all: &all, now };
    let text = |name: &str| claims.text(name).map(str::to_owned);
    let mut findings = lint::findings(&claims);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(Inspection {
        algorithm: header.get("alg").and_then(Value::as_str).map(str::to_owned),
        key: text("iss"),
        identity: text("sub"),
        name: text("name"),
        kind: text("kind"),
        room: claims.room().map(str::to_owned),
        project_id: claims.room().and_then(room::split).map(|(project, _)| project.to_string()),
        jti: text("jti"),
        not_before: claims.moment("nbf"),
        expires_at: claims.moment("exp"),
        life_seconds: claims.life_seconds(),
        means: words::of(&claims),
        findings,
        claims: all.clone(),
    })
}

/// Judges a token with a LiveKit key pair, as LiveKit would at `now` when a client joins with it.
///
/// # Errors
/// `invalid_fields` when it is not a JWT.
pub fn verify(token: &str, key: &str, secret: &Secret, now: Timestamp) -> Result<Verdict> {
    let (header, all) = decode(token)?;
    let claims = Claims { header: &header, all: &all, now };
    let signer = Signer { url: String::new(), api_key: key.to_owned(), api_secret: secret.clone(), shared: false };
    let mut reasons = Vec::new();
    let signed = token::decode_signed(&signer, token).is_some();
    if !signed && claims.text("iss") != Some(key) {
        let other = claims.text("iss").unwrap_or("nobody");
        reasons.push(format!("it says that the key {other} made it"));
    } else if !signed {
        reasons.push("it was not signed with this secret, or was changed".to_owned());
    }
    reasons.extend(claims.outside_its_time());
    if !claims.grants("roomJoin") {
        reasons.push("it does not let anybody join: roomJoin is not true".to_owned());
    }
    if claims.text("sub").is_none() {
        reasons.push("it has no identity".to_owned());
    }
    let signature = if signed { "good" } else { "bad" };
    Ok(Verdict {
        valid: reasons.is_empty(),
        signature: signature.to_owned(),
        reasons,
        expires_at: claims.moment("exp"),
    })
}

impl Claims<'_> {
    /// Why LiveKit would refuse the token because of its times.
    fn outside_its_time(&self) -> Option<String> {
        let now = self.now.as_secs();
        if let Some(end) = self.moment("exp").filter(|end| now > end.as_secs() + LIVEKIT_LEEWAY_SECONDS) {
            return Some(format!("it ended at {end}"));
        }
        let begin = self.moment("nbf").filter(|begin| now < begin.as_secs() - LIVEKIT_LEEWAY_SECONDS);
        begin.map(|begin| format!("it is not good before {begin}"))
    }
}

type Object = Map<String, Value>;

fn decode(token: &str) -> Result<(Object, Object)> {
    let wrong = |detail: &str| Error::invalid_field("token", "malformed", detail);
    if token.len() > MAX_TOKEN_BYTES {
        return Err(wrong("is longer than any token"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _signature] = parts.as_slice() else {
        return Err(wrong("is not a JWT: that has three parts with dots between"));
    };
    let part = |text: &str, name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        let object = bytes.and_then(|bytes| serde_json::from_slice::<Object>(&bytes).ok());
        object.ok_or_else(|| wrong(&format!("is not a JWT: its {name} is not a JSON object in base64url")))
    };
    Ok((part(header, "header")?, part(claims, "claims")?))
}

#[cfg(test)]
mod tests;

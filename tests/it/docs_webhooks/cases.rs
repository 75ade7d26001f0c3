//! Webhooks that a receiver has to take, and webhooks that it must not.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use pulse_core::{
    deliver::sign::{Message, SigningSecret, check_signature, sign},
    entropy::SeededEntropy,
    time::{Clock as _, SystemClock},
};
use sha2::Sha256;

/// The id of every message whose id is not the point.
pub(super) const ID: &str = "evt_01K2Y7J3M4N5P6Q7R8S9T0V1W2";
const BODY: &str =
    r#"{"sequence":12,"id":"evt_01K2Y7J3M4N5P6Q7R8S9T0V1W2","type":"participant_joined","data":{"name":"Zoë"}}"#;

/// A webhook.
pub(super) struct Case {
    /// What is special about it, after "a webhook that".
    pub(super) what: &'static str,
    /// Whether a receiver with both secrets takes it.
    pub(super) good: bool,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Case {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Whether the three headers are there and each is of its kind.
    pub(super) fn is_well_formed(&self) -> bool {
        let signatures = self.header("webhook-signature");
        let base64 = |text: &str| text.split_once(',').is_some_and(|(_, text)| STANDARD.decode(text).is_ok());
        self.headers.len() == 3
            && self.header("webhook-timestamp").parse::<u32>().is_ok()
            && signatures.split(' ').all(base64)
    }

    /// Whether one of its signatures is right under this secret.
    pub(super) fn signed_with(&self, secret: &SigningSecret) -> bool {
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp").parse().unwrap_or_default());
        let message = Message { id, timestamp, body: &[self.body.as_bytes()] };
        check_signature(std::slice::from_ref(secret), &message, self.header("webhook-signature")).is_ok()
    }
}

/// The secrets that every receiver knows: the new one and the old one.
pub(super) fn known() -> [SigningSecret; 2] {
    [1, 2].map(|seed| SigningSecret::generate(&SeededEntropy::new(seed)))
}

/// One that no receiver knows.
fn stranger() -> SigningSecret {
    SigningSecret::generate(&SeededEntropy::new(3))
}

/// The machine's time, in seconds since 1970.
pub(super) fn now() -> i64 {
    SystemClock::new().now().as_secs()
}

/// All of them, a plain good one first. They are good for about a minute.
pub(super) fn all() -> Vec<Case> {
    Maker { now: now() }.all()
}

/// Makes messages of one moment.
struct Maker {
    now: i64,
}

impl Maker {
    /// A message with this age in seconds, signed with these secrets.
    fn signed(&self, what: &'static str, good: bool, secrets: &[SigningSecret], age: i64) -> Case {
        let timestamp = self.now - age;
        // In two pieces, as the sender does.
        let (start, rest) = BODY.split_at(15);
        let signature = sign(secrets, &Message { id: ID, timestamp, body: &[start.as_bytes(), rest.as_bytes()] });
        let headers = vec![
            ("webhook-id", ID.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature),
        ];
        Case { what, good, headers, body: BODY.to_owned() }
    }

    /// The right message with its body changed.
    fn with_body(&self, what: &'static str, change: impl FnOnce(&mut String)) -> Case {
        let mut case = self.signed(what, false, &known()[..1], 0);
        change(&mut case.body);
        case
    }

    /// The right message with another value, or none, in place of that of a header.
    fn with(&self, what: &'static str, good: bool, header: &str, value: impl FnOnce(&str) -> Option<String>) -> Case {
        let mut case = self.signed(what, good, &known()[..1], 0);
        let at = case.headers.iter().position(|(known, _)| *known == header).expect("a header");
        match value(&case.headers[at].1) {
            Some(value) => case.headers[at].1 = value,
            None => drop(case.headers.remove(at)),
        }
        case
    }

    /// What somebody signs who knows no secret: with an empty key.
    fn signature_of_nobody(&self) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(b"").expect("a key of any length");
        let mac = mac.chain_update(format!("{ID}.{}.{BODY}", self.now)).finalize().into_bytes();
        format!("v1,{}", STANDARD.encode(mac))
    }

    fn all(&self) -> Vec<Case> {
        let both = known();
        let other = [stranger(), both[1].clone()];
        let (id, timestamp, signature) = ("webhook-id", "webhook-timestamp", "webhook-signature");
        vec![
            self.signed("is right", true, &both[..1], 0),
            self.signed("is signed with the old secret", true, &both[1..], 0),
            self.signed("is signed with both", true, &both, 0),
            self.signed("is signed with an unknown secret and the old one", true, &other, 0),
            self.signed("is four minutes old", true, &both, 240),
            self.signed("is four minutes ahead", true, &both, -240),
            self.with("has another version's signature, too", true, signature, |own| Some(format!("v1a,AAAA {own}"))),
            self.signed("is seven minutes old", false, &both, 420),
            self.signed("is seven minutes ahead", false, &both, -420),
            self.signed("is signed with an unknown secret", false, &other[..1], 0),
            self.with_body("has one letter of the body changed", |body| *body = body.replace("Zoë", "Zoé")),
            self.with_body("has a line end after the body", |body| body.push('\n')),
            self.with_body("has no body", String::clear),
            self.with("has another id", false, id, |own| Some(own.replace('W', "X"))),
            self.with("has another timestamp", false, timestamp, |_| Some((self.now + 1).to_string())),
            self.with("has its signature under another version", false, signature, |own| Some(own.replace("v1", "v2"))),
            self.with("has a signature that is cut off", false, signature, |own| Some(own[..own.len() - 4].to_owned())),
            self.with("has another signature", false, signature, |own| Some(own.replace("v1,", "v1,AAAA"))),
            self.with("is signed with an empty key", false, signature, |_| Some(self.signature_of_nobody())),
            self.with("has a signature that is no base64", false, signature, |_| Some("v1,###".to_owned())),
            self.with("has an empty signature", false, signature, |_| Some("v1,".to_owned())),
            self.with("has no signature", false, signature, |_| None),
            self.with("has no timestamp", false, timestamp, |_| None),
            self.with("has no id", false, id, |_| None),
            self.with("has a timestamp that is no number", false, timestamp, |own| Some(format!("{own}s"))),
        ]
    }
}

//! What `docs/WEBHOOKS.md` shows for Rust, word for word.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use sha2::Sha256;

/// Whether `body`, the bytes as they came, was signed with one of `secrets` within five minutes of `now`, in seconds
/// since 1970.
pub fn verify(secrets: &[&str], headers: &HeaderMap, body: &[u8], now: i64) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let timestamp = header("webhook-timestamp");
    if !timestamp.parse::<i64>().is_ok_and(|seconds| now.abs_diff(seconds) <= 300) {
        return false;
    }
    let start = format!("{}.{timestamp}.", header("webhook-id"));
    let given =
        header("webhook-signature").split(' ').filter_map(|text| STANDARD.decode(text.strip_prefix("v1,")?).ok());
    let given: Vec<Vec<u8>> = given.collect();
    let keys = secrets.iter().filter_map(|secret| STANDARD.decode(secret.strip_prefix("whsec_")?).ok());
    keys.filter_map(|key| Hmac::<Sha256>::new_from_slice(&key).ok()).any(|mac| {
        let mac = mac.chain_update(&start).chain_update(body);
        given.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    })
}

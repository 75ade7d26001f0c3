//! Credentials of a request: `X-Pulse-Key` with `X-Pulse-Secret`, `Authorization: Bearer`, or `Authorization: Basic`.
//! Several that are the same are one; several that differ are none.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, GetAll},
};
use pulse_core::{
    access::{
        Caller,
        caller::unauthenticated,
        keyring::{Credentials, Keyring},
    },
    error::Result,
    secret::Secret,
};

/// Who calls. No credentials at all is nobody; anything that is not in order is an error.
pub(super) async fn authenticate(keyring: &Keyring, headers: &HeaderMap, ip: IpAddr) -> Result<Caller> {
    let authorization = single(headers.get_all(AUTHORIZATION))?;
    let key = single(headers.get_all("x-pulse-key"))?;
    let secret = single(headers.get_all("x-pulse-secret"))?;
    let pair = match (key, secret) {
        (Some(key), Some(secret)) => Some((key, secret)),
        (None, None) => None,
        // A public key alone opens nothing.
        _ => return Err(unauthenticated()),
    };
    let Some(authorization) = authorization else {
        let Some((key, secret)) = pair else { return Ok(Caller::Anonymous) };
        return keyring.verify(Credentials::Pair { key, secret }, Some(ip)).await;
    };
    let (scheme, value) = authorization.split_once(' ').ok_or_else(unauthenticated)?;
    let value = value.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return match pair {
            None => keyring.verify(Credentials::Bearer(value), Some(ip)).await,
            Some((key, secret)) if Secret::new(secret).matches(value) => {
                keyring.verify(Credentials::Pair { key, secret }, Some(ip)).await
            }
            Some(_) => Err(unauthenticated()),
        };
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(unauthenticated());
    }
    let text = basic(value)?;
    let (key, secret) = text.expose().split_once(':').ok_or_else(unauthenticated)?;
    if pair.is_some_and(|(other_key, other_secret)| other_key != key || !Secret::new(other_secret).matches(secret)) {
        return Err(unauthenticated());
    }
    keyring.verify(Credentials::Pair { key, secret }, Some(ip)).await
}

fn basic(value: &str) -> Result<Secret> {
    let bytes = STANDARD.decode(value).map_err(|_| unauthenticated())?;
    String::from_utf8(bytes).map(Secret::new).map_err(|_| unauthenticated())
}

/// The one value of a header; repeated or unreadable ones are refused.
fn single<'a>(values: GetAll<'a, HeaderValue>) -> Result<Option<&'a str>> {
    let mut values = values.iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(unauthenticated());
    }
    value.to_str().map(Some).map_err(|_| unauthenticated())
}

//! Headers of requests that belong to no operation in particular, read strictly.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use pulse_core::{
    entropy::Entropy,
    error::{Code, Error, Result},
    op::request_id,
};

/// The header of the request id, both ways.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most characters of a request id that is taken over.
const MAX_REQUEST_ID: usize = 128;

/// The id of a request, as it stands in the answer, in log lines and in the audit.
#[derive(Clone, Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's id when it is well-formed, else a new one.
    pub(super) fn of(headers: &HeaderMap, entropy: &dyn Entropy) -> Self {
        let fits = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            !bytes.is_empty() && bytes.len() <= MAX_REQUEST_ID && bytes.iter().all(plain)
        };
        match headers.get(X_REQUEST_ID).filter(fits) {
            Some(value) => Self(value.clone()),
            None => Self::fresh(entropy),
        }
    }

    fn fresh(entropy: &dyn Entropy) -> Self {
        let text = request_id(entropy);
        Self(HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or(HeaderValue::from_static("req_")))
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Refuses a body that is not said to be JSON in UTF-8.
pub(super) fn check_json(headers: &HeaderMap) -> Result<()> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let one = values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes);
    // What nearly every client sends, compared at once.
    if one == Some(b"application/json") || one.and_then(|value| std::str::from_utf8(value).ok()).is_some_and(is_json) {
        return Ok(());
    }
    Err(Error::new(Code::UnsupportedMediaType, "the body's content type is not application/json"))
}

fn is_json(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    kind && parts.filter(|part| !part.is_empty()).all(|part| {
        let charset = part.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        charset.is_none_or(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
    })
}

#[cfg(test)]
mod tests {
    use pulse_core::entropy::SeededEntropy;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_well_formed_request_id_is_taken_over_and_any_other_is_replaced() {
        let entropy = SeededEntropy::new(1);
        let id = |text: &str| RequestId::of(&with(X_REQUEST_ID, text), &entropy).as_str().to_owned();
        assert_eq!(id("abc-1.2_Z"), "abc-1.2_Z");
        for bad in ["", "a b", "a\"b", "x".repeat(129).as_str()] {
            let made = id(bad);
            assert!(made.starts_with("req_") && made.len() == 28, "{bad:?} became {made}");
        }
    }

    #[test]
    fn only_json_in_utf_8_is_taken() {
        let fits = |text: &str| check_json(&headers(&[("content-type", text)])).is_ok();
        for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
            assert!(fits(good), "{good} was refused");
        }
        for bad in ["text/plain", "application/json; charset=latin1", "application/jsonx", ""] {
            assert!(!fits(bad), "{bad} was taken");
        }
        assert!(check_json(&HeaderMap::new()).is_err());
    }
}

//! What a request says beside its operation's own fields: `dry_run` in the query, `If-Match` and `Idempotency-Key` in the
//! headers. Read in this one place, so that every edge judges them alike.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header::IF_MATCH};

use super::{Call, Meta, Method};
use crate::error::{Code, Error, Fault, Result};

/// The header of the key for safe retries.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl Call {
    /// Reads the options of a call of this operation; gives the query that is left for the operation. What does not
    /// change anything has no options.
    ///
    /// Errors: `bad_request` for a header, `invalid_fields` for `dry_run`.
    pub fn read_options<'a>(&mut self, meta: &Meta, query: &'a str, headers: &HeaderMap) -> Result<Cow<'a, str>> {
        if !meta.is_mutation() {
            return Ok(Cow::Borrowed(query));
        }
        if meta.method == Method::Post {
            self.idempotency_key = idempotency_key(headers)?;
        }
        self.if_match = if_match(headers)?;
        let (dry_run, query) = dry_run(query)?;
        self.dry_run = dry_run;
        Ok(query)
    }
}

/// Takes `dry_run` out of a query.
fn dry_run(query: &str) -> Result<(bool, Cow<'_, str>)> {
    let is_option = |pair: &&str| pair.split('=').next() == Some("dry_run");
    let mut found = query.split('&').filter(is_option);
    let Some(option) = found.next() else { return Ok((false, Cow::Borrowed(query))) };
    if found.next().is_some() {
        return Err(Error::invalid(vec![Fault::new("dry_run", "repeated", "stands more than once in the query")]));
    }
    let dry = match option {
        "dry_run=true" => true,
        "dry_run=false" => false,
        _ => return Err(Error::invalid_field("dry_run", "wrong_type", "must be true or false")),
    };
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_option(pair)).collect();
    Ok((dry, Cow::Owned(rest.join("&"))))
}

/// The version in `If-Match`: `"3"`, or nothing for `*`. A weak tag never matches in `If-Match` (RFC 9110, 13.1.1), and
/// Pulse makes none, so it is refused like any other text.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bad = || {
        Error::new(Code::BadRequest, "If-Match is not one ETag of Pulse")
            .hint("Send the ETag as it was read, with its quotes: If-Match: \"3\".")
    };
    let text = value.to_str().map_err(|_| bad())?.trim();
    if values.next().is_some() {
        return Err(bad());
    }
    if text == "*" {
        return Ok(None);
    }
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(bad)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).map(Some).ok_or_else(bad)
}

/// The key for safe retries: 1 to 255 visible ASCII characters.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bytes = value.as_bytes();
    let fits = (1..=255).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic) && values.next().is_none();
    let text = value.to_str().ok().filter(|_| fits);
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        Error::new(Code::BadRequest, "Idempotency-Key is not 1 to 255 visible ASCII characters")
            .hint("Send a UUID, for instance.")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn dry_run_is_taken_out_of_the_query() {
        assert_eq!(dry_run("").unwrap(), (false, "".into()));
        assert_eq!(dry_run("a=1&dry_run=true&b=2").unwrap(), (true, "a=1&b=2".into()));
        assert_eq!(dry_run("dry_run=false").unwrap(), (false, "".into()));
        for bad in ["dry_run", "dry_run=", "dry_run=1", "dry_run=true&dry_run=true"] {
            assert_eq!(dry_run(bad).map_err(|error| error.code()), Err(Code::InvalidFields), "{bad}");
        }
    }

    #[test]
    fn if_match_is_one_strong_tag_or_a_star() {
        let read = |text: &str| if_match(&with(IF_MATCH, text));
        assert_eq!(read("\"3\"").unwrap(), Some(3));
        assert_eq!(read("*").unwrap(), None);
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
        for bad in ["3", "W/\"3\"", "\"x\"", "\"3\", \"4\"", "\"\"", "\"+3\"", "\"99999999999999999999\""] {
            assert!(read(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn an_idempotency_key_is_visible_ascii() {
        let read = |text: &str| idempotency_key(&with(IDEMPOTENCY_KEY, text));
        assert_eq!(read("a-1").unwrap().as_deref(), Some("a-1"));
        for bad in ["", "a b", "x".repeat(256).as_str()] {
            assert!(read(bad).is_err(), "{bad:?} was taken");
        }
    }
}

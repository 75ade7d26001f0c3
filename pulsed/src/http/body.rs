//! The body of a request: at most a mebibyte, and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use pulse_core::error::{Code, Error, Result};

/// The most bytes of a body.
const MAX_BODY: usize = 1 << 20;

/// Reads the whole body.
pub(super) async fn read(headers: &HeaderMap, body: Body, within: Duration) -> Result<Bytes> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let too_large = || Error::new(Code::BodyTooLarge, "the body is larger than 1 MiB");
    // Refused before it is sent, when the client says how large it is.
    let said = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(within, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Error::new(Code::BadRequest, "the body did not arrive whole")),
        Err(_) => Err(Error::new(
            Code::RequestTimeout,
            format!("the body did not arrive within {} seconds", within.as_secs()),
        )),
    }
}

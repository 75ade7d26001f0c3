//! The body of a request: at most a mebibyte, and in time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use pulse_core::error::{Code, Error, Result};

/// The most bytes of a body.
const MAX_BODY: usize = 1 << 20;
/// The most bytes of a body that is too large which are read and thrown away. A client that is still sending when the
/// connection ends sees a broken pipe instead of the answer that tells it why.
const MAX_DISCARDED: usize = 8 << 20;

/// Reads the whole body, in time.
pub(super) async fn read(headers: &HeaderMap, body: Body, within: Duration) -> Result<Bytes> {
    tokio::time::timeout(within, whole(headers, body)).await.unwrap_or_else(|_| {
        let detail = format!("the body did not arrive within {} seconds", within.as_secs());
        Err(Error::new(Code::RequestTimeout, detail))
    })
}

/// Reads the whole body, however long that takes.
pub(super) async fn whole(headers: &HeaderMap, body: Body) -> Result<Bytes> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // A client that asks before it sends is told before it sends.
    if headers.contains_key(header::EXPECT) && said(headers).is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    collect(body).await
}

/// The length that the client announces.
fn said(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> Error {
    Error::new(Code::BodyTooLarge, "the body is larger than 1 MiB")
}

async fn collect(mut body: Body) -> Result<Bytes> {
    let (mut kept, mut length) = (BytesMut::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Error::new(Code::BadRequest, "the body did not arrive whole"))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > MAX_DISCARDED {
            break;
        }
        if length <= MAX_BODY {
            kept.extend_from_slice(&data);
        }
    }
    if length > MAX_BODY { Err(too_large()) } else { Ok(kept.freeze()) }
}

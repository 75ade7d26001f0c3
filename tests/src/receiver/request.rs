//! A request as it came, and reading one off a connection.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};

use super::now;

/// More head than this is no webhook, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// More body than this is no webhook, in bytes.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// Header fields that are understood.
const MAX_FIELDS: usize = 64;

/// A request as it came. Copies share its bytes.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which among all, from 0.
    pub number: u64,
    /// On which connection, counted from 0.
    pub connection: u64,
    /// Which among those with its webhook id at its path, from 1; 0 without an id.
    pub attempt: u32,
    /// When its last byte was there.
    pub at: Instant,
    /// Its body, without the transfer's framing.
    pub body: Bytes,
    /// Under what it is tallied; empty until it has been entered.
    pub(super) tallied: Box<str>,
    head: Bytes,
}

impl Received {
    /// The method.
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// The path with its query.
    pub fn path(&self) -> &str {
        self.word(1)
    }

    /// A header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers().find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// All headers as they were written, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.text().lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name, value.trim()))
    }

    /// The header `webhook-id`.
    pub fn webhook_id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the body is not JSON: {error}"))
    }

    fn word(&self, which: usize) -> &str {
        self.text().split([' ', '\r']).nth(which).unwrap_or_default()
    }

    fn text(&self) -> &str {
        // It was looked at when it was read.
        std::str::from_utf8(&self.head).unwrap_or_default()
    }
}

/// Reads the requests of one connection, one after the other.
#[derive(Debug)]
pub(super) struct Reader {
    connection: u64,
    buffer: BytesMut,
}

/// What a request's head says about the rest.
struct Head {
    length: usize,
    body: Body,
    last: bool,
}

enum Body {
    Sized(usize),
    Chunked,
}

impl Reader {
    pub(super) fn new(connection: u64) -> Self {
        Self { connection, buffer: BytesMut::with_capacity(8 * 1024) }
    }

    /// The next request, and whether it is the last by its own word; `None` when the client has closed.
    ///
    /// # Errors
    /// When the client was cut off, or what came is no request; the message says why.
    pub(super) async fn next<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> io::Result<Option<(Received, bool)>> {
        let head = loop {
            if let Some(head) = parse(&self.buffer)? {
                break head;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(no_request("the head is too long"));
            }
            if from.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(no_request("it ends in its head")) };
            }
        };
        let text = self.buffer.split_to(head.length).freeze();
        if std::str::from_utf8(&text).is_err() {
            return Err(no_request("the head is not UTF-8"));
        }
        let body = match head.body {
            Body::Sized(length) => self.sized(from, length).await?,
            Body::Chunked => self.chunked(from).await?,
        };
        let (connection, tallied, last) = (self.connection, Box::default(), head.last);
        let received = Received { number: 0, connection, attempt: 0, at: now(), body, tallied, head: text };
        Ok(Some((received, last)))
    }

    async fn sized<R: AsyncRead + Unpin>(&mut self, from: &mut R, length: usize) -> io::Result<Bytes> {
        if length > MAX_BODY {
            return Err(no_request("the body is too long"));
        }
        while self.buffer.len() < length {
            self.more(from).await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn chunked<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let size = httparse::parse_chunk_size(&self.buffer).map_err(|_| no_request("a chunk has no size"))?;
            let httparse::Status::Complete((line, size)) = size else {
                self.more(from).await?;
                continue;
            };
            let size = usize::try_from(size).ok().filter(|size| body.len() + size <= MAX_BODY);
            let size = size.ok_or_else(|| no_request("the body is too long"))?;
            // The chunk ends with a line break; after the last one, which is empty, come trailers that nobody sends.
            while self.buffer.len() < line + size + 2 {
                self.more(from).await?;
            }
            self.buffer.advance(line);
            body.extend_from_slice(&self.buffer[..size]);
            self.buffer.advance(size + 2);
            if size == 0 {
                return Ok(body.freeze());
            }
        }
    }

    async fn more<R: AsyncRead + Unpin>(&mut self, from: &mut R) -> io::Result<()> {
        match from.read_buf(&mut self.buffer).await? {
            0 => Err(no_request("it ends in its body")),
            _ => Ok(()),
        }
    }
}

fn no_request(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes).map_err(|error| no_request(&error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let mut head = Head { length, body: Body::Sized(0), last: request.version == Some(0) };
    for field in request.headers.iter() {
        let value = std::str::from_utf8(field.value).unwrap_or_default().trim();
        if field.name.eq_ignore_ascii_case("content-length") {
            head.body = Body::Sized(value.parse().map_err(|_| no_request("the length is no number"))?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            head.body = Body::Chunked;
        } else if field.name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
            head.last = true;
        }
    }
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Vec<(Received, bool)>> {
        let mut from = bytes;
        let mut reader = Reader::new(7);
        let mut all = Vec::new();
        while let Some(request) = reader.next(&mut from).await? {
            all.push(request);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn requests_on_one_connection_are_told_apart() {
        let bytes = b"POST /a?b=c HTTP/1.1\r\nContent-Length: 5\r\nX-One:  two \r\n\r\nhello\
            POST /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n\
            GET / HTTP/1.1\r\nConnection: close\r\n\r\n";

        let all = read(bytes).await.expect("three requests");

        let told: Vec<_> = all.iter().map(|(one, last)| (one.method(), one.path(), &one.body[..], *last)).collect();
        assert_eq!(
            told,
            [
                ("POST", "/a?b=c", &b"hello"[..], false),
                ("POST", "/d", &b"abc0123456789abcdef"[..], false),
                ("GET", "/", &b""[..], true),
            ]
        );
        assert_eq!(all[0].0.header("x-one"), "two");
        assert_eq!(all[0].0.header("x-two"), "");
        assert_eq!(all[0].0.connection, 7);
    }

    #[tokio::test]
    async fn what_is_no_request_is_said_to_be_none() {
        for (bytes, why) in [
            (&b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell"[..], "it ends in its body"),
            (b"POST / HTTP/1.1\r\nContent-Le", "it ends in its head"),
            (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", "the length is no number"),
            (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", "the body is too long"),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "a chunk has no size"),
            (b"\x16\x03\x01", "invalid token"),
        ] {
            let error = read(bytes).await.expect_err("no request").to_string();
            assert!(error.contains(why), "{error:?} does not say {why:?}");
        }
    }
}

//! One request and its answer: what goes in, what comes out, and within which bounds.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use url::{Position, Url};

use super::{
    Shared,
    connect::Connector,
    failure::{FailureKind, Phase, SendFailure, of_http},
    line::Line,
    policy::{Refusal, Trust},
    pool::{MAX_IDLE_PER_PLACE, Place},
};
use crate::fault;

/// Headers that say how a message travels. They are the client's own business, and one of a request that differs from what
/// the client does would let two servers in a row see two different requests.
const OF_THE_CONNECTION: [HeaderName; 8] =
    [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, TE, TRAILER, EXPECT];

/// Bounds of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For resolving, connecting and TLS.
    pub connect: Duration,
    /// For everything, the body of the answer included.
    pub total: Duration,
    /// How much of the answer's body is read, in bytes.
    pub max_answer: usize,
}

impl Limits {
    /// For sending webhooks: 5 s to connect, 15 s in all, 64 KiB.
    pub const WEBHOOK: Self =
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(15), max_answer: 64 * 1024 };
    /// For calling LiveKit and others that the operator runs: 5 s to connect, 10 s in all, 16 MiB.
    pub const SERVICE: Self =
        Self { connect: Duration::from_secs(5), total: Duration::from_secs(10), max_answer: 16 * 1024 * 1024 };
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where it goes. A fragment is not sent.
    pub url: Url,
    /// Its headers. `Host`, `Content-Length` and others that say how a message travels are the client's own; those given
    /// are left out.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Who named the address.
    pub trust: Trust,
    /// Its bounds.
    pub limits: Limits,
}

impl Request {
    /// A `GET` of what the operator named.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url, Bytes::new())
    }

    /// A `POST` of a body of this type to what the operator named.
    pub fn post(url: Url, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, url, body.into()).header(http::header::CONTENT_TYPE, content_type)
    }

    fn new(method: Method, url: Url, body: Bytes) -> Self {
        Self { method, url, headers: HeaderMap::new(), body, trust: Trust::Operator, limits: Limits::SERVICE }
    }

    /// With another header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// To what somebody else named.
    #[must_use]
    pub fn trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Within other bounds.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Where it goes, when that is an address of the web.
    fn place(&self) -> Option<Place> {
        Some(Place {
            trust: self.trust,
            tls: matches!(self.url.scheme(), "https" | "wss"),
            host: self.url.host()?.to_owned(),
            port: self.url.port_or_known_default()?,
        })
    }

    /// The request as it is written.
    fn message(&self) -> Option<http::Request<Full<Bytes>>> {
        let path = &self.url[Position::BeforePath..Position::AfterQuery];
        let host = &self.url[Position::BeforeHost..Position::AfterPort];
        let mut message = http::Request::new(Full::new(self.body.clone()));
        *message.method_mut() = self.method.clone();
        *message.uri_mut() = path.parse().ok()?;
        let headers = message.headers_mut();
        headers.clone_from(&self.headers);
        for name in OF_THE_CONNECTION {
            headers.remove(name);
        }
        headers.insert(HOST, HeaderValue::from_str(host).ok()?);
        let agent = HeaderValue::from_static(concat!("pulse/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        Some(message)
    }
}

/// An answer. A status of any kind is one: redirects are told and not followed.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or as much of it as was to be read.
    pub body: Bytes,
    /// Whether the body was longer than that.
    pub truncated: bool,
    /// Who answered.
    pub peer: SocketAddr,
}

/// What is at hand while a request is on its way.
struct Course<'a> {
    request: &'a Request,
    deadline: Instant,
}

impl Shared {
    pub(super) async fn exchange(&self, request: &Request) -> Result<Answer, SendFailure> {
        let refused = |refusal: Refusal| SendFailure::unconnected(refusal.into());
        self.policy.check_url(&request.url, request.trust).map_err(refused)?;
        let place = request.place().ok_or_else(|| refused(Refusal::NotWeb))?;
        let now = Instant::now();
        let course = Course { request, deadline: now + request.limits.total };
        let connected_by = course.deadline.min(now + request.limits.connect);
        // Every idle connection may have been closed by the other side, which then is nobody's failure.
        for _ in 0..=MAX_IDLE_PER_PLACE {
            let Some(line) = self.pool.take(&place).await else { break };
            match self.over(line, true, &place, &course).await {
                Err(failure) if failure.kind == FailureKind::Reset && !failure.bytes_written => {}
                done => return done,
            }
        }
        drop(fault::point("send.before_connect").await);
        let connector = Connector { policy: &self.policy, dial: self.dial.as_ref(), tls: &self.tls };
        let line = connector.connect(&place, connected_by).await?;
        self.over(line, false, &place, &course).await
    }

    /// The exchange over this connection, which is kept when it can serve another.
    async fn over(
        &self,
        mut line: Line,
        reused: bool,
        place: &Place,
        course: &Course<'_>,
    ) -> Result<Answer, SendFailure> {
        let peer = line.peer();
        let message =
            course.request.message().ok_or(SendFailure::unsent(FailureKind::BadUrl(Refusal::NotWeb), peer))?;
        let late = FailureKind::Timeout(Phase::Headers);
        let head = match timeout_at(course.deadline, line.send(message, reused)).await {
            Ok(Ok(head)) => head,
            Ok(Err(error)) => return Err(broken(line, of_http(&error)).await),
            Err(_) => return Err(broken(line, late).await),
        };
        drop(fault::point("send.after_headers").await);
        let (head, incoming) = head.into_parts();
        let max = course.request.limits.max_answer;
        match read(incoming, max, course.deadline).await {
            Ok((body, truncated)) => {
                if !truncated {
                    self.pool.put(place.clone(), line);
                }
                Ok(Answer { status: head.status, headers: head.headers, body, truncated, peer })
            }
            Err(kind) => Err(SendFailure { status: Some(head.status), ..broken(line, kind).await }),
        }
    }
}

/// The failure of an exchange whose connection is of no more use.
async fn broken(line: Line, kind: FailureKind) -> SendFailure {
    let peer = line.peer();
    SendFailure { bytes_written: line.cut().await, ..SendFailure::unsent(kind, peer) }
}

/// The body, up to `max` bytes of it, and whether there was more.
async fn read(mut incoming: Incoming, max: usize, deadline: Instant) -> Result<(Bytes, bool), FailureKind> {
    let mut body = BytesMut::new();
    loop {
        let frame = timeout_at(deadline, incoming.frame()).await;
        let frame = match frame.map_err(|_| FailureKind::Timeout(Phase::Body))? {
            Some(frame) => frame.map_err(|error| of_http(&error))?,
            None => return Ok((body.freeze(), false)),
        };
        let Ok(data) = frame.into_data() else { continue };
        let room = max - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((body.freeze(), true));
        }
    }
}

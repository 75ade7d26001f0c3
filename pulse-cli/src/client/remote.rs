//! Operations by a server over HTTP: no proxy, no redirects, retries within bounds.
//!
//! A request is repeated only when repeating cannot do harm. A changing `POST` carries an idempotency key that stays the
//! same over its tries; other requests say for themselves whether they may be done twice, see [`Twice`].

use std::{cell::Cell, time::Duration};

use pulse_core::{
    error::{Code, Error, Problem},
    id::EventId,
    op::{Method, Operation},
    outbound::AddressPolicy,
    plane::{Answer, DryRun},
    secret::Secret,
    wire::Request,
};
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, RETRY_AFTER},
};
use serde_json::Value;
use url::Url;

use super::{
    CallOptions, http,
    local::request_id,
    stream::{EventStream, SILENCE},
    trace,
};
use crate::{exit::Failure, ui::Printer};

const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one request.
const TRIES: u32 = 4;
/// Tries of one request without an answer: whether somebody listens rarely changes within a second.
const UNANSWERED_TRIES: u32 = 3;
/// The longest wait between two tries: a server that asks for more is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The wait before the second try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// As good as no bound: the client has one for every request.
const ENDLESS: Duration = Duration::from_secs(10 * 365 * 86_400);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 32 << 20;

/// A server.
pub struct Remote {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
    trace: Option<Printer>,
    idempotency: String,
    calls: Cell<u32>,
    /// After how long without a word a stream of events is taken for dead.
    silence: Duration,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Whether a request may be done twice, which decides what happens when nobody knows if it was done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twice {
    /// It reads, or the server recognizes its second arrival, or it comes to the same.
    Fine,
    /// The second arrival would be judged against what the first has changed.
    Harmful,
}

impl Twice {
    /// What the method and the headers of a change say: a `PUT` or `DELETE` states what is to be, unless it names the
    /// version that it wants to change; anything else needs an idempotency key.
    fn of_change(method: &str, headers: &HeaderMap) -> Self {
        let fine = match method {
            "GET" => true,
            "PUT" | "DELETE" => !headers.contains_key(IF_MATCH),
            _ => headers.contains_key(IDEMPOTENCY_KEY),
        };
        if fine { Self::Fine } else { Self::Harmful }
    }
}

/// A request that got no answer.
struct Unanswered {
    failure: Failure,
    /// Whether the server may have got it all the same.
    sent: bool,
}

/// An answer as it came.
#[derive(Debug)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    request_id: Option<String>,
    retry_after: Option<u64>,
}

impl Remote {
    /// A client for the server at `base`.
    pub fn new(
        base: Url,
        policy: &AddressPolicy,
        token: Option<Secret>,
        trace: Option<Printer>,
    ) -> Result<Self, Failure> {
        policy.check_literal(&base)?;
        pulse_core::boot::open::install_cryptography();
        let mut builder = http::builder(policy).timeout(TOTAL_TIMEOUT);
        if base.scheme() == "http" {
            // No certificate is looked at, so none is loaded.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|_| Failure::unexpected("the HTTP client cannot be made"))?;
        let idempotency = request_id().replacen("req", "pulse", 1);
        Ok(Self { http, base, token, trace, idempotency, calls: Cell::new(0), silence: SILENCE })
    }

    /// The same server, with less patience.
    #[cfg(test)]
    pub(crate) fn impatient(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// The same server for another caller.
    #[must_use]
    pub fn with_token(&self, token: Secret) -> Self {
        Self {
            http: self.http.clone(),
            base: self.base.clone(),
            token: Some(token),
            trace: self.trace.clone(),
            idempotency: self.idempotency.clone(),
            calls: Cell::new(0),
            silence: self.silence,
        }
    }

    /// Does one operation.
    pub async fn call<O: Operation>(
        &self,
        request: &Request,
        options: CallOptions,
    ) -> Result<Answer<O::Output>, Failure> {
        let mut path = request.path.clone();
        let dry_run = options.dry_run && O::META.is_mutation();
        if dry_run {
            path.push_str(if path.contains('?') { "&dry_run=true" } else { "?dry_run=true" });
        }
        let changes = O::META.is_mutation() && !dry_run;
        let mut headers = HeaderMap::new();
        if changes && O::META.method == Method::Post {
            let number = self.calls.replace(self.calls.get() + 1);
            headers.insert(IDEMPOTENCY_KEY, header(&format!("{}-{number}", self.idempotency))?);
        }
        if let Some(version) = options.if_match {
            headers.insert(IF_MATCH, header(&format!("\"{version}\""))?);
        }
        let method = request.method.name();
        let twice = if changes { Twice::of_change(method, &headers) } else { Twice::Fine };
        let body = request.body.as_ref().map(ToString::to_string);
        let answer = self.send(method, &path, headers, body, twice).await?;
        let body = answer.success()?;
        let unreadable = |_| {
            Failure::unexpected("the server's answer is not what this version of pulse expects")
                .hint("Is this a Pulse server, and of the same version? pulse status -v shows its answers.")
        };
        if dry_run {
            let dry: DryRun<O::Output> = serde_json::from_slice(&body).map_err(unreadable)?;
            return Ok(Answer::DryRun(dry));
        }
        Ok(Answer::Done { output: serde_json::from_slice(&body).map_err(unreadable)?, replayed: false })
    }

    /// Sends a request of unknown shape, which may be a change.
    pub async fn send_raw(
        &self,
        method: &str,
        path: &str,
        mut headers: HeaderMap,
        body: Option<String>,
    ) -> Result<RawAnswer, Failure> {
        if method == "POST" {
            headers.entry(IDEMPOTENCY_KEY).or_insert(header(&self.idempotency)?);
        }
        let twice = Twice::of_change(method, &headers);
        self.send(method, path, headers, body, twice).await
    }

    /// Opens a stream of events, after the one of id `last`. It is asked for once: whoever reads it connects again anyway.
    pub async fn watch(&self, request: &Request, last: Option<EventId>) -> Result<EventStream, Failure> {
        let mut headers = self.headers_of(HeaderMap::new(), false)?;
        if let Some(id) = last {
            headers.insert(LAST_EVENT_ID, header(&id.to_string())?);
        }
        let (method, url) = (reqwest::Method::GET, self.url(&request.path)?);
        self.trace_request(&method, &url, &headers, None);
        // Its end is no matter of time; the time until it begins is.
        let asked = self.http.request(method, url).headers(headers).timeout(ENDLESS).send();
        let answered = tokio::time::timeout(TOTAL_TIMEOUT, asked).await;
        let answered = answered.map_err(|_| Failure::new(3, "unreachable", "the server did not answer in time"))?;
        let response = answered.map_err(|cause| self.unanswered(&cause).failure)?;
        if response.status() == StatusCode::OK {
            self.say("< 200 OK");
            return Ok(EventStream::remote(response, self.silence));
        }
        let refused = self.read(response).await.map_err(|Unanswered { failure, .. }| failure)?;
        refused.success()?;
        Err(Failure::unexpected("the server's answer is not a stream of events"))
    }

    /// Sends a request, again while that may help and cannot harm.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: HeaderMap,
        body: Option<String>,
        twice: Twice,
    ) -> Result<RawAnswer, Failure> {
        let headers = self.headers_of(headers, body.is_some())?;
        let url = self.url(path)?;
        let method: reqwest::Method =
            method.parse().map_err(|_| Failure::usage(format!("{method:?} is not an HTTP method")))?;
        let (mut wait, mut tries, mut unanswered) = (FIRST_WAIT, 0, 0);
        loop {
            tries += 1;
            self.trace_request(&method, &url, &headers, body.as_deref());
            let outcome = self.once(&method, &url, &headers, body.as_deref()).await;
            let pause = match &outcome {
                Ok(answer) => answer.pause(twice, wait).filter(|pause| *pause <= LONGEST_WAIT),
                Err(none) => {
                    unanswered += 1;
                    let safe = twice == Twice::Fine || !none.sent;
                    Some(wait).filter(|_| safe && unanswered < UNANSWERED_TRIES)
                }
            };
            let Some(pause) = pause.filter(|_| tries < TRIES) else {
                return outcome.map_err(|Unanswered { failure, sent }| match twice {
                    Twice::Harmful if sent => {
                        failure.hint("It may have been done all the same: look before you repeat it.")
                    }
                    _ => failure,
                });
            };
            self.say(&format!("* again in {} ms", pause.as_millis()));
            tokio::time::sleep(pause).await;
            wait *= 2;
        }
    }

    /// The headers of a request, with those that every request has.
    fn headers_of(&self, mut headers: HeaderMap, has_body: bool) -> Result<HeaderMap, Failure> {
        if let Some(token) = &self.token {
            headers.entry(AUTHORIZATION).or_insert(header(&format!("Bearer {}", token.expose()))?);
        }
        headers.entry(HeaderName::from_static("x-request-id")).or_insert(header(&request_id())?);
        if has_body {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        Ok(headers)
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        url.parse().map_err(|_| Failure::usage(format!("{path:?} is not a path")))
    }

    async fn once(
        &self,
        method: &reqwest::Method,
        url: &Url,
        headers: &HeaderMap,
        body: Option<&str>,
    ) -> Result<RawAnswer, Unanswered> {
        let mut request = self.http.request(method.clone(), url.clone()).headers(headers.clone());
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let response = request.send().await.map_err(|cause| self.unanswered(&cause))?;
        self.read(response).await
    }

    /// Reads an answer to its end.
    async fn read(&self, mut response: reqwest::Response) -> Result<RawAnswer, Unanswered> {
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (request_id, status) = (text("x-request-id"), response.status());
        let retry_after = text(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|cause| self.unanswered(&cause))? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > MAX_ANSWER {
                let failure = Failure::unexpected("the server's answer is larger than 32 MiB");
                return Err(Unanswered { failure, sent: true });
            }
        }
        self.trace_answer(status, &body);
        Ok(RawAnswer { status: status.as_u16(), body, request_id, retry_after })
    }

    fn unanswered(&self, cause: &reqwest::Error) -> Unanswered {
        let why = if cause.is_timeout() { "it did not answer in time".to_owned() } else { http::reason(cause) };
        self.say(&format!("* {why}"));
        let host = self.base.as_str().trim_end_matches('/');
        let error = Error::new(Code::Unreachable, format!("the server {host} cannot be reached: {why}"));
        Unanswered { failure: Failure::from(error), sent: !cause.is_connect() }
    }

    fn say(&self, line: &str) {
        if let Some(printer) = &self.trace {
            printer.note(line);
        }
    }

    fn trace_request(&self, method: &reqwest::Method, url: &Url, headers: &HeaderMap, body: Option<&str>) {
        if self.trace.is_none() {
            return;
        }
        self.say(&format!("> {method} {url}"));
        for (name, value) in headers {
            let secret = trace::is_secret_header(name.as_str());
            let value = if secret { "<set>" } else { value.to_str().unwrap_or("<binary>") };
            self.say(&format!("> {name}: {value}"));
        }
        if let Some(body) = body {
            self.say(&format!("> {}", trace::redacted(body.as_bytes())));
        }
    }

    fn trace_answer(&self, status: StatusCode, body: &[u8]) {
        if self.trace.is_some() {
            self.say(&format!("< {status}"));
            self.say(&format!("< {}", trace::redacted(body)));
        }
    }
}

impl RawAnswer {
    /// How long to wait before the request is sent again; `None` when that would not help, or could do harm.
    fn pause(&self, twice: Twice, wait: Duration) -> Option<Duration> {
        let again = match self.status {
            // Refused before anything was looked at.
            429 => true,
            // The server, or a proxy before it, does not say how far it had come.
            502..=504 => twice == Twice::Fine,
            _ => false,
        };
        again.then(|| self.retry_after.map_or(wait, Duration::from_secs))
    }

    /// The body of a success, or the failure that the answer tells.
    pub fn success(self) -> Result<Vec<u8>, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let id = self.request_id.as_deref();
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => {
                let id = problem.request_id.clone().or_else(|| id.map(str::to_owned));
                Err(Failure::from(Error::from_problem(problem)).request_id(id.as_deref()))
            }
            // Not Pulse's own words: something before it limits requests.
            Err(_) if self.status == 429 => {
                let error = Error::new(Code::RateLimited, "too many requests, says what stands before the server");
                Err(Failure::from(error.retry_after(self.retry_after.unwrap_or(1))).request_id(id))
            }
            Err(_) => Err(Failure::unexpected(format!("the server answered {} without saying why", self.status))
                .hint("Is this the address of a Pulse server?")
                .request_id(id)),
        }
    }

    /// The body as JSON, or as a text when it is none.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| String::from_utf8_lossy(&self.body).into_owned().into())
    }
}

fn header(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure::usage("the token holds characters that no token has"))
}

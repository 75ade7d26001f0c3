//! Operations by a server over HTTP: no proxy, no redirects, retries within bounds. A change carries an idempotency key
//! that stays the same over retries, so that a lost answer never makes it happen twice.

use std::{cell::Cell, time::Duration};

use pulse_core::{
    error::{Code, Error, Problem},
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

use super::{CallOptions, local::request_id, trace};
use crate::{exit::Failure, ui::Printer};

const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Tries of one request.
const TRIES: u32 = 4;
/// The longest wait between two tries: a server that asks for more is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The wait before the second try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);
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
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
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
        let mut builder = policy.client().timeout(TOTAL_TIMEOUT);
        if base.scheme() == "http" {
            // No certificate is looked at, so none is loaded.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|_| Failure::unexpected("the HTTP client cannot be made"))?;
        let idempotency = request_id().replacen("req", "pulse", 1);
        Ok(Self { http, base, token, trace, idempotency, calls: Cell::new(0) })
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
        let mut headers = HeaderMap::new();
        if O::META.is_mutation() && O::META.method == Method::Post && !dry_run {
            let number = self.calls.replace(self.calls.get() + 1);
            headers
                .insert(HeaderName::from_static("idempotency-key"), header(&format!("{}-{number}", self.idempotency))?);
        }
        if let Some(version) = options.if_match {
            headers.insert(IF_MATCH, header(&format!("\"{version}\""))?);
        }
        let body = request.body.as_ref().map(ToString::to_string);
        let answer = self.send(request.method.name(), &path, headers, body).await?;
        let body = answer.success().map_err(|failure| self.advised(failure))?;
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

    /// Sends a request that may be a change, with an idempotency key.
    pub async fn send_change(
        &self,
        method: &str,
        path: &str,
        mut headers: HeaderMap,
        body: Option<String>,
    ) -> Result<RawAnswer, Failure> {
        if method == "POST" {
            headers.entry(HeaderName::from_static("idempotency-key")).or_insert(header(&self.idempotency)?);
        }
        self.send(method, path, headers, body).await
    }

    /// Sends a request, again while that may help.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        mut headers: HeaderMap,
        body: Option<String>,
    ) -> Result<RawAnswer, Failure> {
        if let Some(token) = &self.token {
            headers.entry(AUTHORIZATION).or_insert(header(&format!("Bearer {}", token.expose()))?);
        }
        let id = request_id();
        headers.entry(HeaderName::from_static("x-request-id")).or_insert(header(&id)?);
        if body.is_some() {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        }
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let url: Url = url.parse().map_err(|_| Failure::usage(format!("{path:?} is not a path")))?;
        let method: reqwest::Method =
            method.parse().map_err(|_| Failure::usage(format!("{method:?} is not an HTTP method")))?;
        let mut wait = FIRST_WAIT;
        for attempt in 1..=TRIES {
            self.trace_request(&method, &url, &headers, body.as_deref());
            let answer = self.once(&method, &url, &headers, body.as_deref()).await;
            let pause = match &answer {
                Ok(answer) if answer.may_be_repeated() => answer.retry_after.map_or(wait, Duration::from_secs),
                // Nobody listens: that rarely changes within a second, so it is tried only once more.
                Err(failure) if failure.code() == "unreachable" && attempt < 3 => wait,
                _ => return answer,
            };
            if attempt == TRIES || pause > LONGEST_WAIT {
                return answer;
            }
            self.say(&format!("* again in {} ms", pause.as_millis()));
            tokio::time::sleep(pause).await;
            wait *= 2;
        }
        Err(Failure::unexpected("the request was never sent"))
    }

    async fn once(
        &self,
        method: &reqwest::Method,
        url: &Url,
        headers: &HeaderMap,
        body: Option<&str>,
    ) -> Result<RawAnswer, Failure> {
        let mut request = self.http.request(method.clone(), url.clone()).headers(headers.clone());
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let mut response = request.send().await.map_err(|cause| self.unreachable(&cause))?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (request_id, status) = (text("x-request-id"), response.status());
        let retry_after = text(RETRY_AFTER.as_str()).and_then(|seconds| seconds.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|cause| self.unreachable(&cause))? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > MAX_ANSWER {
                return Err(Failure::unexpected("the server's answer is larger than 32 MiB"));
            }
        }
        self.trace_answer(status, &body);
        Ok(RawAnswer { status: status.as_u16(), body, request_id, retry_after })
    }

    /// Says how this program, and not some HTTP client, is given credentials.
    fn advised(&self, failure: Failure) -> Failure {
        match (failure.code(), &self.token) {
            ("unauthenticated", None) => failure.hint(
                "No token was sent. Use --token-file FILE, PULSE_TOKEN, or a context that has one; pulse help targets.",
            ),
            ("unauthenticated", Some(_)) => failure.hint(
                "The token is not one of this server, or its time is over. pulse config explain shows the target.",
            ),
            _ => failure,
        }
    }

    fn unreachable(&self, cause: &reqwest::Error) -> Failure {
        let mut reason: &dyn std::error::Error = cause;
        while let Some(deeper) = reason.source() {
            reason = deeper;
        }
        let why = if cause.is_timeout() { "it did not answer in time".to_owned() } else { reason.to_string() };
        self.say(&format!("* {why}"));
        let host = self.base.as_str().trim_end_matches('/');
        Failure::from(Error::new(Code::Unreachable, format!("the server {host} cannot be reached: {why}")))
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
    fn may_be_repeated(&self) -> bool {
        matches!(self.status, 429 | 503)
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

//! The way of a webhook to the other side: a bounded number of connections, kept alive.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, RwLock};
use tokio::{net::TcpStream, sync::Semaphore, time};
use url::Url;

use super::{manner::Tried, webhook::CONTENT_TYPE};

/// Sends one webhook once.
pub trait Post: Send + Sync + 'static {
    /// Says how it went.
    fn post(&self, authorization: &str, body: Bytes) -> impl Future<Output = Tried> + Send;
}

/// Over plain HTTP/1.1, as LiveKit does.
#[derive(Debug)]
pub struct HttpPost {
    target: RwLock<Arc<Target>>,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    answer_within: Duration,
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    authority: String,
    path: String,
}

impl Target {
    fn of(url: &str) -> Arc<Self> {
        let parsed: Url = url.parse().unwrap_or_else(|error| panic!("{url:?} is no URL: {error}"));
        assert_eq!(parsed.scheme(), "http", "webhooks of the tests go over plain HTTP");
        Arc::new(Self { authority: parsed.authority().to_owned(), path: parsed.path().to_owned() })
    }
}

/// A connection, and where it leads.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    target: Arc<Target>,
}

impl HttpPost {
    /// To this address, over so many connections at once.
    ///
    /// # Panics
    /// When the address is no plain HTTP URL.
    pub fn to(url: &str, connections: usize, answer_within: Duration) -> Self {
        Self {
            target: RwLock::new(Target::of(url)),
            idle: Mutex::default(),
            permits: Semaphore::new(connections),
            answer_within,
        }
    }

    /// Posts to another address from now on: where the other side has come back.
    pub fn aim(&self, url: &str) {
        *self.target.write() = Target::of(url);
    }

    async fn exchange(&self, authorization: &str, body: Bytes) -> Result<Tried, String> {
        loop {
            let target = Arc::clone(&self.target.read());
            let (mut connection, reused) = self.connection(&target).await?;
            let request = Request::post(&target.path)
                .header("host", &target.authority)
                .header("authorization", authorization)
                .header("content-type", CONTENT_TYPE)
                .body(Full::new(body.clone()))
                .map_err(|error| error.to_string())?;
            let answer = match connection.sender.send_request(request).await {
                Ok(answer) => answer,
                // The other side had closed it, and nothing of the request left.
                Err(error) if reused && error.is_canceled() => continue,
                Err(error) => return Err(error.to_string()),
            };
            let status = answer.status().as_u16();
            let retry_after = answer.headers().get("retry-after");
            let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
            // A connection whose answer is read whole can carry another one.
            if answer.into_body().collect().await.is_ok() {
                self.idle.lock().push(connection);
            }
            return Ok(Tried::Answered { status, retry_after });
        }
    }

    /// One that is open, and whether it has been used before.
    async fn connection(&self, target: &Arc<Target>) -> Result<(Connection, bool), String> {
        loop {
            let Some(mut idle) = self.idle.lock().pop() else { break };
            if idle.target == *target && idle.sender.ready().await.is_ok() {
                return Ok((idle, true));
            }
        }
        let stream = TcpStream::connect(&target.authority).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok((Connection { sender, target: Arc::clone(target) }, false))
    }
}

impl Post for HttpPost {
    async fn post(&self, authorization: &str, body: Bytes) -> Tried {
        let Ok(_permit) = self.permits.acquire().await else { return Tried::Failed("closed".to_owned()) };
        match time::timeout(self.answer_within, self.exchange(authorization, body)).await {
            Ok(Ok(tried)) => tried,
            Ok(Err(error)) => Tried::Failed(error),
            Err(_) => Tried::Failed(format!("no answer within {:?}", self.answer_within)),
        }
    }
}

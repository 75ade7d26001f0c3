//! Connections: the accept loop over hyper, HTTP/1.1 and HTTP/2 (in the clear by prior knowledge, over TLS by ALPN), with
//! limits on headers, on silence and on the number of connections, and a drain that lets requests under way end.

mod patience;
pub mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use pulse_core::{
    config::Settings,
    error::{Code, Error, Result},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::patience::{KeepOpen, UnderWay};
use self::{
    patience::{Awaited, Patience, Watched},
    tls::Tls,
};
use crate::http::App;

/// What the parser buffers: more than the 16 KiB of headers that are allowed, so that most excess is answered with a
/// problem document; beyond it the answer is a bare 431.
const HEADER_BUFFER: usize = 64 << 10;
/// How long a TLS handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Streams at once on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// The pause after an accept that failed, when the process is out of files for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// Whether Pulse itself took TLS off.
    pub tls: bool,
}

/// A bound listener with everything that its connections need.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
    tls: Option<Arc<Tls>>,
    header_timeout: Duration,
    idle_timeout: Duration,
    connections: Arc<Semaphore>,
    /// Tasks of connections.
    pub tasks: TaskTracker,
}

impl Server {
    /// Binds the address of the settings, to speak TLS there when there is a certificate.
    pub async fn bind(settings: &Settings, app: Arc<App>, tls: Option<Tls>) -> Result<Self> {
        let listener = TcpListener::bind(settings.listen).await.map_err(|cause| {
            Error::new(Code::Misconfigured, format!("{} cannot be listened on", settings.listen))
                .hint("Choose another address with --listen; port 0 takes any free port.")
                .because(cause)
        })?;
        Ok(Self {
            listener,
            app,
            tls: tls.map(Arc::new),
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            connections: Arc::new(Semaphore::new(settings.max_connections)),
            tasks: TaskTracker::new(),
        })
    }

    /// The address under which this machine reaches the server.
    pub fn url(&self) -> Result<String> {
        let bound = self.listener.local_addr().map_err(Error::internal)?;
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", SocketAddr::new(ip, bound.port())))
    }

    /// The certificate in use.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Accepts until `stop`; connections end after their requests then.
    pub async fn run(self, stop: CancellationToken) {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // Ours instead, which knows a slow request from an idle connection.
            .header_read_timeout(None)
            .max_buf_size(HEADER_BUFFER)
            .pipeline_flush(true);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BUFFER as u32)
            .max_concurrent_streams(STREAMS)
            .keep_alive_interval(Duration::from_secs(30));
        let builder = Arc::new(builder);
        loop {
            let next = async {
                let permit = Arc::clone(&self.connections).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            // The end is looked at while all places are taken, too, and before one more is given away.
            let (permit, accepted) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                next = next => next,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(cause) => {
                    tracing::warn!(%cause, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = Connection {
                app: Arc::clone(&self.app),
                builder: Arc::clone(&builder),
                peer: Peer { ip: peer.ip().to_canonical(), tls: self.tls.is_some() },
                bounds: (self.header_timeout, self.idle_timeout),
                stop: stop.clone(),
            };
            let tls = self.tls.clone();
            self.tasks.spawn(async move {
                connection.serve(stream, tls).await;
                drop(permit);
            });
        }
    }
}

/// One connection.
struct Connection {
    app: Arc<App>,
    builder: Arc<Builder<TokioExecutor>>,
    peer: Peer,
    /// For headers, and for silence between requests.
    bounds: (Duration, Duration),
    stop: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<Arc<Tls>>) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.speak(stream).await };
        match tokio::time::timeout(HANDSHAKE_TIME, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream).await,
            Ok(Err(cause)) => tracing::debug!(%cause, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn speak<S: AsyncRead + AsyncWrite + Unpin + 'static>(self, stream: S) {
        let Self { app, builder, peer, bounds, stop } = self;
        let patience = Patience::new(bounds.0, bounds.1);
        let service = {
            let patience = Arc::clone(&patience);
            service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                let under_way = patience.request(request.version());
                let keep_open = KeepOpen::of(&patience, request.version());
                request.extensions_mut().insert(keep_open);
                let answer = crate::http::serve(Arc::clone(&app), peer, request);
                async move {
                    let _under_way = under_way;
                    answer.await
                }
            })
        };
        let stream = Watched { stream, patience: Arc::clone(&patience) };
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            // The connection first: what it does may move the deadline that is looked at then.
            biased;
            ended = connection.as_mut() => ended,
            awaited = patience.end() => {
                tracing::debug!(?awaited, "a connection was waited for long enough");
                if awaited == Awaited::Headers || !patience.is_multiplexed() {
                    return;
                }
                // The other side is told, so that it sends no request that would be lost.
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    ended = connection.as_mut() => ended,
                    // It takes nothing of what was answered, or goes on without asking anything.
                    () = patience.quiet() => return,
                }
            }
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(cause) = ended {
            tracing::debug!(cause, "a connection ended early");
        }
    }
}

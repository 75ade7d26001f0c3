//! One connection that speaks HTTP/1.1, and what is known of it: who is at its other end, and how many bytes were written.
//!
//! hyper speaks the protocol. What is added here is a meter below TLS, because a sender of webhooks has to know whether any
//! byte of a request went out; and a look into the kernel before a connection is used again, because the other side may have
//! closed it a moment ago without the event loop having heard of it yet.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::task::AbortOnDropHandle;

use crate::fault;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// What hyper may read ahead, in bytes.
const MAX_BUFFERED: usize = 64 * 1024;
/// Interim answers (1xx) before the one that counts. Servers send one or two, to say that they go on or what is to come.
const MAX_INTERIM: u32 = 16;

/// What is known of a connection from below.
#[derive(Debug, Default)]
pub(super) struct Meter {
    written: AtomicU64,
    interim: AtomicU32,
    look_first: AtomicBool,
}

/// A connection with a meter.
#[derive(Debug)]
pub(super) struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
}

impl Metered<TcpStream> {
    /// A new connection.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, meter: Arc::default() }
    }

    /// Its meter.
    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Refuses a connection that was idle and on which something has come since: an end, or bytes that nobody asked for.
    fn look(&self) -> io::Result<()> {
        if !self.meter.look_first.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        match recv(&self.stream, &mut [0_u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.meter.written.fetch_add(bytes as u64, Ordering::Relaxed);
            drop(fault::blocking_point("send.after_request_written"));
        }
        written
    }
}

impl AsyncRead for Metered<TcpStream> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.meter.interim.load(Ordering::Relaxed) > MAX_INTERIM {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too many interim answers")));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Metered<TcpStream> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.look()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection on which requests can be sent, one at a time. Dropping it cuts the connection.
#[derive(Debug)]
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortOnDropHandle<()>,
    meter: Arc<Meter>,
    peer: SocketAddr,
    before: u64,
}

impl Line {
    /// Speaks HTTP/1.1 over `io`, which `meter` measures.
    pub(super) async fn open<S>(io: S, meter: Arc<Meter>, peer: SocketAddr) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = Builder::new();
        builder.max_header_size(MAX_HEAD).max_buf_size(MAX_BUFFERED);
        let (sender, connection) = builder.handshake(TokioIo::new(io)).await?;
        // What ends a connection is told to the request on it; on an idle one it is nobody's business.
        let driver = AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }));
        Ok(Self { sender, driver, meter, peer, before: 0 })
    }

    /// Who is at the other end.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether another request can be sent once hyper is done with the last one.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Waits until a request can be sent; `false` when that will never be.
    pub(super) async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request, and gives the head of the answer; its body comes over this line, which must be kept meanwhile.
    pub(super) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
        reused: bool,
    ) -> hyper::Result<Response<Incoming>> {
        self.before = self.meter.written.load(Ordering::Relaxed);
        self.meter.interim.store(0, Ordering::Relaxed);
        self.meter.look_first.store(reused, Ordering::Relaxed);
        let meter = Arc::clone(&self.meter);
        hyper::ext::on_informational(&mut request, move |_| {
            meter.interim.fetch_add(1, Ordering::Relaxed);
        });
        self.sender.send_request(request).await
    }

    /// Cuts the connection, and tells whether any byte was written to it since [`Line::send`]. Nothing is written any more
    /// when this returns.
    pub(super) async fn cut(self) -> bool {
        let Self { driver, meter, before, .. } = self;
        driver.abort();
        // It was cancelled, or had ended before: both are an end.
        drop(driver.await);
        meter.written.load(Ordering::Relaxed) > before
    }
}

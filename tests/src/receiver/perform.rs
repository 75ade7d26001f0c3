//! Doing to a client what an [`Action`] says, bounded in bytes and in time.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time,
};
use tokio_rustls::server::TlsStream;

use super::{
    action::{Action, Answer},
    ledger::End,
};

/// No action lasts longer: far beyond every limit of a client worth testing.
const LONGEST: Duration = Duration::from_secs(300);
/// No action writes more, in bytes; a body without end stops here and waits for the client to leave.
const MOST: u64 = 1 << 30;
/// Bytes that are written at once where many are.
const PIECE: usize = 16 * 1024;
/// Interim answers that are written at once.
const BURST: u32 = 100;
/// What a client that expects HTTP cannot read: a greeting of another protocol, with bytes of none.
const GARBAGE: &[u8] = b"\x00\xff\xfeSSH-2.0-not-http\r\n\r\n\x16\x03\x01\x00{\"ok\":true}\r\n\r\n";

/// A connection with or without TLS.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {
    /// The connection under it.
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// What was done.
#[derive(Debug)]
pub(super) struct Performed {
    pub(super) end: End,
    /// The status, when the answer was written whole.
    pub(super) status: Option<u16>,
    pub(super) written: u64,
    /// Whether another request may come.
    pub(super) open: bool,
}

/// What became of the answer.
enum Done {
    /// Written whole, with this status; whether the connection stays open.
    Answered(u16, bool),
    Ended(End),
}

/// Does it.
pub(super) async fn perform<W: Wire>(wire: &mut W, action: Action) -> Performed {
    let mut client = Client { wire, written: 0 };
    let done = match time::timeout(LONGEST, client.perform(action)).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Done::Ended(End::ClientLeft),
        Err(_) => Done::Ended(End::Bound),
    };
    let written = client.written;
    match done {
        Done::Answered(status, open) => Performed { end: End::Answered, status: Some(status), written, open },
        Done::Ended(end) => Performed { end, status: None, written, open: false },
    }
}

/// Reads and forgets what the client says until it is gone. (None sends a request before it has the last answer.)
pub(super) async fn until_left<W: AsyncRead + Unpin>(wire: &mut W) {
    let mut forgotten = [0; 256];
    while matches!(wire.read(&mut forgotten).await, Ok(1..)) {}
}

struct Client<'a, W> {
    wire: &'a mut W,
    written: u64,
}

impl<W: Wire> Client<'_, W> {
    /// # Errors
    /// When the client does not take what is written.
    async fn perform(&mut self, mut action: Action) -> io::Result<Done> {
        loop {
            let left = match &action {
                Action::After(pause, _) => self.leaves_before(time::sleep(*pause)).await,
                Action::Hold(gate, _) => self.leaves_before(gate.passed()).await,
                _ => return self.act(action).await,
            };
            if left {
                return Ok(Done::Ended(End::ClientLeft));
            }
            if let Action::After(_, then) | Action::Hold(_, then) = action {
                action = *then;
            }
        }
    }

    async fn act(&mut self, action: Action) -> io::Result<Done> {
        match action {
            Action::Answer(answer) => self.answer(&answer, true).await,
            Action::AnswerThenClose(answer) => self.answer(&answer, false).await,
            Action::After(..) | Action::Hold(..) | Action::Hang => {
                until_left(self.wire).await;
                Ok(Done::Ended(End::ClientLeft))
            }
            Action::Close => self.close().await,
            Action::Reset => self.reset(),
            Action::ResetMidHeaders => {
                self.put(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Half").await?;
                self.reset()
            }
            Action::SlowHeaders(pause) => {
                self.dribble(b"HTTP/1.1 200 OK\r\n", pause).await?;
                loop {
                    self.dribble(b"X-More: and more\r\n", pause).await?;
                }
            }
            Action::SlowBody(pause) => {
                self.put(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await?;
                self.dribble(&[b'.'; 1_000_000], pause).await?;
                Ok(Done::Answered(200, true))
            }
            Action::EndlessBody => self.endless().await,
            Action::LargeBody(length) => self.large(length).await,
            Action::Garbage => {
                self.put(GARBAGE).await?;
                self.close().await
            }
            Action::Interim(count) => self.interim(count).await,
            Action::NoContentWithBody => {
                self.put(b"HTTP/1.1 204 No Content\r\nContent-Length: 14\r\n\r\nbut there is!!").await?;
                Ok(Done::Answered(204, true))
            }
        }
    }

    async fn leaves_before(&mut self, event: impl Future<Output = ()>) -> bool {
        tokio::select! {
            () = event => false,
            () = until_left(self.wire) => true,
        }
    }

    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes).await?;
        self.written += bytes.len() as u64;
        self.wire.flush().await
    }

    async fn dribble(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        for byte in bytes.chunks(1) {
            self.put(byte).await?;
            if self.leaves_before(time::sleep(pause)).await {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        Ok(())
    }

    async fn answer(&mut self, answer: &Answer, open: bool) -> io::Result<Done> {
        self.put(&answer.encode()).await?;
        if !open {
            self.wire.shutdown().await?;
        }
        Ok(Done::Answered(answer.status, open))
    }

    async fn close(&mut self) -> io::Result<Done> {
        self.wire.shutdown().await?;
        Ok(Done::Ended(End::Cut))
    }

    /// Makes the end of the connection, which comes with the drop, a reset.
    fn reset(&mut self) -> io::Result<Done> {
        self.wire.tcp().set_zero_linger()?;
        Ok(Done::Ended(End::Cut))
    }

    async fn endless(&mut self) -> io::Result<Done> {
        self.put(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        let mut piece = format!("{PIECE:x}\r\n").into_bytes();
        piece.extend_from_slice(&[b'.'; PIECE]);
        piece.extend_from_slice(b"\r\n");
        while self.written < MOST {
            self.put(&piece).await?;
        }
        until_left(self.wire).await;
        Ok(Done::Ended(End::Bound))
    }

    async fn large(&mut self, length: u64) -> io::Result<Done> {
        self.put(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await?;
        let mut left = length.min(MOST);
        while left > 0 {
            let piece = left.min(PIECE as u64);
            self.put(&[b'.'; PIECE][..usize::try_from(piece).unwrap_or(PIECE)]).await?;
            left -= piece;
        }
        Ok(if length > MOST { Done::Ended(End::Bound) } else { Done::Answered(200, true) })
    }

    async fn interim(&mut self, count: u32) -> io::Result<Done> {
        let one = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        let mut left = count;
        while left > 0 {
            let burst = left.min(BURST);
            self.put(one.repeat(usize::try_from(burst).unwrap_or(1)).as_bytes()).await?;
            left -= burst;
        }
        self.answer(&Answer::new(200), true).await
    }
}

//! A TCP proxy on a loopback port in front of one server or several: a load balancer that takes the next one which
//! accepts, and a wire that can be cut.

use std::net::SocketAddr;

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::AbortHandle,
};

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// They pass.
    Whole,
    /// Connections stay open, new ones are accepted, and nothing passes: what is sent waits.
    Silent,
    /// Connections are closed, and new ones as soon as they are accepted.
    Cut,
}

/// See the head of this file. It ends when it is dropped, with all of its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    servers: watch::Sender<Vec<SocketAddr>>,
    wire: watch::Sender<Wire>,
    accepting: AbortHandle,
}

impl Proxy {
    /// One in front of these servers.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn before(servers: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound port");
        let (servers, wire) = (watch::Sender::new(servers), watch::Sender::new(Wire::Whole));
        let accepting = tokio::spawn(accept(listener, servers.subscribe(), wire.subscribe())).abort_handle();
        Self { address, servers, wire, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has connections to these servers alone from now on, as a balancer does that asks them how they are.
    pub fn only(&self, servers: Vec<SocketAddr>) {
        self.servers.send_replace(servers);
    }

    /// Lets bytes pass, or not.
    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections see that nobody holds the wire any more.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, servers: watch::Receiver<Vec<SocketAddr>>, wire: watch::Receiver<Wire>) {
    let mut turn = 0_usize;
    while let Ok((client, _)) = listener.accept().await {
        turn = turn.wrapping_add(1);
        let (mut servers, wire, mut cut, turn) = (servers.clone(), wire.clone(), wire.clone(), turn);
        tokio::spawn(async move {
            let all = servers.borrow().clone();
            let Some((server, place)) = connect(all, turn).await else { return };
            tokio::select! {
                _ = servers.wait_for(|all| !all.contains(&place)) => {}
                _ = cut.wait_for(|wire| *wire == Wire::Cut) => {}
                () = join(client, server, &wire) => {}
            }
        });
    }
}

/// A connection to the first server that accepts one, from the one whose turn it is.
async fn connect(servers: Vec<SocketAddr>, turn: usize) -> Option<(TcpStream, SocketAddr)> {
    for n in 0..servers.len() {
        let place = servers[(turn + n) % servers.len()];
        if let Ok(server) = TcpStream::connect(place).await {
            return Some((server, place));
        }
    }
    None
}

/// Passes bytes on in both ways until both sides have ended.
async fn join(client: TcpStream, server: TcpStream, wire: &watch::Receiver<Wire>) {
    for end in [&client, &server] {
        let _ = end.set_nodelay(true);
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // A side that fails takes the other one with it.
    let _ = tokio::try_join!(pass(from_client, to_server, wire.clone()), pass(from_server, to_client, wire.clone()));
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        if wire.wait_for(|wire| *wire == Wire::Whole).await.is_err() {
            return Ok(());
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..read]).await?;
    }
}

//! The receiver's thread: accepts connections while its port is open.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{Shared, connection};

/// What the owner asks of the thread; it says when that is done.
#[derive(Debug)]
pub(super) enum Order {
    /// Listen no longer, and end all connections.
    Close(oneshot::Sender<()>),
    /// Listen again.
    Open(oneshot::Sender<()>),
}

/// Connections that may wait to be accepted: more than any test opens at once, because one too many waits a second.
const BACKLOG: u32 = 4_096;

/// A listener at this address; to be called within the receiver's runtime.
///
/// # Panics
/// When the address is taken.
pub(super) fn listener(address: SocketAddr) -> TcpListener {
    let listen = || {
        let socket = TcpSocket::new_v4()?;
        // A port that was closed a moment ago can be opened again.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().unwrap_or_else(|error: std::io::Error| panic!("cannot listen on {address}: {error}"))
}

/// Serves until the owner is gone.
pub(super) async fn serve(
    address: SocketAddr,
    first: TcpListener,
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut open = Some(first);
    let mut connections = JoinSet::new();
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            () = accept(open.as_ref(), &shared, &mut connections) => continue,
        };
        match order {
            None => return,
            Some(Order::Close(done)) => {
                open = None;
                connections.shutdown().await;
                let _ = done.send(());
            }
            Some(Order::Open(done)) => {
                open.get_or_insert_with(|| listener(address));
                let _ = done.send(());
            }
        }
    }
}

/// Accepts one connection; never, while the port is closed.
async fn accept(open: Option<&TcpListener>, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let Some(listener) = open else { return std::future::pending().await };
    // An error is that of a connection which went away before it was accepted.
    if let Ok((tcp, _)) = listener.accept().await {
        connections.spawn(connection::serve(tcp, Arc::clone(shared)));
    }
    // Those that have ended are forgotten.
    while connections.try_join_next().is_some() {}
}

//! One connection: its door, and its requests one after the other.

use std::sync::{Arc, atomic::Ordering};

use tokio::net::TcpStream;

use super::{
    Door, Shared, certificates,
    ledger::{Exchange, Findings},
    now,
    perform::{Performed, Wire, perform, until_left},
    request::{Reader, Received},
};

/// Serves it to its end.
pub(super) async fn serve(mut tcp: TcpStream, shared: Arc<Shared>) {
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    shared.ledger.connected();
    shared.news.notify_waiters();
    // Answers are small and are awaited; without this each could wait for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    let door = *shared.door.read();
    match door {
        Door::Plain => exchanges(tcp, number, &shared).await,
        Door::Tls(certificate) => match certificates::acceptor(certificate).accept(tcp).await {
            Ok(stream) => exchanges(stream, number, &shared).await,
            Err(_) => {
                shared.ledger.handshake_failed();
                shared.news.notify_waiters();
            }
        },
        Door::TlsStall => {
            until_left(&mut tcp).await;
            shared.ledger.handshake_failed();
            shared.news.notify_waiters();
        }
    }
}

async fn exchanges<W: Wire>(mut wire: W, connection: u64, shared: &Shared) {
    let mut reader = Reader::new(connection);
    loop {
        match reader.next(&mut wire).await {
            Ok(Some((received, last))) => {
                let open = exchange(&mut wire, received, shared).await;
                if last || !open {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                // A client that is cut off between requests has not sent a bad one.
                if error.kind() == std::io::ErrorKind::InvalidData {
                    shared.ledger.malformed(&error.to_string());
                    shared.news.notify_waiters();
                }
                return;
            }
        }
    }
}

/// Enters a request, does what is to be done, enters that; whether another one may come.
async fn exchange<W: Wire>(wire: &mut W, mut received: Received, shared: &Shared) -> bool {
    let findings = findings(&received, shared);
    shared.ledger.enter(&mut received, findings);
    shared.news.notify_waiters();
    let action = shared.behaviour_at(received.path()).decide(&received);
    let Performed { end, status, written, open } = perform(wire, action).await;
    let took = now().duration_since(received.at);
    shared.ledger.ended(&received, Exchange { request: received.number, end, status, written, took });
    shared.news.notify_waiters();
    open
}

fn findings(received: &Received, shared: &Shared) -> Findings {
    let objection = shared.verify.as_ref().and_then(|verify| verify(received).err());
    let Some((correlate, departures)) = &shared.correlate else {
        return Findings { objection, ..Findings::default() };
    };
    let correlation = correlate(received);
    let departure = correlation.as_deref().and_then(|correlation| departures.of(correlation));
    Findings { objection, correlation, departure }
}

//! Free ports on the loopback address, for peers that must be told their port before they start.
//!
//! A port is handed out once in a process, and was free for TCP and for UDP a moment ago. The ports lie below the
//! range from which the kernel takes the local ports of outgoing connections, so that no connection of another test
//! can take one between the asking and the peer's bind; asking the kernel for port 0 would not promise that. Two test
//! processes start at different places, chosen by their ids. A program that can bind port 0 itself and say which one
//! it got should do that instead.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

const LOWEST: u32 = 10_000;
/// Where the kernel's own range starts unless the machine says otherwise.
const USUAL_END: u32 = 32_768;
/// Ports between the starting places of two test processes with neighbouring ids.
const STRIDE: u32 = 251;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A port that nobody listens on and that no other call in this process returns.
///
/// # Panics
/// When every port of the range is taken.
pub fn free() -> u16 {
    let span = end_of_range() - LOWEST;
    let start = (std::process::id() % span) * STRIDE;
    loop {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(taken < span, "no free port between {LOWEST} and {}", LOWEST + span);
        let port = u16::try_from(LOWEST + (start + taken) % span).expect("the range lies below 65536");
        if is_free(port) {
            return port;
        }
    }
}

/// The loopback address with a port of its own.
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free()))
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

fn end_of_range() -> u32 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|end| (LOWEST + 1_000..=USUAL_END).contains(end))
        .unwrap_or(USUAL_END)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn threads_that_ask_at_once_get_different_ports() {
        let threads: Vec<_> =
            (0..8).map(|_| std::thread::spawn(|| (0..20).map(|_| super::free()).collect::<Vec<_>>())).collect();
        let ports: Vec<u16> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();

        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len(), "a port was handed out twice");
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let next = super::free() + 1;
        let _held = std::net::UdpSocket::bind(("127.0.0.1", next));

        assert_ne!(super::free(), next, "the port of an open socket was handed out");
    }
}

//! Tells systemd how the daemon is: one datagram to the socket that it named (sd_notify(3)). Written here because it is
//! five lines, and a library would bring the rest of systemd's interface along.

use std::os::{
    linux::net::SocketAddrExt as _,
    unix::{
        ffi::OsStrExt as _,
        net::{SocketAddr, UnixDatagram},
    },
};

use rustix::time::{ClockId, clock_gettime};

use crate::config;

/// Tells that the settings are read again; `READY=1` ends it. With the time of CLOCK_MONOTONIC, by which systemd tells
/// the answer to its own signal (`Type=notify-reload`) from one to an earlier signal.
pub(super) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// Tells a state such as `READY=1`. Without systemd, or when it does not listen, nothing happens.
pub(super) fn tell(state: &str) {
    let Some(name) = config::notify_socket() else { return };
    let address = match name.as_bytes() {
        // A name that begins with @ is in the abstract namespace.
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(cause) = sent {
        tracing::warn!(%cause, "systemd could not be told");
    }
}

//! What systemd is told on its socket.

use std::os::unix::net::UnixDatagram;

use pulse_tests::{
    daemon::{Daemon, DaemonOptions},
    process::READY,
    temporary_folder,
};

/// The next datagram.
fn told(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).expect("systemd is told something in time");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// The socket of a service manager, on a path or in the abstract namespace.
fn manager(name: &str) -> UnixDatagram {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name).unwrap(),
        None => SocketAddr::from_pathname(name).unwrap(),
    };
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(READY)).unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_readiness_reloads_and_the_end() {
    let folder = temporary_folder("notify");
    let in_folder = folder.path().join("notify.sock").to_string_lossy().into_owned();
    let abstract_name = format!("@{}", folder.path().display());
    for name in [in_folder, abstract_name] {
        let socket = manager(&name);
        let daemon = Daemon::start(DaemonOptions::new().env("NOTIFY_SOCKET", &name)).await;
        assert_eq!(told(&socket), "READY=1", "{name}");
        daemon.hang_up();
        let reloading = told(&socket);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the start of the reload");
        assert!(micros.parse::<u64>().is_ok_and(|micros| micros > 0), "{reloading}");
        assert_eq!(told(&socket), "READY=1", "the reload is over");
        assert!(daemon.stop().await.success());
        assert_eq!(told(&socket), "STOPPING=1");
    }
}

#[tokio::test]
async fn a_socket_on_which_nobody_listens_does_not_keep_the_daemon_from_serving() {
    let daemon = Daemon::start(DaemonOptions::new().env("NOTIFY_SOCKET", "/nonexistent/notify.sock")).await;
    daemon.process.until_logged("systemd could not be told").await;
    assert_eq!(daemon.client().get("/ready").await.status, 200);
}

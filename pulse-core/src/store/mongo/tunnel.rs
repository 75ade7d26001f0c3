//! The way out when Pulse may connect to listed networks only.
//!
//! The driver finds members of a replica set by itself and connects to them without asking. What it does have is a
//! setting for a SOCKS5 proxy (RFC 1928), used for every connection, those to discovered members included, with names
//! left to the proxy. So there is one here, on the loopback address, inside this process: it resolves the name, checks
//! every address against the networks, and connects to an address that it has checked. Nothing is resolved or connected
//! behind its back, today or when the replica set changes later.
//!
//! Names are those of the hosts file and `localhost`; no name server is asked. Hosts of the connection string are checked before anything starts, members known at the start by `prepare`, and
//! whatever comes later here, with one warning in the log for each host.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use mongodb::options::{ClientOptions, ServerAddress, Socks5Proxy};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::fault::misconfigured;
use crate::{
    error::{Error, Result},
    outbound::{AddressPolicy, hosts_file},
};

/// SOCKS5: the version, the only method (no authentication), the only command (connect), and the replies.
const SOCKS: u8 = 5;
const SUCCEEDED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const HOST_UNREACHABLE: u8 = 4;
const NOT_SUPPORTED: u8 = 7;

/// A running tunnel; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    accepting: JoinHandle<()>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What all connections of a tunnel know.
struct Rules {
    policy: AddressPolicy,
    refused: Mutex<BTreeSet<String>>,
}

impl Tunnel {
    /// Checks the hosts of the settings, then opens a tunnel and makes the settings use it.
    pub(super) async fn open(settings: &mut ClientOptions, policy: AddressPolicy) -> Result<Self> {
        if settings.socks5_proxy.is_some() {
            return Err(misconfigured("PULSE_OUTBOUND_ONLY allows no proxy for MongoDB", "Remove proxyHost."));
        }
        for host in &settings.hosts {
            check(host, &policy).await?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::internal)?;
        let port = listener.local_addr().map_err(Error::internal)?.port();
        settings.socks5_proxy = Some(Socks5Proxy::builder().host(Ipv4Addr::LOCALHOST.to_string()).port(port).build());
        let rules = Arc::new(Rules { policy, refused: Mutex::default() });
        Ok(Self { accepting: tokio::spawn(accept(listener, rules)) })
    }
}

/// Refuses a host with an address that the policy does not allow, or with none that may be looked up.
pub(super) async fn check(host: &ServerAddress, policy: &AddressPolicy) -> Result<()> {
    let refusal = match host {
        _ if policy.only.is_none() => return Ok(()),
        ServerAddress::Tcp { host, .. } => addresses(host, policy).await.err(),
        _ => Some("a socket is no address".to_owned()),
    };
    let Some(refusal) = refusal else { return Ok(()) };
    let message = format!("PULSE_OUTBOUND_ONLY does not allow the MongoDB host {host}");
    Err(misconfigured(&message, "Every member must be inside its networks, by address or by the hosts file.")
        .because(refusal))
}

async fn accept(listener: TcpListener, rules: Arc<Rules>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&rules)))),
            // Out of descriptors, most likely: those that are open will end.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

async fn serve(mut inward: TcpStream, rules: Arc<Rules>) {
    // Whatever ends it, it is the end of this one connection, and the driver sees that.
    if let Ok(Some(mut outward)) = open_outward(&mut inward, &rules).await {
        let _ = tokio::io::copy_bidirectional(&mut inward, &mut outward).await;
    }
}

async fn open_outward(inward: &mut TcpStream, rules: &Rules) -> io::Result<Option<TcpStream>> {
    inward.set_nodelay(true)?;
    let Some((host, port)) = request(inward).await? else {
        return reply(inward, NOT_SUPPORTED).await.map(|()| None);
    };
    let allowed = match addresses(&host, &rules.policy).await {
        Ok(allowed) => allowed,
        Err(error) => {
            if rules.refused.lock().insert(host.clone()) {
                tracing::warn!(host, %error, "a MongoDB host is outside the networks that Pulse may connect to");
            }
            return reply(inward, NOT_ALLOWED).await.map(|()| None);
        }
    };
    for address in allowed {
        if let Ok(outward) = TcpStream::connect(SocketAddr::new(address, port)).await {
            outward.set_nodelay(true)?;
            return reply(inward, SUCCEEDED).await.map(|()| Some(outward));
        }
    }
    reply(inward, HOST_UNREACHABLE).await.map(|()| None)
}

/// Reads greeting and request; `None` when the request is not one to connect.
async fn request(stream: &mut TcpStream) -> io::Result<Option<(String, u16)>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    if head[0] != SOCKS {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut methods = vec![0; usize::from(head[1])];
    stream.read_exact(&mut methods).await?;
    stream.write_all(&[SOCKS, 0]).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => IpAddr::from(Ipv4Addr::from(stream.read_u32().await?)).to_string(),
        4 => IpAddr::from(Ipv6Addr::from(stream.read_u128().await?)).to_string(),
        3 => {
            let mut name = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData)?
        }
        _ => return Ok(None),
    };
    let port = stream.read_u16().await?;
    Ok((head[1] == 1).then_some((host, port)))
}

async fn reply(stream: &mut TcpStream, code: u8) -> io::Result<()> {
    stream.write_all(&[SOCKS, code, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

/// The addresses of a host, all of which the policy allows.
async fn addresses(host: &str, policy: &AddressPolicy) -> Result<Vec<IpAddr>, String> {
    let found = match host.parse() {
        Ok(literal) => vec![literal],
        Err(_) => hosts_file(host).await,
    };
    match found.iter().find(|address| !policy.allows(**address)) {
        Some(outside) => Err(format!("{host} has the address {outside}, which is outside the networks")),
        None if found.is_empty() => Err(format!("{host} is not in the hosts file")),
        None => Ok(found),
    }
}

//! How names become addresses and addresses become connections: the one seam between Pulse and the network, so that a
//! test can stand in for both.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use async_trait::async_trait;
use tokio::net::TcpStream;

use super::{
    failure::Unresolved,
    policy::{Trust, is_localhost},
    resolver::Resolver,
};

/// A connection and who is at its other end.
#[derive(Debug)]
pub struct Dialed {
    /// The connection.
    pub stream: TcpStream,
    /// The other end, as the connection itself says: it is compared with the address that was vetted.
    pub peer: SocketAddr,
}

/// Looks names up and connects. Nothing here judges: every address that comes out of [`Dial::resolve`] is judged before
/// one goes into [`Dial::connect`].
#[async_trait]
pub trait Dial: Send + Sync + fmt::Debug {
    /// The addresses of a name, in the order in which they should be tried; never an empty list. Dropping the future ends
    /// a look-up for a tenant.
    async fn resolve(&self, name: &str, trust: Trust) -> Result<Vec<IpAddr>, Unresolved>;

    /// A TCP connection to exactly this address.
    async fn connect(&self, address: SocketAddr) -> io::Result<Dialed>;
}

/// The machine's own names and network.
///
/// What the operator named is looked up as every program of the machine does it (`getaddrinfo`, with search lists and
/// whatever else `nsswitch.conf` says). That takes a thread for as long as the name server pleases, which is no way to look
/// up what strangers name: those go to the name servers of `/etc/resolv.conf` by way of the event loop, as absolute names,
/// and can be given up at any time.
#[derive(Debug)]
pub struct SystemDial {
    hosts_only: bool,
    resolver: Resolver,
}

impl SystemDial {
    /// With `hosts_only`, only `localhost` and names of the hosts file are known, so that not even a question to a name
    /// server leaves.
    pub fn new(hosts_only: bool) -> Self {
        Self { hosts_only, resolver: Resolver::default() }
    }
}

#[async_trait]
impl Dial for SystemDial {
    async fn resolve(&self, name: &str, trust: Trust) -> Result<Vec<IpAddr>, Unresolved> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let found = match trust {
            _ if self.hosts_only || is_localhost(name) => hosts_file(name).await,
            Trust::Operator => system_lookup(name).await?,
            Trust::Tenant => match hosts_file(name).await {
                none if none.is_empty() => self.resolver.lookup(name).await?,
                found => found,
            },
        };
        if found.is_empty() { Err(Unresolved::NoSuchName) } else { Ok(found) }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Dialed> {
        let stream = TcpStream::connect(address).await?;
        // A request is written at once, and its end should not wait for an acknowledgement of its beginning.
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        Ok(Dialed { stream, peer })
    }
}

async fn system_lookup(name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        // `getaddrinfo` has words of its own, which the standard library hands on as text only.
        Err(_) => Err(Unresolved::NoSuchName),
    }
}

/// Addresses that the hosts file has for a name; `localhost` is loopback even where the file does not say so (RFC 6761).
pub async fn hosts_file(name: &str) -> Vec<IpAddr> {
    let text = tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default();
    let mut found: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let ip = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(ip)
        })
        .collect();
    if found.is_empty() && is_localhost(name) {
        found.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    found
}

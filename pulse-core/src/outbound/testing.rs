//! A network by script: names have the addresses that a test says, addresses lead to servers on the loopback address, and
//! every attempt to connect is on record. Whatever the script does not allow is refused without a packet.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::Notify};

use super::{
    dial::{Dial, Dialed},
    failure::Unresolved,
    policy::Trust,
};

/// What a name server says of a name.
#[derive(Clone, Debug)]
pub enum Said {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// The name server failed (SERVFAIL).
    Failed,
    /// Nothing, ever.
    Nothing,
}

impl Said {
    /// These addresses, as text.
    ///
    /// # Panics
    /// When one is no address.
    #[expect(clippy::panic, reason = "a script that cannot be read is a broken test")]
    pub fn addresses(texts: &[&str]) -> Self {
        let read = |text: &&str| text.parse().unwrap_or_else(|_| panic!("{text} is no address"));
        Self::Addresses(texts.iter().map(read).collect())
    }
}

/// Where an address leads.
#[derive(Clone, Copy, Debug)]
enum Route {
    /// To a server on the loopback address, which seems to have the address that was asked for.
    To(SocketAddr),
    /// To a server that is seen to have another address.
    Seen(SocketAddr),
    /// Nowhere: nobody answers.
    Silence,
    /// Nowhere: this machine says so, with this error of the operating system.
    Fails(i32),
}

/// The script, and what came of it.
#[derive(Debug, Default)]
pub struct ScriptedDial {
    names: Mutex<HashMap<String, VecDeque<Said>>>,
    routes: Mutex<HashMap<SocketAddr, Route>>,
    asked: Mutex<Vec<String>>,
    attempts: Mutex<Vec<SocketAddr>>,
    changed: Notify,
}

impl ScriptedDial {
    /// A network without names, in which nothing can be reached.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What is said of a name, look-up after look-up; the last goes on being said.
    pub fn name(&self, name: &str, said: impl IntoIterator<Item = Said>) {
        self.names.lock().insert(name.to_owned(), said.into_iter().collect());
    }

    /// Lets an address lead to a server on the loopback address.
    ///
    /// # Panics
    /// When that server is not on the loopback address.
    pub fn route(&self, address: SocketAddr, server: SocketAddr) {
        self.lead(address, Route::To(server), server);
    }

    /// Lets an address lead to a server on the loopback address, and be seen to.
    ///
    /// # Panics
    /// When that server is not on the loopback address.
    pub fn misroute(&self, address: SocketAddr, server: SocketAddr) {
        self.lead(address, Route::Seen(server), server);
    }

    /// Lets nobody answer at an address.
    pub fn silence(&self, address: SocketAddr) {
        self.routes.lock().insert(address, Route::Silence);
    }

    /// Has this machine fail to connect to an address with this error of the operating system.
    pub fn fail(&self, address: SocketAddr, error: i32) {
        self.routes.lock().insert(address, Route::Fails(error));
    }

    fn lead(&self, address: SocketAddr, route: Route, server: SocketAddr) {
        assert!(server.ip().is_loopback(), "{server} is not on the loopback address");
        self.routes.lock().insert(address, route);
    }

    /// Every name that was looked up.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// Every address to which a connection was tried.
    pub fn attempts(&self) -> Vec<SocketAddr> {
        self.attempts.lock().clone()
    }

    /// Waits until so many connections were tried.
    pub async fn until_attempts(&self, count: usize) {
        loop {
            let changed = self.changed.notified();
            if self.attempts.lock().len() >= count {
                return;
            }
            changed.await;
        }
    }
}

#[async_trait]
impl Dial for ScriptedDial {
    async fn resolve(&self, name: &str, _: Trust) -> Result<Vec<IpAddr>, Unresolved> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.asked.lock().push(name.to_owned());
        let said = self
            .names
            .lock()
            .get_mut(name)
            .and_then(|said| if said.len() > 1 { said.pop_front() } else { said.front().cloned() });
        match said {
            Some(Said::Addresses(addresses)) => Ok(addresses),
            Some(Said::NoSuchName) | None => Err(Unresolved::NoSuchName),
            Some(Said::Failed) => Err(Unresolved::ServerFailed),
            Some(Said::Nothing) => std::future::pending().await,
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Dialed> {
        self.attempts.lock().push(address);
        self.changed.notify_waiters();
        let route = self.routes.lock().get(&address).copied();
        let (server, peer) = match route {
            Some(Route::To(server)) => (server, address),
            Some(Route::Seen(server)) => (server, server),
            Some(Route::Silence) => return std::future::pending().await,
            Some(Route::Fails(error)) => return Err(io::Error::from_raw_os_error(error)),
            None => return Err(io::ErrorKind::ConnectionRefused.into()),
        };
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Dialed { stream, peer })
    }
}

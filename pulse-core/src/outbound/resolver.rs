//! Look-ups of names that strangers give: in the event loop, so that a name server that does not answer costs a timer and
//! no thread.
//!
//! The name servers are those of `/etc/resolv.conf`, which is read again when it has changed. Names are absolute: a search
//! list is for names of people on this network.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    ResolverBuilder, TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{op::ResponseCode, rr::Name},
};
use parking_lot::Mutex;

use super::failure::Unresolved;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// For how long one name server is waited for. Two fit into the time that a connection may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Answers that are kept.
const CACHED: u64 = 4_096;
/// The longest that an answer is kept, whatever it says of itself: a customer who moves should not wait for a day.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest that it is kept that a name does not exist: it may be just about to.
const LONGEST_NONE: Duration = Duration::from_secs(10);

/// When `/etc/resolv.conf` was changed last, and the name servers that it then had.
type Loaded = (Option<SystemTime>, Arc<TokioResolver>);

/// Asks the machine's name servers.
#[derive(Default)]
pub(super) struct Resolver(Mutex<Option<Loaded>>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// All addresses of an absolute name, of both families, IPv4 first.
    pub(super) async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let resolver = self.current().await?;
        ask(&resolver, name).await
    }

    async fn current(&self) -> Result<Arc<TokioResolver>, Unresolved> {
        let changed = tokio::fs::metadata(RESOLV_CONF).await.and_then(|found| found.modified()).ok();
        if let Some((since, resolver)) = &*self.0.lock()
            && *since == changed
        {
            return Ok(Arc::clone(resolver));
        }
        let resolver = Arc::new(load()?);
        *self.0.lock() = Some((changed, Arc::clone(&resolver)));
        Ok(resolver)
    }
}

/// Asks for all addresses of an absolute name.
pub(super) async fn ask(resolver: &TokioResolver, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    // What cannot be written as a question to a name server is no name.
    let mut name = Name::from_ascii(name).map_err(|_| Unresolved::NoSuchName)?;
    name.set_fqdn(true);
    let found = resolver.lookup_ip(name).await;
    found.map(|found| found.iter().collect()).map_err(|error| unresolved(&error))
}

fn load() -> Result<TokioResolver, Unresolved> {
    TokioResolver::builder_tokio().and_then(tuned).map_err(|error| {
        tracing::warn!(%error, "the name servers of {RESOLV_CONF} cannot be used");
        Unresolved::ServerFailed
    })
}

/// A resolver with Pulse's patience and memory.
pub(super) fn tuned(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.timeout = PATIENCE;
    options.attempts = 1;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = CACHED;
    options.positive_max_ttl = Some(LONGEST);
    options.negative_max_ttl = Some(LONGEST_NONE);
    // It is read where a look-up begins, each time anew.
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

fn unresolved(error: &NetError) -> Unresolved {
    match error {
        NetError::Timeout => Unresolved::TimedOut,
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain | ResponseCode::NoError => Unresolved::NoSuchName,
            _ => Unresolved::ServerFailed,
        },
        _ => Unresolved::ServerFailed,
    }
}

//! The one HTTP client for everything that leaves Pulse: no proxy, no redirects, and an address policy that is applied
//! where the connection is made, after names are resolved.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use crate::error::{Code, Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Which addresses Pulse may connect to.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// When set, nothing outside these networks (`PULSE_OUTBOUND_ONLY`).
    pub only: Option<Arc<[IpNet]>>,
}

impl AddressPolicy {
    /// Only these networks.
    pub fn only(networks: impl Into<Arc<[IpNet]>>) -> Self {
        Self { only: Some(networks.into()) }
    }

    /// Whether Pulse may connect to the address.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.only.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(&ip)))
    }

    /// Refuses a URL whose host is a literal address outside the policy: the resolver is never asked about those.
    pub fn check_literal(&self, url: &url::Url) -> Result<()> {
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) | None => None,
        };
        if literal.is_none_or(|ip| self.allows(ip)) { Ok(()) } else { Err(Self::refusal()) }
    }

    fn refusal() -> Error {
        Error::new(Code::Unreachable, "the address is outside PULSE_OUTBOUND_ONLY")
            .hint("Add its network to PULSE_OUTBOUND_ONLY, or use an address inside it.")
    }

    /// A client under the policy, for more to be said about it: no proxy, no redirects, names resolved under the policy.
    /// Check each URL with [`AddressPolicy::check_literal`], too.
    pub fn client(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .dns_resolver(Arc::new(PolicyResolver(self.clone())))
            .user_agent(concat!("pulse/", env!("CARGO_PKG_VERSION")))
    }

    /// Resolves `host` under the policy. While the policy is set, only literal addresses, `localhost` and names of the
    /// hosts file are known, so that not even a question to a name server leaves.
    async fn resolve(&self, host: &str) -> Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = match (&self.only, host.parse::<IpAddr>()) {
            (_, Ok(ip)) => vec![SocketAddr::new(ip, 0)],
            (Some(_), Err(_)) => hosts_file(host).await.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect(),
            (None, Err(_)) => {
                tokio::net::lookup_host((host, 0)).await.map_err(|cause| unresolved(host).because(cause))?.collect()
            }
        };
        if addresses.is_empty() {
            return Err(unresolved(host));
        }
        if addresses.iter().all(|address| self.allows(address.ip())) { Ok(addresses) } else { Err(Self::refusal()) }
    }
}

fn unresolved(host: &str) -> Error {
    Error::new(Code::Unreachable, format!("the name {host} does not resolve"))
}

/// Addresses that the hosts file has for a name; `localhost` is loopback even where the file does not say so (RFC 6761).
pub async fn hosts_file(host: &str) -> Vec<IpAddr> {
    let text = tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default();
    let mut found: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let ip = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(ip)
        })
        .collect();
    if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
        found.push(IpAddr::from([127, 0, 0, 1]));
    }
    found
}

struct PolicyResolver(AddressPolicy);

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let addresses = policy.resolve(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The client. It is built when it is first used, because reading the machine's trust anchors takes a while.
#[derive(Clone, Debug)]
pub struct Outbound {
    policy: AddressPolicy,
    client: Arc<OnceLock<reqwest::Client>>,
}

impl Outbound {
    /// A client under this policy.
    pub fn new(policy: AddressPolicy) -> Self {
        Self { policy, client: Arc::default() }
    }

    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let built = self.policy.client().timeout(TOTAL_TIMEOUT).build().map_err(Error::internal)?;
        Ok(self.client.get_or_init(|| built))
    }

    /// The policy.
    pub fn policy(&self) -> &AddressPolicy {
        &self.policy
    }

    /// Gets a URL. A failure is [`Code::Unreachable`] without the transport's words.
    pub async fn get(&self, url: &str) -> Result<reqwest::Response> {
        let url: url::Url = url.parse().map_err(Error::internal)?;
        self.policy.check_literal(&url)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        self.client()?
            .get(url)
            .send()
            .await
            .map_err(|cause| Error::new(Code::Unreachable, format!("{host} cannot be reached")).because(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn under_a_policy_only_inside_addresses_and_hosts_file_names_resolve() {
        let policy = AddressPolicy::only(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(policy.resolve("localhost").await.is_ok());
        assert!(policy.resolve("127.8.9.1").await.is_ok());
        assert!(policy.allows("::ffff:127.0.0.1".parse().unwrap()), "a mapped address is the address inside it");
        for outside in ["192.0.2.1", "livekit.example", "::2"] {
            assert_eq!(
                policy.resolve(outside).await.map_err(|error| error.code()),
                Err(Code::Unreachable),
                "{outside}"
            );
        }
    }
}

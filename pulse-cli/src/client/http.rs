//! The HTTP client of the command line: no proxy, no redirects, and names resolved under `PULSE_OUTBOUND_ONLY`.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use pulse_core::{
    error::{Code, Error, Result},
    outbound::{AddressPolicy, hosts_file},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client under the policy, for more to be said about it. Check each URL with [`AddressPolicy::check_literal`], too: no
/// resolver is asked about a literal address.
pub(super) fn builder(policy: &AddressPolicy) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .dns_resolver(Arc::new(PolicyResolver(policy.clone())))
        .user_agent(concat!("pulse/", env!("CARGO_PKG_VERSION")))
}

/// What is at the bottom of a failed exchange, in its own words.
pub fn reason(cause: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = cause;
    while let Some(deeper) = reason.source() {
        reason = deeper;
    }
    reason.to_string()
}

struct PolicyResolver(AddressPolicy);

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let addresses = resolve(&policy, name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Resolves a name under the policy. While it is set, only `localhost` and names of the hosts file are known, so that not
/// even a question to a name server leaves.
async fn resolve(policy: &AddressPolicy, name: &str) -> Result<Vec<SocketAddr>> {
    let unresolved = || Error::new(Code::Unreachable, format!("the name {name} does not resolve"));
    let port = |ip: IpAddr| SocketAddr::new(ip, 0);
    let addresses: Vec<SocketAddr> = match &policy.only {
        Some(_) => hosts_file(name).await.into_iter().map(port).collect(),
        None => tokio::net::lookup_host((name, 0)).await.map_err(|cause| unresolved().because(cause))?.collect(),
    };
    if addresses.is_empty() {
        return Err(unresolved());
    }
    let allowed = addresses.iter().all(|address| policy.allows(address.ip()));
    if allowed { Ok(addresses) } else { Err(AddressPolicy::refusal()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn under_a_policy_names_come_from_the_hosts_file_and_lead_inside_only() {
        let only = |network: &str| AddressPolicy::only(vec![network.parse().expect("a network")]);
        assert!(resolve(&only("127.0.0.0/8"), "localhost").await.is_ok());
        for (network, name) in [("192.0.2.0/24", "localhost"), ("127.0.0.0/8", "livekit.example")] {
            assert!(resolve(&only(network), name).await.is_err(), "{name} led somewhere under {network}");
        }
    }
}

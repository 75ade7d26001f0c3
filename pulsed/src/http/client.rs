//! Who is at the other end: the peer, or what trusted proxies say in front of it.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

fn trusted(ip: IpAddr, proxies: &[IpNet]) -> bool {
    proxies.iter().any(|network| network.contains(&ip))
}

/// The client's address: the peer's, or when the peer is a trusted proxy, the right-most hop of `X-Forwarded-For` that is
/// not one. What stands left of that hop is whatever the client wrote, and is not looked at.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    if !trusted(peer, proxies) {
        return peer;
    }
    let values = headers.get_all("x-forwarded-for").iter().rev();
    let hops = values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    let mut last = peer;
    for hop in hops {
        let Some(ip) = hop_address(hop.trim()) else { break };
        last = ip;
        if !trusted(ip, proxies) {
            break;
        }
    }
    last
}

/// An address, with or without a port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let ip: Option<IpAddr> =
        hop.parse().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()));
    ip.or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|ip| ip.to_canonical())
}

/// Whether the client used TLS up to the nearest trusted proxy, or up to Pulse.
pub(super) fn used_tls(peer: crate::server::Peer, headers: &HeaderMap, proxies: &[IpNet]) -> bool {
    if peer.tls || !trusted(peer.ip, proxies) {
        return peer.tls;
    }
    let last = headers.get_all("x-forwarded-proto").iter().next_back();
    let proto = last.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        address(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn only_a_trusted_peer_is_believed_and_only_as_far_as_trust_goes() {
        assert_eq!(seen("203.0.113.9", &["198.51.100.1"]), "203.0.113.9", "a stranger's header was believed");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4", "198.51.100.1,10.9.9.9"]), "198.51.100.1", "headers are one list");
        assert_eq!(seen("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all are proxies: the left-most");
        assert_eq!(seen("10.0.0.1", &["198.51.100.1, garbage"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn hops_may_have_ports_and_brackets() {
        assert_eq!(seen("::1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(seen("::1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(seen("::1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(seen("::1", &["::ffff:198.51.100.1"]), "198.51.100.1");
    }
}

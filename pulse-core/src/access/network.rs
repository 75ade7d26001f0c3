//! The client's address: against a key's network list, and as the unit in which strangers are counted.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Whether `ip` is inside one of `networks`. An empty list allows all; an unknown address only that.
pub fn allows(networks: &[IpNet], ip: Option<IpAddr>) -> bool {
    networks.is_empty() || ip.is_some_and(|ip| networks.iter().any(|network| network.contains(&ip.to_canonical())))
}

/// The unit in which an address is counted: one IPv4 address, or the /64 of an IPv6 address, since a single customer
/// of a provider has a whole /64 (RFC 6177).
pub fn bucket(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

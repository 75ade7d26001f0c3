//! Which addresses are not of the public internet: one table, each row with its source.
//!
//! A customer names an address, and Pulse connects to it from inside the operator's network. Whatever the internet cannot
//! reach, a customer must not reach through Pulse either. The rows are those of the IANA IPv4 and IPv6 Special-Purpose
//! Address Registries that are not globally reachable, what RFCs have withdrawn, and one address of a cloud that looks
//! public and is not. For IPv6 the rule is turned around: only 2000::/3 is handed out as global unicast (IANA IPv6 Address
//! Space), so everything else is refused, but for addresses of a NAT64 gateway (RFC 6052), which are what the IPv4 address
//! inside them is. A NAT64 with a prefix of its own network's cannot be told from the public internet here; such a gateway
//! must not lead to private addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Addresses that belong to no host of the public internet.
#[derive(Debug, PartialEq, Eq)]
pub struct Special {
    /// The addresses.
    pub network: IpNet,
    /// What they are, as in "a private address".
    pub what: &'static str,
    /// Where that is laid down.
    pub source: &'static str,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8, what: &'static str, source: &'static str) -> Special {
    Special { network: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)), what, source }
}

/// The first four groups of an IPv6 network; the others are zero.
const fn v6(groups: [u16; 4], length: u8, what: &'static str, source: &'static str) -> Special {
    let [a, b, c, d] = groups;
    let network = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length));
    Special { network, what, source }
}

/// The table. Narrower networks stand before the wider ones around them, so that the first hit says it best.
pub const SPECIAL: &[Special] = &[
    v4(0, 0, 0, 0, 8, "an unspecified address", "RFC 791, RFC 1122"),
    v4(10, 0, 0, 0, 8, "a private address", "RFC 1918"),
    v4(100, 64, 0, 0, 10, "an address shared behind a provider's NAT", "RFC 6598"),
    v4(127, 0, 0, 0, 8, "a loopback address", "RFC 1122"),
    v4(168, 63, 129, 16, 32, "an address of the cloud's own services", "Azure: What is IP address 168.63.129.16"),
    v4(169, 254, 0, 0, 16, "a link-local address", "RFC 3927"),
    v4(172, 16, 0, 0, 12, "a private address", "RFC 1918"),
    v4(192, 0, 0, 0, 24, "an address for protocols", "RFC 6890"),
    v4(192, 0, 2, 0, 24, "an address for documentation", "RFC 5737"),
    v4(192, 88, 99, 0, 24, "a 6to4 relay", "RFC 7526"),
    v4(192, 168, 0, 0, 16, "a private address", "RFC 1918"),
    v4(198, 18, 0, 0, 15, "an address for benchmarks", "RFC 2544"),
    v4(198, 51, 100, 0, 24, "an address for documentation", "RFC 5737"),
    v4(203, 0, 113, 0, 24, "an address for documentation", "RFC 5737"),
    v4(224, 0, 0, 0, 4, "a multicast address", "RFC 5771"),
    v4(255, 255, 255, 255, 32, "the broadcast address", "RFC 919"),
    v4(240, 0, 0, 0, 4, "a reserved address", "RFC 1112"),
    Special {
        network: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)),
        what: "an unspecified address",
        source: "RFC 4291",
    },
    Special {
        network: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        what: "a loopback address",
        source: "RFC 4291",
    },
    Special {
        network: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xFFFF, 0, 0), 96)),
        what: "an IPv4-mapped address",
        source: "RFC 4291",
    },
    Special {
        network: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xFFFF, 0, 0, 0), 96)),
        what: "an IPv4-translated address",
        source: "RFC 2765",
    },
    Special {
        network: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 96)),
        what: "an IPv4-compatible address",
        source: "RFC 4291",
    },
    v6([0x64, 0xFF9B, 1, 0], 48, "an address of a local NAT64", "RFC 8215"),
    v6([0x100, 0, 0, 0], 64, "a discard-only address", "RFC 6666"),
    v6([0x2001, 0, 0, 0], 32, "a Teredo address", "RFC 4380"),
    v6([0x2001, 2, 0, 0], 48, "an address for benchmarks", "RFC 5180"),
    v6([0x2001, 0x0DB8, 0, 0], 32, "an address for documentation", "RFC 3849"),
    v6([0x2001, 0, 0, 0], 23, "an address for protocols", "RFC 2928"),
    v6([0x2002, 0, 0, 0], 16, "a 6to4 address", "RFC 3056, RFC 7526"),
    v6([0x3FFF, 0, 0, 0], 20, "an address for documentation", "RFC 9637"),
    v6([0x5F00, 0, 0, 0], 16, "a segment routing identifier", "RFC 9602"),
    v6([0xFC00, 0, 0, 0], 7, "a unique local address", "RFC 4193"),
    v6([0xFE80, 0, 0, 0], 10, "a link-local address", "RFC 4291"),
    v6([0xFEC0, 0, 0, 0], 10, "a site-local address", "RFC 3879"),
    v6([0xFF00, 0, 0, 0], 8, "a multicast address", "RFC 4291"),
];

/// What is left of IPv6 outside of global unicast.
const UNALLOCATED: Special = v6([0, 0, 0, 0], 0, "an address outside of global unicast", "IANA IPv6 Address Space");
const GLOBAL_UNICAST: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// The well-known prefix of NAT64 gateways (RFC 6052); the IPv4 address is in the last four bytes.
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xFF9B, 0, 0, 0, 0, 0, 0), 96);

/// Why `ip` is no address of the public internet; `None` when it is one.
pub fn special(ip: IpAddr) -> Option<&'static Special> {
    if let Some(row) = SPECIAL.iter().find(|row| row.network.contains(&ip)) {
        return Some(row);
    }
    match ip {
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            special(IpAddr::from([a, b, c, d]))
        }
        IpAddr::V6(v6) if !GLOBAL_UNICAST.contains(&v6) => Some(&UNALLOCATED),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

//! Which addresses Pulse may connect to, and for whom.
//!
//! `PULSE_OUTBOUND_ONLY` stands above everything. Below it, what the operator named in the settings is taken as it is;
//! what a customer named must be public and, unless the operator says otherwise, use TLS.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;
use url::{Host, Url};

use super::special::{Special, special};
use crate::error::{Code, Error, Result};

/// Who named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The operator, in the settings: only `PULSE_OUTBOUND_ONLY` restricts where it leads.
    Operator,
    /// A customer: a webhook's address, a LiveKit of a project's own. It must be a public one.
    Tenant,
}

/// Why an address is not connected to. The words are for whoever named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is outside of `PULSE_OUTBOUND_ONLY`.
    #[error("is an address to which Pulse does not connect")]
    OutsideOnly,
    /// It is not public, and a customer named it.
    #[error("is {} ({}), to which Pulse does not connect", .0.what, .0.source)]
    Special(&'static Special),
    /// Somebody else answered than who was connected to.
    #[error("was answered from another one")]
    OtherPeer,
    /// It does not use TLS, and a customer named it.
    #[error("must use TLS: it must begin with https:// or wss://")]
    PlainText,
    /// It holds a user name or a password.
    #[error("must not contain a user name or password")]
    Credentials,
    /// It is not of HTTP or WebSocket, or it has no host.
    #[error("must be an address of the web")]
    NotWeb,
}

impl Refusal {
    /// A stable word for it, as faults of fields have.
    pub fn code(self) -> &'static str {
        match self {
            Self::OutsideOnly | Self::Special(_) | Self::OtherPeer => "address_not_allowed",
            Self::PlainText => "https_required",
            Self::Credentials | Self::NotWeb => "invalid_url",
        }
    }
}

/// Which addresses Pulse may connect to.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    /// When set, nothing outside these networks (`PULSE_OUTBOUND_ONLY`).
    pub only: Option<Arc<[IpNet]>>,
    /// Networks that customers may name although they are not public (`PULSE_WEBHOOK_ALLOW_NETWORKS`).
    pub tenant_networks: Arc<[IpNet]>,
    /// Whether customers may name addresses without TLS (`PULSE_WEBHOOK_ALLOW_HTTP`).
    pub tenant_plain_text: bool,
}

impl AddressPolicy {
    /// Only these networks.
    pub fn only(networks: impl Into<Arc<[IpNet]>>) -> Self {
        Self { only: Some(networks.into()), ..Self::default() }
    }

    /// The same, and customers may name these networks and, if so said, addresses without TLS.
    #[must_use]
    pub fn tenants(self, networks: impl Into<Arc<[IpNet]>>, plain_text: bool) -> Self {
        Self { tenant_networks: networks.into(), tenant_plain_text: plain_text, ..self }
    }

    /// Whether Pulse may connect to the address, when the operator named it.
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.judge(ip, Trust::Operator).is_ok()
    }

    /// Whether Pulse may connect to the address. Networks are compared with the IPv4 address inside of a mapped one.
    pub fn judge(&self, ip: IpAddr, trust: Trust) -> Result<(), Refusal> {
        let inside = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&ip.to_canonical()));
        if !self.only.as_ref().is_none_or(|networks| inside(networks)) {
            return Err(Refusal::OutsideOnly);
        }
        match special(ip) {
            Some(row) if trust == Trust::Tenant && !inside(&self.tenant_networks) => Err(Refusal::Special(row)),
            Some(_) | None => Ok(()),
        }
    }

    /// What can be said of a URL before its name is resolved: its form, and its host when that is an address. A name
    /// under `localhost` is one, too (RFC 6761).
    pub fn check_url(&self, url: &Url, trust: Trust) -> Result<(), Refusal> {
        match url.scheme() {
            "https" | "wss" => {}
            "http" | "ws" if trust == Trust::Operator || self.tenant_plain_text => {}
            "http" | "ws" => return Err(Refusal::PlainText),
            _ => return Err(Refusal::NotWeb),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        match url.host() {
            None => Err(Refusal::NotWeb),
            Some(Host::Ipv4(ip)) => self.judge(ip.into(), trust),
            Some(Host::Ipv6(ip)) => self.judge(ip.into(), trust),
            Some(Host::Domain(name)) if is_localhost(name) => {
                let either = self.judge(Ipv4Addr::LOCALHOST.into(), trust);
                either.or_else(|refusal| self.judge(Ipv6Addr::LOCALHOST.into(), trust).map_err(|_| refusal))
            }
            Some(Host::Domain(_)) => Ok(()),
        }
    }

    /// Refuses a URL whose host is a literal address outside the policy: no resolver is ever asked about those.
    pub fn check_literal(&self, url: &Url) -> Result<()> {
        match self.check_url(url, Trust::Operator) {
            Err(Refusal::OutsideOnly) => Err(Self::refusal()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The error of an address outside of `PULSE_OUTBOUND_ONLY`.
    pub fn refusal() -> Error {
        Error::new(Code::Unreachable, "the address is outside PULSE_OUTBOUND_ONLY")
            .hint("Add its network to PULSE_OUTBOUND_ONLY, or use an address inside it.")
    }
}

/// Whether the name is `localhost` or under it.
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

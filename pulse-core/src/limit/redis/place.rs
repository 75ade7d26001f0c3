//! Where Redis is, from `redis://[[user]:password@]host[:port][/database]`, or `rediss://` with TLS.

use std::{fmt, net::IpAddr};

use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};
use url::{Host, Url};

use crate::outbound::AddressPolicy;

/// Where Redis is and as whom it is spoken to. Shown without user and password.
#[derive(Clone)]
pub struct RedisPlace {
    pub(super) tls: bool,
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// User, password and database.
    pub(super) login: RedisConnectionInfo,
}

impl RedisPlace {
    /// Reads a URL; `None` when it is none of Redis. Nothing that is not written above may be in it: what was ignored
    /// would look as if it held.
    pub fn parse(text: &str) -> Option<Self> {
        let url: Url = text.parse().ok()?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        if url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        // The library resolves and connects by itself where it is let: it reads the login only, and speaks.
        let plain = url.as_str().strip_prefix(url.scheme())?;
        let read = format!("redis{plain}").into_connection_info().ok()?;
        let ConnectionAddr::Tcp(host, port) = read.addr() else { return None };
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => Host::Ipv4(ip),
            Ok(IpAddr::V6(ip)) => Host::Ipv6(ip),
            Err(_) => Host::parse(host).ok()?,
        };
        let login = read.redis_settings().clone().set_skip_set_lib_name();
        (login.db() >= 0).then_some(Self { tls, host, port: *port, login })
    }

    /// Whether the policy lets Pulse connect there, as far as that can be said before a name is looked up.
    pub fn may_be_allowed(&self, policy: &AddressPolicy) -> bool {
        match &self.host {
            Host::Ipv4(ip) => policy.allows((*ip).into()),
            Host::Ipv6(ip) => policy.allows((*ip).into()),
            Host::Domain(_) => true,
        }
    }
}

impl fmt::Display for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port, login } = self;
        write!(f, "{}://{host}:{port}/{}", if *tls { "rediss" } else { "redis" }, login.db())
    }
}

impl fmt::Debug for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisPlace({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_whole_and_shown_without_its_secrets() {
        for (text, shown, user, password) in [
            ("redis://h", "redis://h:6379/0", None, None),
            ("redis://127.0.0.1:7000/3", "redis://127.0.0.1:7000/3", None, None),
            ("rediss://:p%40ss@[::1]:1/", "rediss://[::1]:1/0", None, Some("p@ss")),
            ("redis://ada:secret@redis.internal", "redis://redis.internal:6379/0", Some("ada"), Some("secret")),
        ] {
            let place = RedisPlace::parse(text).unwrap_or_else(|| panic!("{text} is refused"));
            assert_eq!(
                (place.to_string().as_str(), place.login.username(), place.login.password()),
                (shown, user, password)
            );
            assert_eq!(format!("{place:?}"), format!("RedisPlace({shown})"));
        }
        for text in [
            "http://h",
            "redis://",
            "redis:///1",
            "unix:///run/redis.sock",
            "redis+unix:///run/redis.sock",
            "redis://h/db",
            "redis://h/-1",
            "redis://h/0?protocol=resp3",
            "rediss://h/#insecure",
            "redis://0.0.0.0",
            "h:6379",
        ] {
            assert!(RedisPlace::parse(text).is_none(), "{text} is accepted");
        }
    }

    #[test]
    fn an_address_written_in_any_way_is_judged_as_that_address() {
        let only = AddressPolicy::only(vec!["10.0.0.0/8".parse().unwrap()]);
        let allowed = |text: &str| RedisPlace::parse(text).unwrap().may_be_allowed(&only);
        assert!(allowed("redis://10.1.2.3") && allowed("redis://redis.internal"));
        for text in ["redis://127.0.0.1", "redis://[::1]", "redis://0x7f000001", "redis://2130706433", "redis://127.1"]
        {
            assert!(!allowed(text), "{text}");
        }
    }
}

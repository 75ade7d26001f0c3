//! Reading one value: each parser gives the typed value or a sentence about what is wrong, and never repeats the value,
//! which may be a secret.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ipnet::IpNet;
use url::Url;

use super::{StoreLocation, table::Kind};
use crate::{
    access::pepper::MIN_PEPPER_CHARS, boot::MIN_ADMIN_TOKEN_CHARS, deliver::schedule::Schedule, limit::RedisPlace,
    secret::Secret,
};

type Parsed<T> = Result<T, String>;

/// Checks a value against its kind.
pub(super) fn check(kind: Kind, text: &str) -> Parsed<()> {
    match kind {
        Kind::Address => address(text).map(drop),
        Kind::Port => number(text, 65_535).map(drop),
        Kind::Store => store(text).map(drop),
        Kind::MongoUri => mongo(text).map(drop),
        Kind::RedisUrl => redis(text).map(drop),
        Kind::Text | Kind::Path => no_controls(text),
        Kind::Url(schemes) => url(text, schemes).map(drop),
        Kind::Switch => switch(text).map(drop),
        Kind::Seconds => positive(text, 3_600).map(drop),
        Kind::Days => positive(text, 3_650).map(drop),
        Kind::Count => positive(text, 1_000_000).map(drop),
        Kind::Networks => networks(text).map(drop),
        Kind::Names => names(text).map(drop),
        Kind::Origins => origins(text).map(drop),
        Kind::LogFilter => log_filter(text),
        Kind::KeyPairs => key_pairs(text).map(drop),
        Kind::Schedule => schedule(text).map(drop),
        Kind::Choice(words) if words.contains(&text) => Ok(()),
        Kind::Choice(words) => Err(format!("must be one of {}", words.join(", "))),
        Kind::Pepper if text.chars().count() >= MIN_PEPPER_CHARS => Ok(()),
        Kind::Pepper => Err(format!("must have at least {MIN_PEPPER_CHARS} characters")),
        Kind::MasterKey => match STANDARD.decode(text).map(|bytes| bytes.len()) {
            Ok(32) => Ok(()),
            _ => Err("must be standard base64 of 32 bytes".to_owned()),
        },
        Kind::AdminToken => {
            let long = (MIN_ADMIN_TOKEN_CHARS..=255).contains(&text.len());
            let fits = long && text.bytes().all(|byte| byte.is_ascii_graphic());
            if fits { Ok(()) } else { Err(format!("must be {MIN_ADMIN_TOKEN_CHARS} to 255 visible ASCII characters")) }
        }
    }
}

/// Elements of a list with commas between; spaces around them and empty ones do not count.
pub(super) fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|element| !element.is_empty())
}

fn no_controls(text: &str) -> Parsed<()> {
    if text.chars().any(char::is_control) { Err("must not contain control characters".to_owned()) } else { Ok(()) }
}

pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse::<u16>().map_err(|_| "must have a port after localhost:".to_owned())?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| "must be an address with a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

/// A number from 0 to `max`.
pub(super) fn number(text: &str, max: u32) -> Parsed<u32> {
    text.parse().ok().filter(|number| *number <= max).ok_or_else(|| format!("must be a number from 0 to {max}"))
}

/// A number from 1 to `max`.
pub(super) fn positive(text: &str, max: u32) -> Parsed<u32> {
    let found = number(text, max).ok().filter(|number| *number > 0);
    found.ok_or_else(|| format!("must be a number from 1 to {max}"))
}

pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

pub(super) fn url(text: &str, schemes: &[&str]) -> Parsed<Url> {
    let begin = || schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", ");
    let wanted = || format!("must be a URL that begins with {}", begin());
    let url: Url = text.parse().map_err(|_| wanted())?;
    if !schemes.contains(&url.scheme()) || url.host_str().is_none() {
        return Err(wanted());
    }
    Ok(url)
}

pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    let mut networks = Vec::new();
    for element in elements(text) {
        // The word stands for what this machine calls itself.
        let written = if element == "loopback" { "127.0.0.0/8,::1/128" } else { element };
        for network in elements(written) {
            let single = || network.parse::<IpAddr>().map(IpNet::from);
            let wrong = |_| "must be networks such as 10.0.0.0/8,::1/128, or loopback".to_owned();
            networks.push(network.parse::<IpNet>().or_else(|_| single()).map_err(wrong)?);
        }
    }
    Ok(networks)
}

pub(super) fn names(text: &str) -> Parsed<Vec<String>> {
    let name = |element: &str| {
        let fits =
            element.len() <= 64 && element.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(element.to_owned()) } else { Err("must be names of lower-case letters, digits and -".to_owned()) }
    };
    elements(text).map(name).collect()
}

pub(super) fn origins(text: &str) -> Parsed<Vec<String>> {
    let origin = |element: &str| {
        let url: Option<Url> = element.parse().ok().filter(|url: &Url| ["http", "https"].contains(&url.scheme()));
        let text = url.map(|url| url.origin().ascii_serialization());
        // A browser sends exactly this form, so anything else would never match.
        text.filter(|text| text == element)
            .ok_or_else(|| "must be exact origins such as https://app.example, without a path and never *".to_owned())
    };
    elements(text).map(origin).collect()
}

/// `KEY:SECRET` pairs. A secret may hold a colon, a key cannot.
pub(super) fn key_pairs(text: &str) -> Parsed<Vec<(String, Secret)>> {
    let pair = |element: &str| {
        let (key, secret) = element.split_once(':').filter(|(key, secret)| !key.is_empty() && !secret.is_empty())?;
        Some((key.to_owned(), Secret::new(secret)))
    };
    let pairs: Option<Vec<_>> = elements(text).map(pair).collect();
    pairs.ok_or_else(|| "must be KEY:SECRET pairs with commas between".to_owned())
}

pub(super) fn schedule(text: &str) -> Parsed<Schedule> {
    text.parse().map_err(|refused: crate::model::text::Refused| refused.0)
}

fn log_filter(text: &str) -> Parsed<()> {
    let known = |level: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].iter().any(|word| word.eq_ignore_ascii_case(level))
    };
    let all = elements(text).all(|element| known(element.split_once('=').map_or(element, |(_, level)| level)));
    if all { Ok(()) } else { Err("must be error, warn, info, debug, trace or off, or target=level pairs".to_owned()) }
}

pub(super) fn mongo(text: &str) -> Parsed<Secret> {
    if text.starts_with("mongodb://") || text.starts_with("mongodb+srv://") {
        return Ok(Secret::new(text));
    }
    Err("must begin with mongodb:// or mongodb+srv://".to_owned())
}

pub(super) fn redis(text: &str) -> Parsed<RedisPlace> {
    let form = "must be redis://user:password@host:port/database or rediss://..., with user, password, port and database as needed";
    RedisPlace::parse(text).ok_or_else(|| form.to_owned())
}

pub(super) fn store(text: &str) -> Parsed<StoreLocation> {
    if matches!(text, "memory:" | "memory" | "memory://") {
        return Ok(StoreLocation::Memory);
    }
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.is_empty() {
            Err("has no path after sqlite:".to_owned())
        } else {
            Ok(StoreLocation::Sqlite(PathBuf::from(path)))
        };
    }
    let uri = mongo(text).map_err(|_| "must be sqlite:PATH, memory:, mongodb://... or mongodb+srv://...".to_owned())?;
    Ok(StoreLocation::Mongo { uri, database: None })
}

/// A URL without what may be a secret in it: user and password, and the values of its query. A password that is not
/// encoded may hold any character, so everything before the last `@` is taken for it. What has no `://` is no URL and stays
/// as it is.
pub fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (credentials, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("<set>@", rest));
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let hidden = |pair: &str| pair.split_once('=').map_or_else(|| pair.to_owned(), |(name, _)| format!("{name}=<set>"));
    let query = query.map(|query| format!("?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&")));
    format!("{scheme}://{credentials}{place}{}", query.unwrap_or_default())
}

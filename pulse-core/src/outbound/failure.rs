//! Why a request got no answer, in stable words: schedules, breakers, metrics and people who look at an attempt go by
//! them. Nothing here repeats a secret or the other side's bytes.

use std::{error::Error as StdError, fmt, io, net::SocketAddr};

use http::StatusCode;

use super::policy::Refusal;

/// How far an exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connecting, TLS included.
    Connect,
    /// Sending the request and waiting for the head of the answer.
    Headers,
    /// Reading the body of the answer.
    Body,
}

/// What a look-up of a name came to, when not to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// There is no such name, or it has no address.
    #[error("the name does not exist or has no address")]
    NoSuchName,
    /// The name servers failed or could not be asked.
    #[error("the name server failed")]
    ServerFailed,
    /// No answer came in time.
    #[error("the name server did not answer in time")]
    TimedOut,
}

/// What TLS ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate is of a time that is over or not yet there.
    Expired,
    /// The certificate is for other names.
    WrongName,
    /// The certificate is signed by nobody whom this machine trusts, or is not what it should be.
    BadCertificate,
    /// No TLS came about.
    Handshake,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Pulse does not connect to that address.
    RefusedAddress(Refusal),
    /// The address is none that Pulse sends to.
    BadUrl(Refusal),
    /// The host's name led to no address.
    Resolve(Unresolved),
    /// Nobody accepted the connection.
    Connect,
    /// The connection was accepted, but TLS failed.
    Tls(TlsFault),
    /// Time was over.
    Timeout(Phase),
    /// The other side ended the connection before its answer was whole.
    Reset,
    /// What came was not an answer of HTTP/1.1, or had too many or too large headers.
    Protocol,
    /// This machine could not try: no descriptors or ports are left, or it has no certificates to trust. It says nothing
    /// about the other side.
    Local,
}

impl FailureKind {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::RefusedAddress(_) => "refused_address",
            Self::BadUrl(_) => "bad_url",
            Self::Resolve(_) => "resolve",
            Self::Connect => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout(_) => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for FailureKind {
    /// A sentence without a subject about the other side.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RefusedAddress(refusal) | Self::BadUrl(refusal) => write!(f, "the address {refusal}"),
            Self::Resolve(why) => write!(f, "{why}"),
            Self::Connect => f.write_str("the connection was not accepted"),
            Self::Tls(TlsFault::Expired) => f.write_str("the certificate has expired or is not valid yet"),
            Self::Tls(TlsFault::WrongName) => f.write_str("the certificate is for another name"),
            Self::Tls(TlsFault::BadCertificate) => f.write_str("the certificate is not trusted"),
            Self::Tls(TlsFault::Handshake) => f.write_str("the TLS handshake failed"),
            Self::Timeout(Phase::Connect) => f.write_str("no connection was made in time"),
            Self::Timeout(Phase::Headers) => f.write_str("no answer began in time"),
            Self::Timeout(Phase::Body) => f.write_str("the answer did not end in time"),
            Self::Reset => f.write_str("the connection ended before the answer was whole"),
            Self::Protocol => f.write_str("the answer is not valid HTTP/1.1"),
            Self::Local => f.write_str("this machine could not make the connection"),
        }
    }
}

/// An exchange without a usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct SendFailure {
    /// Why.
    pub kind: FailureKind,
    /// Whether any byte of the request left this process. While none did, the request may be sent again without doing
    /// anything twice.
    pub bytes_written: bool,
    /// To whom the connection was made, if it was.
    pub peer: Option<SocketAddr>,
    /// The status, when the answer broke off after it.
    pub status: Option<StatusCode>,
}

impl SendFailure {
    /// A failure before anything was connected.
    pub(super) fn unconnected(kind: FailureKind) -> Self {
        Self { kind, bytes_written: false, peer: None, status: None }
    }

    /// A failure of a connection before any request was written to it.
    pub(super) fn unsent(kind: FailureKind, peer: SocketAddr) -> Self {
        Self { peer: Some(peer), ..Self::unconnected(kind) }
    }
}

impl From<Refusal> for FailureKind {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::OutsideOnly | Refusal::Special(_) | Refusal::OtherPeer => Self::RefusedAddress(refusal),
            Refusal::PlainText | Refusal::Credentials | Refusal::NotWeb => Self::BadUrl(refusal),
        }
    }
}

/// What a failed attempt to connect says: something about this machine, or about the other side. Where IPv6 is switched off
/// (`disable_ipv6`), no address of it can be had: that is how it is here, as where there is no route, and not a want of
/// ports, which is what the same error says of IPv4.
pub(super) fn of_connect(error: &io::Error, to: SocketAddr) -> FailureKind {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => FailureKind::Local,
        Some(Errno::ADDRNOTAVAIL) if to.is_ipv4() => FailureKind::Local,
        Some(_) | None => FailureKind::Connect,
    }
}

/// What an error of the TLS handshake says.
pub(super) fn of_tls(error: &io::Error) -> FailureKind {
    use rustls::{CertificateError as Bad, Error as Tls};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
    FailureKind::Tls(match inner {
        Some(Tls::InvalidCertificate(bad)) => match bad {
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                TlsFault::Expired
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => TlsFault::WrongName,
            _ => TlsFault::BadCertificate,
        },
        Some(Tls::NoCertificatesPresented) => TlsFault::BadCertificate,
        Some(_) | None => TlsFault::Handshake,
    })
}

/// What an error of the HTTP connection says. An error of the connection below, TLS included, is an end before its time.
pub(super) fn of_http(error: &hyper::Error) -> FailureKind {
    let broken = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    // The decoder of chunked bodies reports what it cannot read as an error of the connection.
    let unreadable = broken.is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
            && error.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>())
    });
    if error.is_parse() || error.is_user() || unreadable { FailureKind::Protocol } else { FailureKind::Reset }
}

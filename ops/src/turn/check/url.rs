//! STUN and TURN URIs (RFC 7064, RFC 7065).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use chappe_proto::turn::Transport;
use rustls::pki_types::DnsName;

/// The port of `stun:` and `turn:` where none is given (RFC 7065 section 3.1).
const PORT: u16 = 3478;
/// The port of `stuns:` and `turns:` where none is given.
const SECURE_PORT: u16 = 5349;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name to look up.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A STUN or TURN URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// It names a relay, rather than a STUN server alone.
    pub(super) turn: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) transport: Transport,
}

/// Why a text is no such URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadUrl {
    #[error("begins with none of stun:, stuns:, turn:, turns:")]
    Scheme,
    #[error("has // after the scheme: browsers take turn:HOST:PORT only (RFC 7065)")]
    Slashes,
    #[error("has no host")]
    NoHost,
    #[error("{0:?} is no host name")]
    Host(String),
    #[error("{0:?} is no IPv6 address in brackets, as in turn:[2001:db8::1]:3478")]
    Ipv6(String),
    #[error("{0:?} is no port (1 to 65535)")]
    Port(String),
    #[error("{0:?} is neither transport=udp nor transport=tcp")]
    Query(String),
    #[error("a stun: URI takes no ?transport= (RFC 7064)")]
    StunQuery,
    #[error("has a user in it: browsers refuse that; give --user and --password-file")]
    User,
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text.trim().split_once(':').ok_or(BadUrl::Scheme)?;
        let (turn, secure) = match scheme.to_ascii_lowercase().as_str() {
            "stun" => (false, false),
            "stuns" => (false, true),
            "turn" => (true, false),
            "turns" => (true, true),
            _ => return Err(BadUrl::Scheme),
        };
        if rest.starts_with("//") {
            return Err(BadUrl::Slashes);
        }
        if rest.contains('@') {
            return Err(BadUrl::User);
        }
        let (authority, query) = rest.split_once('?').map_or((rest, None), |(at, query)| (at, Some(query)));
        let transport = match (query.map(str::to_ascii_lowercase).as_deref(), secure) {
            (Some(_), _) if !turn => return Err(BadUrl::StunQuery),
            // RFC 7065 section 3.1: without one, UDP; and TCP for turns:, which is TLS.
            (None | Some("transport=udp"), false) => Transport::Udp,
            (Some("transport=tcp"), false) => Transport::Tcp,
            (None | Some("transport=tcp"), true) => Transport::Tls,
            (Some("transport=udp"), true) => Transport::Dtls,
            (Some(query), _) => return Err(BadUrl::Query(query.to_owned())),
        };
        let (host, port) = split(authority)?;
        let port = match port {
            None => [PORT, SECURE_PORT][usize::from(secure)],
            Some(port) => port
                .parse()
                .ok()
                .filter(|number| *number != 0)
                .ok_or_else(|| BadUrl::Port(port.to_owned()))?,
        };
        Ok(Self { turn, host, port, transport })
    }
}

fn split(authority: &str) -> Result<(Host, Option<&str>), BadUrl> {
    if let Some(rest) = authority.strip_prefix('[') {
        let bad = || BadUrl::Ipv6(authority.to_owned());
        let (ip, after) = rest.split_once(']').ok_or_else(bad)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| bad())?;
        return match after {
            "" => Ok((Host::Ip(ip.into()), None)),
            _ => Ok((Host::Ip(ip.into()), Some(after.strip_prefix(':').ok_or_else(bad)?))),
        };
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Err(BadUrl::Ipv6(authority.to_owned()));
    }
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    if host.is_empty() {
        return Err(BadUrl::NoHost);
    }
    let host = match host.parse() {
        Ok(ip) => Host::Ip(IpAddr::V4(ip)),
        Err(_) if DnsName::try_from(host).is_ok() => Host::Name(host.to_ascii_lowercase()),
        Err(_) => return Err(BadUrl::Host(host.to_owned())),
    };
    Ok((host, port))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = self.transport.is_secure();
        let scheme = match (self.turn, secure) {
            (false, false) => "stun",
            (false, true) => "stuns",
            (true, false) => "turn",
            (true, true) => "turns",
        };
        write!(f, "{scheme}:{}:{}", self.host, self.port)?;
        if self.turn {
            let stream = if self.transport.is_stream() { "tcp" } else { "udp" };
            write!(f, "?transport={stream}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Url {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn defaults_are_those_of_rfc_7065() {
        for (text, port, transport) in [
            ("stun:example.org", 3478, Transport::Udp),
            ("stuns:example.org", 5349, Transport::Tls),
            ("turn:example.org", 3478, Transport::Udp),
            ("turn:example.org?transport=tcp", 3478, Transport::Tcp),
            ("turns:example.org", 5349, Transport::Tls),
            ("turns:example.org:443?transport=tcp", 443, Transport::Tls),
            ("turns:example.org?transport=udp", 5349, Transport::Dtls),
            ("TURN:Example.org?transport=UDP", 3478, Transport::Udp),
        ] {
            let url = parse(text);
            assert_eq!((url.port, url.transport), (port, transport), "{text}");
            assert_eq!(url.host, Host::Name("example.org".to_owned()), "{text}");
            assert_eq!(parse(&url.to_string()), url, "{url}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(parse("turn:192.0.2.1:80").host, Host::Ip("192.0.2.1".parse().unwrap()));
        let url = parse("turns:[2001:db8::1]:443");
        assert_eq!((url.host.clone(), url.port), (Host::Ip("2001:db8::1".parse().unwrap()), 443));
        assert_eq!(url.to_string(), "turns:[2001:db8::1]:443?transport=tcp");
        assert_eq!(parse("stun:[::1]").port, 3478);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("example.org", BadUrl::Scheme),
            ("http://example.org", BadUrl::Scheme),
            ("turn://example.org", BadUrl::Slashes),
            ("turn:", BadUrl::NoHost),
            ("turn::3478", BadUrl::NoHost),
            ("turn:a b", BadUrl::Host("a b".to_owned())),
            ("turn:2001:db8::1", BadUrl::Ipv6("2001:db8::1".to_owned())),
            ("turn:[2001:db8::1", BadUrl::Ipv6("[2001:db8::1".to_owned())),
            ("turn:[::1]3478", BadUrl::Ipv6("[::1]3478".to_owned())),
            ("turn:example.org:0", BadUrl::Port("0".to_owned())),
            ("turn:example.org:70000", BadUrl::Port("70000".to_owned())),
            ("turn:example.org?transport=sctp", BadUrl::Query("transport=sctp".to_owned())),
            ("stun:example.org?transport=udp", BadUrl::StunQuery),
            ("turn:user:pass@example.org", BadUrl::User),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text}");
        }
    }
}

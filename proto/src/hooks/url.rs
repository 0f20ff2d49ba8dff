//! Where requests may go: the forms of URLs that are taken, and the addresses that are not special.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::limits::HOOK_URL_MAX;
use crate::turn;

/// Why a text is no URL of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Longer than [`HOOK_URL_MAX`].
    #[error("a URL has at most {HOOK_URL_MAX} bytes")]
    TooLong,
    /// Not of these schemes.
    #[error("a URL begins with https:// (http:// goes to this machine alone, as http://127.0.0.1:9000/hook)")]
    Scheme,
    /// Characters that a URL has none of.
    #[error(
        "a URL is of printable ASCII characters without spaces, quotes or `\\`; others are written as %XX"
    )]
    Characters,
    /// With a user or a fragment.
    #[error("a URL here has neither a user (`name@`) nor a fragment (`#…`)")]
    Parts,
    /// Without a host, or with one that is none.
    #[error("a URL has a host: a name, an IPv4 address or an IPv6 address in brackets")]
    Host,
    /// A port that is none.
    #[error("a port is a number from 1 to 65535")]
    Port,
}

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// Whether it is of HTTPS.
    pub secure: bool,
    /// A name, or an address without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// Host and port as the URL has them.
    pub authority: &'a str,
    /// Path and query, with the slash that it begins with where the URL has one.
    pub path: &'a str,
}

impl<'a> Target<'a> {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// [`BadUrl`] says what is wrong with it.
    pub fn of(url: &'a str) -> Result<Self, BadUrl> {
        if url.len() > HOOK_URL_MAX {
            return Err(BadUrl::TooLong);
        }
        if url.bytes().any(|b| !b.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&b)) {
            return Err(BadUrl::Characters);
        }
        let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(BadUrl::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') || path.contains('#') {
            return Err(BadUrl::Parts);
        }
        let (host, port) = if let Some(inside) = authority.strip_prefix('[') {
            let (host, after) = inside.split_once(']').ok_or(BadUrl::Host)?;
            let ip: IpAddr = host.parse().map_err(|_| BadUrl::Host)?;
            (Some(host).filter(|_| ip.is_ipv6()).ok_or(BadUrl::Host)?, after)
        } else {
            let colon = authority.find(':').unwrap_or(authority.len());
            authority.split_at(colon)
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if host.is_empty() || !host.bytes().all(named) {
            return Err(BadUrl::Host);
        }
        let port = match port.strip_prefix(':') {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port > 0).ok_or(BadUrl::Port)?
            }
            None if port.is_empty() => {
                if secure {
                    443
                } else {
                    80
                }
            }
            _ => return Err(BadUrl::Port),
        };
        let target = Self { secure, host, port, authority, path };
        if !secure && !target.is_this_machine() {
            return Err(BadUrl::Scheme);
        }
        Ok(target)
    }

    /// Whether it names this machine: `localhost`, or an address of loopback.
    #[must_use]
    pub fn is_this_machine(&self) -> bool {
        let loops = self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        loops || self.host.eq_ignore_ascii_case("localhost")
    }
}

/// Whether a request may go to this address: each form of it ([`turn::forms`]) neither special-purpose nor one of the
/// cluster's own, unless the operator allows it.
#[must_use]
pub fn may_reach(ip: IpAddr, allow: &[IpNet], is_own: &dyn Fn(IpAddr) -> bool) -> bool {
    turn::forms(ip).into_iter().flatten().all(|form| {
        let guarded = turn::is_special(form) || is_own(form);
        !guarded || allow.iter().any(|net| net.contains(&form))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let of = |url| Target::of(url).unwrap();
        let plain = of("https://example.org");
        assert_eq!((plain.host, plain.port, plain.path, plain.secure), ("example.org", 443, "", true));
        let whole = of("https://a.example.org:8443/hook?key=1&b=%20");
        assert_eq!((whole.host, whole.port), ("a.example.org", 8443));
        assert_eq!((whole.authority, whole.path), ("a.example.org:8443", "/hook?key=1&b=%20"));
        assert_eq!(of("https://example.org?x").path, "?x");
        assert_eq!(
            (of("https://[2001:db8::1]:9/").host, of("https://[2001:db8::1]/").port),
            ("2001:db8::1", 443)
        );
        for here in ["http://127.0.0.1:9000/", "http://localhost", "http://[::1]:9/x", "http://LocalHost:1"] {
            assert!(of(here).is_this_machine(), "{here}");
        }
    }

    #[test]
    fn other_texts_are_refused_for_what_they_are() {
        for (url, why) in [
            ("", BadUrl::Scheme),
            ("example.org/hook", BadUrl::Scheme),
            ("ftp://example.org", BadUrl::Scheme),
            ("HTTPS://example.org", BadUrl::Scheme),
            ("http://example.org/hook", BadUrl::Scheme),
            ("http://10.0.0.1/", BadUrl::Scheme),
            ("http://127.0.0.1.example.org/", BadUrl::Scheme),
            ("https://", BadUrl::Host),
            ("https:///hook", BadUrl::Host),
            ("https://:443/", BadUrl::Host),
            ("https://[::1/", BadUrl::Host),
            ("https://[127.0.0.1]/", BadUrl::Host),
            ("https://a,b/", BadUrl::Host),
            ("https://a:b@example.org/", BadUrl::Parts),
            ("https://example.org/#x", BadUrl::Parts),
            ("https://example.org#x", BadUrl::Parts),
            ("https://example.org:0/", BadUrl::Port),
            ("https://example.org:/", BadUrl::Port),
            ("https://example.org:65536/", BadUrl::Port),
            ("https://example.org:+1/", BadUrl::Port),
            ("https://example.org:80:80/", BadUrl::Port),
            ("https://[::1]x/", BadUrl::Port),
            ("https://example.org/a b", BadUrl::Characters),
            ("https://example.org/\r\nX: y", BadUrl::Characters),
            ("https://exämple.org/", BadUrl::Characters),
        ] {
            assert_eq!(Target::of(url), Err(why), "{url}");
        }
        let long = |n: usize| format!("https://a/{}", "x".repeat(n - 10));
        assert!(Target::of(&long(HOOK_URL_MAX)).is_ok());
        assert_eq!(Target::of(&long(HOOK_URL_MAX + 1)), Err(BadUrl::TooLong));
    }

    #[test]
    fn special_addresses_and_the_clusters_own_need_an_allowance() {
        let own = |ip: IpAddr| ip == "9.9.9.9".parse::<IpAddr>().unwrap();
        let may = |ip: &str, allow: &[&str]| {
            let allow: Vec<IpNet> = allow.iter().map(|net| net.parse().unwrap()).collect();
            may_reach(ip.parse().unwrap(), &allow, &own)
        };
        for ip in [
            "0.0.0.0",
            "127.0.0.1",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::7f00:1",
            "2002:7f00:1::",
            "fd00::1",
            "fe80::1",
            "224.0.0.1",
            "255.255.255.255",
            "9.9.9.9",
            "64:ff9b::9.9.9.9",
        ] {
            assert!(!may(ip, &[]), "{ip}");
        }
        for ip in ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"] {
            assert!(may(ip, &[]), "{ip}");
        }
        assert!(may("127.0.0.1", &["127.0.0.0/8"]) && may("10.1.2.3", &["10.1.0.0/16"]));
        assert!(!may("10.2.2.3", &["10.1.0.0/16"]) && !may("::1", &["127.0.0.0/8"]));
        assert!(!may("::ffff:127.0.0.1", &["::/0"]), "each form needs one");
        assert!(may("9.9.9.9", &["9.9.9.9/32"]));
    }
}

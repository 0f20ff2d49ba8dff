//! Who is asking, behind reverse proxies.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use ipnet::IpNet;

/// Whether a connection came by TLS, whoever decrypted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Secured(pub(super) bool);

/// Whether the client's connection is HTTPS: the connection itself, or by the word of a trusted proxy's
/// `X-Forwarded-Proto`. What decides whether a cookie may be `Secure`, and the scheme of URLs in answers.
pub fn is_secure(request: &HttpRequest, trusted: &[IpNet]) -> bool {
    let forwarded = || {
        let peer = request.peer_addr()?.ip().to_canonical();
        let by_proxy = trusted.iter().any(|net| net.contains(&peer));
        by_proxy.then(|| request.headers().get("x-forwarded-proto")?.to_str().ok()).flatten()
    };
    request.conn_data::<Secured>().is_some_and(|secured| secured.0)
        || forwarded().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// The client's address: the connection's own, unless that is a trusted proxy; then the last address
/// of `X-Forwarded-For` that is not one. What a stranger writes there is never believed.
pub fn client_ip(request: &HttpRequest, trusted: &[IpNet]) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let forwarded = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    resolve(peer, &forwarded.collect::<Vec<_>>().join(","), trusted)
}

/// Where a request of the admin API comes from.
pub fn asker(request: &HttpRequest, trusted: &[IpNet]) -> chappe_admin::Asker {
    chappe_admin::Asker { ip: client_ip(request, trusted), secure: is_secure(request, trusted) }
}

fn resolve(peer: IpAddr, forwarded: &str, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut client = peer.to_canonical();
    for hop in forwarded.rsplit(',') {
        if !is_trusted(&client) {
            break;
        }
        let Ok(next) = hop.trim().trim_matches(['[', ']']).parse::<IpAddr>() else { break };
        client = next.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let case = |peer, header| resolve(ip(peer), header, &trusted);
        assert_eq!(case("198.51.100.1", "1.2.3.4"), ip("198.51.100.1"));
        assert_eq!(case("10.0.0.1", "1.2.3.4"), ip("1.2.3.4"));
        assert_eq!(case("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2"), ip("1.2.3.4"));
        assert_eq!(case("::ffff:10.0.0.1", "2001:db8::1"), ip("2001:db8::1"));
        assert_eq!(case("10.0.0.1", "nonsense"), ip("10.0.0.1"));
    }
}

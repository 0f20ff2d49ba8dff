//! `iceServers` for one session: URLs of the chosen edges, and a credential that names the session.

use super::EdgeStatus;
use crate::http::PROBE_PATH;
use crate::id::SessionId;
use crate::mesh::uplink::{Listener, Secret};
use crate::signal::frame::{EdgeOffer, IceServer};
use crate::time::Unix;
use crate::turn::{Transport, password};

/// URLs of one edge at most: each TURN URL is an allocation of every connection.
pub const URLS_PER_EDGE: usize = 3;

/// The port that firewalls let out where they let nothing else.
const PORT_OF_FIREWALLS: u16 = 443;

/// What a client is offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceOffer {
    /// For `RTCConfiguration.iceServers`.
    pub servers: Vec<IceServer>,
    /// The same edges, to be measured.
    pub edges: Vec<EdgeOffer>,
}

impl IceOffer {
    /// Of these edges, best first, with a credential that is good until `expiry`. Of those `to_measure` no server is
    /// handed out; the edges to use lead the edges to measure, in the same order.
    #[must_use]
    pub fn new(
        edges: &[&EdgeStatus],
        to_measure: &[&EdgeStatus],
        secret: &Secret,
        session: SessionId,
        expiry: Unix,
    ) -> Self {
        let (username, credential) = credential(secret, &session.to_string(), expiry);
        let mut offer = Self::default();
        for edge in edges {
            offer.servers.push(IceServer {
                urls: turn_urls(&edge.listeners),
                username: Some(username.clone()),
                credential: Some(credential.clone()),
            });
        }
        let others = to_measure.iter().filter(|status| !edges.iter().any(|edge| edge.edge == status.edge));
        offer.edges = edges.iter().chain(others).map(|edge| EdgeOffer::from(*edge)).collect();
        offer
    }
}

impl From<&EdgeStatus> for EdgeOffer {
    fn from(edge: &EdgeStatus) -> Self {
        Self {
            edge: edge.edge.clone(),
            region: edge.region.clone(),
            urls: stun_urls(&edge.listeners),
            probe: if edge.timed { probe_url(&edge.listeners) } else { None },
        }
    }
}

/// A time-limited credential of the TURN REST convention (draft-uberti-behave-turn-rest-00): the
/// username is `expiry:name`, the password base64 of its HMAC-SHA1 under the shared secret.
#[must_use]
pub fn credential(secret: &Secret, name: &str, expiry: Unix) -> (String, String) {
    let username = format!("{}:{name}", expiry.secs());
    let credential = password(secret, &username);
    (username, credential)
}

/// The `stun:` URLs of an edge's listeners; one is enough to measure it.
#[must_use]
pub fn stun_urls(listeners: &[Listener]) -> Vec<String> {
    listeners.iter().filter_map(stun_url).take(1).collect()
}

/// The `turn:` and `turns:` URLs of an edge that browsers are handed, at most [`URLS_PER_EDGE`]: each is an
/// allocation on each of a client's networks, so there is one of each way to get through, in the order in
/// which a client does well to use them.
///
/// 1. TURN over UDP, which costs a call nothing. A client asks the same address for its server-reflexive
///    candidate (libwebrtc makes a STUN server of every TURN server over UDP; RFC 8656 section 7.2 has it in the
///    answer to an Allocate), so a `stun:` URL of its own would only cost a place.
/// 2. TURN over TCP, for networks that drop UDP; it needs no certificate that the client must trust.
/// 3. TURN over TLS, for networks that let nothing but 443 out.
///
/// Of several listeners of one transport the one with a hostname goes first, since a name leads clients of
/// either family to an address of theirs; then, of streams, port 443, which firewalls let out where they
/// let nothing else; then the order of the configuration. Where a transport is missing, its place goes to the
/// next listener of another one: the other family's, where there are no hostnames.
///
/// DTLS (`turns:…?transport=udp`) is for other clients: no browser speaks it.
#[must_use]
pub fn turn_urls(listeners: &[Listener]) -> Vec<String> {
    let of = |transport| {
        let mut all: Vec<&Listener> = listeners.iter().filter(|one| one.transport == transport).collect();
        all.sort_by_key(|one| {
            (one.hostname.is_none(), one.transport.is_stream() && one.address.port() != PORT_OF_FIREWALLS)
        });
        all
    };
    let ways = [Transport::Udp, Transport::Tcp, Transport::Tls].map(of);
    let most = ways.iter().map(Vec::len).max().unwrap_or(0);
    let mut urls = Vec::new();
    for nth in 0..most {
        for listener in ways.iter().filter_map(|way| way.get(nth)) {
            let url = turn_url(listener);
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    urls.truncate(URLS_PER_EDGE);
    urls
}

/// The URL of a listener, as RFC 7065 section 3.1 writes it.
#[must_use]
pub fn turn_url(listener: &Listener) -> String {
    let scheme = if listener.transport.is_secure() { "turns" } else { "turn" };
    let transport = if listener.transport.is_stream() { "tcp" } else { "udp" };
    format!("{scheme}:{}?transport={transport}", authority(listener))
}

/// The URL that pages time where STUN tells them nothing: of a TLS listener with a hostname, 443 before others. A
/// listener whose certificate browsers refuse is none that is handed out.
#[must_use]
pub fn probe_url(listeners: &[Listener]) -> Option<String> {
    let of = |listener: &&Listener| listener.transport == Transport::Tls && listener.hostname.is_some();
    let listener =
        listeners.iter().filter(of).min_by_key(|listener| listener.address.port() != PORT_OF_FIREWALLS)?;
    Some(format!("https://{}{PROBE_PATH}", authority(listener)))
}

fn stun_url(listener: &Listener) -> Option<String> {
    (listener.transport == Transport::Udp).then(|| format!("stun:{}", authority(listener)))
}

fn authority(listener: &Listener) -> String {
    match &listener.hostname {
        Some(hostname) => format!("{hostname}:{}", listener.address.port()),
        None => listener.address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{EdgeId, Region};

    fn listener(transport: Transport, address: &str, hostname: Option<&str>) -> Listener {
        Listener { transport, address: address.parse().unwrap(), hostname: hostname.map(str::to_owned) }
    }

    #[test]
    fn one_url_for_each_way_to_get_through() {
        use Transport::{Dtls, Tcp, Tls, Udp};
        let name = Some("turn.example");
        let all = [
            listener(Dtls, "192.0.2.1:5349", name),
            listener(Tls, "192.0.2.1:5349", name),
            listener(Tls, "192.0.2.1:443", name),
            listener(Tcp, "192.0.2.1:3478", name),
            listener(Udp, "192.0.2.1:3478", name),
            listener(Udp, "192.0.2.1:443", name),
        ];
        let expected = [
            "turn:turn.example:3478?transport=udp",
            "turn:turn.example:3478?transport=tcp",
            "turns:turn.example:443?transport=tcp",
        ];
        assert_eq!(turn_urls(&all), expected);
        assert_eq!(turn_urls(&all[..1]), Vec::<String>::new(), "no browser speaks DTLS");
    }

    #[test]
    fn both_families_where_a_name_says_both_or_a_place_is_free() {
        use Transport::{Tcp, Tls, Udp};
        let both = [
            listener(Udp, "192.0.2.1:3478", None),
            listener(Udp, "[2001:db8::1]:3478", None),
            listener(Tls, "192.0.2.1:443", Some("turn.example")),
            listener(Tls, "[2001:db8::1]:443", Some("turn.example")),
        ];
        let expected = [
            "turn:192.0.2.1:3478?transport=udp",
            "turns:turn.example:443?transport=tcp",
            "turn:[2001:db8::1]:3478?transport=udp",
        ];
        assert_eq!(turn_urls(&both), expected);
        let named =
            [listener(Tcp, "192.0.2.1:443", None), listener(Tcp, "192.0.2.1:3478", Some("turn.example"))];
        let expected = ["turn:turn.example:3478?transport=tcp", "turn:192.0.2.1:443?transport=tcp"];
        assert_eq!(turn_urls(&named), expected);
    }

    #[test]
    fn pages_time_what_has_a_certificate_for_a_name() {
        use Transport::{Dtls, Tls, Udp};
        let name = Some("turn.example");
        let all = [
            listener(Udp, "192.0.2.1:3478", name),
            listener(Dtls, "192.0.2.1:5349", name),
            listener(Tls, "192.0.2.1:8443", None),
            listener(Tls, "192.0.2.1:5349", name),
            listener(Tls, "192.0.2.1:443", Some("other.example")),
        ];
        assert_eq!(probe_url(&all[..3]), None);
        assert_eq!(probe_url(&all[..4]).unwrap(), "https://turn.example:5349/chappe/probe");
        assert_eq!(probe_url(&all).unwrap(), "https://other.example:443/chappe/probe");
        let (edge, region) = (EdgeId::new("e").unwrap(), Region::new("r").unwrap());
        let old = EdgeStatus::new(edge, region, all.to_vec());
        assert_eq!(EdgeOffer::from(&old).probe, None, "a release that answers no HTTP");
        assert!(EdgeOffer::from(&EdgeStatus { timed: true, ..old }).probe.is_some());
    }

    #[test]
    fn urls_and_credential() {
        let listeners = vec![
            listener(Transport::Udp, "[2001:db8::1]:3478", None),
            listener(Transport::Tcp, "192.0.2.1:3478", Some("turn.example")),
        ];
        let region = Region::new("r").unwrap();
        let edge = EdgeStatus::new(EdgeId::new("e").unwrap(), region.clone(), listeners.clone());
        let other = EdgeStatus::new(EdgeId::new("f").unwrap(), region, listeners);
        let session = SessionId::from_random([0; 15]);
        let secret = Secret(b"secret".to_vec());
        let offer = IceOffer::new(&[&edge], &[&edge, &other], &secret, session, Unix::from_secs(4600));
        assert_eq!(
            offer.servers[0].urls,
            ["turn:[2001:db8::1]:3478?transport=udp", "turn:turn.example:3478?transport=tcp"]
        );
        assert_eq!(offer.edges[0].urls, ["stun:[2001:db8::1]:3478"]);
        let names: Vec<_> = offer.edges.iter().map(|edge| edge.edge.as_str()).collect();
        assert_eq!((names, offer.servers.len()), (vec!["e", "f"], 1));
        assert_eq!(offer.servers[0].username.as_deref(), Some(format!("4600:{session}").as_str()));
        // As `printf '1433895918:user' | openssl dgst -sha1 -hmac secret -binary | base64` prints it.
        let (username, password) = credential(&secret, "user", Unix::from_secs(1_433_895_918));
        assert_eq!(
            (username.as_str(), password.as_str()),
            ("1433895918:user", "duY86vsmGEXM+Ma7pGS//SXJIv0=")
        );
    }
}

//! `iceServers` for one session: URLs of the chosen edges, and a credential that names the session.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::EdgeStatus;
use crate::id::{EdgeId, SessionId};
use crate::limits::CREDENTIAL_TTL;
use crate::mesh::uplink::{Listener, Secret};
use crate::signal::frame::{EdgeOffer, IceServer};
use crate::time::Unix;
use crate::turn::Transport;

/// URLs of one edge at most (DESIGN.md 6): each TURN URL is an allocation of every connection.
pub const URLS_PER_EDGE: usize = 3;

/// What a client is offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceOffer {
    /// For `RTCConfiguration.iceServers`.
    pub servers: Vec<IceServer>,
    /// The same edges, to be measured.
    pub edges: Vec<EdgeOffer>,
}

impl IceOffer {
    /// Of these edges, best first, with a credential good from `now` for [`CREDENTIAL_TTL`].
    #[must_use]
    pub fn new(edges: &[&EdgeStatus], secret: &Secret, session: SessionId, now: Unix) -> Self {
        let (username, credential) = credential(secret, &session.to_string(), now + CREDENTIAL_TTL);
        let mut offer = Self::default();
        for edge in edges {
            offer.servers.push(IceServer {
                urls: urls(&edge.listeners),
                username: Some(username.clone()),
                credential: Some(credential.clone()),
            });
            offer.edges.push(EdgeOffer {
                edge: edge.edge.clone(),
                region: edge.region.clone(),
                urls: stun_urls(&edge.listeners),
            });
        }
        offer
    }

    /// Whether the edge is among those offered.
    #[must_use]
    pub fn has(&self, edge: &EdgeId) -> bool {
        self.edges.iter().any(|offered| offered.edge == *edge)
    }
}

/// A time-limited credential of the TURN REST convention (draft-uberti-behave-turn-rest-00): the
/// username is `expiry:name`, the password base64 of its HMAC-SHA1 under the shared secret.
#[must_use]
pub fn credential(secret: &Secret, name: &str, expiry: Unix) -> (String, String) {
    let username = format!("{}:{name}", expiry.secs());
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&secret.0) else {
        return (username, String::new()); // HMAC takes keys of any length
    };
    mac.update(username.as_bytes());
    (username, BASE64.encode(&mac.finalize().into_bytes()))
}

/// The `stun:` URLs of an edge's listeners; one is enough to measure it.
#[must_use]
pub fn stun_urls(listeners: &[Listener]) -> Vec<String> {
    listeners.iter().filter_map(stun_url).take(1).collect()
}

fn urls(listeners: &[Listener]) -> Vec<String> {
    let stun = stun_urls(listeners).into_iter();
    let mut of = [Transport::Udp, Transport::Tcp]
        .into_iter()
        .filter_map(|transport| listeners.iter().find(|listener| listener.transport == transport));
    let turn = of.by_ref().map(|listener| {
        let scheme = if listener.transport.is_secure() { "turns" } else { "turn" };
        let transport = if listener.transport.is_stream() { "tcp" } else { "udp" };
        format!("{scheme}:{}?transport={transport}", authority(listener))
    });
    stun.chain(turn).take(URLS_PER_EDGE).collect()
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
    use crate::id::Region;

    #[test]
    fn urls_and_credential() {
        let listener = |transport, address: &str, hostname: Option<&str>| Listener {
            transport,
            address: address.parse().unwrap(),
            hostname: hostname.map(str::to_owned),
        };
        let edge = EdgeStatus {
            edge: EdgeId::new("e").unwrap(),
            region: Region::new("r").unwrap(),
            listeners: vec![
                listener(Transport::Udp, "[2001:db8::1]:3478", None),
                listener(Transport::Tcp, "192.0.2.1:3478", Some("turn.example")),
            ],
            available: true,
            load: 0.0,
        };
        let session = SessionId::from_random([0; 15]);
        let secret = Secret(b"secret".to_vec());
        let offer = IceOffer::new(&[&edge], &secret, session, Unix::from_secs(1000));
        assert_eq!(
            offer.servers[0].urls,
            [
                "stun:[2001:db8::1]:3478",
                "turn:[2001:db8::1]:3478?transport=udp",
                "turn:turn.example:3478?transport=tcp"
            ]
        );
        assert_eq!(offer.servers[0].username.as_deref(), Some(format!("4600:{session}").as_str()));
        // As `printf '1433895918:user' | openssl dgst -sha1 -hmac secret -binary | base64` prints it.
        let (username, password) = credential(&secret, "user", Unix::from_secs(1_433_895_918));
        assert_eq!(
            (username.as_str(), password.as_str()),
            ("1433895918:user", "duY86vsmGEXM+Ma7pGS//SXJIv0=")
        );
    }
}

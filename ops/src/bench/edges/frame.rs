//! What a client reads of its node's frames.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::Value;

use super::allocation::Relay;

/// A frame, of what a client looks at.
#[derive(Debug, Deserialize)]
pub(super) struct Frame {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) peer: Option<String>,
    #[serde(default)]
    pub(super) roster: Vec<View>,
    #[serde(default)]
    pub(super) ice_servers: Vec<Servers>,
    #[serde(default)]
    pub(super) edges: Vec<Offer>,
    /// Edges that are being emptied.
    #[serde(default)]
    pub(super) draining: Vec<String>,
    pub(super) reason: Option<String>,
    pub(super) lost: Option<String>,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) from: Option<String>,
    #[serde(default)]
    pub(super) id: u64,
    #[serde(default)]
    pub(super) payload: Value,
}

/// Somebody in the room.
#[derive(Debug, Deserialize)]
pub(super) struct View {
    pub(super) peer: String,
}

/// An entry of `iceServers`.
#[derive(Debug, Deserialize)]
pub(super) struct Servers {
    urls: Vec<String>,
    username: Option<String>,
    credential: Option<String>,
}

/// The edge of such an entry.
#[derive(Debug, Deserialize)]
pub(super) struct Offer {
    edge: String,
}

/// The relays that a frame offers, as far as they take UDP.
pub(super) fn relays(frame: &Frame) -> Vec<Relay> {
    let all = frame.ice_servers.iter().zip(&frame.edges);
    all.filter_map(|(servers, Offer { edge })| {
        let at = servers.urls.iter().find_map(|url| udp(url))?;
        let (username, credential) = (servers.username.clone()?, servers.credential.clone()?);
        Some(Relay { edge: edge.clone(), at, username, credential })
    })
    .collect()
}

/// The address in `turn:IP:PORT?transport=udp` (RFC 7065).
fn udp(url: &str) -> Option<SocketAddr> {
    url.strip_prefix("turn:")?.strip_suffix("?transport=udp")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

    use super::*;

    #[test]
    fn relays_over_udp_are_found_with_their_edges() {
        let text = r#"{"type": "ice_servers", "reason": "edge_lost", "lost": "e1", "edges": [{"edge": "e2"}, {"edge": "e3"}],
            "ice_servers": [
                {"urls": ["turn:127.0.2.2:3478?transport=tcp"], "username": "u", "credential": "c"},
                {"urls": ["turn:127.0.2.3:3478?transport=udp"], "username": "u", "credential": "c"}]}"#;
        let frame: Frame = serde_json::from_str(text).unwrap();
        let at = "127.0.2.3:3478".parse().unwrap();
        let (username, credential) = ("u".to_owned(), "c".to_owned());
        assert_eq!(relays(&frame), [Relay { edge: "e3".to_owned(), at, username, credential }]);
        assert_eq!((frame.reason.as_deref(), frame.lost.as_deref()), (Some("edge_lost"), Some("e1")));
    }
}

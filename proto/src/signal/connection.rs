//! How a client's media connections to others are, as it tells operators: their states and the types of the
//! candidates in use, never an address.

use serde::{Deserialize, Serialize};

/// `RTCPeerConnection.connectionState`: ICE and DTLS together (W3C webrtc-pc, `RTCPeerConnectionState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Not begun.
    New,
    /// ICE checks pairs of candidates, or DTLS shakes hands.
    Connecting,
    /// Media flows, or could.
    Connected,
    /// Nothing comes any more; it may yet recover.
    Disconnected,
    /// No pair of candidates works.
    Failed,
    /// Over.
    Closed,
}

/// The type of an ICE candidate (RFC 8445 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CandidateType {
    /// An address of its own.
    Host,
    /// Its address as a STUN server sees it.
    Srflx,
    /// Its address as the other side saw it in a check.
    Prflx,
    /// A relay's.
    Relay,
}

impl CandidateType {
    /// Its name (RFC 8839 section 5.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Srflx => "srflx",
            Self::Prflx => "prflx",
            Self::Relay => "relay",
        }
    }
}

/// One peer's connection to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Connection {
    /// Its state.
    pub state: ConnectionState,
    /// Of the selected pair the type of the client's own candidate; none before one was selected.
    #[serde(default)]
    pub local: Option<CandidateType>,
    /// And of the other side's.
    #[serde(default)]
    pub remote: Option<CandidateType>,
}

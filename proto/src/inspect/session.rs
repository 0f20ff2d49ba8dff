//! How one session is, as its gateway knows it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::candidate;
use crate::id::{EdgeId, NodeId, PeerId, SessionId};
use crate::mesh::uplink::Traffic;
use crate::signal::connection::Connection;
use crate::time::Unix;

/// What a session has done since it began on its gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionCounts {
    /// Text frames of its client, and their bytes.
    pub heard: Traffic,
    /// Signals that it took of its client.
    pub signals_sent: u64,
    /// Signals that its client was sent, each once.
    pub signals_received: u64,
    /// Signals of its client that can never arrive.
    pub undelivered: u64,
    /// Frames that were refused for coming too fast.
    pub rate_refusals: u64,
    /// How often its client said that ICE failed over an edge that it was handed.
    pub ice_failures: u64,
    /// How often its client came back to it with another socket.
    pub resumes: u64,
}

impl SessionCounts {
    /// What was added since `earlier`.
    #[must_use]
    pub const fn minus(self, earlier: Self) -> Self {
        Self {
            heard: self.heard.minus(earlier.heard),
            signals_sent: self.signals_sent.saturating_sub(earlier.signals_sent),
            signals_received: self.signals_received.saturating_sub(earlier.signals_received),
            undelivered: self.undelivered.saturating_sub(earlier.undelivered),
            rate_refusals: self.rate_refusals.saturating_sub(earlier.rate_refusals),
            ice_failures: self.ice_failures.saturating_sub(earlier.ice_failures),
            resumes: self.resumes.saturating_sub(earlier.resumes),
        }
    }
}

/// An edge that a client was offered, or has measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeWay {
    /// Which.
    pub edge: EdgeId,
    /// Its place in the last offer, from 1; none where it is not in it.
    #[serde(default)]
    pub place: Option<u8>,
    /// The best round trip of the last five minutes, as the client measured it, in milliseconds.
    #[serde(default)]
    pub rtt_ms: Option<f64>,
    /// The client said that ICE failed over it.
    #[serde(default)]
    pub failed: bool,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionDetails {
    /// Its id.
    pub session: SessionId,
    /// Its peer.
    pub peer: PeerId,
    /// The node that has its socket, or had it last.
    pub node: NodeId,
    /// What its client speaks: `native`.
    pub protocol: String,
    /// Where its client comes from: the network alone unless all is asked for. None while it has no socket.
    #[serde(default)]
    pub address: Option<String>,
    /// What its client calls itself (`User-Agent`).
    #[serde(default)]
    pub agent: Option<String>,
    /// When it joined.
    pub joined: Unix,
    /// Since when it has its present socket.
    #[serde(default)]
    pub connected: Option<Unix>,
    /// The round trip of its socket, by the last ping that it answered, in microseconds.
    #[serde(default)]
    pub rtt_us: Option<u32>,
    /// What it has done on this gateway.
    #[serde(default)]
    pub counts: SessionCounts,
    /// Text frames to its client, and their bytes.
    #[serde(default)]
    pub told: Traffic,
    /// Signals of its client that are not acknowledged yet.
    #[serde(default)]
    pub unacknowledged: u32,
    /// Edges that it was offered, best first, and others that it has measured.
    #[serde(default)]
    pub edges: Vec<EdgeWay>,
    /// When the credential that it was given last expires.
    #[serde(default)]
    pub credential_until: Option<Unix>,
    /// How its media connections to others are, as its client told last; none where it does not tell.
    #[serde(default)]
    pub connections: Option<BTreeMap<PeerId, Connection>>,
}

/// An address as it is shown: its network alone, or whole.
#[must_use]
pub fn shown_address(ip: IpAddr, whole: bool) -> String {
    if whole { ip.to_canonical().to_string() } else { candidate::masked(&ip.to_string()) }
}

//! Probes of an edge's listeners and relay ports: what is asked, and what was found. An edge probes itself, and
//! its nodes have other edges probe it from outside.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::uplink::{Listener, RelayRange, Secret};
use crate::id::{EdgeId, NodeId};
use crate::wire;

/// What an edge is asked to find out of another one, as a client of it. Everything in it is of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The node's number of it, which the answer bears.
    pub number: u64,
    /// The edge that is probed.
    pub edge: EdgeId,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Its relay ranges: a relayed address outside of them is not sent to.
    pub relays: Vec<RelayRange>,
    /// A time-limited username of [`PROBE_USER`](crate::turn::PROBE_USER).
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// What was found of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The listener, as clients reach it.
    pub listener: Listener,
    /// How long its Binding took, in microseconds; none where it failed or was not come to.
    #[serde(default)]
    pub answered_us: Option<u32>,
    /// What failed first.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// The relayed address that it gave, where it gave one.
    #[serde(default)]
    pub relay: Option<RelayFound>,
}

impl Found {
    /// One that could not be asked.
    #[must_use]
    pub const fn unasked(listener: Listener) -> Self {
        let fault = Fault { step: Step::Connect, cause: Cause::Local, code: None, text: String::new() };
        Self { listener, answered_us: None, fault: Some(fault), relay: None }
    }

    /// Whether nothing failed.
    #[must_use]
    pub const fn is_fine(&self) -> bool {
        self.fault.is_none()
    }
}

/// What was found of a relayed address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayFound {
    /// The address.
    #[serde(with = "wire::text")]
    pub address: SocketAddr,
    /// How long a datagram took through it to the client, in microseconds; none where none came.
    #[serde(default)]
    pub heard_us: Option<u32>,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where.
    pub step: Step,
    /// How.
    pub cause: Cause,
    /// The STUN error code, where there was one.
    #[serde(default)]
    pub code: Option<u16>,
    /// What the system or a library says of it, at most [`PROBE_TEXT_MAX`](crate::limits::PROBE_TEXT_MAX) bytes.
    #[serde(default)]
    pub text: String,
}

impl Fault {
    /// Whether the step could not be made where the prober is: it says nothing of what is probed.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self.cause, Cause::Local)
    }
}

/// The steps of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A connection, and TLS or DTLS where the listener has it.
    Connect,
    /// A Binding request.
    Binding,
    /// An Allocate request.
    Allocate,
    /// A CreatePermission request for the prober's own address.
    Permission,
    /// A datagram from the prober to the relayed address.
    Relay,
    /// One of a newer release.
    #[serde(other)]
    Unknown,
}

/// How a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing comes back.
    Silent,
    /// The host says that nothing listens there, or ends the connection.
    Refused,
    /// There is no way there.
    Unreachable,
    /// Browsers refuse the certificate.
    Certificate,
    /// TLS or DTLS fails otherwise.
    Handshake,
    /// What comes back is no answer to what was asked.
    Garbage,
    /// The request is refused with a STUN error code.
    Code,
    /// The prober's own system does not let it ask: it has no such addresses, no way there, or a firewall of its own.
    /// That says nothing of the listener.
    Local,
    /// One of a newer release, or of the prober's own system.
    #[serde(other)]
    Other,
}

/// Who probes from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prober {
    /// An edge.
    Edge(EdgeId),
    /// A node.
    Node(NodeId),
}

impl std::fmt::Display for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Edge(edge) => write!(f, "edge {edge}"),
            Self::Node(node) => write!(f, "node {node}"),
        }
    }
}

/// What one prober found of an edge last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// Who.
    pub prober: Prober,
    /// How long ago, in milliseconds.
    pub age_ms: u32,
    /// Listeners at which something failed; none where all is well.
    #[serde(default)]
    pub failed: Vec<Found>,
    /// The round trip between them in microseconds, the median of its last probes; none where nothing answered.
    #[serde(default)]
    pub rtt_us: Option<u32>,
}

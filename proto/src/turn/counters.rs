//! What the machine counts.

use std::net::SocketAddr;

use super::api::FiveTuple;
use crate::id::SessionId;
use crate::mesh::uplink::Traffic;

/// Why a packet was dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Drop {
    /// Neither STUN nor ChannelData, truncated, or with a wrong FINGERPRINT.
    Malformed,
    /// A response, an unknown method, or an indication that this server does not take.
    Unexpected,
    /// Data of a client without an allocation, or for a relayed socket that has gone.
    NoAllocation,
    /// ChannelData with a number that is not bound.
    NoChannel,
    /// No permission for the peer's address.
    NoPermission,
    /// The peer gate denies the peer.
    DeniedPeer,
    /// A 401 or 438 withheld because its source got too many, or an ICMP error because its client did.
    RateLimited,
    /// An answer withheld because it would be more than 2.6 times a request of an unknown sender.
    Amplifying,
    /// A retransmission of a request that is already being worked on.
    Duplicate,
    /// More than one allocation may have relayed.
    AllocationBandwidth,
    /// More than the whole server may relay, and above the allocation's fair share.
    Bandwidth,
}

impl Drop {
    /// All causes, in the order of [`Counters::drops`].
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::Unexpected,
        Self::NoAllocation,
        Self::NoChannel,
        Self::NoPermission,
        Self::DeniedPeer,
        Self::RateLimited,
        Self::Amplifying,
        Self::Duplicate,
        Self::AllocationBandwidth,
        Self::Bandwidth,
    ];

    /// Its name in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
            Self::NoAllocation => "no_allocation",
            Self::NoChannel => "no_channel",
            Self::NoPermission => "no_permission",
            Self::DeniedPeer => "denied_peer",
            Self::RateLimited => "rate_limited",
            Self::Amplifying => "amplifying",
            Self::Duplicate => "duplicate",
            Self::AllocationBandwidth => "allocation_bandwidth",
            Self::Bandwidth => "bandwidth",
        }
    }
}

/// Totals since the server began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload from clients to peers.
    pub sent: Traffic,
    /// Payload from peers to clients.
    pub received: Traffic,
    /// Allocations that began.
    pub allocated: u64,
    /// Requests answered with an error.
    pub refused: u64,
    /// Binding requests answered.
    pub bindings: u64,
    /// Packets dropped, in the order of [`Drop::ALL`].
    pub drops: [u64; Drop::ALL.len()],
}

/// One allocation, for figures and consoles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllocationView<'a> {
    /// The client.
    pub client: &'a FiveTuple,
    /// The relayed transport address, as advertised; the IPv4 one where there are two.
    pub relayed: SocketAddr,
    /// The username that authenticated it.
    pub username: &'a str,
    /// The signaling session in the username, where it is of the REST form.
    pub session: Option<SessionId>,
    /// Payload from the client to peers.
    pub sent: Traffic,
    /// Payload from peers to the client.
    pub received: Traffic,
    /// Permissions that it holds.
    pub permissions: usize,
    /// Channels that it holds.
    pub channels: usize,
}

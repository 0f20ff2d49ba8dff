//! Writing what a client is sent.

use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::super::code::{CloseCode, LeaveReason, Refusal};
use super::super::json::Json;
use super::super::lobby::Knock;
use super::super::member::{Member, Profile};
use crate::id::{EdgeId, Identity, PeerId, Region, RoomName, SessionId};
use crate::limits;

/// What a server sends.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)] // PROTOCOL.md section 3 says what each is.
pub enum ServerFrame<'a> {
    Welcome(Box<Welcome<'a>>),
    Resumed(Box<Welcome<'a>>),
    Rebuilt(Box<Welcome<'a>>),
    Gone {
        reason: GoneReason,
    },
    PeerJoined(PeerView<'a>),
    PeerLeft {
        peer: PeerId,
        reason: LeaveReason,
    },
    PeerUpdated {
        peer: PeerId,
        change: PeerChange,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<&'a Json>,
        #[serde(skip_serializing_if = "Option::is_none")]
        withheld: Option<Vec<&'static str>>,
    },
    Signal {
        from: PeerId,
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        settled: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        connection: Option<&'a Json>,
        kind: &'a str,
        payload: &'a Json,
    },
    Broadcast {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<PeerId>,
        n: u64,
        payload: &'a Json,
    },
    Delivered {
        to: PeerId,
        id: u64,
    },
    Undelivered {
        to: PeerId,
        id: u64,
        reason: UndeliveredReason,
    },
    IceServers {
        ice_servers: &'a [IceServer],
        ice_ttl_ms: u64,
        edges: &'a [EdgeOffer],
        reason: IceReason,
        #[serde(skip_serializing_if = "Option::is_none")]
        lost: Option<&'a EdgeId>,
        #[serde(skip_serializing_if = "<[EdgeId]>::is_empty")]
        draining: &'a [EdgeId],
    },
    Moving {
        to: &'a [String],
        within_ms: u64,
    },
    Waiting {
        position: u32,
        nodes: &'a [String],
    },
    Knock(KnockView<'a>),
    KnockGone {
        peer: PeerId,
    },
    Error(&'a Refusal),
    Closed {
        code: CloseCode,
        message: &'static str,
        resume: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Ping,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        t: Option<&'a Json>,
    },
    Moved {
        room: &'a RoomName,
        token: &'a str,
    },
}

impl ServerFrame<'_> {
    /// Its text.
    #[must_use]
    pub fn text(&self) -> ByteString {
        // Writing into memory fails only for map keys that are no texts, and there are none.
        ByteString::from(serde_json::to_string(self).unwrap_or_default())
    }

    /// The `closed` frame of a code.
    #[must_use]
    pub const fn closed(code: CloseCode) -> Self {
        Self::Closed { code, message: code.message(), resume: code.resumes(), retry_after_ms: None }
    }
}

/// The body of `welcome`, `resumed` and `rebuilt`.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // PROTOCOL.md section 3
pub struct Welcome<'a> {
    pub session: SessionId,
    pub resume: String,
    pub peer: PeerId,
    pub room: &'a RoomName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<&'a Identity>,
    pub grants: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<&'static str>,
    pub roster: Vec<PeerView<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<KnockView<'a>>,
    pub broadcasts: u64,
    pub ice_servers: &'a [IceServer],
    pub ice_ttl_ms: u64,
    pub edges: &'a [EdgeOffer],
    #[serde(skip_serializing_if = "<[EdgeId]>::is_empty")]
    pub draining: &'a [EdgeId],
    pub nodes: &'a [String],
    pub limits: LimitsView,
}

/// A peer as others see it.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // PROTOCOL.md section 3
pub struct PeerView<'a> {
    pub peer: PeerId,
    #[serde(flatten)]
    pub profile: &'a Profile,
    pub away: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<&'static str>,
}

impl<'a> From<&'a Member> for PeerView<'a> {
    fn from(member: &'a Member) -> Self {
        let withheld = member.withheld.names();
        Self { peer: member.seat.peer, profile: &member.profile, away: member.away, withheld }
    }
}

/// Somebody who waits to be let in, as those see it who may answer.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // PROTOCOL.md section 3
pub struct KnockView<'a> {
    pub peer: PeerId,
    #[serde(flatten)]
    pub profile: &'a Profile,
}

impl<'a> From<&'a Knock> for KnockView<'a> {
    fn from(Knock { peer, profile, .. }: &'a Knock) -> Self {
        Self { peer: *peer, profile }
    }
}

/// The limits that a client must obey.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // PROTOCOL.md section 3
pub struct LimitsView {
    pub frame_max: usize,
    pub payload_max: usize,
    pub metadata_max: usize,
    pub unacked_max: usize,
    pub unacked_bytes_max: usize,
    pub ping_every_ms: u64,
    pub silent_after_ms: u64,
    pub grace_ms: u64,
    pub capacity: u32,
    pub frames_burst: u32,
    pub frames_per_sec: u32,
    pub connections_max: usize,
}

impl LimitsView {
    /// The limits in force for a room with this grace and capacity.
    #[must_use]
    pub fn new(grace: std::time::Duration, capacity: u32) -> Self {
        let millis = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Self {
            frame_max: limits::CLIENT_FRAME_MAX,
            payload_max: limits::PAYLOAD_MAX,
            metadata_max: limits::METADATA_MAX,
            unacked_max: limits::UNACKED_MAX,
            unacked_bytes_max: limits::UNACKED_BYTES_MAX,
            ping_every_ms: millis(limits::PING_EVERY),
            silent_after_ms: millis(limits::SILENT_AFTER),
            grace_ms: millis(grace),
            capacity,
            frames_burst: limits::FRAMES_BURST,
            frames_per_sec: limits::FRAMES_PER_SEC,
            connections_max: limits::CONNECTIONS_MAX,
        }
    }
}

/// One entry of `RTCConfiguration.iceServers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// `stun:`, `turn:` and `turns:` URLs (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// The TURN username; absent where all URLs are `stun:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The TURN password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// An edge that a client may measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdgeOffer {
    /// Its name.
    pub edge: EdgeId,
    /// Where it stands.
    pub region: Region,
    /// Its `stun:` URLs.
    pub urls: Vec<String>,
    /// An `https:` URL of the edge to time, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
}

/// How a peer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // PROTOCOL.md section 3
pub enum PeerChange {
    Away,
    Back,
    Metadata,
    Withheld,
}

/// Why a session cannot be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoneReason {
    /// Not a token of this cluster, or for another room.
    Unknown,
    /// Too old.
    Expired,
    /// Kicked or banned.
    Revoked,
    /// An older token than the last two, or the identity has joined anew.
    Replaced,
    /// The room was closed meanwhile.
    Closed,
    /// Moved to another room.
    Moved,
}

impl From<LeaveReason> for GoneReason {
    /// What a peer that left for this reason is told when it tries to come back.
    fn from(reason: LeaveReason) -> Self {
        match reason {
            LeaveReason::Kicked | LeaveReason::Banned => Self::Revoked,
            LeaveReason::Replaced => Self::Replaced,
            LeaveReason::Lost => Self::Expired,
            LeaveReason::Left => Self::Unknown,
            LeaveReason::Closed => Self::Closed,
            LeaveReason::Moved => Self::Moved,
        }
    }
}

/// Why a signal can never arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UndeliveredReason {
    /// The receiver has left for good.
    Gone,
    /// No such peer was ever seen in this room.
    Unknown,
}

/// Why `ice_servers` are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IceReason {
    /// The client asked.
    Requested,
    /// The credentials it has grow old.
    Expiring,
    /// An edge is lost.
    EdgeLost,
    /// A nearer edge was found.
    Closer,
    /// The same servers, and edges to measure that could be nearer.
    Measure,
    /// An edge is there where none was.
    EdgeUp,
    /// An edge is being emptied.
    Draining,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_peer_flat() {
        let profile = Profile { identity: None, name: Some("Ada".into()), metadata: None };
        let peer = PeerId::from_random([0; 15]);
        let text =
            ServerFrame::PeerJoined(PeerView { peer, profile: &profile, away: false, withheld: Vec::new() })
                .text();
        assert_eq!(text, format!(r#"{{"type":"peer_joined","peer":"{peer}","name":"Ada","away":false}}"#));
    }
}

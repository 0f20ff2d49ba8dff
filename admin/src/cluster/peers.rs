//! One participant, as an operator sees it.

use chappe_proto::id::{NodeId, PeerId, RoomKey};
use chappe_proto::inspect::SessionDetails;
use chappe_proto::usage::Relayed;

use super::Answer;
use super::control::Fault;
use super::path::Path;

/// Looking at who is in a room.
pub trait Peers {
    /// A peer of a room: what the room knows of it, and its gateway of its session. `plain` tells its address whole.
    /// It takes a second where edges hold relays for it. [`Fault::NotThere`] where it is not in the room.
    fn peer(&self, room: RoomKey, peer: PeerId, plain: bool) -> Answer<'_, Result<PeerDetails, Fault>>;
}

/// A peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerDetails {
    /// Its id.
    pub peer: PeerId,
    /// Who its token says it is.
    pub identity: Option<String>,
    /// The name it shows.
    pub name: Option<String>,
    /// Whether it has no socket right now.
    pub away: bool,
    /// What it may do.
    pub grants: Vec<&'static str>,
    /// In which region its token says it is.
    pub region: Option<String>,
    /// The node that holds its session, as the room knows it.
    pub gateway: NodeId,
    /// What it relayed, as far as that is remembered.
    pub relayed: Relayed,
    /// Its session; none where its gateway does not answer, or has just let it go.
    pub session: Option<SessionDetails>,
    /// By which edges its media goes.
    pub path: Path,
}

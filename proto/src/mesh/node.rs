//! The mesh: QUIC connections between nodes, one per pair. Of two nodes the one with the
//! lower id connects.
//!
//! Each side opens one unidirectional stream per [`Lane`], that of [`Lane::Control`] at once and each other
//! one with its first frame, and writes frames of a 32-bit big-endian length and [`crate::wire`] bytes: the
//! first of each stream an [`Opening`], then [`Parcel`]s. A parcel that cannot be read is one of a newer
//! release: it is skipped and counted, and the link stays. So only variants and fields are ever added here,
//! none is renamed or reused.
//!
//! A frame of [`Lane::Raft`] is the ids of its sender and its receiver, 8 bytes big-endian each, and Raft's
//! own bytes. Each snapshot of Raft has a unidirectional stream of its own ([`Lane::Snapshot`]): after the
//! opening one such frame without the snapshot's data, then frames that are pieces of the data, until the
//! stream finishes. So a long one blocks no heartbeat. [`Lane::Feed`] is a bidirectional stream that the
//! follower opens: it writes the opening and [`Feed::Follow`], the other side writes the feed.
//!
//! A link is up for each side once it has read the other's opening of the control lane: until then TLS alone
//! has spoken.

use serde::{Deserialize, Serialize};

use super::allocations::{EdgeAnswer, EdgeAsk};
use super::probe::Outside;
use super::uplink::{EdgeHello, Health, Usage};
use crate::history;
use crate::hooks::record::{DeliveryPage, Wanted};
use crate::id::{
    AppId, ClusterId, EdgeId, Epoch, EventId, Generation, HookId, Index, NodeId, PeerId, RoomKey, RoomName,
    SessionId, Shard,
};
use crate::inspect::{Filter, SessionDetails, SignalsPage};
use crate::logs::{self, LogPage};
use crate::registry::{Command, Note, Outcome, RequestId};
use crate::settings::Setting;
use crate::signal::code::Refusal;
use crate::signal::json::Json;
use crate::signal::lobby::{Knock, Verdict};
use crate::signal::member::{Member, Muting};
use crate::signal::route::{Direct, Entry, FromRoom, ToRoom};
use crate::time::Unix;
use crate::usage::{UsageOf, UsagePage};

/// The ALPN protocol of a link between nodes.
pub const ALPN: &[u8] = b"chappe-mesh/1";

/// The newest form of these frames that this release writes; a link speaks the lower of both ends'.
pub const WIRE: u32 = 1;

/// The oldest form of these frames that this release reads.
pub const WIRE_OLDEST: u32 = 1;

/// Streams over which rooms are spread: neither one for each room nor one blocking line.
pub const ROOM_LANES: u8 = 16;

/// What a stream between two nodes is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Leases, requests, what is observed of edges.
    Control,
    /// Raft's messages.
    Raft,
    /// Rooms whose hash says so: 0 to [`ROOM_LANES`] - 1.
    Rooms(u8),
    /// The numbered feed, to a node that is no member of Raft; opened by the one that follows.
    Feed,
    /// One snapshot of Raft.
    Snapshot,
}

impl Lane {
    /// The lane of a room: the same on every node.
    #[must_use]
    pub fn of(room: &RoomKey) -> Self {
        Self::Rooms(u8::try_from(room.anchor().0 % u16::from(ROOM_LANES)).unwrap_or(0))
    }
}

/// The first frame of each stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// What the stream is for.
    pub lane: Lane,
    /// Who opens it.
    pub hello: Hello,
}

/// Who a node is. Its id must be the one in its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Its build, as `chappe --version` prints it.
    pub build: String,
    /// The newest form of frames that it understands: [`WIRE`].
    pub wire: u32,
    /// The oldest form that it understands: [`WIRE_OLDEST`].
    #[serde(default = "first")]
    pub oldest: u32,
    /// Drawn at random at each start of its process: tells a link with it from one with its former life.
    #[serde(default)]
    pub life: u64,
    /// The newest cluster version that it understands: [`crate::registry::VERSION`].
    pub speaks: u32,
    /// The nodes that it has links with: through it they are reached by one hop.
    #[serde(default)]
    pub reaches: Vec<NodeId>,
    /// Its disk has forgotten something: it wants no link, and only says so before its process ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
}

/// What a node's disk has kept of the batches of the registry that it had acknowledged; neither
/// is known where the pledge itself is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// So many are there.
    #[serde(default)]
    pub found: Option<u64>,
    /// So many were pledged.
    #[serde(default)]
    pub pledged: Option<u64>,
}

const fn first() -> u32 {
    1
}

/// Something from one node to another. Where they have no link, a node that has one with both passes it on:
/// once, since it takes parcels for others from their sender alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parcel {
    /// Who sends.
    pub from: NodeId,
    /// For whom.
    pub to: NodeId,
    /// What.
    pub body: Body,
}

/// What nodes say to each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)]
pub enum Body {
    /// A proxy to a room's owner.
    ToRoom(ToRoom),
    /// A room's owner to a proxy.
    FromRoom(FromRoom),
    /// A proxy to another around the room's owner.
    Direct(Direct),

    /// To the leader, every L/6.
    Renew {
        /// The sender's life.
        generation: Generation,
        /// Counts its renewals.
        n: u64,
    },
    /// The leader's answer, once a read-index that began after the renewal has completed.
    Grant {
        /// The generation that renewed.
        generation: Generation,
        /// Which renewal.
        n: u64,
        /// What must be applied before the lease counts.
        index: Index,
    },
    /// To the leader: the sender admits nothing in these shards any more, each at the epoch at which it
    /// was told that it moves. Repeated until they have moved.
    Released {
        /// Which.
        shards: Vec<(Shard, Epoch)>,
        /// What the sender had applied: it knows of every move up to here, and of each that was called off.
        #[serde(default)]
        applied: Index,
    },

    /// A question that is answered by [`Body::Answer`].
    Request {
        /// Names it among its sender's.
        id: u64,
        /// What is asked.
        ask: Ask,
    },
    /// The answer to a question.
    Answer {
        /// Which.
        id: u64,
        /// What.
        answer: Answer,
    },

    /// The nodes that the sender has links with, whenever that changes.
    Reaches(Vec<NodeId>),
    /// The edges that report to the sender, as it last heard them; once a second, and when one comes or
    /// goes. Several frames where they are many.
    Edges(Vec<EdgeReport>),
    /// A session has left: its allocations end on every edge.
    End {
        /// Which.
        session: SessionId,
    },
    /// What an edge said to the sender of its users' usage, as it said it.
    Usage(Vec<Usage>),
    /// The rooms of sessions that are on the sender, or were lately, and that relay.
    UsageRooms(Vec<(SessionId, RoomKey)>),
}

/// An edge as a node that it reports to hears it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// What it offers.
    pub hello: EdgeHello,
    /// Its last report.
    #[serde(default)]
    pub health: Option<Health>,
    /// Whether it is heard.
    pub alive: bool,
    /// The round-trip time of its uplink to that node, in microseconds.
    #[serde(default)]
    pub rtt_us: Option<u32>,
    /// What was found of it from outside by those whom that node had probe it.
    #[serde(default)]
    pub outside: Vec<Outside>,
}

/// What a node asks of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)]
pub enum Ask {
    /// Of the leader: commit this (by the cluster's own request, so that the leader stamps it).
    Propose {
        /// What.
        command: Command,
        /// Names the request, since it is sent again to the next leader.
        by: RequestId,
        /// Who asked, for the audit log.
        #[serde(default)]
        note: Option<Note>,
    },
    /// Of the leader: the index at which a read that begins now is linearizable.
    Read,
    /// Of the leader: hand the leadership to this member.
    Transfer {
        /// To whom.
        to: NodeId,
    },
    /// Of any node: how it is.
    Status,
    /// Of any node: the first of the rooms that it runs, by name, [`crate::limits::ROOMS_PAGE`] at most.
    Rooms,
    /// Of any node: the next of them.
    RoomsAfter {
        /// The last one that is known.
        room: RoomKey,
    },
    /// Of a room's owner: who is in it.
    Peers {
        /// Which room.
        room: RoomKey,
    },
    /// Of a room's owner: an operator removes a peer.
    Kick {
        /// From which room.
        room: RoomKey,
        /// Whom.
        peer: PeerId,
        /// And keeps it out.
        ban: bool,
    },
    /// Of any node: a certificate for the asker's new public key.
    Certify {
        /// SubjectPublicKeyInfo, DER.
        #[serde(with = "serde_bytes")]
        public_key: Vec<u8>,
    },
    /// Of any node: by which authority it is certified, and the edges that report to it.
    Certified,
    /// Of any node: what it has counted of usage, [`crate::limits::USAGE_PAGE`] parts at most.
    Usage {
        /// Whose.
        of: UsageOf,
        /// The last part that is known.
        #[serde(default)]
        after: Option<String>,
    },
    /// Of a node that an edge reports to: ask the edge this, and pass its answer on.
    Edge {
        /// Which.
        edge: EdgeId,
        /// What.
        ask: EdgeAsk,
    },
    /// Of any node: what it has sent and is to send to a webhook.
    Deliveries {
        /// Which.
        hook: HookId,
        /// Which deliveries.
        wanted: Wanted,
    },
    /// Of any node: an event is to be sent to a webhook again.
    Resend {
        /// To which.
        hook: HookId,
        /// Which event.
        event: EventId,
    },
    /// Of any node: the next of the rooms that it runs, by name, of those that are meant.
    RoomsLike {
        /// Of this app alone.
        #[serde(default)]
        app: Option<AppId>,
        /// With this in their names, in whatever case.
        #[serde(default)]
        text: Option<String>,
        /// The last one that is known.
        #[serde(default)]
        after: Option<RoomKey>,
        /// So many at most, and [`crate::limits::ROOMS_PAGE`].
        limit: u32,
    },
    /// Of any node: which of these rooms it runs, [`crate::limits::ROOMS_PAGE`] of them at most.
    RoomsNamed {
        /// Which.
        rooms: Vec<RoomKey>,
    },
    /// Of any node: how many rooms of each app it runs, and how many are in them.
    RoomCounts,
    /// Of a room's owner: where it runs and who is in it.
    Room {
        /// Which room.
        room: RoomKey,
    },
    /// Of a room's owner: an operator closes it.
    Close {
        /// Which room.
        room: RoomKey,
    },
    /// Of a room's owner: an operator's word to all who are in it.
    Tell {
        /// In which room.
        room: RoomKey,
        /// What.
        payload: Json,
    },
    /// Of a room's owner: an operator takes grants of a peer away, or gives them back.
    Mute {
        /// In which room.
        room: RoomKey,
        /// Whose.
        peer: PeerId,
        /// Which.
        muting: Muting,
    },
    /// Of a room's owner: what passed in it. The room is watched for [`crate::limits::WATCH_FOR`] from then on.
    Watch {
        /// Which room.
        room: RoomKey,
        /// The last number that is known, 0 for none.
        #[serde(default)]
        after: u64,
        /// Which of it.
        #[serde(default)]
        filter: Filter,
        /// As many at most, up to [`crate::limits::SIGNALS_PAGE`].
        #[serde(default)]
        limit: u32,
        /// Whether all is shown.
        #[serde(default)]
        plain: bool,
        /// Whether a key of its app asks.
        #[serde(default)]
        by_app: bool,
    },
    /// Of a session's gateway: how it is.
    Session {
        /// Which session.
        session: SessionId,
        /// Whether its address is told whole.
        #[serde(default)]
        plain: bool,
    },
    /// Of any node: its options, as they are in force.
    Settings,
    /// Of any node: lines of its log.
    Logs(logs::Wanted),
    /// Of any node: say and keep lines of Chappe's own parts up to this level, for so long; then what it was told at
    /// its start.
    LogLevel {
        /// Up to which; none ends it now.
        level: Option<logs::Level>,
        /// For how long, in seconds, up to [`crate::limits::LEVEL_FOR_MAX`].
        #[serde(default)]
        secs: u32,
    },
    /// Of any node: its figures over the last hours.
    History(history::Wanted),
    /// Of a room's owner: would somebody be let in now who is not in it?
    Admits {
        /// Which room.
        room: RoomKey,
        /// Who.
        member: Box<Member>,
    },
    /// Of a session's gateway: its client is to go to another room of the same app.
    Move {
        /// Which session.
        session: SessionId,
        /// Which room.
        to: RoomName,
    },
    /// Of a room's owner: an operator answers one who waits to be let in.
    Judge {
        /// In which room.
        room: RoomKey,
        /// Whom.
        peer: PeerId,
        /// How.
        verdict: Verdict,
    },
}

/// A room as its owner has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoomSeen {
    /// Who runs it.
    pub node: NodeId,
    /// Everybody in it.
    pub roster: Vec<Entry>,
    /// The number of its last broadcast.
    #[serde(default)]
    pub broadcasts: u64,
    /// Who waits to be let in.
    #[serde(default)]
    pub waiting: Vec<Knock>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)]
pub enum Answer {
    /// Committed.
    Applied {
        /// The index of the entry.
        index: Index,
        /// What it came to.
        outcome: Outcome,
    },
    /// A linearizable read may be answered once this is applied.
    Read {
        /// The index.
        index: Index,
    },
    /// It is done.
    Done,
    /// How a node is.
    Status(NodeStatus),
    /// Its rooms and how many are in each; fewer than [`crate::limits::ROOMS_PAGE`] are the last ones.
    Rooms(Vec<(RoomKey, u32)>),
    /// Who is in a room; nobody where there is no such room.
    Peers(Option<Vec<Entry>>),
    /// There is no such peer or room.
    NotThere,
    /// A certificate, DER.
    Certificate {
        /// The asker's.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// The authorities that are trusted, DER.
        authorities: Vec<Vec<u8>>,
    },
    /// The numbers of the authorities that have certified the node, and the edges that report to it; 0 for
    /// one that is none of the registry's.
    Certified {
        /// The node.
        node: u64,
        /// Edges.
        edges: Vec<(EdgeId, u64)>,
    },
    /// Usage.
    Usage {
        /// When the node began to count.
        since: Unix,
        /// What it counted.
        page: UsagePage,
    },
    /// What an edge answers; [`Self::NotThere`] where it does not report to the node that was asked.
    Edge(EdgeAnswer),
    /// What it has sent and is to send to a webhook.
    Deliveries(DeliveryPage),
    /// Of each app: how many rooms a node runs, and how many are in them.
    RoomCounts(Vec<(AppId, u32, u32)>),
    /// A room; nothing where it does not run.
    Room(Option<RoomSeen>),
    /// What passed in a room.
    Watched(SignalsPage),
    /// A session.
    Session(Box<SessionDetails>),
    /// Its options.
    Settings(Vec<Setting>),
    /// Lines of its log.
    Logs(LogPage),
    /// Figures over the last hours.
    History(history::Sampled),
    /// It cannot be answered.
    Failed(Failure),
    /// Why somebody would not be let in; nothing where they would be.
    Admits(Option<Refusal>),
    /// The room's owner refuses it.
    Refused(Refusal),
}

/// Why a question has no answer. What is asked twice by one [`RequestId`] is done once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The node asked does not lead: ask the one named.
    #[error("that node does not lead the registry")]
    NotLeader {
        /// Who does, where it knows.
        leader: Option<NodeId>,
    },
    /// Too much waits there: ask again.
    #[error("the node is busy")]
    Busy,
    /// The leader's disk is nearly full.
    #[error("less than 64 MB are free on the leader's disk")]
    DiskLow,
    /// The command is longer than an entry may be.
    #[error("the command is longer than an entry may be")]
    TooLong,
    /// It was not carried out, or nobody knows: ask again by the same id.
    #[error("the outcome is not known")]
    Lost,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// How a node is, as it says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its generation.
    pub generation: Generation,
    /// Sockets of clients.
    pub sessions: u32,
    /// Of them, those of foreign protocols, which cannot resume.
    #[serde(default)]
    pub foreign: u32,
    /// Rooms that it runs.
    pub rooms: u32,
    /// Whether it holds its lease.
    pub lease: bool,
    /// The last applied index.
    pub applied: Index,
    /// What it is in Raft: `leader`, `follower`, `candidate`, `stand-by`, or `feed` for none.
    pub role: String,
    /// The leader that it follows.
    #[serde(default)]
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// The nodes that it has links with.
    pub reaches: Vec<NodeId>,
    /// The round-trip time of each of those links, in microseconds, in the same order.
    #[serde(default)]
    pub round_trips: Vec<u64>,
    /// The nodes that it reaches by one hop, and through whom.
    #[serde(default)]
    pub through: Vec<(NodeId, NodeId)>,
    /// The edges that report to it.
    #[serde(default)]
    pub edges: Vec<EdgeId>,
    /// Whether its disk is nearly full.
    #[serde(default)]
    pub disk_low: bool,
    /// When its certificate ends.
    #[serde(default)]
    pub certificate_until: Option<Unix>,
}

/// A frame of the feed: the whole registry, then each entry in order, numbered by the Raft
/// index. So a follower applies what members apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feed {
    /// The follower's word, the only one: everything up to here is applied.
    Follow {
        /// 0 where it has nothing.
        after: Index,
    },
    /// A piece of the whole registry at an index, in order.
    Snapshot {
        /// At which.
        index: Index,
        /// Bytes of [`crate::registry::State::encode`].
        #[serde(with = "serde_bytes")]
        piece: Vec<u8>,
        /// Whether it is the last piece.
        last: bool,
    },
    /// The entry at the next index; empty for one of Raft's own.
    Entry {
        /// Its index.
        index: Index,
        /// Its bytes.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// Who leads, where that is known, and in which term: told at once and at each change.
    Leader {
        /// The term.
        term: u64,
        /// Who.
        leader: Option<NodeId>,
    },
}

//! What operators see and decide of the cluster itself: its members, who may join, who leads.

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use chappe_proto::id::{ClusterId, EdgeId, Generation, Index, InvitationId, NodeId, Region};
use chappe_proto::mesh::uplink::{Health, Listener, RelayRange};
use chappe_proto::registry::profile::ProfileName;
use chappe_proto::registry::{EdgeState, InvitedEdge, NodeState, Note, Refusal};
use chappe_proto::select::condition::Condition;
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Answer;
use crate::schema;

/// What the admin API can see and do of the cluster's members. Every change is committed when it is
/// answered; what takes longer (a drain, a voter that catches up) is then under way, and seen in
/// [`Control::status`].
pub trait Control: Send + Sync + 'static {
    /// The cluster as this node knows it, which is what can be known without a leader too.
    fn status(&self) -> Answer<'_, ClusterStatus>;
    /// A node drains, or takes rooms again; its part of the shards is another one.
    fn node_set(&self, node: NodeId, change: NodeChange, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// A node leaves for good: it drains, leaves Raft, where it is a member, and then the registry.
    /// [`NodeChange::draining`] set to false calls it off as long as it is there.
    fn node_remove(&self, node: NodeId, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// Another member leads: the one named, or the one that is furthest.
    fn transfer(&self, to: Option<NodeId>, note: Note) -> Answer<'_, Result<NodeId, Fault>>;
    /// A new node may join, once.
    fn invite(&self, wish: InvitationWish, note: Note) -> Answer<'_, Result<Invitation, Fault>>;
    /// An invitation is withdrawn.
    fn invitation_remove(&self, id: InvitationId, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// A new certificate authority issues from now on: its number. The old one is trusted until
    /// nobody holds a certificate of it.
    fn authority_rotate(&self, note: Note) -> Answer<'_, Result<u64, Fault>>;
    /// The timers are these.
    fn profile_set(&self, profile: ProfileName, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// So many voters are wanted: 3 or 5.
    fn voters_set(&self, wanted: u8, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// The edges by name, removed ones included: what operators decided, and how each was last heard.
    fn edges(&self) -> Answer<'_, Vec<EdgeReport>>;
    /// An edge drains, takes allocations again, or is refused from now on; its part of the sessions is another one.
    fn edge_set(&self, edge: EdgeId, change: EdgeChange, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// A removed edge is forgotten: its name may come again.
    fn edge_forget(&self, edge: EdgeId, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// A certificate for an edge's public key (SubjectPublicKeyInfo in DER), whose name is that key's from now on.
    fn edge_certify(
        &self,
        edge: EdgeId,
        public_key: Vec<u8>,
        note: Note,
    ) -> Answer<'_, Result<EdgeIdentity, Fault>>;
    /// The whole registry in a file, secrets included.
    fn backup(&self, note: Note) -> Answer<'_, Result<Backup, Fault>>;
    /// Who owns each shard, in the shards' order, as this node knows it.
    fn shards(&self) -> Answer<'_, Vec<Option<NodeId>>>;
    /// What happened to the cluster lately as this node saw it, oldest first.
    fn events(&self) -> Answer<'_, Vec<Event>>;
}

/// Why something was not done. The words are for operators and say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotThere(&'static str),
    /// Not as things are.
    #[error("{0}")]
    Conflict(String),
    /// The registry refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The registry cannot commit or be read now, and why: `no leader: 2 of 3 voters unreachable: …`.
    #[error("{0}")]
    Unavailable(String),
}

/// The cluster as a node knows it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClusterStatus {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ClusterId,
    /// What operators call it.
    pub name: String,
    /// The cluster version: what its entries may hold.
    pub version: u32,
    /// Its timers.
    #[schema(value_type = schema::Timers)]
    pub profile: ProfileName,
    /// How many voters are wanted.
    pub voters_wanted: u8,
    /// The node that answers.
    #[schema(value_type = schema::Node)]
    pub node: NodeId,
    /// Who leads, where that is known.
    #[schema(value_type = Option<schema::Node>)]
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// The last entry known to be committed.
    #[schema(value_type = u64)]
    pub committed: Index,
    /// The last entry applied by the node that answers.
    #[schema(value_type = u64)]
    pub applied: Index,
    /// The nodes, by id.
    pub members: Vec<Member>,
    /// The certificate authorities that are trusted, oldest first: the last one issues.
    pub authorities: Vec<AuthorityStatus>,
    /// Invitations that nobody has used yet.
    pub invitations: Vec<InvitationStatus>,
}

impl ClusterStatus {
    /// A node.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// The members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role.votes())
    }
}

/// A node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Its id.
    #[schema(value_type = schema::Node)]
    pub node: NodeId,
    /// Where it stands.
    #[schema(value_type = schema::Region)]
    pub region: Region,
    /// What it is to the registry.
    pub role: MemberRole,
    /// Counts the starts of its process.
    #[schema(value_type = u64)]
    pub generation: Generation,
    /// Whether it is there, as the registry has it.
    #[schema(value_type = schema::NodeState)]
    pub state: NodeState,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub since: Unix,
    /// Whether the node that answers reaches it now, over whatever way.
    pub reachable: bool,
    /// Milliseconds since the node that answers last heard it; 0 for itself, none for never.
    pub heard_ms: Option<u64>,
    /// Its build.
    pub build: String,
    /// Its part of the shards, relative to others'.
    pub weight: u16,
    /// Whether it is to own none.
    pub draining: bool,
    /// Whether it leaves for good once it owns nothing.
    pub leaving: bool,
    /// Shards that it owns.
    pub shards: u32,
    /// Entries by which its log is behind the leader's, for Raft's members, where the leader could
    /// be asked.
    pub lag: Option<u64>,
    /// What it said itself, where it could be asked.
    pub own: Option<MemberOwn>,
    /// Where other nodes and edges reach it.
    #[schema(value_type = Vec<schema::Address>)]
    pub mesh: Vec<SocketAddr>,
    /// Where clients reach it.
    pub public: Vec<String>,
}

/// What a node says of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct MemberOwn {
    /// Whether it holds its lease: without one its rooms admit nobody.
    pub lease: bool,
    /// Sockets of clients.
    pub sessions: u32,
    /// Of them, those of foreign protocols, which cannot resume elsewhere.
    pub foreign: u32,
    /// Rooms that it runs.
    pub rooms: u32,
    /// The last entry that it has applied.
    #[schema(value_type = u64)]
    pub applied: Index,
    /// Its ways to other nodes.
    pub links: Vec<Link>,
    /// The edges that report to it.
    #[schema(value_type = Vec<schema::EdgeName>)]
    pub edges: Vec<EdgeId>,
    /// Whether less than 64 MB are free on its disk.
    pub disk_low: bool,
    /// When its certificate ends.
    #[schema(value_type = Option<schema::Time>)]
    pub certificate_until: Option<Unix>,
}

/// A node's way to another.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Link {
    /// To whom.
    #[schema(value_type = schema::Node)]
    pub to: NodeId,
    /// The node in between, where there is no direct link.
    #[schema(value_type = Option<schema::Node>)]
    pub via: Option<NodeId>,
    /// Round-trip time in milliseconds, of direct links, where it is known.
    pub rtt_ms: Option<f64>,
}

/// What a node is to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MemberRole {
    /// Votes, and leads.
    Leader,
    /// Votes.
    Voter,
    /// Holds the registry and may become a voter.
    StandBy,
    /// Follows the registry's feed.
    Follower,
}

impl MemberRole {
    /// Whether it votes.
    #[must_use]
    pub const fn votes(self) -> bool {
        matches!(self, Self::Leader | Self::Voter)
    }

    /// As operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::StandBy => "stand-by",
            Self::Follower => "follower",
        }
    }
}

/// A certificate authority of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuthorityStatus {
    /// Its number.
    pub number: u64,
    /// SHA-256 of its certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// When its certificate ends.
    #[schema(value_type = schema::Time)]
    pub until: Unix,
}

/// An invitation that nobody has used yet.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InvitationStatus {
    /// Its id, which is no secret.
    #[schema(value_type = String)]
    pub id: InvitationId,
    /// The region in which the node or edge must stand, where one was asked for.
    #[schema(value_type = Option<schema::Region>)]
    pub region: Option<Region>,
    /// That it is for an edge, and for which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::InvitedEdge>)]
    pub edge: Option<InvitedEdge>,
    /// When it ends.
    #[schema(value_type = schema::Time)]
    pub until: Unix,
}

/// What invitation is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationWish {
    /// The region in which the node or edge must stand.
    pub region: Option<Region>,
    /// That it is for an edge, and for which.
    pub edge: Option<InvitedEdge>,
    /// How long it is good.
    pub ttl: Duration,
}

/// A new invitation: the only time that its token is told.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Invitation {
    /// Its id.
    #[schema(value_type = String)]
    pub id: InvitationId,
    /// What the new node is given. Secret.
    pub token: String,
    /// When it ends.
    #[schema(value_type = schema::Time)]
    pub until: Unix,
}

/// An edge: what it offers, what operators decided of it, and how it was last heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgeReport {
    /// Its name.
    #[schema(value_type = schema::EdgeName)]
    pub edge: EdgeId,
    /// Where it stands.
    #[schema(value_type = schema::Region)]
    pub region: Region,
    /// Latitude and longitude in degrees, where known.
    #[schema(value_type = Option<[f64; 2]>)]
    pub coordinates: Option<(f64, f64)>,
    /// Its build; empty where it has joined and not served yet.
    pub build: String,
    /// What was decided of it.
    #[schema(value_type = schema::EdgeState)]
    pub state: EdgeState,
    /// Its part of the sessions near it, relative to others'.
    pub weight: u16,
    /// When it was first seen.
    #[schema(value_type = schema::Time)]
    pub since: Unix,
    /// What clients can reach.
    #[schema(value_type = Vec<schema::Listener>)]
    pub listeners: Vec<Listener>,
    /// Where relayed addresses come from.
    #[schema(value_type = Vec<schema::RelayRange>)]
    pub relays: Vec<RelayRange>,
    /// Allocations that it takes at most.
    pub capacity: u32,
    /// Whether it is heard.
    pub alive: bool,
    /// Milliseconds since it was last heard by any node; none where the node that answers knows of no report.
    pub heard_ms: Option<u64>,
    /// The nodes that it reports to, of those that answer.
    #[schema(value_type = Vec<schema::Node>)]
    pub nodes: Vec<NodeId>,
    /// The round trip of its uplink to the node that answers, in milliseconds, where it has one.
    #[serde(default)]
    pub uplink_ms: Option<f64>,
    /// How the node that answers finds it, and why.
    #[serde(default)]
    #[schema(value_type = Option<schema::Condition>)]
    pub condition: Option<Condition>,
    /// The same in words, each with what to do about it.
    #[serde(default)]
    pub advice: Vec<String>,
    /// Its last report.
    #[schema(value_type = Option<schema::EdgeHealth>)]
    pub health: Option<Health>,
}

/// What changes of an edge; none leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EdgeChange {
    /// What is decided of it.
    pub state: Option<EdgeState>,
    /// Its part of the sessions near it.
    pub weight: Option<u16>,
}

impl EdgeChange {
    /// Another state.
    #[must_use]
    pub const fn to(state: EdgeState) -> Self {
        Self { state: Some(state), weight: None }
    }

    /// Another weight.
    #[must_use]
    pub const fn weighing(weight: u16) -> Self {
        Self { state: None, weight: Some(weight) }
    }
}

/// What an edge needs to link itself with the cluster, beside its private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EdgeIdentity {
    /// The cluster.
    #[schema(value_type = String)]
    pub cluster: ClusterId,
    /// The edge's certificate, in PEM.
    pub certificate: String,
    /// The authorities by which it knows nodes, in PEM.
    pub authorities: String,
    /// Where nodes are reached.
    #[schema(value_type = Vec<schema::Address>)]
    pub nodes: Vec<SocketAddr>,
    /// The realm of the long-term credential mechanism.
    pub realm: String,
}

/// What changes of a node; none leaves it as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeChange {
    /// Its part of the shards, relative to others'.
    pub weight: Option<u16>,
    /// Whether it is to own none.
    pub draining: Option<bool>,
}

/// The whole registry, to be read from where the file stands to its end.
#[derive(Debug)]
pub struct Backup {
    /// Its last entry.
    pub index: Index,
    /// Its bytes.
    pub file: File,
}

/// Something that happened to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When, by the clock of the node that saw it.
    #[schema(value_type = schema::Time)]
    pub at: Unix,
    /// The node that it is about.
    #[schema(value_type = Option<schema::Node>)]
    pub node: Option<NodeId>,
    /// In words.
    pub text: String,
}

//! What became of a command.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{EdgeId, Epoch, Generation, Index, NodeId, Region, Shard};

/// What applying an entry came to: the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The command is in force; or was already, where it says what shall be.
    Done,
    /// A node's process has begun.
    Up {
        /// Its generation.
        generation: Generation,
    },
    /// A node has joined.
    Joined {
        /// Its id.
        node: NodeId,
    },
    /// Nothing changed.
    Refused(Refusal),
}

impl Outcome {
    /// The refusal as an error.
    ///
    /// # Errors
    /// The [`Refusal`], where it is one.
    pub fn accepted(self) -> Result<Self, Refusal> {
        match self {
            Self::Refused(refusal) => Err(refusal),
            done => Ok(done),
        }
    }
}

/// Whether a thing is still what a change was made of.
pub(super) fn unchanged(thing: Thing, since: Option<Index>, changed: Index) -> Result<(), Refusal> {
    if since.is_none_or(|since| since == changed) { Ok(()) } else { Err(Refusal::Changed(thing)) }
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Thing {
    Cluster,
    App,
    ApiKey,
    Node,
    Edge,
    TurnSecret,
    SealingKey,
    Revocation,
    Ban,
    Name,
    Build,
    Realm,
    Grace,
    Capacity,
    Rate,
    Origin,
    Address,
    Listener,
    RelayRange,
    Coordinates,
    PeerPrefix,
    Secret,
    Note,
    TurnUser,
    TurnUserBytes,
    Authority,
    Invitation,
    Lifetime,
    Applicant,
    Group,
    Voters,
    SelectionRegion,
    SelectionNetwork,
    SelectionRule,
    Operator,
    Owner,
    Link,
    Login,
    AccessToken,
    Password,
    Role,
    Issued,
    Label,
    Hook,
    HookUrl,
    HookEvent,
    Room,
    RoomBytes,
    Expiry,
    Metadata,
    Price,
    Currency,
    Provider,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "cluster",
            Self::App => "app",
            Self::ApiKey => "API key",
            Self::Node => "node",
            Self::Edge => "edge",
            Self::TurnSecret => "TURN secret",
            Self::SealingKey => "sealing key",
            Self::Revocation => "revocation",
            Self::Ban => "ban",
            Self::Name => "name",
            Self::Build => "build",
            Self::Realm => "realm",
            Self::Grace => "grace",
            Self::Capacity => "capacity",
            Self::Rate => "rate of frames",
            Self::Origin => "origin",
            Self::Address => "address",
            Self::Listener => "listener",
            Self::RelayRange => "relay range",
            Self::Coordinates => "pair of coordinates",
            Self::PeerPrefix => "peer prefix",
            Self::Secret => "secret",
            Self::Note => "audit note",
            Self::TurnUser => "TURN user",
            Self::TurnUserBytes => "bytes of TURN users",
            Self::Authority => "authority",
            Self::Invitation => "invitation",
            Self::Lifetime => "lifetime",
            Self::Applicant => "name of a joiner's key",
            Self::Group => "group of shards",
            Self::Voters => "number of voters",
            Self::SelectionRegion => "region of the selection",
            Self::SelectionNetwork => "network of the selection",
            Self::SelectionRule => "rule of the selection",
            Self::Operator => "operator",
            Self::Owner => "owner who may log in",
            Self::Link => "link",
            Self::Login => "login",
            Self::AccessToken => "access token",
            Self::Password => "password's hash",
            Self::Role => "role: none may have more than who gave it",
            Self::Issued => "issued credential",
            Self::Label => "label",
            Self::Hook => "webhook",
            Self::HookUrl => "URL of a webhook",
            Self::HookEvent => "event of a webhook",
            Self::Room => "room with a policy",
            Self::RoomBytes => "byte of rooms' policies",
            Self::Expiry => "expiry",
            Self::Metadata => "metadata",
            Self::Price => "price",
            Self::Currency => "name of a currency",
            Self::Provider => "identity provider",
        })
    }
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Another of that name is there.
    #[error("this {0} exists already")]
    Exists(Thing),
    /// None of that name is there.
    #[error("no such {0}")]
    Unknown(Thing),
    /// The collection is at its limit.
    #[error("no more than {max} of {thing} are kept: remove some first")]
    Full {
        /// Of what.
        thing: Thing,
        /// How many fit.
        max: u64,
    },
    /// A value is out of its range, too long, or of the wrong form.
    #[error("not a valid {0}")]
    Invalid(Thing),
    /// The number was not the next one: another change came first.
    #[error("the next number of a {thing} is {next}")]
    NotNext {
        /// Of what.
        thing: Thing,
        /// The number that would have been accepted.
        next: u64,
    },
    /// The last one of a kind, without which nothing works.
    #[error("the last {0} stays: add another first")]
    Last(Thing),
    /// The edge or node was removed by an operator.
    #[error("this {0} was removed")]
    Removed(Thing),
    /// Another key has taken its place.
    #[error("another key has taken the place of this {0}'s")]
    OtherKey(Thing),
    /// The thing is still in use.
    #[error("this {0} is still in use")]
    InUse(Thing),
    /// The shard has changed hands since the command was computed.
    #[error("shard {shard} is at epoch {epoch}, not at the expected one, or is not to move so")]
    ShardMoved {
        /// The first such shard.
        shard: Shard,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The node that was to get shards is not up.
    #[error("node {0} is not up")]
    NotUp(NodeId),
    /// The node has started again since.
    #[error("the node is at generation {0}")]
    OtherGeneration(Generation),
    /// A release on this node does not understand that version.
    #[error("node {node} understands cluster version {speaks} at most")]
    TooOld {
        /// The node.
        node: NodeId,
        /// The newest version that it understands.
        speaks: u32,
    },
    /// The cluster version is another one, so the raise was computed from an old state.
    #[error("the cluster version is {0}")]
    OtherVersion(u32),
    /// Its time is over, by the registry's clock.
    #[error("this {0} has expired")]
    Expired(Thing),
    /// An invitation lets one node join.
    #[error("this invitation was used already: node {node} joined by it")]
    Used {
        /// Who joined by it.
        node: NodeId,
    },
    /// The same of an edge.
    #[error("this invitation was used already: the edge {edge} joined by it")]
    UsedByEdge {
        /// Who joined by it.
        edge: EdgeId,
    },
    /// The invitation names where its node or edge is to stand.
    #[error("this invitation is for region {0}")]
    OtherRegion(Region),
    /// The invitation is for a node where an edge asks, or the reverse.
    #[error("this invitation is for a new {0}")]
    IsFor(Thing),
    /// The invitation is for another edge.
    #[error("this invitation is for the edge {0}")]
    IsForEdge(EdgeId),
    /// Another edge has said that this is its own.
    #[error("this {thing} is the edge {edge}'s already: give another one, or remove that edge")]
    Claimed {
        /// What.
        thing: Thing,
        /// Whose.
        edge: EdgeId,
    },
    /// The timers were changed since.
    #[error("the timers have changed since, or are settled already")]
    NotSettling,
    /// It is another one since this was computed.
    #[error("this {0} has changed since: try again")]
    Changed(Thing),
    /// A request of this name was carried out, and made something else than this would.
    #[error(
        "the first request with this Idempotency-Key was done, and what it answered is lost: look at what it made, and \
         take another key for another one"
    )]
    Repeated,
}

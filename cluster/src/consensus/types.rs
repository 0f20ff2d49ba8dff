//! What is asked of the registry and what it answers; and what it asks of its transport.

use chappe_proto::id::{Index, NodeId};
use chappe_proto::registry::{Command, Note, Outcome, RequestId};
use raft::eraftpb::Message;

use super::disk::DiskError;

/// A command with what goes with it.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// What is asked.
    pub command: Command,
    /// Names the request, where it may be sent again.
    pub by: Option<RequestId>,
    /// Who asked, for the audit log.
    pub note: Option<Note>,
}

impl From<Command> for Proposal {
    fn from(command: Command) -> Self {
        Self { command, by: None, note: None }
    }
}

/// A proposal that was committed and applied here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The index of its entry: a feed number.
    pub index: Index,
    /// What it came to.
    pub outcome: Outcome,
}

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This member does not lead; nothing was proposed. Ask the leader.
    #[error("this node does not lead the registry")]
    NoLeader {
        /// Who does, where known.
        leader: Option<NodeId>,
    },
    /// Too much is waiting; nothing was proposed. Try again.
    #[error("the registry is busy")]
    Busy,
    /// The disk is nearly full; nothing was proposed.
    #[error("less than 64 MB are free on the registry's disk")]
    DiskLow,
    /// The command is too long for an entry: nothing was proposed.
    #[error("the command is longer than an entry may be")]
    TooLong,
    /// Raft's members can't be changed so: nothing was proposed.
    #[error("the registry's members can't be changed so: {0}")]
    Members(String),
    /// Another leader's entry has taken its place: it was never carried out.
    #[error("another leader was elected before the command was committed")]
    Replaced,
    /// Nobody here knows whether it was carried out, since a snapshot skipped it.
    #[error("the command's outcome was not seen")]
    Unknown,
    /// The registry has ended. Whether a command under way was carried out is unknown.
    #[error("the registry has stopped")]
    Stopped,
}

/// Why the leadership was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This member does not lead. Ask the leader.
    #[error("this node does not lead the registry")]
    NoLeader {
        /// Who does, where known.
        leader: Option<NodeId>,
    },
    /// Another transfer is under way, or too much waits.
    #[error("the registry is busy")]
    Busy,
    /// Only a voter can lead.
    #[error("that node is no voter of the registry")]
    NoVoter,
    /// It did not take office in time; this member or another leads.
    #[error("that node did not take the leadership in time")]
    Failed,
    /// The registry has ended.
    #[error("the registry has stopped")]
    Stopped,
}

/// Names a request to a member until its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Why a linearizable read failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader answered in time.
    #[error("the registry has no leader that a majority follows")]
    NoLeader,
    /// Too many are waiting.
    #[error("the registry is busy")]
    Busy,
    /// The registry has ended.
    #[error("the registry has stopped")]
    Stopped,
}

/// Why the registry ended by itself. The process must exit with it.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// What was not written may be lost.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// To skip what others apply would be to have another state.
    #[error("entry {index} of the registry can't be read by this release ({why}): upgrade this node")]
    Entry {
        /// Its index.
        index: u64,
        /// Why.
        why: String,
    },
    /// The same for a snapshot.
    #[error("the leader's snapshot can't be read by this release ({0}): upgrade this node")]
    Snapshot(String),
    /// A bug of ours, or of raft's.
    #[error("the registry's thread panicked: {0}")]
    Panicked(String),
    /// raft's own error.
    #[error("raft: {0}")]
    Raft(#[from] raft::Error),
}

/// What a member is to the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Stands for election, or asks whether it should.
    Candidate,
    /// Leads.
    Leader,
}

/// How this member's Raft is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub member: NodeId,
    /// What it is.
    pub role: Role,
    /// The term.
    pub term: u64,
    /// It leads and has applied the first entry of its own term, so that it knows everything that was
    /// committed before: the leader's duties begin here.
    pub in_office: bool,
    /// The leader, where known: by Raft or, where the node follows a feed, by its word.
    pub leader: Option<NodeId>,
    /// Entries known to be committed.
    pub committed: u64,
    /// Entries applied here by Raft; the state may be ahead by a feed.
    pub applied: u64,
    /// The last entry of the log.
    pub last: u64,
    /// The last entry of the latest snapshot.
    pub snapshot: u64,
    /// Bytes of the log.
    pub log_bytes: usize,
    /// Members that vote.
    pub voters: Vec<NodeId>,
    /// Stand-bys.
    pub learners: Vec<NodeId>,
    /// Voters of the former configuration, while a change of several is under way.
    pub outgoing: Vec<NodeId>,
    /// On the leader: members whose log is within reach of its own,
    /// [`chappe_proto::limits::LOG_TRAIL`] entries, itself among them.
    pub caught_up: Vec<NodeId>,
    /// On the leader: members from which anything came within the longest election timeout, itself
    /// among them.
    pub recent: Vec<NodeId>,
    /// Whether this node's Raft is not enough to keep its state, and it should follow the feed of
    /// another: it is no member, or has heard no leader for two of the longest election timeouts
    /// (it may have been removed without hearing of that).
    pub wants_feed: bool,
    /// Writes that became durable since the start.
    pub writes: u64,
    /// Whether free disk is below [`chappe_proto::limits::DISK_FREE_MIN`].
    pub disk_low: bool,
}

/// Hears of each snapshot of a member's that is refused, and why.
pub type OnRefused = Box<dyn Fn(NodeId, &str) + Send>;

/// Takes messages to the other members.
pub trait Transport: Send + 'static {
    /// Takes a message, to `message.to`, without waiting. One that is lost on the way does no harm,
    /// but `Registry::unreachable` should be said then; and of a snapshot
    /// `Registry::snapshot_sent`, always.
    ///
    /// # Errors
    /// When there is no link, or its queue is full.
    fn send(&mut self, message: Message) -> Result<(), Unsent>;
}

/// A message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no link to that member, or it is full")]
pub struct Unsent;

/// The transport of a cluster of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Transport for Alone {
    fn send(&mut self, _: Message) -> Result<(), Unsent> {
        Err(Unsent)
    }
}

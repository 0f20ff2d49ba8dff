//! What the rest of the node sees of the registry.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::limits::REGISTRY_QUEUE;
use chappe_proto::registry::{Command, Note, Outcome, RequestId, State};
use raft::eraftpb::{ConfChangeV2, Message};
use tokio::sync::{oneshot, watch};

use super::disk::DiskError;
use super::driver::{Driver, Input, Outlets};
use super::open::{Config, Ended, Loaded, OpenError, open};
use super::sync;

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
    /// The leader, where known.
    pub leader: Option<NodeId>,
    /// Entries known to be committed.
    pub committed: u64,
    /// Entries applied here.
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
    /// Writes that became durable since the start.
    pub writes: u64,
    /// Whether free disk is below [`chappe_proto::limits::DISK_FREE_MIN`].
    pub disk_low: bool,
}

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

/// A handle of the registry; clones are the same. The registry ends when the last one is dropped.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    inputs: SyncSender<Input>,
    state: watch::Receiver<Arc<State>>,
    status: watch::Receiver<Status>,
    flags: Arc<Flags>,
}

/// What the threads tell each other without a message.
#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) disk_low: AtomicBool,
    pub(super) stopping: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.flags.stopping.store(true, Ordering::Relaxed);
    }
}

impl Registry {
    /// Opens the directory and starts the registry's threads. Waits for the disk: call it before
    /// serving, or off the runtime.
    ///
    /// # Errors
    /// [`OpenError`], each with what to do about it.
    pub fn open(mut config: Config) -> Result<(Self, Ended), OpenError> {
        let Loaded { disk, log, state } = open(&mut config)?;
        let (inputs, received) = sync_channel(REGISTRY_QUEUE);
        let (writes, to_write) = sync_channel(1);
        let (state, states) = watch::channel(Arc::new(state));
        let (status, statuses) = watch::channel(Status { member: config.member, ..Status::default() });
        let (end, ended) = oneshot::channel();
        let flags = Arc::new(Flags::default());
        flags.disk_low.store(disk.is_low(), Ordering::Relaxed);
        let (told, back) = (Arc::clone(&flags), inputs.clone());
        let syncing = spawn("registry-sync", move || {
            let result = catch_unwind(AssertUnwindSafe(|| sync::run(disk, &to_write, &back, &told)));
            if let Err(panic) = result {
                // Where the driver has gone already, nobody is left to tell.
                let _ = back.send(Input::Panicked(describe(&*panic)));
            }
        })?;
        let outlets = Outlets { state, status, writes, back: inputs.clone(), flags: Arc::clone(&flags) };
        spawn("registry", move || {
            let drive = || Driver::new(config, log, outlets)?.run(&received);
            let result = catch_unwind(AssertUnwindSafe(drive));
            let result = result.unwrap_or_else(|panic| Err(FatalError::Panicked(describe(&*panic))));
            // The directory is free when the registry has ended, not before.
            drop(received);
            let _ = syncing.join();
            let _ = end.send(result);
        })?;
        Ok((Self(Arc::new(Inner { inputs, state: states, status: statuses, flags })), ended))
    }

    /// The state as applied here: never waits, may lag behind the leader's.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.0.state.borrow())
    }

    /// The state and its changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.0.state.clone()
    }

    /// How this member's Raft is.
    #[must_use]
    pub fn status(&self) -> Status {
        let low = self.0.flags.disk_low.load(Ordering::Relaxed);
        Status { disk_low: low, ..self.0.status.borrow().clone() }
    }

    /// The status and its changes.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.0.status.clone()
    }

    /// Proposes a command, on the leader, and waits until it is durable on a majority and applied
    /// here. Give it a deadline of your own: without a majority it waits for one.
    ///
    /// # Errors
    /// [`ProposeError`]. A refusal is no error but an [`Outcome`].
    pub async fn propose(&self, proposal: impl Into<Proposal>) -> Result<Applied, ProposeError> {
        if self.0.flags.disk_low.load(Ordering::Relaxed) {
            return Err(ProposeError::DiskLow);
        }
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Propose(Box::new(proposal.into()), reply))?;
        answer.await.unwrap_or(Err(ProposeError::Stopped))
    }

    /// The state with all in it that was committed anywhere before the call (Raft's read-index).
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn linearizable(&self) -> Result<Arc<State>, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Read(reply))?;
        answer.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Changes Raft's members, on the leader; answered when the change has been applied here.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn change_members(&self, change: ConfChangeV2) -> Result<Index, ProposeError> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Change(change, reply))?;
        answer.await.unwrap_or(Err(ProposeError::Stopped)).map(|applied| applied.index)
    }

    /// A message of another member has come. Dropped when the registry is busy: Raft sends again.
    ///
    /// # Errors
    /// [`Unsent`] when it was dropped.
    pub fn deliver(&self, message: Message) -> Result<(), Unsent> {
        self.offer(Input::Message(Box::new(message))).map_err(|_| Unsent)
    }

    /// A message to that member was lost.
    pub fn unreachable(&self, member: NodeId) {
        // Only a hint, which the next loss repeats.
        let _ = self.offer(Input::Unreachable(member.0));
    }

    /// A snapshot has reached that member, or has not.
    ///
    /// # Errors
    /// [`Unsent`] when the registry is too busy to take note: say it again.
    pub fn snapshot_sent(&self, member: NodeId, arrived: bool) -> Result<(), Unsent> {
        self.offer(Input::SnapshotSent(member.0, arrived)).map_err(|_| Unsent)
    }

    /// Ends the registry once all that it was given is durable; the [`Ended`] of its opening says
    /// when.
    pub fn stop(&self) {
        self.0.flags.stopping.store(true, Ordering::Relaxed);
    }

    fn offer(&self, input: Input) -> Result<(), Refused> {
        self.0.inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Stopped,
        })
    }
}

/// Why an input was not taken.
enum Refused {
    Full,
    Stopped,
}

impl From<Refused> for ProposeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Busy,
            Refused::Stopped => Self::Stopped,
        }
    }
}

impl From<Refused> for ReadError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Busy,
            Refused::Stopped => Self::Stopped,
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.into()).spawn(body).map_err(OpenError::Thread)
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

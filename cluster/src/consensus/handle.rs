//! What the rest of the node sees of the registry.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use chappe_proto::id::{ClusterId, Index, NodeId};
use chappe_proto::limits::REGISTRY_QUEUE;
use chappe_proto::registry::State;
use raft::eraftpb::{ConfChangeV2, Message};
use tokio::sync::{oneshot, watch};

use super::driver::{Driver, Input, Outlets};
use super::feed::{FeedReader, Follower};
use super::member::Member;
use super::open::{Config, Ended, Loaded, OpenError, open};
use super::published::Published;
use super::sync;
use super::types::{Applied, FatalError, Proposal, ProposeError, ReadError, Status, TransferError, Unsent};
use crate::clock;

/// A handle of the registry; clones are the same. The registry ends when the last one is dropped.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    inputs: SyncSender<Input>,
    published: Arc<Published>,
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
        let Loaded { disk, durable, state } = open(&mut config)?;
        let (inputs, received) = sync_channel(REGISTRY_QUEUE);
        let (writes, to_write) = sync_channel(1);
        let state = Arc::new(state);
        let published = Arc::new(Published::new(Arc::clone(&state)));
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
        let Config { transport, refused, .. } = config;
        let (back, flagged) = (inputs.clone(), Arc::clone(&flags));
        let out = Arc::clone(&published);
        let outlets = Outlets { published: out, status, writes, back, flags: flagged, transport, refused };
        spawn("registry", move || {
            let drive = || {
                let seed = u64::from_ne_bytes(clock::random());
                let member = Member::new(clock::now(), seed, durable, state)?;
                Driver::new(member, outlets).run(&received)
            };
            let result = catch_unwind(AssertUnwindSafe(drive));
            let result = result.unwrap_or_else(|panic| Err(FatalError::Panicked(describe(&*panic))));
            // The directory is free when the registry has ended, not before.
            drop(received);
            let _ = syncing.join();
            let _ = end.send(result);
        })?;
        Ok((Self(Arc::new(Inner { inputs, published, status: statuses, flags })), ended))
    }

    /// The state as applied here: never waits, may lag behind the leader's.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.0.published.state()
    }

    /// The state and its changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.0.published.watch()
    }

    /// The numbered feed after an index, for another node: the follower's [`Feed::Follow`] says which.
    ///
    /// [`Feed::Follow`]: chappe_proto::mesh::node::Feed::Follow
    #[must_use]
    pub fn feed(&self, after: Index) -> FeedReader {
        FeedReader::new(Arc::clone(&self.0.published), self.0.status.clone(), after)
    }

    /// Follows another node's feed, while [`Status::wants_feed`]: one at a time. It fills the state
    /// wherever it is ahead of this node's Raft, so that it may begin and end at any time.
    #[must_use]
    pub fn follow(&self, cluster: ClusterId) -> Follower {
        Follower::new(Arc::clone(&self.0.published), cluster)
    }

    /// How this member's Raft is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
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
    /// [`ProposeError`]. A refusal is no error but an [`Outcome`](chappe_proto::registry::Outcome).
    pub async fn propose(&self, proposal: impl Into<Proposal>) -> Result<Applied, ProposeError> {
        self.begin(proposal.into()).await
    }

    /// As [`Self::propose`], but the proposal is on its way when this returns: those of one caller are
    /// appended in the order of its calls.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub fn begin(&self, proposal: Proposal) -> impl Future<Output = Result<Applied, ProposeError>> + use<> {
        let (reply, answer) = oneshot::channel();
        let offered = if self.0.flags.disk_low.load(Ordering::Relaxed) {
            Err(ProposeError::DiskLow)
        } else {
            self.offer(Input::Propose(Box::new(proposal), reply)).map_err(ProposeError::from)
        };
        async move {
            offered?;
            answer.await.unwrap_or(Err(ProposeError::Stopped))
        }
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

    /// The index at which a read that begins now is linearizable: whoever has applied it may answer.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_index(&self) -> Result<Index, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::ReadIndex(reply))?;
        answer.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Hands the leadership to another voter, on the leader; answered when that one leads.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn transfer(&self, to: NodeId) -> Result<(), TransferError> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Transfer(to, reply))?;
        answer.await.unwrap_or(Err(TransferError::Stopped))
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
        let _ = self.offer(Input::Unreachable(member));
    }

    /// A snapshot has reached that member, or has not.
    ///
    /// # Errors
    /// [`Unsent`] when the registry is too busy to take note: say it again.
    pub fn snapshot_sent(&self, member: NodeId, arrived: bool) -> Result<(), Unsent> {
        self.offer(Input::SnapshotSent(member, arrived)).map_err(|_| Unsent)
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

impl From<Refused> for TransferError {
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

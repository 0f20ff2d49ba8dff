//! The one loop that owns the `RawNode`: takes inputs, counts ticks, lets [`super::ready`] carry out
//! what Raft wants, and hands writes to the disk's thread, one at a time and as many Readys in each
//! as have gathered meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};

use chappe_proto::id::NodeId;
use chappe_proto::limits::{
    APPEND_BYTES_MAX, APPENDS_IN_FLIGHT, LOG_BYTES_MAX, REGISTRY_QUEUE, UNCOMMITTED_BYTES_MAX,
};
use chappe_proto::registry::profile::{Profile, TICK};
use chappe_proto::registry::{Entry, State};
use chappe_proto::time::Mono;
use raft::eraftpb::{ConfChangeV2, Message, MessageType};
use raft::{RawNode, SnapshotStatus, StateRole};
use tokio::sync::{oneshot, watch};

use super::disk::DiskError;
use super::handle::Flags;
use super::open::Config;
use super::reads::{Reader, Reads};
use super::storage::{Log, Snap, Write};
use super::types::{Applied, FatalError, Proposal, ProposeError, Role, Status, Transport};
use crate::clock;

/// Where a proposal's answer goes.
pub(super) type Proposer = oneshot::Sender<Result<Applied, ProposeError>>;

/// What comes into the loop.
pub(super) enum Input {
    Propose(Box<Proposal>, Proposer),
    Change(ConfChangeV2, Proposer),
    Read(Reader),
    Message(Box<Message>),
    Unreachable(u64),
    SnapshotSent(u64, bool),
    /// All up to this Ready is durable.
    Synced(Result<u64, DiskError>),
    /// A snapshot of ours is encoded; none when it can't be.
    Built(Option<Snap>),
    Panicked(String),
}

/// What goes out of the loop.
pub(super) struct Outlets {
    pub(super) state: watch::Sender<Arc<State>>,
    pub(super) status: watch::Sender<Status>,
    pub(super) writes: SyncSender<Write>,
    /// The loop's own input, for whoever works for it.
    pub(super) back: SyncSender<Input>,
    pub(super) flags: Arc<Flags>,
}

/// A Ready whose messages, and whose being persisted, wait for the disk.
pub(super) struct Held {
    pub(super) number: u64,
    /// The Ready that must be durable before.
    pub(super) after: u64,
    pub(super) messages: Vec<Message>,
}

/// The loop's state.
pub(super) struct Driver {
    pub(super) node: RawNode<Log>,
    pub(super) member: u64,
    pub(super) state: Arc<State>,
    pub(super) transport: Box<dyn Transport>,
    pub(super) out: Outlets,
    /// By log index, each with the term in which it was proposed.
    pub(super) proposed: BTreeMap<u64, (u64, Proposer)>,
    pub(super) reads: Reads,
    pub(super) held: VecDeque<Held>,
    /// The last Ready that must be durable, and the last that is.
    pub(super) to_sync: u64,
    pub(super) synced: u64,
    /// The last Ready that changed term or vote.
    pub(super) voted: u64,
    /// A snapshot's index that Raft is told to be applied once its Ready is durable.
    pub(super) installed: Option<(u64, u64)>,
    /// A snapshot of ours is being encoded.
    pub(super) building: bool,
    /// Bytes applied since the last snapshot.
    pub(super) grown: usize,
    writing: bool,
    tick: u64,
    next_tick: Mono,
}

/// Ticks that may be counted at once: what a process slept through is held against nobody.
const CATCH_UP: u32 = 5;

impl Driver {
    pub(super) fn new(config: Config, log: Log, out: Outlets) -> Result<Self, FatalError> {
        let member = config.member.0;
        let heartbeat = Profile::ticks(config.profile.heartbeat);
        let (min, max) = config.profile.election_ticks(member);
        let (_, longest) = config.profile.election;
        let alone = log.members().voters == [member] && log.members().voters_outgoing.is_empty();
        let settings = raft::Config {
            id: member,
            election_tick: Profile::ticks(config.profile.election.0) as usize,
            heartbeat_tick: heartbeat as usize,
            min_election_tick: min as usize,
            max_election_tick: max as usize,
            applied: log.snap().at.index,
            max_size_per_msg: APPEND_BYTES_MAX as u64,
            max_inflight_msgs: APPENDS_IN_FLIGHT,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX as u64,
            max_committed_size_per_ready: UNCOMMITTED_BYTES_MAX as u64,
            ..raft::Config::default()
        };
        let mut node = RawNode::new(&settings, log, &super::log::logger())?;
        if alone {
            // Nobody else could be elected: no time is lost waiting for one.
            node.campaign()?;
        }
        let patience = (heartbeat.into(), 3 * u64::from(Profile::ticks(longest)));
        let state = Arc::clone(&out.state.borrow());
        Ok(Self {
            node,
            member,
            state,
            transport: config.transport,
            out,
            proposed: BTreeMap::new(),
            reads: Reads::new(member, patience),
            held: VecDeque::new(),
            to_sync: 0,
            synced: 0,
            voted: 0,
            installed: None,
            building: false,
            grown: 0,
            writing: false,
            tick: 0,
            next_tick: clock::mono() + TICK,
        })
    }

    /// Runs until it is told to stop and all is durable, or until it can't go on.
    pub(super) fn run(mut self, inputs: &Receiver<Input>) -> Result<(), FatalError> {
        loop {
            // Inputs before ticks: nobody is judged silent whose message is waiting here.
            match inputs.recv_timeout(self.next_tick.until(clock::mono())) {
                Ok(input) => self.take(input)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            for input in inputs.try_iter().take(REGISTRY_QUEUE) {
                self.take(input)?;
            }
            self.count_ticks();
            if let Some(context) = self.reads.ask(self.tick) {
                self.node.read_index(context);
            }
            self.settle()?;
            self.build_snapshot();
            self.write()?;
            self.publish();
            let stopping = self.out.flags.stopping.load(Ordering::Relaxed);
            if stopping && !self.writing && !self.building {
                return Ok(());
            }
        }
    }

    fn take(&mut self, input: Input) -> Result<(), FatalError> {
        match input {
            Input::Propose(proposal, proposer) => self.propose(*proposal, proposer),
            Input::Change(change, proposer) => self.change(&change, proposer),
            Input::Read(reader) => self.reads.add(reader, self.tick),
            Input::Message(message) => self.step(*message),
            Input::Unreachable(member) => self.node.report_unreachable(member),
            Input::SnapshotSent(member, arrived) => {
                let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.node.report_snapshot(member, status);
            }
            Input::Synced(ready) => {
                self.writing = false;
                self.synced = self.synced.max(ready?);
                self.out.status.send_modify(|status| status.writes += 1);
            }
            Input::Built(snap) => self.built(snap),
            Input::Panicked(text) => return Err(FatalError::Panicked(text)),
        }
        Ok(())
    }

    fn step(&mut self, message: Message) {
        // Commands reach the leader by a request of ours, which it stamps: never so (CLUSTER.md 1).
        if message.to != self.member || message.get_msg_type() == MessageType::MsgPropose {
            return;
        }
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "a member's message was refused");
        }
    }

    /// Whether a proposal may be made here and now.
    fn may_propose(&self) -> Result<(), ProposeError> {
        if self.node.raft.state != StateRole::Leader {
            let leader = self.leader();
            return Err(ProposeError::NoLeader { leader });
        }
        let full = self.node.store().bytes() > LOG_BYTES_MAX || self.proposed.len() >= REGISTRY_QUEUE;
        if full { Err(ProposeError::Busy) } else { Ok(()) }
    }

    fn propose(&mut self, proposal: Proposal, proposer: Proposer) {
        let Proposal { command, by, note } = proposal;
        let entry = Entry { at: clock::unix().max(self.state.now()), by, note, command };
        let taken = self.may_propose().and_then(|()| {
            let data = entry.encode().map_err(|_| ProposeError::TooLong)?;
            self.node.propose(Vec::new(), data).map_err(|_| ProposeError::Busy)
        });
        self.expect(taken, proposer);
    }

    fn change(&mut self, change: &ConfChangeV2, proposer: Proposer) {
        let taken = self.may_propose().and_then(|()| {
            self.node.propose_conf_change(Vec::new(), change.clone()).map_err(|_| ProposeError::Busy)
        });
        self.expect(taken, proposer);
    }

    fn expect(&mut self, taken: Result<(), ProposeError>, proposer: Proposer) {
        match taken {
            Ok(()) => {
                let at = self.node.raft.raft_log.last_index();
                self.proposed.insert(at, (self.node.raft.term, proposer));
            }
            // Whoever asked may have gone.
            Err(error) => drop(proposer.send(Err(error))),
        }
    }

    fn count_ticks(&mut self) {
        let now = clock::mono();
        for _ in 0..CATCH_UP {
            if now < self.next_tick {
                return;
            }
            self.node.tick();
            self.tick += 1;
            self.reads.tick(self.tick);
            self.next_tick = self.next_tick + TICK;
        }
        self.next_tick = self.next_tick.max(now + TICK);
    }

    /// Hands the next write to the disk's thread when it has done the last.
    fn write(&mut self) -> Result<(), FatalError> {
        if self.writing {
            return Ok(());
        }
        let Some(write) = self.node.mut_store().take_write() else { return Ok(()) };
        self.writing = true;
        // One is under way at most, so there is room; else the thread is gone, and says why before.
        self.out.writes.try_send(write).map_err(|_| FatalError::Panicked("the disk's thread is gone".into()))
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        Some(NodeId(self.node.raft.leader_id)).filter(|id| id.0 != raft::INVALID_ID)
    }

    fn publish(&self) {
        let raft = &self.node.raft;
        let role = match raft.state {
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Leader => Role::Leader,
        };
        let now = |status: &Status| Status {
            member: NodeId(self.member),
            role,
            term: raft.term,
            leader: self.leader(),
            committed: raft.raft_log.committed,
            applied: self.state.index().0,
            last: raft.raft_log.last_index(),
            snapshot: raft.store().snap().at.index,
            log_bytes: raft.store().bytes(),
            voters: raft.store().members().voters.iter().copied().map(NodeId).collect(),
            learners: raft.store().members().learners.iter().copied().map(NodeId).collect(),
            writes: status.writes,
            disk_low: self.out.flags.disk_low.load(Ordering::Relaxed),
        };
        self.out.status.send_if_modified(|status| {
            let next = now(status);
            if (next.role, next.term) != (status.role, status.term) {
                tracing::info!(term = next.term, role = ?next.role, leader = ?next.leader, "registry");
            }
            let changed = next != *status;
            *status = next;
            changed
        });
    }
}

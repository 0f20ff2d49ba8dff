//! A member of Raft as a machine: time, messages, requests and the disk's word come in, messages,
//! writes, answers and the applied state go out. Its shell is the thread in `driver`; a simulation is
//! another one, with a network and disks of its own.
//!
//! Any number of `handle_…` calls, then [`Member::settle`], which says what is to be done. A
//! [`Output::Write`] is one at a time and is answered by [`Member::handle_synced`] once it is durable;
//! [`Output::Build`] by [`Member::handle_built`].
//!
//! A restart is a new machine on what the disk holds ([`Durable`]), with another seed: whatever was not
//! flushed is as if it had not been written, and no promise that depends on it has left the member.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::limits::{
    APPEND_BYTES_MAX, APPENDS_IN_FLIGHT, LOG_BYTES_MAX, REGISTRY_QUEUE, UNCOMMITTED_BYTES_MAX,
};
use chappe_proto::registry::{Entry, State};
use chappe_proto::time::{Mono, Now};
use raft::eraftpb::{ConfChangeV2, ConfState, Message, MessageType};
use raft::{Changer, RawNode, SnapshotStatus, StateRole};

pub use super::durable::Durable;
use super::reads::Reads;
pub use super::ready::{Build, Output};
use super::storage::Log;
pub use super::storage::{Snap, Write};
use super::timer::{self, Timer};
pub use super::types::Ticket;
use super::types::{FatalError, Proposal, ProposeError, ReadError};

/// A Ready whose messages, and whose being persisted, wait for the disk.
pub(super) struct Held {
    pub(super) number: u64,
    /// The Ready that must be durable before.
    pub(super) after: u64,
    pub(super) messages: Vec<Message>,
}

/// The machine.
pub struct Member {
    pub(super) node: RawNode<Log>,
    pub(super) id: u64,
    seed: u64,
    pub(super) timer: Timer,
    pub(super) state: Arc<State>,
    /// By log index, each with the term in which it was proposed.
    pub(super) proposed: BTreeMap<u64, (u64, Ticket)>,
    pub(super) reads: Reads,
    /// A transfer of the leadership, and to whom.
    pub(super) transfer: Option<(Ticket, u64)>,
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
    pub(super) writing: bool,
    pub(super) writes: u64,
    pub(super) disk_low: bool,
    /// When each other member was heard last.
    pub(super) heard: BTreeMap<u64, Mono>,
    /// No earlier than this it hands over again, for want of room on its disk.
    pub(super) next_handover: Mono,
    /// When a leader was heard last.
    pub(super) led: Mono,
    /// The state of a snapshot that Raft has been given.
    pub(super) arrived: Option<State>,
    pub(super) out: Vec<Output>,
}

impl Member {
    /// A member on what its disk holds, and the state in it ([`Durable::state`]). `seed` is another one
    /// at each start: it names the life, and election timeouts are drawn by it.
    ///
    /// # Errors
    /// When raft refuses what the disk holds.
    pub fn new(now: Now, seed: u64, durable: Durable, state: Arc<State>) -> Result<Self, FatalError> {
        let id = durable.member;
        let log = Log::new(durable);
        let (min, max) = timer::ELECTION_RANGE;
        let alone = log.members().voters == [id] && log.members().voters_outgoing.is_empty();
        let settings = raft::Config {
            id,
            election_tick: timer::ELECTION_TICKS as usize,
            // The timer counts them instead.
            heartbeat_tick: timer::ELECTION_TICKS as usize - 1,
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
        Ok(Self {
            node,
            id,
            seed,
            timer: Timer::new(now.mono, state.profile()),
            state,
            proposed: BTreeMap::new(),
            reads: Reads::new(id, seed),
            transfer: None,
            held: VecDeque::new(),
            to_sync: 0,
            synced: 0,
            voted: 0,
            installed: None,
            building: false,
            grown: 0,
            writing: false,
            writes: 0,
            disk_low: false,
            heard: BTreeMap::new(),
            next_handover: now.mono,
            led: now.mono,
            arrived: None,
            out: Vec::new(),
        })
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        self.timer.poll_timeout()
    }

    /// Time has passed. What has come in must have been handled before: nobody is judged silent whose
    /// message waits.
    pub fn handle_timeout(&mut self, now: Now) {
        let due = self.timer.due(now.mono);
        for _ in 0..due.ticks {
            self.set_election_timeout();
            self.node.tick();
        }
        if due.beat {
            self.node.ping();
        }
        match self.leader() {
            Some(leader) if leader.0 == self.id => self.led = now.mono,
            // raft lets only voters forget a leader of which nothing is heard.
            Some(leader) => self.led = self.led.max(self.heard.get(&leader.0).copied().unwrap_or_default()),
            None => {}
        }
        self.reads.handle_timeout(now.mono, self.timer.profile());
        self.hand_over(now.mono);
        self.settle_transfer();
    }

    /// raft draws the timeout itself whenever it resets its timer; only a tick looks at it.
    fn set_election_timeout(&mut self) {
        let role = match self.node.raft.state {
            StateRole::Follower => 0,
            StateRole::PreCandidate => 1,
            StateRole::Candidate => 2,
            StateRole::Leader => 3,
        };
        let members = self.node.store().members();
        let voters = members.voters.iter().filter(|id| **id < self.id).count();
        let leaving = members.voters_outgoing.iter();
        let former = leaving.filter(|id| **id < self.id && !members.voters.contains(id)).count();
        let range = timer::election_ticks((voters + former) as u64);
        let drawn = timer::draw(self.seed, self.node.raft.term, role, range);
        self.node.raft.set_randomized_election_timeout(drawn as usize);
    }

    /// A message of another member has come.
    ///
    /// # Errors
    /// [`FatalError::Snapshot`] for a snapshot that only a newer release understands.
    pub fn handle_message(&mut self, now: Now, message: Message) -> Result<(), FatalError> {
        // Commands reach the leader by a request of ours, which it stamps: never so.
        if message.to != self.id || message.get_msg_type() == MessageType::MsgPropose {
            return Ok(());
        }
        self.heard.insert(message.from, now.mono);
        if message.get_msg_type() == MessageType::MsgSnapshot && !self.examine(&message)? {
            return Ok(());
        }
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "a member's message was refused");
        }
        Ok(())
    }

    /// A message to that member was lost.
    pub fn handle_unreachable(&mut self, member: NodeId) {
        self.node.report_unreachable(member.0);
    }

    /// A snapshot has reached that member, or has not.
    pub fn handle_snapshot_sent(&mut self, member: NodeId, arrived: bool) {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(member.0, status);
    }

    /// All up to [`Write::number`] is durable.
    pub const fn handle_synced(&mut self, number: u64) {
        self.writing = false;
        self.writes += 1;
        if number > self.synced {
            self.synced = number;
        }
    }

    /// A snapshot of ours is encoded; none when it can't be.
    pub fn handle_built(&mut self, snap: Option<Snap>) {
        self.building = false;
        if let Some(snap) = snap {
            self.node.mut_store().keep(Arc::new(snap));
        }
    }

    /// Whether free disk is below [`chappe_proto::limits::DISK_FREE_MIN`]; then proposals are refused.
    pub const fn handle_disk_low(&mut self, low: bool) {
        self.disk_low = low;
    }

    /// Whether a proposal may be made here and now.
    fn may_propose(&self) -> Result<(), ProposeError> {
        if self.disk_low {
            return Err(ProposeError::DiskLow);
        }
        if self.node.raft.state != StateRole::Leader {
            let leader = self.leader();
            return Err(ProposeError::NoLeader { leader });
        }
        let full = self.node.store().bytes() > LOG_BYTES_MAX || self.proposed.len() >= REGISTRY_QUEUE;
        if full { Err(ProposeError::Busy) } else { Ok(()) }
    }

    /// A command, stamped with our wall time; answered by [`Output::Proposed`].
    pub fn handle_propose(&mut self, now: Now, ticket: Ticket, proposal: Proposal) {
        let Proposal { command, by, note } = proposal;
        let entry = Entry { at: now.unix.max(self.state.now()), by, note, command };
        let taken = self.may_propose().and_then(|()| {
            let data = entry.encode().map_err(|_| ProposeError::TooLong)?;
            self.node.propose(Vec::new(), data).map_err(|_| ProposeError::Busy)
        });
        self.expect(taken, ticket);
    }

    /// A change of Raft's members; answered by [`Output::Proposed`]. One at a time.
    pub fn handle_change(&mut self, ticket: Ticket, change: &ConfChangeV2) {
        let taken = self.may_propose().and_then(|()| {
            let changing = !self.node.store().members().voters_outgoing.is_empty();
            if changing || self.node.raft.has_pending_conf() {
                return Err(ProposeError::Busy);
            }
            if change.changes.is_empty() {
                return Err(ProposeError::Members("nothing is to change".into()));
            }
            // An entry that can't be applied would end every member.
            let mut changer = Changer::new(self.node.raft.prs());
            let tried = match change.enter_joint() {
                Some(auto_leave) => changer.enter_joint(auto_leave, &change.changes),
                None => changer.simple(&change.changes),
            };
            tried.map_err(|error| ProposeError::Members(error.to_string()))?;
            self.node.propose_conf_change(Vec::new(), change.clone()).map_err(|_| ProposeError::Busy)
        });
        self.expect(taken, ticket);
    }

    fn expect(&mut self, taken: Result<(), ProposeError>, ticket: Ticket) {
        match taken {
            Ok(()) => {
                let at = self.node.raft.raft_log.last_index();
                self.proposed.insert(at, (self.node.raft.term, ticket));
            }
            Err(error) => self.out.push(Output::Proposed(ticket, Err(error))),
        }
    }

    /// A linearizable read; answered by [`Output::Read`], with `applied` when what it may see is
    /// applied here, else as soon as its index is known.
    pub fn handle_read(&mut self, now: Now, ticket: Ticket, applied: bool) {
        if self.is_member() {
            self.reads.add(now.mono, ticket, applied, self.timer.profile());
        } else {
            self.out.push(Output::Read(ticket, Err(ReadError::NoLeader)));
        }
    }

    /// Who leads, where known. Of no member: raft lets none that was removed forget the leader that did it, and
    /// nobody tells it of the next.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        Some(NodeId(self.node.raft.leader_id)).filter(|id| id.0 != raft::INVALID_ID && self.is_member())
    }

    /// The term in which it leads, where it does.
    #[must_use]
    pub fn leads(&self) -> Option<u64> {
        (self.node.raft.state == StateRole::Leader).then_some(self.node.raft.term)
    }

    /// Whether it is a voter or a stand-by, or was when it last heard.
    #[must_use]
    pub fn is_member(&self) -> bool {
        let members = self.node.store().members();
        let known = [&members.voters, &members.learners, &members.voters_outgoing, &members.learners_next];
        known.iter().any(|ids| ids.contains(&self.id))
    }

    /// The members at the last applied entry.
    pub(super) fn members(&self) -> &ConfState {
        self.node.store().members()
    }

    /// The state as applied here.
    #[must_use]
    pub const fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The index of the last entry that is applied here.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.state.index()
    }
}

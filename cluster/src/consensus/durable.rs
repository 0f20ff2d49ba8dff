//! What a member's disk holds, in memory: what a start reads from sled, and what a simulation keeps of
//! a disk.

use std::collections::VecDeque;
use std::sync::Arc;

use chappe_proto::id::{Index, NodeId};
use chappe_proto::registry::{SnapshotError, State};
use chappe_proto::wire::WireError;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

use super::storage::{At, Snap, Write};

/// Everything that a member must not forget: term and vote, its log, its latest snapshot with the
/// members in it.
#[derive(Debug, Clone)]
pub struct Durable {
    pub(super) member: u64,
    pub(super) snap: Arc<Snap>,
    /// The last entry that the log does not hold.
    pub(super) compacted: At,
    pub(super) entries: VecDeque<Entry>,
    pub(super) hard: HardState,
}

impl Durable {
    /// The first contents of a member's disk. Founders, the same on each, are the first voters of a new
    /// cluster; a member without any waits to be added to one.
    ///
    /// Founders begin with a snapshot at index 1 that names them, so that whoever joins later gets it
    /// and knows them; a log from the start would not say who they are.
    ///
    /// # Errors
    /// Never for an empty state, whose bytes are few.
    pub fn found(member: NodeId, founders: &[NodeId]) -> Result<Self, WireError> {
        let at = if founders.is_empty() { At::default() } else { At { index: 1, term: 1 } };
        let mut state = State::default();
        state.pass(Index(at.index));
        let voters = founders.iter().map(|node| node.0).collect();
        let members = ConfState { voters, ..ConfState::default() };
        let snap = Arc::new(Snap { at, members, data: state.encode()?.into() });
        let hard = HardState { term: at.term, commit: at.index, ..HardState::default() };
        Ok(Self { member: member.0, snap, compacted: at, entries: VecDeque::new(), hard })
    }

    /// A cluster of one that begins with a state, in a term.
    pub(super) fn alone_with(member: NodeId, state: &State, term: u64) -> Result<Self, WireError> {
        let at = At { index: state.index().0, term };
        let members = ConfState { voters: vec![member.0], ..ConfState::default() };
        let snap = Arc::new(Snap { at, members, data: state.encode()?.into() });
        let hard = HardState { term, commit: at.index, ..HardState::default() };
        Ok(Self { member: member.0, snap, compacted: at, entries: VecDeque::new(), hard })
    }

    /// The first contents of each founder's disk where a cluster begins with a registry that is not empty.
    ///
    /// # Errors
    /// When the state is longer than a snapshot may be.
    pub fn found_on(founders: &[NodeId], state: &State) -> Result<Vec<Self>, WireError> {
        let at = At { index: state.index().0, term: 1 };
        let voters = founders.iter().map(|node| node.0).collect();
        let members = ConfState { voters, ..ConfState::default() };
        let snap = Arc::new(Snap { at, members, data: state.encode()?.into() });
        let hard = HardState { term: at.term, commit: at.index, ..HardState::default() };
        let of = |member: &NodeId| {
            let (snap, entries, hard) = (Arc::clone(&snap), VecDeque::new(), hard.clone());
            Self { member: member.0, snap, compacted: at, entries, hard }
        };
        Ok(founders.iter().map(of).collect())
    }

    /// What the disk holds once it has carried out `write`: all of it or, where it was not flushed,
    /// nothing.
    pub fn write(&mut self, write: &Write) {
        if let Some((snap, compacted)) = &write.snap {
            (self.snap, self.compacted) = (Arc::clone(snap), *compacted);
        }
        if write.reset {
            self.entries.clear();
        }
        if let Some(first) = write.entries.first() {
            while self.entries.pop_back_if(|last| last.index >= first.index).is_some() {}
        }
        self.entries.extend(write.entries.iter().cloned());
        while self.entries.pop_front_if(|first| first.index <= self.compacted.index).is_some() {}
        self.hard = write.hard.clone();
        self.raise_commit();
    }

    /// The commit index is written with the next batch only; a snapshot is of what was committed.
    pub(super) fn raise_commit(&mut self) {
        self.hard.commit = self.hard.commit.max(self.snap.at.index);
    }

    /// Whose disk it is.
    #[must_use]
    pub const fn member(&self) -> NodeId {
        NodeId(self.member)
    }

    /// The term and the vote given in it.
    #[must_use]
    pub fn promised(&self) -> (u64, Option<NodeId>) {
        (self.hard.term, Some(NodeId(self.hard.vote)).filter(|vote| vote.0 != raft::INVALID_ID))
    }

    /// The index of the log's last entry.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.entries.back().map_or(self.compacted.index, |entry| entry.index))
    }

    /// The term of the log's last entry.
    pub(super) fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.compacted.term, |entry| entry.term)
    }

    /// The state in the snapshot: what a start goes on from.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn state(&self) -> Result<State, SnapshotError> {
        State::decode(&self.snap.data)
    }

    /// Whether this member is the only voter, and no change of members is under way.
    #[must_use]
    pub fn alone(&self) -> bool {
        let members = &self.snap.members;
        let changing = |entry: &Entry| {
            entry.index > self.snap.at.index && entry.get_entry_type() != EntryType::EntryNormal
        };
        members.voters == [self.member]
            && members.voters_outgoing.is_empty()
            && !self.entries.iter().any(changing)
    }
}

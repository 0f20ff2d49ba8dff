//! What Raft reads of its log: all of it in memory, since it is capped. What changes is gathered in
//! a [`Write`] at the same time, and goes to the disk on another thread; so no read of Raft's ever
//! waits for a disk, and none can fail.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use chappe_proto::limits::LOG_TRAIL;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, StorageError};

use super::durable::Durable;

/// A position in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct At {
    pub(super) index: u64,
    pub(super) term: u64,
}

/// A snapshot of the registry.
#[derive(Debug, Default)]
pub struct Snap {
    /// The last entry that it holds.
    pub(super) at: At,
    /// The members then.
    pub(super) members: ConfState,
    /// The state's bytes.
    pub(super) data: Bytes,
}

/// What is to become durable together.
#[derive(Debug, Default)]
pub struct Write {
    /// A snapshot, and the last entry that the log no longer holds.
    pub(super) snap: Option<(Arc<Snap>, At)>,
    /// The snapshot is another member's: nothing of the log before it holds.
    pub(super) reset: bool,
    /// Entries; what the log had from the first one on is void.
    pub(super) entries: Vec<Entry>,
    /// Term, vote and commit index.
    pub(super) hard: HardState,
    /// The last Ready whose changes are in here.
    pub(super) ready: u64,
}

impl Write {
    /// What the answer to it says: everything up to here is durable.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.ready
    }
}

/// The log in memory.
#[derive(Default)]
pub(super) struct Log {
    /// The last entry that is no longer held.
    compacted: At,
    entries: VecDeque<Entry>,
    bytes: usize,
    hard: HardState,
    /// The members at the last applied entry.
    members: ConfState,
    snap: Arc<Snap>,
    /// Raft asked for a newer snapshot than there is.
    wanted: Cell<bool>,
    /// What the disk has not been told yet.
    write: Option<Write>,
}

impl Log {
    /// The log as it was read from the disk.
    pub(super) fn new(durable: Durable) -> Self {
        let Durable { snap, compacted, entries, hard, .. } = durable;
        let bytes = entries.iter().map(size).sum();
        let members = snap.members.clone();
        Self { compacted, entries, bytes, hard, members, snap, ..Self::default() }
    }

    /// Bytes of all entries.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn snap(&self) -> &Arc<Snap> {
        &self.snap
    }

    pub(super) fn members(&self) -> &ConfState {
        &self.members
    }

    pub(super) fn set_members(&mut self, members: ConfState) {
        self.members = members;
    }

    /// Whether Raft wants a newer snapshot; asked once.
    pub(super) fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    /// What is to be written next, if anything.
    pub(super) fn take_write(&mut self) -> Option<Write> {
        let mut write = self.write.take()?;
        write.hard = self.hard.clone();
        Some(write)
    }

    /// Term and vote, as last said by Raft.
    pub(super) const fn promised(&self) -> (u64, u64) {
        (self.hard.term, self.hard.vote)
    }

    pub(super) fn set_hard(&mut self, hard: HardState) {
        self.hard = hard;
    }

    /// That the changes of Ready `number`, made just before, must become durable.
    pub(super) fn must_write(&mut self, number: u64) {
        self.write.get_or_insert_default().ready = number;
    }

    /// Appends; what was there from the first of them on is void.
    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        while self.entries.back().is_some_and(|last| last.index >= first) {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, size);
        }
        self.bytes += entries.iter().map(size).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
        let write = self.write.get_or_insert_default();
        write.entries.retain(|entry| entry.index < first);
        write.entries.extend(entries);
    }

    /// Another member's snapshot takes the place of everything.
    pub(super) fn install(&mut self, snap: Arc<Snap>) {
        self.entries.clear();
        self.bytes = 0;
        self.compacted = snap.at;
        self.members = snap.members.clone();
        self.hard.commit = self.hard.commit.max(snap.at.index);
        let write = self.write.get_or_insert_default();
        write.entries.clear();
        write.reset = true;
        write.snap = Some((Arc::clone(&snap), snap.at));
        self.snap = snap;
    }

    /// Our own snapshot: what is well before it goes.
    pub(super) fn keep(&mut self, snap: Arc<Snap>) {
        if snap.at.index <= self.snap.at.index {
            return;
        }
        let target = snap.at.index.saturating_sub(LOG_TRAIL);
        while let Some(gone) = self.entries.pop_front_if(|entry| entry.index <= target) {
            self.bytes -= size(&gone);
            self.compacted = At { index: gone.index, term: gone.term };
        }
        let write = self.write.get_or_insert_default();
        write.snap = Some((Arc::clone(&snap), self.compacted));
        self.snap = snap;
    }

    fn last(&self) -> u64 {
        self.entries.back().map_or(self.compacted.index, |entry| entry.index)
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.compacted.index + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }
}

fn size(entry: &Entry) -> usize {
    entry.data.len() + entry.context.len() + 32
}

impl raft::Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard.clone(), self.members.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.compacted.index {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let max = max_size.into().unwrap_or(u64::MAX);
        let mut total = 0_u64;
        let fits = |entry: &&Entry| {
            // The first is always taken.
            let first = total == 0;
            total = total.saturating_add(u64::from(entry.compute_size()).max(1));
            first || total <= max
        };
        Ok((low..high).filter_map(|index| self.at(index)).take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.compacted.index {
            return Ok(self.compacted.term);
        }
        if index == self.snap.at.index {
            return Ok(self.snap.at.term);
        }
        if index < self.compacted.index {
            return Err(StorageError::Compacted.into());
        }
        self.at(index).map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let members = &self.snap.members;
        let known = [&members.voters, &members.learners, &members.voters_outgoing, &members.learners_next];
        // A snapshot that does not name its receiver as a member is never installed by it.
        if self.snap.at.index < request_index || !known.iter().any(|ids| ids.contains(&to)) {
            self.wanted.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        snapshot.set_data(self.snap.data.clone());
        let meta = snapshot.mut_metadata();
        meta.index = self.snap.at.index;
        meta.term = self.snap.at.term;
        meta.set_conf_state(members.clone());
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use raft::Storage as _;

    use super::*;

    fn entry(index: u64, term: u64, len: usize) -> Entry {
        Entry { index, term, data: vec![7; len].into(), ..Entry::default() }
    }

    fn log(indices: std::ops::RangeInclusive<u64>) -> Log {
        let mut log = Log::default();
        log.append(indices.map(|index| entry(index, 1, 10)).collect());
        log
    }

    fn entries(log: &Log, low: u64, high: u64, max: u64) -> raft::Result<Vec<u64>> {
        let read = log.entries(low, high, max, GetEntriesContext::empty(false))?;
        Ok(read.into_iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn an_append_voids_what_followed_in_memory_and_in_the_write() {
        let mut log = log(1..=5);
        log.append(vec![entry(4, 2, 10)]);
        assert_eq!(log.last_index(), Ok(4));
        assert_eq!(log.term(4), Ok(2));
        assert_eq!(log.term(5), Err(StorageError::Unavailable.into()));
        let write = log.take_write().unwrap();
        assert_eq!(
            write.entries.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>(),
            [(1, 1), (2, 1), (3, 1), (4, 2)]
        );
        assert_eq!(log.bytes(), 4 * 42);
    }

    #[test]
    fn reads_are_bounded_but_never_empty() {
        let log = log(1..=9);
        assert_eq!(entries(&log, 2, 6, u64::MAX).unwrap(), [2, 3, 4, 5]);
        assert_eq!(entries(&log, 2, 6, 0).unwrap(), [2]);
        let one = u64::from(log.at(1).unwrap().compute_size());
        assert_eq!(entries(&log, 2, 6, 2 * one).unwrap(), [2, 3]);
        assert_eq!(entries(&log, 9, 11, 0), Err(StorageError::Unavailable.into()));
    }

    #[test]
    fn a_snapshot_of_ours_leaves_a_trail() {
        let mut log = log(1..=LOG_TRAIL + 100);
        let at = At { index: LOG_TRAIL + 50, term: 1 };
        let members = ConfState { voters: vec![1], learners: vec![4], ..ConfState::default() };
        log.keep(Arc::new(Snap { at, members, data: vec![1, 2].into() }));
        assert_eq!(log.first_index(), Ok(51));
        assert_eq!(log.term(50), Ok(1));
        assert_eq!(log.term(49), Err(StorageError::Compacted.into()));
        assert_eq!(log.snapshot(at.index, 4).unwrap().get_data(), [1, 2]);
        for (index, to) in [(at.index + 1, 4), (at.index, 5)] {
            assert!(log.snapshot(index, to).is_err());
            assert!(log.take_wanted());
            assert!(!log.take_wanted());
        }
    }

    #[test]
    fn anothers_snapshot_replaces_everything() {
        let mut log = log(1..=5);
        let at = At { index: 9, term: 3 };
        log.install(Arc::new(Snap { at, ..Snap::default() }));
        assert_eq!((log.first_index(), log.last_index(), log.term(9)), (Ok(10), Ok(9), Ok(3)));
        log.append(vec![entry(10, 3, 1)]);
        let write = log.take_write().unwrap();
        assert!(write.reset);
        assert_eq!(write.entries.len(), 1);
        assert_eq!(write.snap.unwrap().1, at);
        assert_eq!(write.hard.commit, 9);
    }
}

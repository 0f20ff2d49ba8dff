//! The state as this node shows it, and the recent entries that led to it.
//!
//! There are two sources: the member's own Raft, and the feed of another node. Both apply the same
//! committed entries, so at one index both have the same state, and whichever is ahead is shown: the
//! index never goes back. So it does not matter when a node becomes a member, or is one no more: its
//! Raft begins, with the leader's snapshot and on its own disk, whenever the leader adds it, and the feed
//! fills the state before and after (and while a member hears no leader).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use chappe_proto::id::{Index, NodeId};
use chappe_proto::limits::{FEED_BYTES_MAX, FEED_ENTRIES_MAX};
use chappe_proto::registry::State;
use chappe_proto::wire::WireError;
use tokio::sync::watch;

/// Entries that end at the shown state, bounded by number and bytes.
#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<Bytes>,
    bytes: usize,
    /// The index of the last, also when none is held.
    last: u64,
}

impl Ring {
    fn push(&mut self, index: u64, data: Bytes) {
        if index != self.last + 1 {
            self.clear(index - 1);
        }
        self.last = index;
        self.bytes += data.len();
        self.entries.push_back(data);
        while self.entries.len() > FEED_ENTRIES_MAX || self.bytes > FEED_BYTES_MAX {
            self.bytes -= self.entries.pop_front().map_or(0, |gone| gone.len());
        }
    }

    fn clear(&mut self, last: u64) {
        *self = Self { last, ..Self::default() };
    }

    /// The entry at `index`: there, not there yet, or no more.
    pub(super) fn get(&self, index: u64) -> Held {
        if index > self.last {
            return Held::NotYet;
        }
        let back = usize::try_from(self.last - index).unwrap_or(usize::MAX);
        let at = self.entries.len().checked_sub(back.saturating_add(1));
        at.and_then(|at| self.entries.get(at)).map_or(Held::Gone, |data| Held::There(data.clone()))
    }
}

/// What a ring says of an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    There(Bytes),
    NotYet,
    Gone,
}

/// A state's bytes, shared by the feeds that send them.
#[derive(Debug)]
pub struct Encoded {
    pub(super) index: Index,
    pub(super) bytes: Vec<u8>,
}

impl Encoded {
    /// Of a state.
    ///
    /// # Errors
    /// When it is longer than a snapshot may be.
    pub fn of(state: &State) -> Result<Self, WireError> {
        Ok(Self { index: state.index(), bytes: state.encode()? })
    }
}

/// What both sources write and feeds read.
pub struct Published {
    state: watch::Sender<Arc<State>>,
    ring: Mutex<Ring>,
    /// Term and leader, in the words of the node whose feed this one follows.
    leader: Mutex<Option<(u64, Option<NodeId>)>>,
    /// The last that was encoded for a feed, while one still sends it.
    pub(super) encoded: tokio::sync::Mutex<Weak<Encoded>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Published {
    /// Shows a state, with no entries before it.
    #[must_use]
    pub fn new(state: Arc<State>) -> Self {
        let ring = Ring { last: state.index().0, ..Ring::default() };
        Self {
            state: watch::Sender::new(state),
            ring: Mutex::new(ring),
            leader: Mutex::default(),
            encoded: tokio::sync::Mutex::default(),
        }
    }

    /// What is shown.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.subscribe()
    }

    pub(super) fn ring(&self) -> MutexGuard<'_, Ring> {
        locked(&self.ring)
    }

    /// One source has applied these entries.
    pub fn applied(&self, state: &Arc<State>, entries: Vec<(Index, Bytes)>) {
        let mut ring = self.ring();
        for (index, data) in entries {
            // The other source was ahead.
            if index.0 > ring.last {
                ring.push(index.0, data);
            }
        }
        self.show(state);
    }

    /// One source has got the whole state.
    pub fn installed(&self, state: &Arc<State>) {
        let mut ring = self.ring();
        if state.index().0 > ring.last {
            ring.clear(state.index().0);
        }
        self.show(state);
    }

    fn show(&self, state: &Arc<State>) {
        self.state.send_if_modified(|shown| {
            let newer = state.index() > shown.index();
            if newer {
                *shown = Arc::clone(state);
            }
            newer
        });
    }

    /// Term and leader, as the feed that is followed says.
    #[must_use]
    pub fn leader(&self) -> Option<(u64, Option<NodeId>)> {
        *locked(&self.leader)
    }

    pub(super) fn set_leader(&self, leader: Option<(u64, Option<NodeId>)>) {
        *locked(&self.leader) = leader;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(len: usize) -> Bytes {
        vec![1; len].into()
    }

    #[test]
    fn a_ring_is_bounded_by_number_and_by_bytes() {
        let mut ring = Ring::default();
        let count = FEED_ENTRIES_MAX as u64 + 10;
        for index in 1..=count {
            ring.push(index, data(1));
        }
        assert_eq!(ring.get(10), Held::Gone);
        assert_eq!((ring.get(11), ring.get(count)), (Held::There(data(1)), Held::There(data(1))));
        assert_eq!(ring.get(count + 1), Held::NotYet);
        ring.push(count + 1, data(FEED_BYTES_MAX));
        assert_eq!((ring.get(count), ring.bytes), (Held::Gone, FEED_BYTES_MAX));
        ring.push(count + 5, data(1));
        assert_eq!((ring.get(count + 1), ring.get(count + 4)), (Held::Gone, Held::Gone), "a gap is none");
        assert_eq!(ring.get(count + 5), Held::There(data(1)));
    }

    #[test]
    fn whichever_source_is_ahead_is_shown() {
        let at = |index| {
            let mut state = State::default();
            state.pass(Index(index));
            Arc::new(state)
        };
        let published = Published::new(at(0));
        published.applied(&at(2), vec![(Index(1), data(1)), (Index(2), data(2))]);
        published.installed(&at(1));
        published.applied(&at(1), vec![(Index(1), data(1))]);
        assert_eq!(published.state().index(), Index(2));
        assert_eq!(published.ring().get(2), Held::There(data(2)));
        published.applied(&at(3), vec![(Index(2), data(2)), (Index(3), data(3))]);
        assert_eq!(published.ring().get(2), Held::There(data(2)));
        assert_eq!(published.ring().get(3), Held::There(data(3)));
        published.installed(&at(9));
        assert_eq!((published.state().index(), published.ring().get(3)), (Index(9), Held::Gone));
    }
}

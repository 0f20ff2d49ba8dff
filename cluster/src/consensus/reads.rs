//! Linearizable reads: those that wait to be asked for, those that were, and those whose index is not
//! applied yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chappe_proto::limits::REGISTRY_QUEUE;
use chappe_proto::registry::State;
use tokio::sync::oneshot;

use super::types::ReadError;

/// Where a read's answer goes.
pub(super) type Reader = oneshot::Sender<Result<Arc<State>, ReadError>>;

struct Read {
    reader: Reader,
    /// The tick at which it is given up.
    deadline: u64,
}

/// All reads under way. Raft drops a request silently while there is no leader, or before its
/// leader has committed in its term; so requests are repeated.
pub(super) struct Reads {
    member: u64,
    next: u64,
    waiting: Vec<Read>,
    asked: VecDeque<(u64, u64, Vec<Read>)>,
    granted: BTreeMap<u64, Vec<Read>>,
    count: usize,
    /// Ticks after which a request is repeated, and a read given up.
    patience: (u64, u64),
}

impl Reads {
    pub(super) fn new(member: u64, patience: (u64, u64)) -> Self {
        let (waiting, asked, granted) = (Vec::new(), VecDeque::new(), BTreeMap::new());
        Self { member, next: 0, waiting, asked, granted, count: 0, patience }
    }

    pub(super) fn add(&mut self, reader: Reader, tick: u64) {
        if self.count >= REGISTRY_QUEUE {
            let _ = reader.send(Err(ReadError::Busy));
            return;
        }
        self.count += 1;
        self.waiting.push(Read { reader, deadline: tick + self.patience.1 });
    }

    /// The context of a new request for all reads that wait for one.
    pub(super) fn ask(&mut self, tick: u64) -> Option<Vec<u8>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.next += 1;
        self.asked.push_back((self.next, tick, std::mem::take(&mut self.waiting)));
        // Contexts are told apart by their bytes alone, on the leader too.
        Some([self.member.to_be_bytes(), self.next.to_be_bytes()].concat())
    }

    /// Raft has answered: what was asked by `context`, or before it, may be read at `index`.
    pub(super) fn grant(&mut self, context: &[u8], index: u64) {
        let Some(number) = context.get(8..16).and_then(|raw| raw.try_into().ok()).map(u64::from_be_bytes)
        else {
            return;
        };
        while let Some((_, _, reads)) = self.asked.pop_front_if(|(asked, _, _)| *asked <= number) {
            self.granted.entry(index).or_default().extend(reads);
        }
    }

    /// Answers what is applied.
    pub(super) fn answer(&mut self, applied: u64, state: &Arc<State>) {
        while let Some(entry) = self.granted.first_entry()
            && *entry.key() <= applied
        {
            for read in entry.remove() {
                self.count -= 1;
                let _ = read.reader.send(Ok(Arc::clone(state)));
            }
        }
    }

    /// Repeats what was not answered, gives up what nobody could answer in time.
    pub(super) fn tick(&mut self, tick: u64) {
        while let Some((_, _, reads)) =
            self.asked.pop_front_if(|(_, asked, _)| tick.saturating_sub(*asked) >= self.patience.0)
        {
            self.waiting.extend(reads);
        }
        let late = self.waiting.extract_if(.., |read| tick >= read.deadline);
        for read in late {
            self.count -= 1;
            let _ = read.reader.send(Err(ReadError::NoLeader));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_waits_for_its_index_and_is_asked_again() {
        let mut reads = Reads::new(1, (10, 100));
        let state = Arc::new(State::default());
        let (reader, mut read) = oneshot::channel();
        reads.add(reader, 0);
        let first = reads.ask(0).unwrap();
        assert!(reads.ask(1).is_none());
        reads.tick(10);
        let second = reads.ask(10).unwrap();
        assert_ne!(first, second);
        // The late answer to the first grants nothing: what it was asked for has been asked anew.
        reads.grant(&first, 5);
        reads.answer(9, &state);
        assert!(read.try_recv().is_err());
        reads.grant(&second, 7);
        reads.answer(6, &state);
        assert!(read.try_recv().is_err());
        reads.answer(7, &state);
        assert!(read.try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_read_without_a_leader_is_given_up() {
        let mut reads = Reads::new(1, (10, 100));
        let (reader, mut read) = oneshot::channel();
        reads.add(reader, 0);
        for tick in 0..100 {
            reads.ask(tick);
            reads.tick(tick);
            assert!(read.try_recv().is_err(), "tick {tick}");
        }
        reads.tick(110);
        reads.tick(120);
        assert!(matches!(read.try_recv(), Ok(Err(ReadError::NoLeader))));
        assert_eq!(reads.count, 0);
    }
}

//! Linearizable reads: those that wait to be asked for, those that were, and those whose index is not
//! applied yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chappe_proto::id::Index;
use chappe_proto::limits::REGISTRY_QUEUE;
use chappe_proto::registry::profile::Profile;
use chappe_proto::time::Mono;

use super::types::{ReadError, Ticket};

struct Read {
    ticket: Ticket,
    /// Whether it is answered only when its index is applied here.
    wait: bool,
    /// When it is given up.
    deadline: Mono,
}

/// Reads that were asked for together.
struct Asked {
    number: u64,
    at: Mono,
    reads: Vec<Read>,
}

type Answers = Vec<(Ticket, Result<Index, ReadError>)>;

/// All reads under way. Raft drops a request silently while there is no leader, or before its
/// leader has committed in its term; so requests are repeated.
pub(super) struct Reads {
    member: u64,
    /// Another one in each life of the member: what answers a former one's request answers none here.
    life: u64,
    next: u64,
    waiting: Vec<Read>,
    asked: VecDeque<Asked>,
    granted: BTreeMap<u64, Vec<Ticket>>,
    count: usize,
    answers: Answers,
}

/// Requests are repeated after a heartbeat; reads are given up after three of the longest election
/// timeouts.
fn patience(profile: &Profile) -> (Duration, Duration) {
    (profile.heartbeat, 3 * profile.election.1)
}

impl Reads {
    pub(super) fn new(member: u64, life: u64) -> Self {
        let (waiting, asked, granted) = (Vec::new(), VecDeque::new(), BTreeMap::new());
        Self { member, life, next: 0, waiting, asked, granted, count: 0, answers: Vec::new() }
    }

    pub(super) fn add(&mut self, now: Mono, ticket: Ticket, wait: bool, profile: &Profile) {
        if self.count >= REGISTRY_QUEUE {
            self.answers.push((ticket, Err(ReadError::Busy)));
            return;
        }
        self.count += 1;
        self.waiting.push(Read { ticket, wait, deadline: now + patience(profile).1 });
    }

    /// The context of a new request for all reads that wait for one.
    pub(super) fn ask(&mut self, now: Mono) -> Option<Vec<u8>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.next += 1;
        let reads = std::mem::take(&mut self.waiting);
        self.asked.push_back(Asked { number: self.next, at: now, reads });
        // Contexts are told apart by their bytes alone, on the leader too.
        Some([self.member, self.life, self.next].map(u64::to_be_bytes).concat())
    }

    /// Raft has answered: what was asked by `context`, or before it, may be read at `index`.
    pub(super) fn grant(&mut self, context: &[u8], index: u64) {
        let &[member, life, number] = context.as_chunks().0 else { return };
        let [member, life, number] = [member, life, number].map(u64::from_be_bytes);
        if (member, life) != (self.member, self.life) {
            return;
        }
        while let Some(asked) = self.asked.pop_front_if(|asked| asked.number <= number) {
            for read in asked.reads {
                if read.wait {
                    self.granted.entry(index).or_default().push(read.ticket);
                } else {
                    self.finish(read.ticket, Ok(Index(index)));
                }
            }
        }
    }

    /// What has an answer now that `applied` is.
    pub(super) fn answers(&mut self, applied: u64) -> Answers {
        while let Some(entry) = self.granted.first_entry()
            && *entry.key() <= applied
        {
            let (index, tickets) = entry.remove_entry();
            for ticket in tickets {
                self.finish(ticket, Ok(Index(index)));
            }
        }
        std::mem::take(&mut self.answers)
    }

    fn finish(&mut self, ticket: Ticket, answer: Result<Index, ReadError>) {
        self.count -= 1;
        self.answers.push((ticket, answer));
    }

    /// Repeats what was not answered, gives up what nobody could answer in time.
    pub(super) fn handle_timeout(&mut self, now: Mono, profile: &Profile) {
        let again = patience(profile).0;
        while let Some(asked) = self.asked.pop_front_if(|asked| now.since(asked.at) >= again) {
            self.waiting.extend(asked.reads);
        }
        let late: Vec<_> = self.waiting.extract_if(.., |read| now >= read.deadline).collect();
        for read in late {
            self.finish(read.ticket, Err(ReadError::NoLeader));
        }
    }
}

#[cfg(test)]
mod tests {
    use chappe_proto::registry::profile::LAN;

    use super::*;

    fn at(millis: u64) -> Mono {
        Mono(Duration::from_millis(millis))
    }

    #[test]
    fn a_read_waits_for_its_index_and_is_asked_again() {
        let mut reads = Reads::new(1, 7);
        reads.add(at(0), Ticket(1), true, &LAN);
        reads.add(at(0), Ticket(2), false, &LAN);
        let first = reads.ask(at(0)).unwrap();
        assert!(reads.ask(at(10)).is_none());
        reads.handle_timeout(at(50), &LAN);
        let second = reads.ask(at(50)).unwrap();
        assert_ne!(first, second);
        // The late answer to the first grants nothing: what it was asked for has been asked anew.
        reads.grant(&first, 5);
        assert!(reads.answers(9).is_empty());
        reads.grant(&second, 7);
        assert_eq!(reads.answers(6), [(Ticket(2), Ok(Index(7)))], "its index, applied or not");
        assert_eq!(reads.answers(7), [(Ticket(1), Ok(Index(7)))]);
        assert_eq!(reads.count, 0);
    }

    #[test]
    fn an_answer_to_a_former_life_or_another_member_grants_nothing() {
        let mut reads = Reads::new(1, 8);
        reads.add(at(0), Ticket(1), true, &LAN);
        let mine = reads.ask(at(0)).unwrap();
        for (member, life) in [(1, 7), (2, 8)] {
            let mut other = Reads::new(member, life);
            other.add(at(0), Ticket(1), true, &LAN);
            reads.grant(&other.ask(at(0)).unwrap(), 3);
        }
        reads.grant(&mine[..16], 3);
        assert!(reads.answers(9).is_empty());
        reads.grant(&mine, 5);
        assert_eq!(reads.answers(9), [(Ticket(1), Ok(Index(5)))]);
    }

    #[test]
    fn a_read_without_a_leader_is_given_up() {
        let mut reads = Reads::new(1, 7);
        reads.add(at(0), Ticket(1), true, &LAN);
        for millis in (0..2_700).step_by(10) {
            reads.ask(at(millis));
            reads.handle_timeout(at(millis), &LAN);
            assert!(reads.answers(0).is_empty(), "{millis} ms");
        }
        reads.handle_timeout(at(2_750), &LAN);
        reads.handle_timeout(at(2_760), &LAN);
        assert_eq!(reads.answers(0), [(Ticket(1), Err(ReadError::NoLeader))]);
        assert_eq!(reads.count, 0);
    }
}

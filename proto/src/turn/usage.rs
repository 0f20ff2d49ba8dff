//! What each user has relayed, in all of its allocations, those that have ended included: counted on from the
//! counts of the allocations, which are read in turns, so that a packet costs nothing more.
//!
//! It is told in *series* ([`crate::mesh::uplink::Usage`]), of which one is short: see [`crate::usage`].

use std::collections::{BTreeSet, VecDeque};

use ahash::{AHashMap, RandomState};
use rand_chacha::rand_core::Rng;

use super::credential::User;
use super::server::Server;
use crate::limits;
use crate::mesh::uplink::Usage;
use crate::time::{Mono, Now};
use crate::usage::Relayed;

/// What one user has relayed.
#[derive(Debug)]
struct Tally {
    user: User,
    /// Allocations that count for it.
    allocations: u32,
    total: Relayed,
    /// The total as it was offered last.
    said: Relayed,
    /// The total of which a node has said that it took it.
    taken: Relayed,
    series: Option<Series>,
    /// Whether it waits for being offered.
    waits: bool,
}

#[derive(Debug, Clone, Copy)]
struct Series {
    number: u64,
    began: Mono,
    /// The total when it began.
    base: Relayed,
}

impl Series {
    /// Whether another one begins. Where something that was said has not been taken it is said again, until that
    /// would come when nodes may have forgotten the series: it is believed to have been heard then.
    fn is_over(&self, now: Mono, taken: bool) -> bool {
        let age = now.since(self.began);
        age >= 2 * limits::USAGE_SERIES_FOR || (taken && age >= limits::USAGE_SERIES_FOR)
    }
}

/// What users have relayed, and what of it is still to be said. Allocations name a tally by its number, of which
/// none comes twice.
#[derive(Debug)]
pub(super) struct Tallies {
    on: bool,
    most: usize,
    next: u64,
    tallies: AHashMap<u64, Tally>,
    users: AHashMap<User, u64>,
    /// Those without allocations, the oldest first.
    gone: BTreeSet<u64>,
    /// Those that have something to say; some of them may have been forgotten.
    waiting: VecDeque<u64>,
    /// What is being said.
    offered: Vec<u64>,
    offers: u64,
    /// Where the reading of the allocations goes on.
    cursor: usize,
}

impl Tallies {
    /// Of nobody: nothing is counted before [`Self::begin`].
    pub(super) fn new(hash: RandomState, most: usize) -> Self {
        Self {
            on: false,
            most,
            next: 0,
            tallies: AHashMap::with_hasher(hash.clone()),
            users: AHashMap::with_hasher(hash),
            gone: BTreeSet::new(),
            waiting: VecDeque::new(),
            offered: Vec::new(),
            offers: 0,
            cursor: 0,
        }
    }

    /// One more allocation of a user: the tally that it counts for. Of too many, what the oldest that have gone
    /// relayed is lost.
    pub(super) fn begin(&mut self, user: &User) -> Option<u64> {
        if !self.on || *user == User::Probe {
            return None;
        }
        if let Some(number) = self.users.get(user).copied() {
            self.gone.remove(&number);
            self.tallies.get_mut(&number)?.allocations += 1;
            return Some(number);
        }
        if self.tallies.len() >= self.most {
            let oldest = self.gone.first().copied()?;
            self.forget(oldest);
        }
        let (number, none) = (self.next, Relayed::default());
        self.next += 1;
        self.users.insert(user.clone(), number);
        let tally = Tally {
            user: user.clone(),
            allocations: 1,
            total: none,
            said: none,
            taken: none,
            series: None,
            waits: false,
        };
        self.tallies.insert(number, tally);
        Some(number)
    }

    /// An allocation has relayed this.
    pub(super) fn count(&mut self, number: u64, more: Relayed) {
        let Some(tally) = self.tallies.get_mut(&number).filter(|_| !more.is_none()) else { return };
        tally.total = tally.total.plus(more);
        if !std::mem::replace(&mut tally.waits, true) {
            self.waiting.push_back(number);
            if self.waiting.len() > 2 * self.most {
                self.waiting.retain(|waiting| self.tallies.contains_key(waiting));
            }
        }
    }

    /// An allocation has ended, and its last count is in.
    pub(super) fn end(&mut self, number: u64) {
        let Some(tally) = self.tallies.get_mut(&number) else { return };
        tally.allocations -= 1;
        if tally.allocations == 0 {
            self.gone.insert(number);
            self.forget_if_told(number);
        }
    }

    /// What is to be said, under which number; nothing where all of it has been taken. What was offered before and
    /// not taken comes first, as it is now.
    pub(super) fn offer(&mut self, now: Mono, rng: &mut impl Rng) -> Option<(u64, Vec<Usage>)> {
        for number in std::mem::take(&mut self.offered).into_iter().rev() {
            if let Some(tally) = self.tallies.get_mut(&number)
                && !std::mem::replace(&mut tally.waits, true)
            {
                self.waiting.push_front(number);
            }
        }
        let mut usage = Vec::new();
        while usage.len() < limits::USAGE_FRAME
            && let Some(number) = self.waiting.pop_front()
        {
            let Some(tally) = self.tallies.get_mut(&number) else { continue };
            usage.push(tally.say(now, rng));
            self.offered.push(number);
        }
        self.offers += u64::from(!usage.is_empty());
        (!usage.is_empty()).then_some((self.offers, usage))
    }

    /// What was offered under this number has been taken. A number that is not the last one's changes nothing: it
    /// was offered again.
    pub(super) fn taken(&mut self, offer: u64) {
        if offer != self.offers {
            return;
        }
        for number in std::mem::take(&mut self.offered) {
            if let Some(tally) = self.tallies.get_mut(&number) {
                tally.taken = tally.said;
                self.forget_if_told(number);
            }
        }
    }

    fn forget_if_told(&mut self, number: u64) {
        let told = |tally: &&Tally| tally.allocations == 0 && tally.total == tally.taken;
        if self.tallies.get(&number).is_some_and(|tally| told(&tally)) {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        self.gone.remove(&number);
        if let Some(tally) = self.tallies.remove(&number) {
            self.users.remove(&tally.user);
        }
    }
}

impl Tally {
    fn say(&mut self, now: Mono, rng: &mut impl Rng) -> Usage {
        let is_taken = self.said == self.taken;
        let series = match self.series {
            Some(series) if !series.is_over(now, is_taken) => series,
            _ => {
                self.taken = self.said;
                Series { number: rng.next_u64(), began: now, base: self.said }
            }
        };
        self.series = Some(series);
        self.said = self.total;
        self.waits = false;
        let Relayed { sent, received } = self.total.minus(series.base);
        let (session, name) = match &self.user {
            User::Session(session) => (Some(*session), None),
            User::Name(name) | User::LongTerm { name, .. } => (None, Some(name.to_string())),
            User::Probe => (None, None),
        };
        Usage { series: series.number, session, name, sent, received, by: None }
    }
}

impl Server {
    /// Counts usage from now on: for whoever asks for it by [`Self::offer_usage`].
    pub fn count_usage(&mut self) {
        self.usage.on = true;
    }

    /// Reads the counts of the next [`limits::USAGE_TURN`] allocations. Whether those were the last ones.
    pub fn read_usage(&mut self) -> bool {
        let end = self.usage.cursor + limits::USAGE_TURN;
        for index in self.usage.cursor..end.min(self.table.slots()) {
            if let Some((tally, more)) = self.table.at_mut(index).and_then(|allocation| allocation.used()) {
                self.usage.count(tally, more);
            }
        }
        let all = end >= self.table.slots();
        self.usage.cursor = if all { 0 } else { end };
        all
    }

    /// What is to be said of users to a node, at most [`limits::USAGE_FRAME`] of them, as far as it has been read;
    /// and its number. It is offered again until it [is taken](Self::usage_taken).
    pub fn offer_usage(&mut self, now: Now) -> Option<(u64, Vec<Usage>)> {
        self.usage.offer(now.mono, &mut self.rng)
    }

    /// A node has taken what was offered under this number.
    pub fn usage_taken(&mut self, number: u64) {
        self.usage.taken(number);
    }
}

#[cfg(test)]
#[path = "usage/tests.rs"]
mod tests;

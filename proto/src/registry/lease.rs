//! A node's lease: its right to admit and to change.
//!
//! It runs from the node's own send time of the renewal that was granted, so no delay of a message and no
//! pause of a process lengthens it; and it counts only once the node has applied what the leader had
//! committed when it granted. The clock is one that counts suspension.

use std::collections::VecDeque;

use super::profile::Profile;
use crate::id::{Generation, Index};
use crate::limits::RENEWALS_KEPT;
use crate::mesh::node::Body;
use crate::time::Mono;

/// One node's lease, on that node.
#[derive(Debug, Clone)]
pub struct Lease {
    generation: Generation,
    profile: Profile,
    applied: Index,
    /// Renewals sent so far.
    n: u64,
    /// When the latest of them were sent, and what must be applied for those that were granted.
    sent: VecDeque<Sent>,
    /// The send time of the latest renewal that counts.
    from: Option<Mono>,
    next: Mono,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    n: u64,
    at: Mono,
    granted: Option<Index>,
}

impl Lease {
    /// A node that has begun its `generation` and holds nothing yet. Its first renewal is due at once.
    #[must_use]
    pub const fn new(now: Mono, generation: Generation, profile: Profile) -> Self {
        Self { generation, profile, applied: Index(0), n: 0, sent: VecDeque::new(), from: None, next: now }
    }

    /// The life that it is of.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Takes the timers of the applied registry ([`super::State::profile`]).
    pub fn set_profile(&mut self, now: Mono, profile: Profile) {
        self.profile = profile;
        self.next = self.next.min(now + profile.renewal());
    }

    /// The renewal to be sent to the leader now, if one is due. `now` must be read before it is sent.
    pub fn handle_timeout(&mut self, now: Mono) -> Option<Body> {
        if now < self.next {
            return None;
        }
        self.next = now + self.profile.renewal();
        self.n += 1;
        if self.sent.len() >= RENEWALS_KEPT {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { n: self.n, at: now, granted: None });
        Some(Body::Renew { generation: self.generation, n: self.n })
    }

    /// The leader has granted renewal `n`: it counts once `index` is applied.
    pub fn handle_grant(&mut self, generation: Generation, n: u64, index: Index) {
        if generation != self.generation {
            return;
        }
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.n == n) {
            // Two leaders may have granted it: what the first said is enough.
            sent.granted = Some(sent.granted.map_or(index, |held| held.min(index)));
            self.count();
        }
    }

    /// Everything up to `index` is applied here.
    pub fn handle_applied(&mut self, index: Index) {
        self.applied = self.applied.max(index);
        self.count();
    }

    fn count(&mut self) {
        let counts = |sent: &Sent| sent.granted.is_some_and(|index| index <= self.applied);
        if let Some(at) = self.sent.iter().rposition(counts) {
            // What was sent before it ends before it.
            let latest = self.sent.drain(..=at).next_back().map(|sent| sent.at);
            self.from = self.from.max(latest);
        }
    }

    /// Whether the node may admit and change at `now`.
    #[must_use]
    pub fn holds(&self, now: Mono) -> bool {
        now < self.until()
    }

    /// When it ends, as things are; in the past, or at zero, where it is not held.
    #[must_use]
    pub fn until(&self) -> Mono {
        self.from.map_or(Mono::default(), |from| from + self.profile.lease)
    }

    /// When something is due: a renewal, or the lease's end. `now` is when it is asked.
    #[must_use]
    pub fn poll_timeout(&self, now: Mono) -> Mono {
        if self.holds(now) { self.next.min(self.until()) } else { self.next }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::profile::{LAN, WAN};

    const fn ms(at: u64) -> Mono {
        Mono(Duration::from_millis(at))
    }

    fn renewal(lease: &mut Lease, at: u64) -> u64 {
        match lease.handle_timeout(ms(at)) {
            Some(Body::Renew { generation: Generation(2), n }) => n,
            other => panic!("{other:?}"),
        }
    }

    fn fresh() -> Lease {
        Lease::new(ms(1000), Generation(2), LAN)
    }

    #[test]
    fn it_is_renewed_six_times_in_its_length() {
        let mut lease = fresh();
        assert_eq!((1..=7).map(|i| renewal(&mut lease, 900 + 100 * i)).last(), Some(7));
        assert!(lease.handle_timeout(ms(1699)).is_none());
        assert_eq!(lease.poll_timeout(ms(1650)), ms(1700));
        // Its process stood still: one renewal, not all that were missed.
        assert_eq!(renewal(&mut lease, 9000), 8);
        assert!(lease.handle_timeout(ms(9000)).is_none());
    }

    #[test]
    fn it_runs_from_the_send_time_however_late_the_grant_comes() {
        let mut lease = fresh();
        assert!(!lease.holds(ms(1000)));
        let n = renewal(&mut lease, 1000);
        lease.handle_grant(Generation(2), n, Index(0));
        assert_eq!(lease.until(), ms(1600));
        assert!(lease.holds(ms(1599)) && !lease.holds(ms(1600)));
        let n = renewal(&mut lease, 1100);
        lease.handle_grant(Generation(2), n, Index(0));
        assert_eq!(lease.until(), ms(1700), "as if it had come at once");
    }

    #[test]
    fn it_counts_once_what_the_leader_knew_is_applied() {
        let mut lease = fresh();
        lease.handle_applied(Index(4));
        let n = renewal(&mut lease, 1000);
        lease.handle_grant(Generation(2), n, Index(5));
        assert!(!lease.holds(ms(1001)));
        lease.handle_applied(Index(5));
        assert!(lease.holds(ms(1001)));
    }

    #[test]
    fn an_older_grant_takes_nothing_away() {
        let mut lease = fresh();
        let (first, second) = (renewal(&mut lease, 1000), renewal(&mut lease, 1100));
        lease.handle_grant(Generation(2), second, Index(0));
        lease.handle_grant(Generation(2), first, Index(0));
        assert_eq!(lease.until(), ms(1700));
    }

    #[test]
    fn grants_to_another_life_or_of_renewals_never_sent_count_nothing() {
        let mut lease = fresh();
        let n = renewal(&mut lease, 1000);
        lease.handle_grant(Generation(1), n, Index(0));
        lease.handle_grant(Generation(3), n, Index(0));
        lease.handle_grant(Generation(2), n + 1, Index(0));
        assert!(!lease.holds(ms(1000)));
    }

    #[test]
    fn shorter_timers_shorten_what_is_held() {
        let mut lease = Lease::new(ms(1000), Generation(2), WAN);
        let n = renewal(&mut lease, 1000);
        lease.handle_grant(Generation(2), n, Index(0));
        assert_eq!(lease.until(), ms(2500));
        lease.set_profile(ms(1100), LAN);
        assert_eq!(lease.until(), ms(1600));
        assert_eq!(lease.poll_timeout(ms(1100)), ms(1200), "and it renews sooner");
    }

    #[test]
    fn renewals_that_nobody_grants_are_forgotten() {
        let mut lease = fresh();
        let first = renewal(&mut lease, 1000);
        for i in 0..100 {
            renewal(&mut lease, 1100 + i * 100);
        }
        assert_eq!(lease.sent.len(), RENEWALS_KEPT);
        lease.handle_grant(Generation(2), first, Index(0));
        assert_eq!(lease.until(), Mono::default());
    }
}

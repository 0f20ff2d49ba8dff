//! Whose the ports are that rest: a port is nobody else's for two minutes after its allocation ended, and
//! quotas count it for so long.

use std::collections::VecDeque;
use std::net::IpAddr;

use ahash::{AHashMap, RandomState};

use super::credential::User;
use super::source_rates::source;
use crate::limits;
use crate::time::Mono;

/// The allocations that ended within [`limits::PORT_REST`], counted. Each has left a port that rests, so the
/// ports bound how many there are.
pub(super) struct Churn {
    users: AHashMap<User, u32>,
    sources: AHashMap<IpAddr, u32>,
    /// In the order in which they are forgotten.
    ended: VecDeque<(Mono, User, IpAddr)>,
}

impl Churn {
    /// With a keyed hash for its maps, since clients choose what is put into them.
    pub(super) fn new(hash: RandomState) -> Self {
        let (users, sources) = (AHashMap::with_hasher(hash.clone()), AHashMap::with_hasher(hash));
        Self { users, sources, ended: VecDeque::new() }
    }

    /// An allocation has ended.
    pub(super) fn note(&mut self, now: Mono, user: User, ip: IpAddr) {
        self.forget(now);
        let source = source(ip);
        *self.users.entry(user.clone()).or_default() += 1;
        *self.sources.entry(source).or_default() += 1;
        self.ended.push_back((now + limits::PORT_REST, user, source));
    }

    /// How many of a user ended.
    pub(super) fn of_user(&mut self, now: Mono, user: &User) -> u32 {
        self.forget(now);
        self.users.get(user).copied().unwrap_or(0)
    }

    /// How many of a source ended.
    pub(super) fn of_source(&mut self, now: Mono, ip: IpAddr) -> u32 {
        self.forget(now);
        self.sources.get(&source(ip)).copied().unwrap_or(0)
    }

    fn forget(&mut self, now: Mono) {
        while let Some((_, user, source)) = self.ended.pop_front_if(|(until, ..)| *until <= now) {
            take_one(&mut self.users, &user);
            take_one(&mut self.sources, &source);
        }
    }
}

fn take_one<K: std::hash::Hash + Eq>(counts: &mut AHashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_ended_is_counted_while_its_port_rests_and_then_forgotten() {
        let mut churn = Churn::new(RandomState::with_seeds(1, 2, 3, 4));
        let (t, second) = (Mono(Duration::from_secs(1000)), Duration::from_secs(1));
        let (ada, ben) = (User::long_term("r", "ada"), User::long_term("r", "ben"));
        let (here, beside): (IpAddr, IpAddr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        churn.note(t, ada.clone(), here);
        churn.note(t + second, ben.clone(), beside);
        let mut counts = |now| {
            let users = (churn.of_user(now, &ada), churn.of_user(now, &ben));
            (users, churn.of_source(now, here))
        };
        assert_eq!(counts(t + limits::PORT_REST - second), ((1, 1), 2));
        assert_eq!(counts(t + limits::PORT_REST), ((0, 1), 1));
        assert_eq!(counts(t + limits::PORT_REST + second), ((0, 0), 0));
        assert!(churn.users.is_empty() && churn.sources.is_empty() && churn.ended.is_empty());
    }
}

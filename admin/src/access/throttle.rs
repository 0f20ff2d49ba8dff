//! How often passwords may be guessed: a pure machine, which is told the time.
//!
//! Nobody can lock somebody else out by guessing. A browser from which an operator has logged in before, and which
//! shows its cookie for that (OWASP, Slow Down Online Guessing Attacks with Device Cookies), has a counter of its own,
//! and none of the others counts for it. Strangers are counted by where they come from, by that and the account, and
//! by the account alone: that last one slows them down together, and whoever logs in for the first time while an
//! account is under attack queues with the attackers. An owner's one-time link passes by all of it.
//!
//! Each counter is a leaky bucket (GCRA, as ITU-T I.371 has it): an attempt takes its place in it before it is made,
//! so that attempts at once count as well, and gives it back when it succeeds.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use chappe_proto::id::OperatorName;
use chappe_proto::limits::{
    GUESSES_ACCOUNT_BURST, GUESSES_ACCOUNT_EVERY, GUESSES_ACCOUNT_QUEUE, GUESSES_BURST, GUESSES_DEVICE_BURST,
    GUESSES_DEVICE_EVERY, GUESSES_EVERY, GUESSES_SOURCE_BURST, GUESSES_SOURCE_EVERY, GUESSES_TABLE_MAX,
};
use chappe_proto::time::Mono;

use super::cookies::Device;

/// A source, in as many addresses as one subscriber commonly has: an IPv4 address, a /64 of IPv6.
pub(super) type Source = IpAddr;

/// Of which source an address is.
pub(super) fn source(ip: IpAddr) -> Source {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Who tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// From where.
    pub(super) source: Source,
    /// As whom, whether there is such an operator or not.
    pub(super) account: OperatorName,
    /// From which known browser.
    pub(super) device: Option<Device>,
}

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be made after this long.
    After(Duration),
    /// Not now, and when to try again.
    Refused(Duration),
}

/// Counters by key.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    every: Duration,
    burst: u32,
    /// When each will be empty again.
    held: BTreeMap<K, Mono>,
}

impl<K: Ord + Clone> Buckets<K> {
    pub(super) const fn new(burst: u32, every: Duration) -> Self {
        Self { every, burst, held: BTreeMap::new() }
    }

    /// How long until one more fits.
    pub(super) fn wait(&self, key: &K, now: Mono) -> Duration {
        let full = self.every * self.burst.saturating_sub(1);
        self.held.get(key).map_or(Duration::ZERO, |empty| empty.until(now).saturating_sub(full))
    }

    pub(super) fn take(&mut self, key: K, now: Mono) {
        if self.held.len() >= GUESSES_TABLE_MAX && !self.held.contains_key(&key) {
            self.held.retain(|_, empty| *empty > now);
        }
        if self.held.len() >= GUESSES_TABLE_MAX && !self.held.contains_key(&key) {
            // The one that has guessed least.
            if let Some(least) = self.held.iter().min_by_key(|(_, empty)| **empty).map(|(key, _)| key.clone())
            {
                self.held.remove(&least);
            }
        }
        let empty = self.held.entry(key).or_insert(now);
        *empty = (*empty).max(now) + self.every;
    }

    pub(super) fn give_back(&mut self, key: &K) {
        if let Some(empty) = self.held.get_mut(key) {
            *empty = *empty - self.every;
        }
    }
}

/// The machine.
#[derive(Debug)]
pub(super) struct Throttle {
    devices: Buckets<(OperatorName, Device)>,
    sources: Buckets<Source>,
    pairs: Buckets<(OperatorName, Source)>,
    accounts: Buckets<OperatorName>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            devices: Buckets::new(GUESSES_DEVICE_BURST, GUESSES_DEVICE_EVERY),
            sources: Buckets::new(GUESSES_SOURCE_BURST, GUESSES_SOURCE_EVERY),
            pairs: Buckets::new(GUESSES_BURST, GUESSES_EVERY),
            accounts: Buckets::new(GUESSES_ACCOUNT_BURST, GUESSES_ACCOUNT_EVERY),
        }
    }
}

impl Throttle {
    /// An attempt is to be made. One that may be has taken its places.
    pub(super) fn attempt(&mut self, now: Mono, attempt: &Attempt) -> Verdict {
        let Attempt { source, account, device } = attempt;
        if let Some(device) = device {
            let key = (account.clone(), *device);
            let wait = self.devices.wait(&key, now);
            if wait > Duration::ZERO {
                return Verdict::Refused(wait);
            }
            self.devices.take(key, now);
            return Verdict::After(Duration::ZERO);
        }
        let pair = (account.clone(), *source);
        let wait = self.sources.wait(source, now).max(self.pairs.wait(&pair, now));
        if wait > Duration::ZERO {
            return Verdict::Refused(wait);
        }
        let queue = self.accounts.wait(account, now);
        if queue > GUESSES_ACCOUNT_QUEUE {
            return Verdict::Refused(queue.saturating_sub(GUESSES_ACCOUNT_QUEUE));
        }
        self.sources.take(*source, now);
        self.pairs.take(pair, now);
        self.accounts.take(account.clone(), now);
        Verdict::After(queue)
    }

    /// An attempt was no guess: its places are free again.
    pub(super) fn succeeded(&mut self, attempt: &Attempt) {
        let Attempt { source, account, device } = attempt;
        if let Some(device) = device {
            return self.devices.give_back(&(account.clone(), *device));
        }
        self.sources.give_back(source);
        self.pairs.give_back(&(account.clone(), *source));
        self.accounts.give_back(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono(Duration::from_secs(1_000_000 + secs))
    }

    fn stranger(ip: &str, account: &str) -> Attempt {
        let account = OperatorName::new(account).unwrap();
        Attempt { source: source(ip.parse().unwrap()), account, device: None }
    }

    fn known(ip: &str, account: &str) -> Attempt {
        Attempt { device: Some([1; 16]), ..stranger(ip, account) }
    }

    fn goes(throttle: &mut Throttle, now: Mono, attempt: &Attempt) -> bool {
        matches!(throttle.attempt(now, attempt), Verdict::After(_))
    }

    #[test]
    fn guesses_of_one_source_at_one_account_are_few() {
        let mut throttle = Throttle::default();
        let eve = stranger("198.51.100.7", "ada");
        let made = (0..1_000).filter(|_| goes(&mut throttle, at(0), &eve)).count();
        assert_eq!(made, usize::try_from(GUESSES_BURST).unwrap());
        assert_eq!(throttle.attempt(at(0), &eve), Verdict::Refused(GUESSES_EVERY));
        // Not by other addresses of the same subscriber either.
        let v6 = |n: u16| stranger(&format!("2001:db8:1:2::{n:x}"), "ada");
        let made = (0..1_000).filter(|n| goes(&mut throttle, at(0), &v6(*n))).count();
        assert_eq!(made, usize::try_from(GUESSES_BURST).unwrap());
        // For long, one each time.
        let hours = 24 * 3_600;
        let made = (1..=hours).filter(|secs| goes(&mut throttle, at(*secs), &eve)).count();
        assert!(made as u64 <= hours / GUESSES_EVERY.as_secs(), "{made}");
    }

    #[test]
    fn guesses_of_one_source_at_many_accounts_are_few() {
        let mut throttle = Throttle::default();
        let made =
            (0..1_000).filter(|n| goes(&mut throttle, at(0), &stranger("198.51.100.7", &format!("a{n}"))));
        assert_eq!(made.count(), usize::try_from(GUESSES_SOURCE_BURST).unwrap());
        assert!(goes(&mut throttle, at(0), &stranger("198.51.100.8", "a1")), "another source is not asked");
    }

    #[test]
    fn a_known_device_is_not_kept_out_by_anybody_else() {
        let mut throttle = Throttle::default();
        let mut made = 0_u64;
        let day = 86_400;
        for secs in 0..day {
            // Many sources, and the operator's own among them.
            for n in 0..4 {
                let ip = format!("10.{}.{}.{n}", secs % 250, secs / 250 % 250);
                made += u64::from(goes(&mut throttle, at(secs), &stranger(&ip, "ada")));
            }
            let _ = throttle.attempt(at(secs), &stranger("192.0.2.1", "ada"));
            if secs % 600 == 0 {
                let ada = known("192.0.2.1", "ada");
                assert_eq!(throttle.attempt(at(secs), &ada), Verdict::After(Duration::ZERO));
                throttle.succeeded(&ada);
            }
        }
        let account = day / GUESSES_ACCOUNT_EVERY.as_secs() + u64::from(GUESSES_ACCOUNT_BURST) + 2;
        assert!(made <= account, "{made} of {account}: together they are slow");
        // Another account knows nothing of it.
        assert!(goes(&mut throttle, at(day), &stranger("203.0.113.9", "bob")));
    }

    #[test]
    fn a_stolen_device_cookie_is_worth_few_guesses_and_locks_nobody_out() {
        let mut throttle = Throttle::default();
        let made = (0..1_000).filter(|_| goes(&mut throttle, at(0), &known("198.51.100.7", "ada"))).count();
        assert_eq!(made, usize::try_from(GUESSES_DEVICE_BURST).unwrap());
        let other = Attempt { device: Some([2; 16]), ..known("192.0.2.1", "ada") };
        assert!(goes(&mut throttle, at(0), &other));
    }

    #[test]
    fn whoever_logs_in_is_not_counted() {
        let mut throttle = Throttle::default();
        let ada = stranger("192.0.2.1", "ada");
        for _ in 0..1_000 {
            assert_eq!(throttle.attempt(at(0), &ada), Verdict::After(Duration::ZERO));
            throttle.succeeded(&ada);
        }
    }

    #[test]
    fn tables_stay_bounded_and_forget_who_guessed_least() {
        let mut buckets = Buckets::new(3, Duration::from_secs(60));
        buckets.take(0, at(0));
        buckets.take(0, at(0));
        for n in 1..GUESSES_TABLE_MAX + 50 {
            buckets.take(n, at(1));
        }
        assert_eq!(buckets.held.len(), GUESSES_TABLE_MAX);
        assert!(buckets.held.contains_key(&0), "who has guessed most is kept");
        buckets.take(usize::MAX, at(10_000));
        assert_eq!(buckets.held.len(), 1, "what is empty goes first");
    }
}

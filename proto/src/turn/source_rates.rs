//! What each source may have at once and for long: answers that a spoofed request makes this server send to
//! its victim, handshakes that cost it a signature.

use std::net::{IpAddr, Ipv6Addr};

use ahash::RandomState;

use crate::time::Mono;

/// What is counted as one source: an IPv4 address, or an IPv6 /64, which is what one host can choose
/// from at will.
#[must_use]
pub fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Tokens of one bucket, in thousandths, at a time in milliseconds.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: u32,
    at: u32,
}

/// Token buckets in a table of fixed size. Sources that meet in one bucket share it; who shares with
/// whom is keyed, so that nobody can choose to fill another's.
pub struct SourceRates {
    buckets: Box<[Bucket]>,
    hash: RandomState,
    burst: u32,
    per_sec: u32,
}

impl SourceRates {
    /// With so many buckets, of 8 bytes each, whose key is `seed`, which must be secret. Each source may have
    /// `burst` at once, and `per_sec` a second for long.
    #[must_use]
    pub fn new([a, b, c, d]: [u64; 4], buckets: usize, burst: u32, per_sec: u32) -> Self {
        Self::keyed(RandomState::with_seeds(a, b, c, d), buckets, burst, per_sec)
    }

    pub(super) fn keyed(hash: RandomState, buckets: usize, burst: u32, per_sec: u32) -> Self {
        let burst = burst.min(u32::MAX / 1000) * 1000;
        let bucket = Bucket { tokens: burst, at: 0 };
        Self { buckets: vec![bucket; buckets].into_boxed_slice(), hash, burst, per_sec }
    }

    /// Whether this source may have one more; it is counted.
    pub fn take(&mut self, now: Mono, ip: IpAddr) -> bool {
        let hash = self.hash.hash_one(source(ip));
        let len = self.buckets.len() as u64;
        let index = usize::try_from(hash % len.max(1)).unwrap_or(0);
        let Some(bucket) = self.buckets.get_mut(index) else { return false };
        let at = millis(now);
        // A thousandth of a token a millisecond is a token a second.
        let gained = at.wrapping_sub(bucket.at).saturating_mul(self.per_sec);
        bucket.tokens = bucket.tokens.saturating_add(gained).min(self.burst);
        bucket.at = at;
        let has = bucket.tokens >= 1000;
        bucket.tokens -= if has { 1000 } else { 0 };
        has
    }
}

impl std::fmt::Debug for SourceRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SourceRates({} at once, {} a second)", self.burst / 1000, self.per_sec)
    }
}

/// Milliseconds since boot, in 32 bits: 50 days, after which a bucket may seem to have rested less.
fn millis(mono: Mono) -> u32 {
    u32::try_from(mono.0.as_millis() & u128::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::{Now, Unix};

    #[test]
    fn a_source_gets_its_burst_and_then_its_rate() {
        let mut rates = SourceRates::new([1, 2, 3, 4], 16, 5, 2);
        let mut now = Now { mono: Mono(Duration::from_secs(100)), unix: Unix::default() };
        let ip = "192.0.2.1".parse().unwrap();
        assert_eq!((0..100).filter(|_| rates.take(now.mono, ip)).count(), 5);
        assert!(rates.take(now.mono, "192.0.2.2".parse().unwrap()), "another source");
        now = now.after(Duration::from_millis(499));
        assert!(!rates.take(now.mono, ip));
        now = now.after(Duration::from_millis(1));
        assert!(rates.take(now.mono, ip));
        now = now.after(Duration::from_secs(3600));
        assert_eq!((0..100).filter(|_| rates.take(now.mono, ip)).count(), 5);
    }

    #[test]
    fn an_ipv6_source_is_its_64() {
        let mut rates = SourceRates::new([1, 2, 3, 4], 16, 5, 2);
        let now = Now { mono: Mono(Duration::from_secs(100)), unix: Unix::default() };
        let taken = (0..100_u16)
            .filter(|low| rates.take(now.mono, Ipv6Addr::new(0x2a00, 1, 2, 3, 4, 5, 6, *low).into()));
        assert_eq!(taken.count(), 5);
    }
}

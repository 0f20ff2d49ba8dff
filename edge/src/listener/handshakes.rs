//! How many TLS and DTLS handshakes begin: each costs a signature, in the loop that relays everybody's media.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};

use chappe_proto::limits::{
    HANDSHAKE_BUCKETS, HANDSHAKES_BURST, HANDSHAKES_BURST_PER_SOURCE, HANDSHAKES_PER_SEC,
    HANDSHAKES_PER_SEC_PER_SOURCE,
};
use chappe_proto::time::Mono;
use chappe_proto::turn::SourceRates;

/// Those that may begin.
#[derive(Debug)]
pub(crate) struct Handshakes {
    sources: SourceRates,
    all: SourceRates,
}

impl Default for Handshakes {
    fn default() -> Self {
        let seed = seed();
        let (burst, per_sec) = (HANDSHAKES_BURST_PER_SOURCE, HANDSHAKES_PER_SEC_PER_SOURCE);
        Self {
            sources: SourceRates::new(seed, HANDSHAKE_BUCKETS, burst, per_sec),
            all: SourceRates::new(seed, 1, HANDSHAKES_BURST, HANDSHAKES_PER_SEC),
        }
    }
}

/// A key that nobody else knows: of the system's random numbers, which seed the standard library's hashes too.
pub(super) fn seed() -> [u64; 4] {
    let random = RandomState::new();
    std::array::from_fn(|n| random.hash_one(n))
}

impl Handshakes {
    /// Whether one of this source may begin; it is counted.
    pub(crate) fn take(&mut self, now: Mono, source: IpAddr) -> bool {
        self.sources.take(now, source) && self.all.take(now, Ipv4Addr::UNSPECIFIED.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_source_has_its_part_and_all_have_theirs() {
        let mut handshakes = Handshakes::default();
        let now = Mono(Duration::from_secs(1000));
        let mut taken = |now, source: u32, count: u32| {
            let ip = Ipv4Addr::from_bits(source).into();
            u32::try_from((0..count).filter(|_| handshakes.take(now, ip)).count()).unwrap()
        };
        assert_eq!(taken(now, 1, 3000), HANDSHAKES_BURST_PER_SOURCE);
        let others: u32 = (2..100).map(|source| taken(now, source, 100)).sum();
        assert_eq!(others, HANDSHAKES_BURST - HANDSHAKES_BURST_PER_SOURCE);
        let later = now + Duration::from_secs(1);
        assert_eq!(taken(later, 1, 3000), HANDSHAKES_PER_SEC_PER_SOURCE);
    }
}

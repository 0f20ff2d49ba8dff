//! How often a source address may come.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::limits::JOIN_SOURCES_MAX;
use chappe_proto::signal::bucket::Bucket;
use chappe_proto::time::Mono;

/// A token bucket for each source address, IPv6 by /64, since one host has a whole one.
pub struct Sources {
    per_sec: u32,
    burst: u32,
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

impl Sources {
    /// Lets each pass `burst` times at once and `per_sec` times a second for long.
    #[must_use]
    pub const fn new(per_sec: u32, burst: u32) -> Self {
        Self { per_sec, burst, buckets: Mutex::new(BTreeMap::new()) }
    }

    /// Takes one of this address's.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&self, now: Mono, ip: IpAddr) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = network(ip);
        if buckets.len() >= JOIN_SOURCES_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
            if buckets.len() >= JOIN_SOURCES_MAX {
                return Err(Duration::from_secs(1));
            }
        }
        buckets.entry(key).or_insert_with(|| Bucket::new(self.per_sec, self.burst)).take(now)
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_source_and_others_are_not_disturbed() {
        let sources = Sources::new(1, 2);
        let now = Mono(Duration::from_secs(9));
        let take = |text: &str| sources.take(now, text.parse().unwrap());
        assert!(take("2001:db8::1").is_ok() && take("2001:db8::2").is_ok());
        assert!(take("2001:db8::3").is_err() && take("2001:db8:0:1::3").is_ok());
        assert!(take("192.0.2.1").is_ok() && take("::ffff:192.0.2.1").is_ok() && take("192.0.2.1").is_err());
    }
}

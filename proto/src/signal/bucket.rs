//! A token bucket.

use std::time::Duration;

use crate::time::Mono;

/// Lets `burst` pass at once and `per_sec` for long. Kept as the one point in time at which it will
/// be full again (GCRA), so that it costs two words.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    full_at: Mono,
    step: Duration,
    burst: Duration,
}

impl Bucket {
    /// A full bucket. `per_sec` and `burst` are at least one.
    #[must_use]
    pub fn new(per_sec: u32, burst: u32) -> Self {
        let step = Duration::from_secs(1) / per_sec.max(1);
        Self { full_at: Mono::default(), step, burst: step * burst.max(1) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one to take.
    pub fn take(&mut self, now: Mono) -> Result<(), Duration> {
        let next = self.full_at.max(now) + self.step;
        let ahead = next.since(now);
        if ahead > self.burst {
            return Err(ahead - self.burst);
        }
        self.full_at = next;
        Ok(())
    }

    /// Whether it is full: forgetting it then changes nothing.
    #[must_use]
    pub fn is_full(&self, now: Mono) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let mut bucket = Bucket::new(10, 3);
        let now = Mono(Duration::from_secs(5));
        for _ in 0..3 {
            assert_eq!(bucket.take(now), Ok(()));
        }
        assert_eq!(bucket.take(now), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(now + Duration::from_millis(100)), Ok(()));
        assert!(!bucket.is_full(now) && bucket.is_full(now + Duration::from_secs(1)));
    }
}

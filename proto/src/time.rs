//! The two clocks that a shell hands to a machine.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What both clocks say at the moment an input is handled.
///
/// Lifetimes and timers count on [`Mono`]; expiries that were written down somewhere (tokens,
/// credentials, revocations) count on [`Unix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since boot, suspension included (`CLOCK_BOOTTIME`).
    pub mono: Mono,
    /// Wall time.
    pub unix: Unix,
}

impl Now {
    /// Both clocks moved forward by `step`; what a simulation does between events.
    #[must_use]
    pub fn after(self, step: Duration) -> Self {
        Self { mono: self.mono + step, unix: self.unix + step }
    }
}

/// A point on the clock that never jumps and that counts suspension. Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub Duration);

impl Mono {
    /// Later than every other point: the deadline of that which never happens.
    pub const NEVER: Self = Self(Duration::MAX);

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// How long until `self`, seen from `now`; zero when it has passed.
    #[must_use]
    pub fn until(self, now: Self) -> Duration {
        self.0.saturating_sub(now.0)
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, step: Duration) -> Self {
        Self(self.0.saturating_add(step))
    }
}

impl Sub<Duration> for Mono {
    type Output = Self;
    fn sub(self, step: Duration) -> Self {
        Self(self.0.saturating_sub(step))
    }
}

/// Time since 1970-01-01 UTC; written to the wire as whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Unix(pub Duration);

impl Unix {
    /// From whole seconds, the unit of JWT claims and TURN REST usernames.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0.as_secs()
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole milliseconds, rounded down; capped at `u64::MAX`.
    #[must_use]
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Add<Duration> for Unix {
    type Output = Self;
    fn add(self, step: Duration) -> Self {
        Self(self.0.saturating_add(step))
    }
}

impl From<u64> for Unix {
    fn from(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl From<Unix> for u64 {
    fn from(at: Unix) -> Self {
        at.millis()
    }
}

//! The cluster's timers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::BadId;

/// Which timers a cluster runs by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileName {
    /// [`LAN`].
    #[default]
    Lan,
    /// [`WAN`].
    Wan,
}

impl ProfileName {
    /// The timers themselves.
    #[must_use]
    pub const fn profile(self) -> Profile {
        match self {
            Self::Lan => LAN,
            Self::Wan => WAN,
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
        })
    }
}

impl FromStr for ProfileName {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        match text {
            "lan" => Ok(Self::Lan),
            "wan" => Ok(Self::Wan),
            _ => Err(BadId("profile: `lan` or `wan`")),
        }
    }
}

/// Timers that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// A leader is heard this often.
    pub heartbeat: Duration,
    /// A voter that hears no leader stands for election after a time in this range.
    pub election: (Duration, Duration),
    /// An owner's right to admit and change lasts this long from the send time of its renewal (L).
    pub lease: Duration,
    /// A silent node is evicted this long after its last grant was sent (T).
    pub eviction: Duration,
}

/// The unit in which Raft counts.
pub const TICK: Duration = Duration::from_millis(10);

/// Voters for which disjoint election ranges are kept.
pub const VOTERS: u32 = 5;

/// Members close together.
pub const LAN: Profile = Profile {
    heartbeat: Duration::from_millis(50),
    election: (Duration::from_millis(500), Duration::from_millis(900)),
    lease: Duration::from_millis(600),
    eviction: Duration::from_millis(1000),
};

/// Members over 50 ms apart.
pub const WAN: Profile = Profile {
    heartbeat: Duration::from_millis(250),
    election: (Duration::from_millis(1500), Duration::from_millis(2700)),
    lease: Duration::from_millis(1500),
    eviction: Duration::from_millis(2500),
};

impl Profile {
    /// How many ticks a duration is, rounded down.
    #[must_use]
    pub const fn ticks(of: Duration) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "durations of a profile are below a minute")]
        let secs = of.as_secs() as u32;
        of.subsec_millis() / TICK.subsec_millis() + secs * (1000 / TICK.subsec_millis())
    }

    /// The part of the election range that a member has for itself, in ticks: the upper end is
    /// excluded. Members' ids are dealt round, so that voters with neighbouring ids never stand
    /// together.
    #[must_use]
    pub const fn election_ticks(&self, member: u64) -> (u32, u32) {
        let (from, to) = (Self::ticks(self.election.0), Self::ticks(self.election.1));
        let part = (to - from) / VOTERS;
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of VOTERS")]
        let slot = (member % VOTERS as u64) as u32;
        (from + slot * part, from + (slot + 1) * part)
    }

    /// How often a lease is renewed.
    #[must_use]
    pub fn renewal(&self) -> Duration {
        self.lease / 6
    }

    const fn is_sound(&self) -> bool {
        self.heartbeat.as_millis().is_multiple_of(TICK.as_millis())
            && self.election.0.as_millis() >= 5 * self.heartbeat.as_millis()
            // Each voter's part of the range: two ticks at the least.
            && self.election.1.as_millis() - self.election.0.as_millis() >= 2 * VOTERS as u128 * TICK.as_millis()
            && self.lease.as_millis() < self.eviction.as_millis()
            && self.lease.as_millis() >= 6 * self.heartbeat.as_millis()
            && self.lease.as_millis().is_multiple_of(6)
    }
}

const _: () = assert!(LAN.is_sound() && WAN.is_sound());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_stand_at_different_times() {
        for profile in [LAN, WAN] {
            let mut ranges: Vec<_> =
                (1..=u64::from(VOTERS)).map(|member| profile.election_ticks(member)).collect();
            ranges.sort_unstable();
            assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:?}");
            assert_eq!(ranges[0].0, Profile::ticks(profile.election.0));
            assert_eq!(ranges[4].1, Profile::ticks(profile.election.1));
        }
    }
}

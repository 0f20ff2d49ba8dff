//! A member's time: when Raft counts a tick, when a leader's heartbeat is due, and how many ticks an
//! election timeout has.
//!
//! Raft keeps its numbers of ticks for life, and profiles differ in how long they are. So
//! a tick is a fiftieth of the profile's shortest election timeout, 10 ms for `lan`, and heartbeats are
//! counted here.

use chappe_proto::registry::profile::{LAN, Profile, TICK, WAN};
use chappe_proto::time::Mono;
use std::time::Duration;

/// The shortest election timeout in ticks, of any profile.
pub(super) const ELECTION_TICKS: u32 = Profile::ticks(LAN.election.0);

const _: () = {
    assert!(tick(&LAN).as_millis() == TICK.as_millis());
    // The longest is as many ticks in both.
    assert!(
        WAN.election.1.as_millis() * LAN.election.0.as_millis()
            == LAN.election.1.as_millis() * WAN.election.0.as_millis()
    );
};

const fn tick(profile: &Profile) -> Duration {
    #[expect(clippy::cast_possible_truncation, reason = "durations of a profile are below a minute")]
    Duration::from_millis((profile.election.0.as_millis() / ELECTION_TICKS as u128) as u64)
}

/// All election timeouts, in ticks: the upper end is excluded.
pub(super) const ELECTION_RANGE: (u32, u32) = (ELECTION_TICKS, Profile::ticks(LAN.election.1));

/// The ticks after which a voter stands for election, where so many voters have lower ids: each voter has a
/// part of the range for itself. Only the first half of it is used. So between two voters lies half a part at
/// the least, 40 ms for `lan` and 120 ms for `wan`: time for the first to be elected, or their votes would be
/// split.
pub(super) const fn election_ticks(rank: u64) -> (u32, u32) {
    let (min, max) = LAN.election_ticks(rank);
    (min, min + (max - min) / 2)
}

/// Ticks that may be counted at once: what a process slept through is held against nobody.
const CATCH_UP: u32 = 5;

/// When what is due.
#[derive(Debug)]
pub(super) struct Timer {
    profile: Profile,
    next_tick: Mono,
    next_beat: Mono,
}

/// What has become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) ticks: u32,
    pub(super) beat: bool,
}

impl Timer {
    pub(super) fn new(now: Mono, profile: Profile) -> Self {
        Self { profile, next_tick: now + tick(&profile), next_beat: now }
    }

    /// The registry has another profile: what is counted goes on in its units.
    pub(super) const fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    pub(super) const fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(super) fn poll_timeout(&self) -> Mono {
        self.next_tick.min(self.next_beat)
    }

    pub(super) fn due(&mut self, now: Mono) -> Due {
        let (tick, mut ticks) = (tick(&self.profile), 0);
        while now >= self.next_tick && ticks < CATCH_UP {
            self.next_tick = self.next_tick + tick;
            ticks += 1;
        }
        if now >= self.next_tick {
            self.next_tick = now + tick;
        }
        let beat = now >= self.next_beat;
        if beat {
            self.next_beat = (self.next_beat + self.profile.heartbeat).max(now + tick);
        }
        Due { ticks, beat }
    }
}

/// The election timeout in ticks, within the member's own range: drawn by `seed` for each term and what
/// the member is in it. No draw depends on how many came before, so that a seed replays whatever raft
/// drew itself.
pub(super) fn draw(seed: u64, term: u64, role: u64, (min, max): (u32, u32)) -> u32 {
    // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    let mut z = seed ^ term.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ role.rotate_left(56);
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let span = u64::from(max.saturating_sub(min).max(1));
    min + u32::try_from(z % span).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_held_against_nobody() {
        let mut timer = Timer::new(Mono::default(), LAN);
        let at = |millis| Mono(Duration::from_millis(millis));
        assert_eq!(timer.due(at(0)), Due { ticks: 0, beat: true });
        assert_eq!(timer.due(at(30)), Due { ticks: 3, beat: false });
        assert_eq!(timer.due(at(50)), Due { ticks: 2, beat: true });
        assert_eq!(timer.due(at(30_000)), Due { ticks: CATCH_UP, beat: true });
        assert_eq!(timer.poll_timeout(), at(30_010));
        assert_eq!(timer.due(at(30_005)), Due { ticks: 0, beat: false });
    }

    #[test]
    fn profiles_count_as_many_ticks() {
        let mut timer = Timer::new(Mono::default(), WAN);
        let (mut ticks, mut beats) = (0, 0);
        while timer.poll_timeout() <= Mono(WAN.election.1) {
            let due = timer.due(timer.poll_timeout());
            (ticks, beats) = (ticks + due.ticks, beats + u32::from(due.beat));
        }
        assert_eq!((ticks, beats), (Profile::ticks(LAN.election.1), 11));
    }

    #[test]
    fn draws_stay_in_their_range_and_differ_between_terms() {
        let range = election_ticks(3);
        assert!(range.0 >= ELECTION_RANGE.0 && range.1 < election_ticks(4).0);
        assert!(election_ticks(4).1 <= ELECTION_RANGE.1);
        let drawn: std::collections::BTreeSet<_> = (0..1_000).map(|term| draw(7, term, 0, range)).collect();
        assert_eq!(drawn, (range.0..range.1).collect());
        assert_eq!(draw(7, 5, 1, range), draw(7, 5, 1, range));
    }
}

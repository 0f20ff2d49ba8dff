//! The one place of this crate that reads a clock.

use std::time::Duration;

use chappe_proto::time::{Mono, Now, Unix};
use rustix::time::{ClockId, clock_gettime};

/// How long the wall clock is reckoned from the other one before it is read again: an operator who
/// sets it is noticed within this.
const WALL_EVERY: Duration = Duration::from_millis(100);

/// Reads both clocks; the second only now and then, since a turn of the loop is a few microseconds.
pub(crate) struct Clock {
    wall_read: Mono,
    wall: Unix,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { wall_read: mono(), wall: wall() }
    }

    /// What both say now.
    pub(crate) fn now(&mut self) -> Now {
        let mono = mono();
        let mut passed = mono.since(self.wall_read);
        if passed >= WALL_EVERY {
            (self.wall_read, self.wall, passed) = (mono, wall(), Duration::ZERO);
        }
        Now { mono, unix: self.wall + passed }
    }
}

/// The same moment by this crate's clock and by the standard library's, for libraries that count by that.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn both() -> (Mono, std::time::Instant) {
    (mono(), std::time::Instant::now())
}

/// What both clocks say now, for who asks seldom.
pub(crate) fn now() -> Now {
    Now { mono: mono(), unix: wall() }
}

/// Time since boot, suspension included.
pub(crate) fn mono() -> Mono {
    Mono(read(ClockId::Boottime))
}

/// Processor time that this process has used.
pub(crate) fn cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Processor time that this thread has used.
pub(crate) fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// The wall clock.
pub(crate) fn wall() -> Unix {
    Unix(read(ClockId::Realtime))
}

fn read(clock: ClockId) -> Duration {
    let at = clock_gettime(clock);
    // Neither clock is ever before its zero.
    let (secs, nanos) = (u64::try_from(at.tv_sec), u32::try_from(at.tv_nsec));
    Duration::new(secs.unwrap_or(0), nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_on_and_the_wall_clock_is_this_century() {
        let mut clock = Clock::new();
        let first = clock.now();
        let second = clock.now();
        assert!(second.mono >= first.mono && second.unix >= first.unix);
        assert!(first.unix.secs() > 1_700_000_000);
    }
}

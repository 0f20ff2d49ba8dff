//! The two clocks: the only place of this crate that reads them.

use std::time::Duration;

use chappe_proto::time::{Mono, Now, Unix};
use rustix::time::{ClockId, clock_gettime};

/// What both clocks say now.
#[must_use]
pub fn now() -> Now {
    Now { mono: mono(), unix: unix() }
}

/// Time since boot, suspension included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn mono() -> Mono {
    Mono(read(ClockId::Boottime))
}

/// Wall time (`CLOCK_REALTIME`).
#[must_use]
pub fn unix() -> Unix {
    Unix(read(ClockId::Realtime))
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

//! The one place of this crate that reads clocks and draws randomness.

use std::time::Duration;

use chappe_proto::time::{Mono, Now, Unix};
use rustix::time::{ClockId, Timespec, clock_gettime};

fn read(clock: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    let (secs, nanos) = (u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0));
    Duration::new(secs, nanos)
}

/// Time since boot, suspension included.
#[must_use]
pub fn mono() -> Mono {
    Mono(read(ClockId::Boottime))
}

/// Wall time.
#[must_use]
pub fn unix() -> Unix {
    Unix(read(ClockId::Realtime))
}

/// Processor time that this process has used.
#[must_use]
pub fn cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Both clocks, now.
#[must_use]
pub fn now() -> Now {
    Now { mono: mono(), unix: unix() }
}

/// Random bytes of the operating system.
///
/// # Panics
/// Never on Linux once the kernel's generator is seeded; without randomness nothing here is safe,
/// so the process ends.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        tracing::error!("the operating system gives no random numbers");
        std::process::abort();
    }
    bytes
}

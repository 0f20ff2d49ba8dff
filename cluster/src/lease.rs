//! Whether this node holds its lease, as everything on it asks: one number that the keeper sets.

use std::sync::atomic::{AtomicU64, Ordering};

use chappe_proto::time::Mono;

use crate::clock;

/// This node's lease.
#[derive(Debug, Default)]
pub struct Held(AtomicU64);

impl Held {
    /// Whether it holds at this moment.
    #[must_use]
    pub fn holds(&self) -> bool {
        clock::mono() < self.until()
    }

    /// Until when.
    #[must_use]
    pub fn until(&self) -> Mono {
        Mono(std::time::Duration::from_nanos(self.0.load(Ordering::Acquire)))
    }

    /// It holds until then.
    pub fn set(&self, until: Mono) {
        let nanos = u64::try_from(until.0.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Release);
    }
}

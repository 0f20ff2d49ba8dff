//! What this node has counted since its process began, of all its sessions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use chappe_proto::inspect::SessionCounts;
use chappe_proto::signal::code::ErrorCode;

/// The counts.
#[derive(Debug, Default)]
pub struct Counts {
    signals: AtomicU64,
    delivered: AtomicU64,
    undelivered: AtomicU64,
    rate_refusals: AtomicU64,
    ice_failures: AtomicU64,
    joins: AtomicU64,
    resumes: AtomicU64,
    /// Joins and resumes that were refused, by code.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

fn add(to: &AtomicU64, more: u64) {
    if more > 0 {
        to.fetch_add(more, Ordering::Relaxed);
    }
}

impl Counts {
    /// A session has done more.
    pub(crate) fn add(&self, more: SessionCounts) {
        add(&self.signals, more.signals_sent);
        add(&self.delivered, more.signals_received);
        add(&self.undelivered, more.undelivered);
        add(&self.rate_refusals, more.rate_refusals);
        add(&self.ice_failures, more.ice_failures);
        add(&self.resumes, more.resumes);
    }

    /// A session has begun.
    pub(crate) fn joined(&self) {
        add(&self.joins, 1);
    }

    /// A first frame was refused.
    pub(crate) fn refused(&self, code: ErrorCode) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(code.name()).or_default() += 1;
    }

    /// All of them by name.
    pub(crate) fn all(&self) -> Vec<(String, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut all = vec![
            ("signals".to_owned(), read(&self.signals)),
            ("delivered".to_owned(), read(&self.delivered)),
            ("undelivered".to_owned(), read(&self.undelivered)),
            ("ice_failures".to_owned(), read(&self.ice_failures)),
            ("joins".to_owned(), read(&self.joins)),
            ("resumes".to_owned(), read(&self.resumes)),
            ("refused.frames".to_owned(), read(&self.rate_refusals)),
        ];
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(refused.iter().map(|(code, count)| (format!("refused.{code}"), *count)));
        all
    }
}

//! Limits that were met, told to operators.

use std::net::IpAddr;

use chappe_proto::time::Now;
use chappe_proto::turn::{Event, Limit};

use super::Driver;

/// Writes down what happened: limits as warnings, the rest for whoever debugs.
pub(super) fn tell(event: &Event) {
    let Event::Limited { limit, count, user, source } = event else {
        tracing::debug!(?event);
        return;
    };
    tracing::warn!(
        limit = limit.name(),
        count,
        user = user.as_deref(),
        %source,
        fix = limit.fix(),
        "a limit was met"
    );
}

impl Driver {
    /// Counts a limit of the sockets that was met `count` times, and tells of it where that is due.
    pub(super) fn limited(&mut self, now: Now, limit: Limit, count: u64, source: IpAddr) {
        if let Some(count) = self.limits.note_many(now.mono, limit, count) {
            tell(&Event::Limited { limit, count, user: None, source });
        }
    }

    /// How often each limit was met, the machine's and the sockets'.
    pub(super) fn limits(&self) -> [u64; Limit::ALL.len()] {
        let (machine, own) = (self.server.limits(), self.limits.totals());
        std::array::from_fn(|at| machine[at] + own[at])
    }
}

//! Limits that were met, told to operators.

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
    /// How often each limit was met, the machine's and the sockets'.
    pub(super) fn limits(&self) -> [u64; Limit::ALL.len()] {
        let (machine, own) = (self.server.limits(), self.limits.totals());
        std::array::from_fn(|at| machine[at] + own[at])
    }
}

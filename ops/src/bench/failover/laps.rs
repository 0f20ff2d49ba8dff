//! Where a round's time goes.

use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::time::Mono;

/// A round's phases, one after another, and how long each took.
#[derive(Debug)]
pub(super) struct Laps {
    last: Mono,
    phases: Vec<(&'static str, Duration)>,
}

impl Laps {
    /// The first phase begins.
    pub(super) fn begin() -> Self {
        Self { last: clock::mono(), phases: Vec::new() }
    }

    /// A phase is over, and the next begins.
    pub(super) fn end(&mut self, phase: &'static str) {
        let now = clock::mono();
        self.phases.push((phase, now.since(self.last)));
        self.last = now;
    }

    /// All that are over, in seconds.
    pub(super) fn took(&self) -> Vec<(String, f64)> {
        let seconds = |took: Duration| (took.as_secs_f64() * 1000.0).round() / 1000.0;
        self.phases.iter().map(|(phase, took)| ((*phase).to_owned(), seconds(*took))).collect()
    }
}

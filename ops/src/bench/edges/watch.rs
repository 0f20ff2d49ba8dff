//! When a client restarts ICE: the rules of the browser SDK (`proto/js/ice.js`).

use std::time::Duration;

use chappe_proto::time::Mono;

/// Nothing received for this long where media was flowing: restart.
const STALLED: Duration = Duration::from_millis(2500);
/// The same once its edge is said to be lost.
const SUSPECT: Duration = Duration::from_secs(1);
/// The time between two looks at a connection that is well, and at one that is silent.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Waits after each restart that changed nothing.
const PAUSES: [Duration; 3] = [Duration::from_secs(4), Duration::from_secs(8), Duration::from_secs(15)];

/// Decides, from one look after the other. Silence counts from the last look that found anything received.
#[derive(Debug)]
pub(super) struct Watch {
    received: bool,
    heard: Mono,
    suspect: bool,
    tried: usize,
    not_before: Mono,
    look: Mono,
}

impl Watch {
    /// Of a connection that begins.
    pub(super) fn new(now: Mono) -> Self {
        Self {
            received: false,
            heard: now,
            suspect: false,
            tried: 0,
            not_before: Mono::default(),
            look: now + LOOK,
        }
    }

    /// Something was received.
    pub(super) fn receive(&mut self) {
        self.received = true;
    }

    /// Its edge is said to be lost: believed only of a silent connection.
    pub(super) fn suspect(&mut self, now: Mono) {
        (self.suspect, self.not_before) = (true, Mono::default());
        self.look = self.look.min(now + LOOK_AGAIN);
    }

    /// The other side has restarted: that has its time.
    pub(super) fn restarted(&mut self, now: Mono) {
        self.not_before = self.not_before.max(now + PAUSES[self.tried.min(PAUSES.len() - 1)]);
    }

    /// When to look next.
    pub(super) fn poll_timeout(&self) -> Mono {
        self.look
    }

    /// A look: whether to restart.
    pub(super) fn look(&mut self, now: Mono) -> bool {
        let heard = std::mem::take(&mut self.received);
        self.look = now + if heard { LOOK } else { LOOK_AGAIN };
        if heard {
            (self.heard, self.suspect, self.tried, self.not_before) = (now, false, 0, Mono::default());
            return false;
        }
        let patience = if self.suspect { SUSPECT } else { STALLED };
        if now.since(self.heard) < patience || now < self.not_before {
            return false;
        }
        self.not_before = now + PAUSES[self.tried.min(PAUSES.len() - 1)];
        self.tried += 1;
        self.suspect = false;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }

    /// Looks whenever it is due, until `end`; when it restarts.
    fn restarts(watch: &mut Watch, end: u64) -> Vec<u64> {
        let mut all = Vec::new();
        while watch.poll_timeout() <= at(end) {
            let now = watch.poll_timeout();
            if watch.look(now) {
                all.push(u64::try_from(now.0.as_millis()).unwrap());
            }
        }
        all
    }

    #[test]
    fn silence_restarts_after_two_and_a_half_seconds_and_then_more_and_more_rarely() {
        let mut watch = Watch::new(at(0));
        watch.receive();
        assert_eq!(restarts(&mut watch, 1000), [0; 0]);
        assert_eq!(restarts(&mut watch, 20_000), [3500, 7500, 15_500]);
        watch.receive();
        assert_eq!(restarts(&mut watch, 21_000), [0; 0]);
    }

    #[test]
    fn a_lost_edge_is_believed_of_a_silent_connection_alone() {
        let mut watch = Watch::new(at(0));
        watch.receive();
        watch.suspect(at(100));
        assert_eq!(restarts(&mut watch, 1000), [0; 0], "it was heard");
        watch.suspect(at(1100));
        assert_eq!(restarts(&mut watch, 3000), [1350]);
    }

    #[test]
    fn a_restart_of_the_other_side_has_its_time() {
        let mut watch = Watch::new(at(0));
        watch.restarted(at(2000));
        assert_eq!(restarts(&mut watch, 7000), [6000]);
    }
}

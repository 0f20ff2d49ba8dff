//! What a client writes down, and what that tells.

use std::time::Duration;

use chappe_proto::time::Mono;

use super::allocation::Relay;

/// Media flows if a packet came this lately: ten times what is between two.
const LATELY: Duration = Duration::from_millis(200);

/// What a client has seen and done.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Its peer id.
    pub(super) peer: Option<String>,
    /// Relays as it was offered them last.
    pub(super) relays: Vec<Relay>,
    /// Packets of the other one.
    pub(super) arrivals: Vec<Mono>,
    /// Its own restarts.
    pub(super) restarts: Vec<Mono>,
    /// The edge that it sends over.
    pub(super) edge: Option<String>,
    /// When it was told that an edge of its was lost.
    pub(super) told: Option<Mono>,
    /// Why it ended, if it has.
    pub(super) ended: Option<String>,
}

impl Record {
    /// Whether packets come.
    pub(super) fn flows(&self, now: Mono) -> bool {
        self.arrivals.last().is_some_and(|at| now.since(*at) < LATELY)
    }

    /// The longest silence that had not ended when it was struck, or began after that; none where it has not ended.
    pub(super) fn gap(&self, struck: Mono, now: Mono) -> Option<Duration> {
        let before = self.arrivals.iter().rev().find(|at| **at < struck)?;
        let (mut last, mut longest) = (*before, Duration::ZERO);
        for at in self.arrivals.iter().filter(|at| **at >= struck) {
            (last, longest) = (*at, longest.max(at.since(last)));
        }
        self.flows(now).then_some(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_counts_from_the_last_packet_before_the_fault() {
        let at = |ms: u64| Mono(Duration::from_millis(ms));
        let of = |arrivals: &[u64]| Record {
            arrivals: arrivals.iter().map(|ms| at(*ms)).collect(),
            ..Record::default()
        };
        let (struck, now) = (at(1000), at(5000));
        let gap = |arrivals: &[u64]| of(arrivals).gap(struck, now);
        assert_eq!(gap(&[100, 980, 1000, 4900]), Some(Duration::from_millis(3900)));
        assert_eq!(gap(&[100, 990, 4000, 4900]), Some(Duration::from_millis(3010)));
        assert_eq!(gap(&[100, 990, 4000]), None, "it is silent now");
        assert_eq!(gap(&[4900]), None, "it was silent before");
    }
}

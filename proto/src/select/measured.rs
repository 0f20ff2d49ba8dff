//! What a client has measured: the best round trip to each edge of the last five minutes, as Tailscale's netcheck
//! counts them. A single measurement is too long more often than too short: the least of several is the path.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::id::EdgeId;
use crate::limits::{MEASURED_EDGES_MAX, MEASURED_KEPT};
use crate::time::Mono;

/// A measurement counts for this long (netcheck: 5 min and 5 s).
pub const MEASURED_FOR: Duration = Duration::from_secs(5 * 60 + 5);

/// Round trips by edge.
#[derive(Debug, Clone, Default)]
pub struct Measured(BTreeMap<EdgeId, VecDeque<(Mono, f64)>>);

impl Measured {
    /// Takes what a client says, in milliseconds. What is no duration is skipped.
    pub fn add(&mut self, now: Mono, rtts: impl IntoIterator<Item = (EdgeId, f64)>) {
        self.0.retain(|_, kept| {
            kept.retain(|(at, _)| now.since(*at) < MEASURED_FOR);
            !kept.is_empty()
        });
        for (edge, rtt) in rtts {
            if !rtt.is_finite()
                || rtt < 0.0
                || (self.0.len() >= MEASURED_EDGES_MAX && !self.0.contains_key(&edge))
            {
                continue;
            }
            let kept = self.0.entry(edge).or_default();
            // Of two the longer one never counts again once it is the older one too.
            while kept.back().is_some_and(|(_, last)| *last >= rtt) {
                kept.pop_back();
            }
            if kept.len() >= MEASURED_KEPT {
                kept.pop_back();
            }
            kept.push_back((now, rtt));
        }
    }

    /// The network is another one: nothing of it counts any more.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// The best of each edge, in milliseconds.
    pub fn all(&self, now: Mono) -> impl Iterator<Item = (&EdgeId, f64)> {
        let best = move |kept: &VecDeque<(Mono, f64)>| {
            kept.iter().find(|(at, _)| now.since(*at) < MEASURED_FOR).map(|(_, rtt)| *rtt)
        };
        self.0.iter().filter_map(move |(edge, kept)| Some((edge, best(kept)?)))
    }

    /// The best of an edge, in milliseconds.
    #[must_use]
    pub fn of(&self, now: Mono, edge: &EdgeId) -> Option<f64> {
        self.0.get(edge)?.iter().find(|(at, _)| now.since(*at) < MEASURED_FOR).map(|(_, rtt)| *rtt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_five_minutes_counts() {
        let edge = EdgeId::new("e").unwrap();
        let at = |secs| Mono(Duration::from_secs(secs));
        let mut measured = Measured::default();
        for (secs, rtt) in [(0, 30.0), (60, 20.0), (120, 45.0), (180, 25.0)] {
            measured.add(at(secs), [(edge.clone(), rtt)]);
        }
        assert_eq!(measured.of(at(200), &edge), Some(20.0));
        assert_eq!(measured.of(at(364), &edge), Some(20.0));
        assert_eq!(measured.of(at(365), &edge), Some(25.0), "45 was longer and older");
        assert_eq!(measured.of(at(500), &edge), None);
        measured.add(at(500), [(edge.clone(), f64::NAN), (EdgeId::new("f").unwrap(), -1.0)]);
        assert_eq!(measured.all(at(500)).count(), 0);
        measured.add(at(500), [(edge.clone(), 9.0)]);
        measured.forget();
        assert_eq!(measured.of(at(500), &edge), None);
    }

    #[test]
    fn however_much_is_said_little_is_kept() {
        let mut measured = Measured::default();
        let edge = |n: usize| EdgeId::new(&format!("e{n}")).unwrap();
        for n in 0..1000 {
            measured.add(Mono(Duration::from_millis(n as u64)), [(edge(n), 1.0), (edge(0), 1.0 + n as f64)]);
        }
        assert_eq!(measured.0.len(), MEASURED_EDGES_MAX);
        assert!(measured.0.values().all(|kept| kept.len() <= MEASURED_KEPT));
        assert_eq!(measured.of(Mono::default(), &edge(0)), Some(1.0));
    }
}

//! How edges stand towards the sessions of a node, and what those are told when that changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::EdgeStatus;
use super::condition::State;
use crate::id::EdgeId;
use crate::limits::{DRAIN_SESSIONS_PER_SEC, DRAIN_SPREAD};

/// How an edge stands towards the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is handed out.
    Up,
    /// It serves those who are there, and is to be emptied.
    Draining,
    /// It cannot be used.
    Lost,
}

impl Standing {
    /// That of an edge.
    #[must_use]
    pub const fn of(status: &EdgeStatus) -> Self {
        match (status.condition.state, status.available) {
            (State::Lost, _) => Self::Lost,
            (State::Draining, _) => Self::Draining,
            (_, true) => Self::Up,
            (_, false) => Self::Lost,
        }
    }
}

/// What sessions are told of the edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// One is there that was not.
    Up(EdgeId),
    /// One is lost.
    Lost(EdgeId),
    /// One is being emptied: its sessions are told, spread over a time.
    Draining(EdgeId, Duration),
}

/// How each edge stood when sessions were told last.
#[derive(Debug, Clone, Default)]
pub struct Told(BTreeMap<EdgeId, Standing>);

impl Told {
    /// What so many sessions are to be told, now that the edges are like this. One of which nothing was known
    /// before, and that cannot be used, is no news; one that is no longer among them is lost.
    pub fn handle_edges(&mut self, edges: &[EdgeStatus], sessions: usize) -> Vec<News> {
        let now = edges.iter().map(|status| (status.edge.clone(), Standing::of(status))).collect();
        let before = std::mem::replace(&mut self.0, now);
        let stood = |edge: &EdgeId| before.get(edge).copied().unwrap_or(Standing::Lost);
        let changed = self.0.iter().filter(|(edge, stands)| stood(edge) != **stands);
        let news = changed.map(|(edge, stands)| match stands {
            Standing::Up => News::Up(edge.clone()),
            Standing::Lost => News::Lost(edge.clone()),
            Standing::Draining => News::Draining(edge.clone(), spread(sessions)),
        });
        let gone =
            before.iter().filter(|(edge, stood)| **stood != Standing::Lost && !self.0.contains_key(*edge));
        news.chain(gone.map(|(edge, _)| News::Lost(edge.clone()))).collect()
    }

    /// The edges that are being emptied.
    pub fn draining(&self) -> impl Iterator<Item = &EdgeId> {
        self.0.iter().filter(|(_, stands)| **stands == Standing::Draining).map(|(edge, _)| edge)
    }
}

/// Over how long so many sessions are sent away from an edge.
fn spread(sessions: usize) -> Duration {
    let seconds = u64::try_from(sessions).unwrap_or(u64::MAX) / u64::from(DRAIN_SESSIONS_PER_SEC);
    Duration::from_secs(seconds).clamp(*DRAIN_SPREAD.start(), *DRAIN_SPREAD.end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Region;

    fn id(name: &str) -> EdgeId {
        EdgeId::new(name).unwrap()
    }

    fn edge(name: &str, state: State, available: bool) -> EdgeStatus {
        let mut status = EdgeStatus::new(id(name), Region::new("r").unwrap(), vec![]);
        (status.condition.state, status.available) = (state, available);
        status
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut told = Told::default();
        let both = [edge("a", State::Up, true), edge("b", State::Lost, false)];
        assert_eq!(told.handle_edges(&both, 10), [News::Up(id("a"))]);
        assert_eq!(told.handle_edges(&both, 10), []);
        let worse = [edge("a", State::Degraded, true), edge("b", State::Overloaded, true)];
        assert_eq!(
            told.handle_edges(&worse, 10),
            [News::Up(id("b"))],
            "one that is full serves those it has"
        );
        // None of its listeners answers.
        let shut = [edge("a", State::Degraded, false), edge("b", State::Up, true)];
        assert_eq!(told.handle_edges(&shut, 10), [News::Lost(id("a"))]);
        assert_eq!(told.handle_edges(&[], 10), [News::Lost(id("b"))], "removed; the other was lost before");
    }

    #[test]
    fn a_drain_is_spread_by_how_many_there_are() {
        let mut told = Told::default();
        let drains = |told: &mut Told, sessions| {
            *told = Told::default();
            told.handle_edges(&[edge("a", State::Draining, false)], sessions)
        };
        assert_eq!(drains(&mut told, 10), [News::Draining(id("a"), *DRAIN_SPREAD.start())]);
        assert_eq!(told.draining().collect::<Vec<_>>(), [&id("a")]);
        assert_eq!(drains(&mut told, 1000), [News::Draining(id("a"), Duration::from_secs(20))]);
        assert_eq!(drains(&mut told, 10_000_000), [News::Draining(id("a"), *DRAIN_SPREAD.end())]);
        assert_eq!(told.handle_edges(&[edge("a", State::Up, true)], 10), [News::Up(id("a"))], "called off");
    }
}

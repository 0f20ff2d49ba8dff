//! Those whose edge was lost a moment ago: how many there are, since all of them choose at once, before any load
//! report tells of the others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::EdgeStatus;
use super::standing::Standing;
use crate::id::EdgeId;
use crate::time::Mono;

/// Those who were on an edge that is lost have gone elsewhere, and show in others' reports, this long after.
pub const SETTLED: Duration = Duration::from_secs(15);

/// What each edge had when it was alive last, as one node sees it.
#[derive(Debug, Clone, Default)]
pub struct Displaced(BTreeMap<EdgeId, (f64, Option<Mono>)>);

impl Displaced {
    /// How many allocations were on edges that were lost lately, now that the edges are like this. One that this
    /// node has never seen alive had none, and one that drains sends its clients away by itself.
    pub fn handle_edges(&mut self, now: Mono, edges: &[EdgeStatus]) -> f64 {
        self.0.retain(|edge, _| edges.iter().any(|status| status.edge == *edge));
        for status in edges {
            if Standing::of(status) != Standing::Lost {
                let allocations = status.load * f64::from(status.capacity);
                self.0.insert(status.edge.clone(), (allocations, None));
            } else if let Some((_, lost)) = self.0.get_mut(&status.edge) {
                lost.get_or_insert(now);
            }
        }
        let lately = |lost: &Mono| now.since(*lost) < SETTLED;
        self.0.values().filter(|(_, lost)| lost.as_ref().is_some_and(lately)).map(|(had, _)| had).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Region;
    use crate::select::condition::State;

    #[test]
    fn what_an_edge_had_counts_from_its_loss_until_all_have_settled() {
        let edge = |name: &str, state, load| {
            let mut status = EdgeStatus::new(EdgeId::new(name).unwrap(), Region::new("r").unwrap(), vec![]);
            (status.condition.state, status.available) = (state, state == State::Up);
            (status.load, status.capacity) = (load, 100);
            status
        };
        let at = |secs: u64| Mono(Duration::from_secs(1000 + secs));
        let mut displaced = Displaced::default();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let never = edge("never", State::Lost, 0.9);
        let all = [edge("a", State::Up, 0.5), edge("b", State::Up, 0.2), never.clone()];
        assert!(near(displaced.handle_edges(at(0), &all), 0.0), "nobody saw the third alive");
        let gone = [edge("a", State::Lost, 0.5), edge("b", State::Draining, 0.2), never];
        assert!(near(displaced.handle_edges(at(100), &gone), 50.0), "a drain is another matter");
        assert!(near(displaced.handle_edges(at(114), &gone), 50.0));
        assert!(near(displaced.handle_edges(at(115), &gone), 0.0));
        // It is back, and lost again.
        displaced.handle_edges(at(200), &all);
        assert!(near(displaced.handle_edges(at(300), &gone), 50.0));
        assert!(near(displaced.handle_edges(at(301), &[]), 0.0), "removed");
    }
}

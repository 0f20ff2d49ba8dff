//! Who probes which edge from outside, and when: each edge every [`OUTSIDE_EVERY`], by others in turns, those of
//! another region first; where there are fewer than two of them, by the node itself too. What one prober alone has
//! found is asked of another one soon.

use std::collections::BTreeMap;

use crate::id::{EdgeId, NodeId, Region};
use crate::limits::{OUTSIDE_AGAIN, OUTSIDE_EVERY, PROBE_LISTENERS_MAX, PROBE_OUTSIDE_WITHIN};
use crate::mesh::probe::Prober;
use crate::time::Mono;

/// An edge that reports to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub edge: EdgeId,
    /// Where it stands.
    pub region: Region,
}

/// A probe to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its number.
    pub number: u64,
    /// Of which edge.
    pub edge: EdgeId,
    /// By whom.
    pub prober: Prober,
}

/// The probes of one edge.
#[derive(Debug)]
struct Round {
    due: Mono,
    /// The last one's number, by whom, and until when its answer is waited for.
    asked: Option<(u64, Prober, Mono)>,
    /// Who was asked last, and when.
    last: Option<(Prober, Mono)>,
}

/// Who probes which edge, and when.
#[derive(Debug, Default)]
pub struct Rounds {
    rounds: BTreeMap<EdgeId, Round>,
    number: u64,
}

impl Rounds {
    /// The probes that are due, of the edges that report to this `node`.
    pub fn poll(&mut self, now: Mono, node: NodeId, edges: &[Candidate]) -> Vec<Order> {
        self.rounds.retain(|edge, _| edges.iter().any(|candidate| candidate.edge == *edge));
        let mut orders = Vec::new();
        for candidate in edges {
            let spread = spread(&candidate.edge, node);
            let first = || Round { due: now + OUTSIDE_AGAIN + spread / 8, asked: None, last: None };
            let round = self.rounds.entry(candidate.edge.clone()).or_insert_with(first);
            if round.asked.as_ref().is_some_and(|(_, _, until)| *until <= now) {
                // Of an older release, overloaded, or lost on the way: the next one is asked.
                (round.asked, round.due) = (None, now);
            }
            if round.due > now || round.asked.is_some() {
                continue;
            }
            let last = round.last.as_ref();
            let Some(prober) = next(node, candidate, edges, last.map(|(prober, _)| prober)) else { continue };
            let again = last.filter(|(last, _)| *last == prober).map(|(_, at)| *at + OUTSIDE_EVERY);
            if let Some(again) = again.filter(|again| *again > now) {
                round.due = again; // there is no other
                continue;
            }
            self.number += 1;
            round.asked = Some((self.number, prober.clone(), now + answer_within()));
            round.last = Some((prober.clone(), now));
            round.due = now + OUTSIDE_EVERY + spread / 8;
            orders.push(Order { number: self.number, edge: candidate.edge.clone(), prober });
        }
        orders
    }

    /// A prober has answered: whether it was asked.
    pub fn handle_probed(&mut self, number: u64, edge: &EdgeId, from: &Prober) -> bool {
        let Some(round) = self.rounds.get_mut(edge) else { return false };
        round.asked.take_if(|(asked, prober, _)| *asked == number && prober == from).is_some()
    }

    /// Another prober is to say soon whether it is as the last one says
    /// ([`Verdict::is_open`](super::outside::Verdict::is_open)).
    pub fn hasten(&mut self, now: Mono, edge: &EdgeId) {
        if let Some(round) = self.rounds.get_mut(edge) {
            round.due = round.due.min(now + OUTSIDE_AGAIN);
        }
    }
}

/// How long the answer of a prober is waited for: every listener in turn may be silent.
fn answer_within() -> std::time::Duration {
    PROBE_OUTSIDE_WITHIN * u32::try_from(PROBE_LISTENERS_MAX / 4).unwrap_or(8)
}

/// The prober after `last`: edges of other regions, then of the same, then this node where they are fewer than two.
fn next(node: NodeId, of: &Candidate, edges: &[Candidate], last: Option<&Prober>) -> Option<Prober> {
    let mut others: Vec<&Candidate> = edges.iter().filter(|other| other.edge != of.edge).collect();
    others.sort_by_key(|other| (other.region == of.region, spread(&other.edge, node)));
    // Two of another region suffice; without them the near ones are asked too.
    let far = others.iter().filter(|other| other.region != of.region).count();
    others.truncate(far.max(2));
    let edges = others.iter().map(|other| Prober::Edge(other.edge.clone()));
    let probers: Vec<Prober> = edges.chain((others.len() < 2).then_some(Prober::Node(node))).collect();
    let at = last.and_then(|last| probers.iter().position(|prober| prober == last));
    probers.get(at.map_or(0, |at| (at + 1) % probers.len())).cloned()
}

/// Zero to [`OUTSIDE_EVERY`], the same for an edge and a node, so that not all are probed at once (FNV-1a).
fn spread(edge: &EdgeId, node: NodeId) -> std::time::Duration {
    let bytes = edge.as_str().bytes().chain(node.0.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    OUTSIDE_EVERY * u32::from((hash >> 48) as u16) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn edges(all: &[(&str, &str)]) -> Vec<Candidate> {
        let one = |(edge, region): &(&str, &str)| Candidate {
            edge: EdgeId::new(edge).unwrap(),
            region: Region::new(region).unwrap(),
        };
        all.iter().map(one).collect()
    }

    /// Runs for so long, every probe answered; who probed `of`, and when.
    fn run(edges: &[Candidate], of: &str, seconds: u64, fine: bool) -> Vec<(u64, Prober)> {
        let mut rounds = Rounds::default();
        let mut seen = Vec::new();
        for second in 0..seconds {
            let now = Mono(Duration::from_secs(1000 + second));
            for order in rounds.poll(now, NodeId(1), edges) {
                let stranger = Prober::Node(NodeId(9));
                assert!(!rounds.handle_probed(order.number, &order.edge, &stranger));
                assert!(rounds.handle_probed(order.number, &order.edge, &order.prober));
                assert!(!rounds.handle_probed(order.number, &order.edge, &order.prober), "once");
                if !fine {
                    rounds.hasten(now, &order.edge);
                }
                if order.edge.as_str() == of {
                    seen.push((second, order.prober));
                }
            }
        }
        seen
    }

    #[test]
    fn others_in_turns_those_of_another_region_first() {
        let all = edges(&[("a", "eu"), ("b", "eu"), ("c", "us"), ("d", "ap")]);
        let seen = run(&all, "a", 300, true);
        assert!((7..=10).contains(&seen.len()), "{seen:?}");
        let names: Vec<String> = seen.iter().map(|(_, prober)| prober.to_string()).collect();
        assert!(names.iter().all(|name| name == "edge c" || name == "edge d"), "{names:?}");
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn with_one_other_edge_the_node_probes_too_and_alone_it_is_the_only_one() {
        let names = |all: &[Candidate]| -> std::collections::BTreeSet<String> {
            run(all, "a", 200, true).iter().map(|(_, prober)| prober.to_string()).collect()
        };
        let two = names(&edges(&[("a", "eu"), ("b", "eu")]));
        assert_eq!(two, ["edge b".to_owned(), "node 1".to_owned()].into());
        assert_eq!(names(&edges(&[("a", "eu")])), ["node 1".to_owned()].into());
    }

    #[test]
    fn a_fault_is_asked_of_another_one_soon() {
        let all = edges(&[("a", "eu"), ("b", "us"), ("c", "us")]);
        let seen = run(&all, "a", 30, false);
        let gaps: Vec<u64> = seen.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps[0] <= OUTSIDE_AGAIN.as_secs() && seen[0].1 != seen[1].1, "{seen:?}");
        // Where there is no other, the same one is not asked more often.
        let alone = run(&edges(&[("a", "eu")]), "a", 100, false);
        assert!(alone.windows(2).all(|pair| pair[1].0 - pair[0].0 >= OUTSIDE_EVERY.as_secs()), "{alone:?}");
    }

    #[test]
    fn one_that_does_not_answer_is_passed_over() {
        let all = edges(&[("a", "eu"), ("b", "us"), ("c", "us")]);
        let mut rounds = Rounds::default();
        let mut asked = Vec::new();
        for second in 0..200 {
            let now = Mono(Duration::from_secs(second));
            let orders = rounds.poll(now, NodeId(1), &all);
            asked.extend(orders.into_iter().filter(|order| order.edge.as_str() == "a").map(|it| it.prober));
        }
        assert!(asked.len() >= 3 && asked[0] != asked[1], "{asked:?}");
    }
}

//! Who probes which edge from outside, and when: each edge every [`OUTSIDE_EVERY`], by others in turns, those of
//! another region first; where there are fewer than two of them, by the node itself too. What one prober alone has
//! found is asked of another one soon.

use std::collections::BTreeMap;

use crate::id::{EdgeId, NodeId, Region};
use crate::limits::{OUTSIDE_AGAIN, OUTSIDE_EVERY, PROBE_ANSWER_WITHIN};
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
        // One that comes alone is probed within seconds; the more come at once, the further apart.
        let is_new = |edge: &&Candidate| self.rounds.get(&edge.edge).is_none_or(|round| round.last.is_none());
        let new = u32::try_from(edges.iter().filter(is_new).count()).unwrap_or(u32::MAX).clamp(1, APART);
        let mut orders = Vec::new();
        for candidate in edges {
            let spread = spread(&candidate.edge, node);
            let first = || Round { due: now + OUTSIDE_AGAIN + spread * new / APART, asked: None, last: None };
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
            round.asked = Some((self.number, prober.clone(), now + PROBE_ANSWER_WITHIN));
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

    /// A probe was not made: it waits for no answer. Another prober is asked soon after `again`, or in its time
    /// without it.
    pub fn handle_unasked(&mut self, number: u64, edge: &EdgeId, again: Option<Mono>) {
        let Some(round) = self.rounds.get_mut(edge) else { return };
        if round.asked.take_if(|(asked, ..)| *asked == number).is_some()
            && let Some(again) = again
        {
            round.due = round.due.min(again + OUTSIDE_AGAIN);
        }
    }

    /// Another prober is to say soon whether it is as the last one says
    /// ([`Verdict::is_open`](super::outside::Verdict::is_open)).
    pub fn hasten(&mut self, now: Mono, edge: &EdgeId) {
        if let Some(round) = self.rounds.get_mut(edge) {
            round.due = round.due.min(now + OUTSIDE_AGAIN);
        }
    }
}

/// So many edges that come at once are probed over the whole of [`OUTSIDE_EVERY`].
const APART: u32 = 8;

/// The prober after `last`, which is another one for each edge at first: edges of other regions, then of the same, then this node where they are fewer than two.
fn next(node: NodeId, of: &Candidate, edges: &[Candidate], last: Option<&Prober>) -> Option<Prober> {
    let mut others: Vec<&Candidate> = edges.iter().filter(|other| other.edge != of.edge).collect();
    others.sort_by_key(|other| (other.region == of.region, spread(&other.edge, node)));
    // Two of another region suffice; without them the near ones are asked too.
    let far = others.iter().filter(|other| other.region != of.region).count();
    others.truncate(far.max(2));
    let edges = others.iter().map(|other| Prober::Edge(other.edge.clone()));
    let probers: Vec<Prober> = edges.chain((others.len() < 2).then_some(Prober::Node(node))).collect();
    let after = last.and_then(|last| probers.iter().position(|prober| prober == last)).map(|at| at + 1);
    let first = || usize::from(hash(&of.edge, node));
    probers.get(after.unwrap_or_else(first) % probers.len()).cloned()
}

/// Zero to [`OUTSIDE_EVERY`], the same for an edge and a node, so that not all are probed at once.
fn spread(edge: &EdgeId, node: NodeId) -> std::time::Duration {
    OUTSIDE_EVERY * u32::from(hash(edge, node)) / u32::from(u16::MAX)
}

/// A number for an edge and a node (FNV-1a).
fn hash(edge: &EdgeId, node: NodeId) -> u16 {
    let bytes = edge.as_str().bytes().chain(node.0.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 48) as u16
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

    #[test]
    fn a_region_is_not_probed_by_the_same_one_all_at_once() {
        let names: Vec<String> = (0..40).map(|n| format!("edge-{n}")).collect();
        let far = ["x", "y", "z", "w"].map(|name| (name, "us"));
        let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "eu")).chain(far).collect();
        let (all, mut rounds) = (edges(&all), Rounds::default());
        let (mut firsts, mut busiest) = (BTreeMap::<Prober, u32>::new(), 0);
        for second in 0..=OUTSIDE_EVERY.as_secs() + 4 {
            let orders = rounds.poll(Mono(Duration::from_secs(second)), NodeId(1), &all);
            let eu = orders.iter().filter(|order| order.edge.as_str().starts_with("edge"));
            busiest = busiest.max(eu.clone().count());
            eu.for_each(|order| *firsts.entry(order.prober.clone()).or_default() += 1);
        }
        assert!(firsts.len() == 4 && firsts.values().all(|first| *first >= 4), "{firsts:?}");
        assert!(busiest <= 8, "{busiest} in one second");
        // One that comes later alone need not wait for its place among them.
        let mut more = all.clone();
        more.extend(edges(&[("late", "eu")]));
        let begin = OUTSIDE_EVERY.as_secs() + 5;
        let asked = (begin..begin + 8).any(|second| {
            let orders = rounds.poll(Mono(Duration::from_secs(second)), NodeId(1), &more);
            orders.iter().any(|order| order.edge.as_str() == "late")
        });
        assert!(asked);
    }

    #[test]
    fn one_that_could_not_be_asked_is_not_waited_for() {
        let all = edges(&[("a", "eu"), ("b", "us"), ("c", "us")]);
        let mut rounds = Rounds::default();
        let ask = |rounds: &mut Rounds, from: u64| {
            (from..from + 60).find_map(|second| {
                let orders = rounds.poll(Mono(Duration::from_secs(second)), NodeId(1), &all);
                orders.into_iter().find(|order| order.edge.as_str() == "a").map(|order| (second, order))
            })
        };
        let (at, first) = ask(&mut rounds, 0).unwrap();
        rounds.handle_unasked(first.number, &first.edge, Some(Mono(Duration::from_secs(at))));
        assert!(!rounds.handle_probed(first.number, &first.edge, &first.prober));
        let (then, second) = ask(&mut rounds, at).unwrap();
        assert!(then - at <= OUTSIDE_AGAIN.as_secs() && second.prober != first.prober);
        // Where there was nothing to ask it has time.
        rounds.handle_unasked(second.number, &second.edge, None);
        assert!(ask(&mut rounds, then).unwrap().0 - then >= OUTSIDE_EVERY.as_secs());
    }
}

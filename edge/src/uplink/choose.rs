//! Which nodes an edge holds its uplinks to: of its own region where it can, and two of different regions, which
//! rarely fail together.

use std::net::SocketAddr;
use std::time::Duration;

use chappe_proto::id::{NodeId, Region};
use chappe_proto::mesh::uplink::NodeAt;
use chappe_proto::time::Mono;

use super::Node;

/// The first rest of a node that was not reached; each failure doubles it.
const REST_FIRST: Duration = Duration::from_millis(200);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(5);

/// The nodes, as far as choosing goes.
#[derive(Debug)]
pub(super) struct Nodes {
    all: Vec<Known>,
    /// Where the edge stands.
    region: Region,
}

#[derive(Debug, Clone)]
struct Known {
    node: Node,
    /// The edge was given it at its start, by an address that the cluster may not know it by.
    is_given: bool,
    /// The cluster does not name that address: it is for when there is no uplink at all.
    is_fallback: bool,
    /// How often it failed in a row, when last, and until when it rests.
    failures: u32,
    failed_at: Option<Mono>,
    rests_until: Mono,
}

impl Known {
    fn new(node: Node) -> Self {
        let rests_until = Mono::default();
        Self { node, is_given: false, is_fallback: false, failures: 0, failed_at: None, rests_until }
    }

    fn is(&self, other: &Node) -> bool {
        self.node.address == other.address || (self.node.id.is_some() && self.node.id == other.id)
    }
}

/// What speaks against a node, the worst first.
type Against = (bool, bool);

impl Nodes {
    pub(super) fn new(all: Vec<Node>, region: Region) -> Self {
        let given = |node| Known { is_given: true, ..Known::new(node) };
        Self { all: all.into_iter().map(given).collect(), region }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let other = |(at, known): &(usize, &Known)| !self.all.iter().take(*at).any(|it| it.is(&known.node));
        self.all.iter().enumerate().filter(other).filter(|(_, known)| !known.is_fallback).count()
    }

    /// The nodes are these, by their own word; those that stay keep what is known of them.
    pub(super) fn learn(&mut self, nodes: &[NodeAt]) {
        let Some(name) = self.all.first().map(|known| known.node.name.clone()) else { return };
        if nodes.iter().all(|node| node.addresses.is_empty()) {
            return;
        }
        let at = |node: &NodeAt, address: SocketAddr| Node {
            id: Some(node.node),
            region: Some(node.region.clone()),
            address,
            name: name.clone(),
        };
        let fresh = nodes.iter().flat_map(|node| node.addresses.iter().map(|address| at(node, *address)));
        let known = |node: Node| match self.all.iter().find(|known| known.node.address == node.address) {
            Some(known) => Known { node, is_fallback: false, ..known.clone() },
            None => Known::new(node),
        };
        let mut all: Vec<_> = fresh.map(known).collect();
        let is_named = |known: &Known| all.iter().any(|it| it.node.address == known.node.address);
        let given = self.all.iter().filter(|known| known.is_given && !is_named(known));
        let given: Vec<_> = given.map(|known| Known { is_fallback: true, ..known.clone() }).collect();
        all.extend(given);
        self.all = all;
    }

    /// What answers at an address has said who it is.
    pub(super) fn met(&mut self, address: SocketAddr, id: NodeId) {
        if let Some(known) = self.all.iter_mut().find(|known| known.node.address == address) {
            known.node.id = Some(id);
            (known.failures, known.rests_until) = (0, Mono::default());
        }
    }

    /// It was not reached, or its link broke.
    pub(super) fn failed(&mut self, now: Mono, address: SocketAddr) {
        if let Some(known) = self.all.iter_mut().find(|known| known.node.address == address) {
            let rest = (REST_FIRST * 2u32.saturating_pow(known.failures)).min(REST_MAX);
            known.failures = (known.failures + 1).min(16);
            (known.failed_at, known.rests_until) = (Some(now), now + rest);
        }
    }

    /// The node to link to beside `others`, and from when on: at once, or when the first of them has rested.
    pub(super) fn next(&self, now: Mono, others: &[Node]) -> Option<(Node, Mono)> {
        let is_free = |known: &&Known| {
            !others.iter().any(|other| known.is(other)) && (others.is_empty() || !known.is_fallback)
        };
        let free = || self.all.iter().filter(is_free);
        let rested = free().filter(|known| known.rests_until <= now);
        let best =
            rested.min_by_key(|known| (known.is_fallback, self.against(&known.node, others), known.failures));
        let best = best.or_else(|| free().min_by_key(|known| known.rests_until));
        best.map(|known| (known.node.clone(), known.rests_until.max(now)))
    }

    /// Whether another node is better than `held` beside `others`, and was not known to fail for `calm`.
    pub(super) fn is_beaten(&self, now: Mono, held: &Node, others: &[Node], calm: Duration) -> bool {
        let held_against = self.against(self.known(held).unwrap_or(held), others);
        self.all
            .iter()
            .filter(|known| {
                !known.is_fallback && !known.is(held) && !others.iter().any(|other| known.is(other))
            })
            .filter(|known| known.failed_at.is_none_or(|at| now.since(at) >= calm))
            .any(|known| self.against(&known.node, others) < held_against)
    }

    /// As it is known now.
    fn known(&self, node: &Node) -> Option<&Node> {
        self.all.iter().find(|known| known.is(node)).map(|known| &known.node)
    }

    /// That it shares its region with another uplink's node; that it is not of the edge's own region.
    fn against(&self, node: &Node, others: &[Node]) -> Against {
        let region = |node: &Node| self.known(node).and_then(|node| node.region.clone());
        let own = node.region.as_ref() == Some(&self.region);
        let shares = node.region.is_some() && others.iter().any(|other| region(other) == node.region.clone());
        (shares, !own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono(Duration::from_secs(1000 + secs))
    }

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    fn address(n: u64) -> SocketAddr {
        format!("192.0.2.{n}:7900").parse().unwrap()
    }

    fn node_at(n: u64, place: &str) -> NodeAt {
        NodeAt { node: NodeId(n), region: region(place), addresses: vec![address(n)] }
    }

    /// As a new edge knows them, by their addresses alone.
    fn bare(n: u64) -> Node {
        Node { id: None, region: None, address: address(n), name: "node".into() }
    }

    fn nodes(all: &[NodeAt]) -> Nodes {
        let mut nodes = Nodes::new(vec![bare(1)], region("eu"));
        nodes.learn(all);
        nodes
    }

    fn next(nodes: &Nodes, now: Mono, others: &[Node]) -> Option<u64> {
        let (node, _) = nodes.next(now, others)?;
        node.id.map(|id| id.0)
    }

    fn held(nodes: &Nodes, n: u64) -> Node {
        nodes.known(&Node { id: Some(NodeId(n)), ..bare(n) }).unwrap().clone()
    }

    #[test]
    fn one_of_the_own_region_and_one_of_another() {
        let nodes = nodes(&[node_at(1, "us"), node_at(2, "eu"), node_at(3, "eu"), node_at(4, "ap")]);
        assert_eq!(nodes.len(), 4);
        assert_eq!(next(&nodes, at(0), &[]), Some(2));
        assert_eq!(next(&nodes, at(0), &[held(&nodes, 2)]), Some(1));
        assert_eq!(next(&nodes, at(0), &[held(&nodes, 1)]), Some(2));
    }

    #[test]
    fn two_of_one_region_are_better_than_one() {
        let mut nodes = nodes(&[node_at(1, "eu"), node_at(2, "eu")]);
        assert_eq!(next(&nodes, at(0), &[held(&nodes, 1)]), Some(2));
        nodes.learn(&[node_at(1, "eu")]);
        assert_eq!(next(&nodes, at(0), &[held(&nodes, 1)]), None, "never two to one node");
    }

    #[test]
    fn a_node_with_two_addresses_is_one_node() {
        let mut two = node_at(1, "eu");
        two.addresses.push("[2001:db8::1]:7900".parse().unwrap());
        let mut nodes = nodes(&[two]);
        assert_eq!(nodes.len(), 1);
        assert_eq!(next(&nodes, at(0), &[held(&nodes, 1)]), None);
        nodes.failed(at(0), address(1));
        let (other, from) = nodes.next(at(0), &[]).unwrap();
        assert!(other.address.is_ipv6() && from == at(0), "the other way is tried at once");
    }

    #[test]
    fn one_that_fails_rests_longer_each_time_and_others_come_first() {
        let mut nodes = nodes(&[node_at(1, "eu"), node_at(2, "us")]);
        nodes.failed(at(0), address(1));
        assert_eq!(next(&nodes, at(0), &[]), Some(2));
        nodes.failed(at(0), address(2));
        nodes.failed(at(0), address(2));
        let (node, from) = nodes.next(at(0), &[]).unwrap();
        assert_eq!((node.id, from), (Some(NodeId(1)), at(0) + REST_FIRST));
        for _ in 0..20 {
            nodes.failed(at(9), address(1));
        }
        let (_, from) = nodes.next(at(9), &[held(&nodes, 2)]).unwrap();
        assert_eq!(from, at(9) + REST_MAX);
        nodes.met(address(1), NodeId(1));
        assert_eq!(nodes.next(at(9), &[held(&nodes, 2)]).unwrap().1, at(9));
    }

    #[test]
    fn a_better_pair_is_taken_once_it_is_calm() {
        let calm = Duration::from_secs(60);
        let mut nodes = nodes(&[node_at(1, "eu"), node_at(2, "us"), node_at(3, "us")]);
        let (one, two, three) = (held(&nodes, 1), held(&nodes, 2), held(&nodes, 3));
        nodes.failed(at(0), address(1));
        assert!(!nodes.is_beaten(at(59), &two, std::slice::from_ref(&three), calm));
        assert!(nodes.is_beaten(at(60), &two, std::slice::from_ref(&three), calm));
        // With one of them moved the pair is as good as it gets.
        assert!(!nodes.is_beaten(at(60), &one, std::slice::from_ref(&three), calm));
        assert!(!nodes.is_beaten(at(60), &three, std::slice::from_ref(&one), calm));
    }

    #[test]
    fn nodes_are_learnt_and_forgotten_but_never_all() {
        let mut nodes = nodes(&[node_at(1, "eu"), node_at(2, "us")]);
        nodes.failed(at(0), address(2));
        nodes.learn(&[node_at(2, "ap"), node_at(3, "eu")]);
        assert_eq!(nodes.len(), 2);
        assert!(nodes.all[0].failed_at.is_some(), "it is as it was");
        nodes.learn(&[]);
        assert_eq!(nodes.len(), 2, "what an older release does not say");
        // What the edge was given is its last resort: the cluster may know its nodes by other addresses.
        for n in [2, 3] {
            nodes.failed(at(0), address(n));
        }
        let (last, from) = nodes.next(at(0), &[]).unwrap();
        assert_eq!((last.address, from), (address(1), at(0)));
        assert_eq!(next(&nodes, at(0), &[held(&nodes, 2)]), Some(3), "and no second uplink");
    }
}

//! Directives for edges: numbered in this life of the process, kept until every edge has carried them out, and
//! given anew over the next uplink. An edge may have left this node for another one when they are made, and have
//! its uplink cut before it has done them: so each is kept for every edge, and an edge that comes is given what it
//! has not done yet. It leaves out what it has done for another node.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chappe_proto::id::EdgeId;
use chappe_proto::limits::{DIRECTIVES_KEPT, DIRECTIVES_MAX};
use chappe_proto::mesh::uplink::Directive;
use chappe_proto::time::Mono;
use tokio::sync::mpsc;

/// A directive and its number.
pub type Numbered = (u64, Directive);

/// The directives of this process, and how far each edge is.
#[derive(Default)]
pub(crate) struct Orders {
    /// In the order of their numbers, which have no gaps.
    kept: VecDeque<Kept>,
    /// The last number given.
    last: u64,
    edges: HashMap<EdgeId, Reader>,
}

struct Kept {
    seq: u64,
    at: Mono,
    directive: Directive,
}

/// How far an edge is.
struct Reader {
    link: Option<(u64, mpsc::Sender<Numbered>)>,
    /// The last one handed to the present link.
    sent: u64,
    /// All up to here are done.
    done: u64,
    /// Since when it has no link here.
    lost_at: Mono,
}

impl Orders {
    /// A directive for every edge.
    pub(crate) fn add(&mut self, now: Mono, directive: Directive) {
        self.last += 1;
        if self.kept.len() == DIRECTIVES_MAX
            && let Some(oldest) = self.kept.pop_front()
            && let Some(edge) = self.late_for(&oldest)
        {
            tracing::warn!(%edge, "it does not keep up with directives: the oldest is dropped");
        }
        self.kept.push_back(Kept { seq: self.last, at: now, directive });
        self.send();
    }

    /// A directive for one edge now or never: it has no number, and is not kept. Whether its link has taken it:
    /// one that takes none now has others to do.
    pub(crate) fn once(&self, to: &EdgeId, directive: Directive) -> bool {
        let way = self.edges.get(to).and_then(|reader| reader.link.as_ref());
        way.is_some_and(|(_, way)| way.try_send((0, directive)).is_ok())
    }

    /// An edge that has a link and has not done this yet.
    fn late_for(&self, kept: &Kept) -> Option<&EdgeId> {
        let is_late = |reader: &Reader| reader.link.is_some() && reader.done < kept.seq;
        self.edges.iter().find(|(_, reader)| is_late(reader)).map(|(edge, _)| edge)
    }

    /// An edge's uplink stands. One that has only begun is given all as well: while it was on its way here it may
    /// have served a session by another node, and of those that it never had it makes nothing.
    pub(crate) fn up(&mut self, edge: EdgeId, link: u64, way: mpsc::Sender<Numbered>) {
        let fresh = Reader { link: None, sent: 0, done: 0, lost_at: Mono::default() };
        let reader = self.edges.entry(edge).or_insert(fresh);
        (reader.link, reader.sent) = (Some((link, way)), reader.done);
        self.send();
    }

    /// An edge has carried out all up to this one.
    pub(crate) fn done(&mut self, edge: &EdgeId, seq: u64) {
        if let Some(reader) = self.edges.get_mut(edge) {
            reader.done = reader.done.max(seq.min(self.last));
            reader.send(&self.kept);
        }
    }

    /// An uplink has ended.
    pub(crate) fn down(&mut self, now: Mono, edge: &EdgeId, link: u64) {
        if let Some(reader) = self.edges.get_mut(edge)
            && reader.link.take_if(|(held, _)| *held == link).is_some()
        {
            reader.lost_at = now;
        }
    }

    /// Forgets what nobody needs any more, and hands on what the links take now.
    pub(crate) fn tick(&mut self, now: Mono) {
        let gone = |at: Mono, after: Duration| now.since(at) >= after;
        while self.kept.front().is_some_and(|kept| gone(kept.at, DIRECTIVES_KEPT)) {
            self.kept.pop_front();
        }
        self.edges.retain(|_, reader| reader.link.is_some() || !gone(reader.lost_at, DIRECTIVES_KEPT));
        self.send();
    }

    /// Hands on what the links have not been given yet, as far as they take it.
    fn send(&mut self) {
        for reader in self.edges.values_mut() {
            reader.send(&self.kept);
        }
    }
}

impl Reader {
    /// Hands on what the link has not been given yet, as far as it takes it.
    fn send(&mut self, all: &VecDeque<Kept>) {
        let Some((_, way)) = &self.link else { return };
        let first = all.front().map_or(u64::MAX, |kept| kept.seq);
        let skip = usize::try_from((self.sent + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        for kept in all.iter().skip(skip) {
            if way.try_send((kept.seq, kept.directive.clone())).is_err() {
                return; // with the next tick, or over the next link
            }
            self.sent = kept.seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::SessionId;

    use super::*;

    const ROOM: usize = 8;

    fn edge(name: &str) -> EdgeId {
        EdgeId::new(name).unwrap()
    }

    fn end(n: u8) -> Directive {
        Directive::End { session: SessionId::from_random([n; 15]) }
    }

    fn at(secs: u64) -> Mono {
        Mono(Duration::from_secs(1_000_000 + secs))
    }

    fn given(way: &mut mpsc::Receiver<Numbered>) -> Vec<u64> {
        std::iter::from_fn(|| way.try_recv().ok()).map(|(seq, _)| seq).collect()
    }

    #[test]
    fn what_was_not_done_is_given_anew_and_what_was_done_is_not() {
        let mut orders = Orders::default();
        let (way, mut first) = mpsc::channel(ROOM);
        orders.up(edge("e"), 1, way);
        for n in 1..=3 {
            orders.add(at(0), end(n));
        }
        assert_eq!(given(&mut first), [1, 2, 3]);
        orders.done(&edge("e"), 2);
        orders.down(at(1), &edge("e"), 1);
        orders.add(at(2), end(4));
        let (way, mut second) = mpsc::channel(ROOM);
        orders.up(edge("e"), 2, way);
        assert_eq!(given(&mut second), [3, 4]);
        // The end of a link that was replaced is no end of the present one.
        orders.down(at(3), &edge("e"), 1);
        orders.add(at(3), end(5));
        assert_eq!(given(&mut second), [5]);
    }

    #[test]
    fn an_edge_that_comes_from_another_node_is_given_what_it_may_have_missed() {
        let mut orders = Orders::default();
        orders.add(at(0), end(1));
        orders.add(at(10), end(2));
        let (way, mut moved) = mpsc::channel(ROOM);
        orders.up(edge("moved"), 1, way);
        assert_eq!(given(&mut moved), [1, 2]);
        // Nor is one that has only begun spared: it may have met another node before this one.
        let (way, mut new) = mpsc::channel(ROOM);
        orders.up(edge("new"), 2, way);
        assert_eq!(given(&mut new), [1, 2]);
        // What they would end has ended an hour later.
        orders.tick(at(0) + DIRECTIVES_KEPT);
        let (way, mut late) = mpsc::channel(ROOM);
        orders.up(edge("late"), 3, way);
        assert_eq!(given(&mut late), [2]);
    }

    #[test]
    fn a_slow_link_is_given_the_rest_in_order_as_it_takes_it() {
        let mut orders = Orders::default();
        let (way, mut slow) = mpsc::channel(2);
        orders.up(edge("e"), 1, way);
        for n in 1..=5 {
            orders.add(at(0), end(n));
        }
        let mut all = Vec::new();
        while all.len() < 5 {
            let got = given(&mut slow);
            assert!(!got.is_empty());
            orders.done(&edge("e"), *got.last().unwrap());
            all.extend(got);
        }
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn numbers_go_on_where_an_edge_was_forgotten() {
        let mut orders = Orders::default();
        let (way, mut first) = mpsc::channel(ROOM);
        orders.up(edge("e"), 1, way);
        orders.add(at(0), end(1));
        orders.done(&edge("e"), 1);
        orders.down(at(1), &edge("e"), 1);
        orders.tick(at(2) + DIRECTIVES_KEPT);
        assert_eq!((given(&mut first), orders.edges.len(), orders.kept.len()), (vec![1], 0, 0));
        let (way, mut again) = mpsc::channel(ROOM);
        orders.up(edge("e"), 2, way);
        orders.add(at(3) + DIRECTIVES_KEPT, end(2));
        assert_eq!(given(&mut again), [2], "or the edge would take it for one that it has done");
    }

    #[test]
    fn one_for_now_goes_to_its_edge_alone_and_is_not_kept() {
        let mut orders = Orders::default();
        let (way, mut first) = mpsc::channel(ROOM);
        orders.up(edge("a"), 1, way);
        let (way, mut second) = mpsc::channel(ROOM);
        orders.up(edge("b"), 2, way);
        assert!(orders.once(&edge("b"), end(1)));
        assert!(!orders.once(&edge("gone"), end(1)));
        assert_eq!((given(&mut first), given(&mut second)), (vec![], vec![0]));
        let (way, mut again) = mpsc::channel(ROOM);
        orders.up(edge("b"), 3, way);
        assert!(given(&mut again).is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let mut orders = Orders::default();
        for _ in 0..=DIRECTIVES_MAX {
            orders.add(at(0), end(1));
        }
        assert_eq!((orders.kept.len(), orders.kept[0].seq), (DIRECTIVES_MAX, 2));
    }
}

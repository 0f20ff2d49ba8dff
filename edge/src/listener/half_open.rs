//! Connections that have not yet shown that they are a client's: counted, and given up oldest first, so that
//! whoever opens many of them displaces their own and not the next caller.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use chappe_proto::limits::{HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE};

/// One connection's place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// Those connections. `index` is the caller's name of one.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    max: usize,
    per_source: usize,
    next: u64,
    /// Oldest first.
    order: BTreeMap<Ticket, (Option<IpAddr>, usize)>,
    sources: BTreeSet<(IpAddr, Ticket)>,
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self::new(HALF_OPEN_MAX, HALF_OPEN_PER_SOURCE)
    }
}

impl HalfOpen {
    fn new(max: usize, per_source: usize) -> Self {
        Self { max, per_source, next: 0, order: BTreeMap::new(), sources: BTreeSet::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Counts a connection of `source`, which is `None` while only the proxy that carries it is known.
    /// Answers with its ticket, and with the connection that must go for it: the oldest of its source where
    /// that has too many, else the oldest of all where those are too many. It is no longer counted.
    pub(crate) fn enter(&mut self, source: Option<IpAddr>, index: usize) -> (Ticket, Option<usize>) {
        let of_source = source.and_then(|source| {
            let mut own = self.sources.range((source, Ticket(0))..=(source, Ticket(u64::MAX)));
            let oldest = own.next()?.1;
            (own.count() + 1 >= self.per_source).then_some(oldest)
        });
        let oldest = || self.order.first_key_value().map(|(ticket, _)| *ticket);
        let must_go = of_source.or_else(|| if self.order.len() >= self.max { oldest() } else { None });
        let displaced = must_go.and_then(|ticket| self.leave(ticket));
        let ticket = Ticket(self.next);
        self.next += 1;
        self.order.insert(ticket, (source, index));
        if let Some(source) = source {
            self.sources.insert((source, ticket));
        }
        (ticket, displaced)
    }

    /// Counts a connection no more: it is a client's, or has ended.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<usize> {
        let (source, index) = self.order.remove(&ticket)?;
        if let Some(source) = source {
            self.sources.remove(&(source, ticket));
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use chappe_proto::turn::source;

    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(source(text.parse().unwrap()))
    }

    #[test]
    fn a_source_with_too_many_displaces_its_own_oldest() {
        let mut half_open = HalfOpen::new(100, 2);
        let (_, none) = half_open.enter(ip("192.0.2.9"), 9);
        assert_eq!(none, None);
        assert_eq!(half_open.enter(ip("2001:db8::1"), 1).1, None);
        assert_eq!(half_open.enter(ip("2001:db8::2"), 2).1, None);
        assert_eq!(half_open.enter(ip("2001:db8::3"), 3).1, Some(1), "one /64 is one source");
        assert_eq!(half_open.enter(ip("2001:db8::4"), 4).1, Some(2));
        assert_eq!(half_open.len(), 3);
    }

    #[test]
    fn of_all_the_oldest_goes_and_who_has_shown_itself_stays() {
        let mut half_open = HalfOpen::new(2, 10);
        let (client, _) = half_open.enter(ip("192.0.2.1"), 1);
        half_open.enter(ip("192.0.2.2"), 2);
        assert_eq!(half_open.leave(client), Some(1));
        assert_eq!(half_open.leave(client), None);
        half_open.enter(None, 3);
        assert_eq!(half_open.enter(ip("192.0.2.4"), 4).1, Some(2));
        assert_eq!(half_open.enter(None, 5).1, Some(3));
        assert_eq!(half_open.len(), 2);
    }
}

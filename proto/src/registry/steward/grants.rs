//! Leases, granted: only after a read-index that was begun after the renewal had come in completes, so by
//! one that still led then; and never to a node whose removal is proposed and not applied.

use std::collections::BTreeMap;

use super::{Output, Steward, What};
use crate::id::{Generation, Index, NodeId};
use crate::time::Mono;

/// Renewals that wait for a read: each node's latest.
#[derive(Debug, Default)]
pub(super) struct Grants {
    waiting: BTreeMap<NodeId, (Generation, u64)>,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    number: u64,
    since: Mono,
    renewals: BTreeMap<NodeId, (Generation, u64)>,
}

impl Steward {
    pub(super) fn renew(
        &mut self,
        now: Mono,
        from: NodeId,
        generation: Generation,
        n: u64,
        out: &mut Vec<Output>,
    ) {
        let Some(held) = self.nodes.get_mut(&from).filter(|held| held.up && held.generation == generation)
        else {
            // Of a life that is over; or of one whose beginning is not applied here yet: it asks again.
            return;
        };
        held.heard = now;
        let latest = self.grants.waiting.entry(from).or_insert((generation, n));
        *latest = (*latest).max((generation, n));
        if self.grants.reading.is_none() {
            self.read(now, out);
        }
    }

    /// Begins a read for all that wait: those that come from now on wait for the next one.
    fn read(&mut self, now: Mono, out: &mut Vec<Output>) {
        if self.grants.waiting.is_empty() {
            return;
        }
        let number = self.number();
        let renewals = std::mem::take(&mut self.grants.waiting);
        self.grants.reading = Some(Reading { number, since: now, renewals });
        out.push(Output::Read { number });
    }

    /// A read of which nothing was heard is begun again.
    pub(super) fn ask(&mut self, now: Mono, out: &mut Vec<Output>) {
        if self.grants.reading.as_ref().is_some_and(|read| now.since(read.since) >= self.profile.lease / 2) {
            self.put_back();
        }
        if self.grants.reading.is_none() {
            self.read(now, out);
        }
    }

    fn put_back(&mut self) {
        for (node, renewal) in self.grants.reading.take().into_iter().flat_map(|read| read.renewals) {
            let latest = self.grants.waiting.entry(node).or_insert(renewal);
            *latest = (*latest).max(renewal);
        }
    }

    pub(super) fn grant(&mut self, now: Mono, number: u64, index: Option<Index>, out: &mut Vec<Output>) {
        if self.grants.reading.as_ref().is_none_or(|read| read.number != number) {
            return;
        }
        let Some(index) = index else {
            // Asked again at the next timeout.
            self.put_back();
            return;
        };
        let renewals = self.grants.reading.take().map(|read| read.renewals).unwrap_or_default();
        for (to, (generation, n)) in renewals {
            if self.is_leaving(to) {
                continue;
            }
            if let Some(held) = self.nodes.get_mut(&to)
                && held.up
                && held.generation == generation
            {
                held.granted = Some(now);
                out.push(Output::Grant { to, generation, n, index });
            }
        }
        self.read(now, out);
    }

    /// Whether a node's removal is proposed and not applied, or is to be. However long its proposal takes.
    pub(super) fn is_leaving(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|held| held.let_go)
            || self
                .proposed
                .values()
                .any(|(what, _)| matches!(what, What::Down(id, _) | What::Remove(id) if *id == node))
    }
}

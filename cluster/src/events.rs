//! What happened to the cluster lately, as this node saw it: for operators.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chappe_admin::control::Event;
use chappe_proto::id::{Epoch, NodeId, Shard};
use chappe_proto::limits::EVENTS_KEPT;
use chappe_proto::time::Mono;

use crate::clock;
use crate::mesh::Incident;

/// That a node speaks by a stale epoch is told this often.
const STALE_AGAIN: Duration = Duration::from_secs(60);

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    all: Mutex<VecDeque<Event>>,
    /// Who spoke by a stale epoch, and when that was told.
    stale: Mutex<BTreeMap<NodeId, Mono>>,
}

impl Events {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Event>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one.
    pub(crate) fn note(&self, node: Option<NodeId>, text: String) {
        let mut events = self.lock();
        if events.len() >= EVENTS_KEPT {
            events.pop_front();
        }
        events.push_back(Event { at: clock::unix(), node, text });
    }

    /// Something that the mesh refused, or was refused.
    pub(crate) fn incident(&self, incident: &Incident) {
        let who = if incident.ours { "refused" } else { "was refused by" };
        self.note(incident.node, format!("{who} {}: {}", incident.address, incident.refusal));
    }

    /// A member's snapshot of the registry that was refused: not whole, or of another cluster.
    pub(crate) fn snapshot(&self, from: NodeId, why: &str) {
        self.note(Some(from), format!("refused a snapshot of the registry from node {from}: {why}"));
    }

    /// A node speaks for a room by an epoch that is long over: told once a minute.
    pub(crate) fn stale(&self, from: NodeId, shard: Shard, said: Epoch, known: Epoch) {
        let now = clock::mono();
        {
            let mut told = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
            if told.get(&from).is_some_and(|at| now.since(*at) < STALE_AGAIN) {
                return;
            }
            told.retain(|_, at| now.since(*at) < STALE_AGAIN);
            told.insert(from, now);
        }
        let text = format!(
            "refused node {from} in shard {shard}: it speaks by epoch {said}, and {known} is current"
        );
        tracing::warn!("{text}");
        self.note(Some(from), text);
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::ClusterId;
    use chappe_proto::mesh::node::Loss;

    use super::*;
    use crate::mesh::Refusal;

    #[test]
    fn each_refusal_is_an_event_with_its_reason() {
        let events = Events::default();
        let address = "192.0.2.1:7900".parse().unwrap();
        let cluster = |n| ClusterId::from_random([n; 15]);
        let refusals = [
            (Refusal::Foreign("unknown issuer".into()), "certificate is not one of this cluster's authority"),
            (Refusal::OtherCluster { ours: cluster(1), theirs: cluster(2) }, "it is a node of cluster c_"),
            (Refusal::TooNew { build: "9.9.9".into(), oldest: 9 }, "it runs 9.9.9"),
            (Refusal::Forgetful(Loss { found: Some(3), pledged: Some(5) }), "3 of 5 batches of the registry"),
        ];
        for (refusal, _) in &refusals {
            let (node, refusal) = (Some(NodeId(2)), refusal.clone());
            events.incident(&Incident { address, node, refusal, ours: true });
        }
        events.snapshot(NodeId(3), "it is cut short");
        events.stale(NodeId(4), Shard(7), Epoch(3), Epoch(5));
        events.stale(NodeId(4), Shard(8), Epoch(3), Epoch(5));
        events.stale(NodeId(5), Shard(8), Epoch(3), Epoch(5));
        let told: Vec<_> = events.all().into_iter().map(|event| (event.node, event.text)).collect();
        for ((_, part), (node, text)) in refusals.iter().zip(&told) {
            assert_eq!(*node, Some(NodeId(2)));
            assert!(text.starts_with("refused 192.0.2.1:7900: ") && text.contains(part), "{text}");
        }
        let node = |n| Some(NodeId(n));
        assert_eq!(
            told[refusals.len()..],
            [
                (node(3), "refused a snapshot of the registry from node 3: it is cut short".to_owned()),
                (node(4), "refused node 4 in shard 7: it speaks by epoch 3, and 5 is current".to_owned()),
                (node(5), "refused node 5 in shard 8: it speaks by epoch 3, and 5 is current".to_owned()),
            ],
            "one node's stale epochs are told once a minute"
        );
    }
}

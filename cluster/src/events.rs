//! What happened to the cluster lately, as this node saw it: for operators.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use chappe_admin::control::Event;
use chappe_proto::id::NodeId;
use chappe_proto::limits::EVENTS_KEPT;

use crate::clock;
use crate::mesh::Incident;

/// The last events.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<VecDeque<Event>>);

impl Events {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.lock().iter().cloned().collect()
    }
}

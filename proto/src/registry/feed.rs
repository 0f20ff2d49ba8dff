//! What an edge follows of the registry: a view, then its changes, numbered by the Raft index.

use std::sync::Arc;

use super::{EdgeState, Node, State};
use crate::id::{EdgeId, NodeId};
use crate::mesh::uplink::{EdgeChange, EdgeView, NodeAt, RelayRange};

impl State {
    /// All that an edge follows, at this state's index. What has expired by the registry's own time
    /// is left out.
    #[must_use]
    pub fn edge_view(&self, edge: &EdgeId) -> EdgeView {
        let revoked = self.revocations.sessions.iter().filter(|(_, until)| **until > self.now);
        EdgeView {
            index: self.index,
            secrets: self.turn.all().clone(),
            revoked: revoked.map(|(session, until)| (*session, *until)).collect(),
            fleet: self.fleet(),
            peers: (*self.peers).clone(),
            draining: self.drains(edge),
            users: self.users.iter().collect(),
            origins: (*self.origins).clone(),
            authorities: self.authorities.certificates(),
            nodes: self.nodes_at(),
            ..EdgeView::default()
        }
    }

    /// What leads from `old`'s view to `new`'s, in order: secrets before what is issued by them.
    /// Revocations that only expired are no change: an edge forgets them by its own clock.
    #[must_use]
    pub fn edge_changes(old: &Self, new: &Self, edge: &EdgeId) -> Vec<EdgeChange> {
        let mut changes = Vec::new();
        if !Arc::ptr_eq(&old.turn, &new.turn) {
            let (before, after) = (old.turn.all(), new.turn.all());
            let added = after.iter().filter(|(number, _)| !before.contains_key(number));
            changes.extend(
                added.map(|(number, secret)| EdgeChange::SecretAdded {
                    number: *number,
                    secret: secret.clone(),
                }),
            );
            let removed = before.keys().filter(|number| !after.contains_key(number));
            changes.extend(removed.map(|number| EdgeChange::SecretRemoved { number: *number }));
        }
        let revoked = new.revocations.sessions.changed_since(&old.revocations.sessions);
        changes.extend(
            revoked
                .filter(|(_, until)| **until > new.now)
                .map(|(session, until)| EdgeChange::Revoked { session: *session, until: *until }),
        );
        if !Arc::ptr_eq(&old.edges, &new.edges) {
            let relays = new.fleet();
            if relays != old.fleet() {
                changes.push(EdgeChange::Fleet { relays });
            }
            if old.drains(edge) != new.drains(edge) {
                changes.push(EdgeChange::Draining { draining: new.drains(edge) });
            }
        }
        if old.peers != new.peers {
            changes.push(EdgeChange::Peers((*new.peers).clone()));
        }
        changes.extend(new.users.set_since(&old.users).map(EdgeChange::UserSet));
        let removed = new.users.removed_since(&old.users);
        changes.extend(
            removed.map(|(realm, name)| EdgeChange::UserRemoved { realm: realm.clone(), name: name.clone() }),
        );
        if !Arc::ptr_eq(&old.authorities, &new.authorities) {
            let authorities = new.authorities.certificates();
            if authorities != old.authorities.certificates() {
                changes.push(EdgeChange::Authorities { authorities });
            }
        }
        if !Arc::ptr_eq(&old.nodes, &new.nodes) {
            let nodes = new.nodes_at();
            if nodes != old.nodes_at() {
                changes.push(EdgeChange::Nodes { nodes });
            }
        }
        if old.origins != new.origins {
            changes.push(EdgeChange::Origins { origins: (*new.origins).clone() });
        }
        changes
    }

    /// The relay ranges of all edges that may hold allocations: a draining one still does.
    #[must_use]
    pub fn fleet(&self) -> Vec<RelayRange> {
        let serving = self.edges.values().filter(|edge| edge.state != EdgeState::Removed);
        serving.flat_map(|edge| edge.relays.iter().cloned()).collect()
    }

    /// Where edges find the nodes: those that are down too, since they mostly come back. One that joins has
    /// no address before it has begun.
    #[must_use]
    pub fn nodes_at(&self) -> Vec<NodeAt> {
        let at = |(node, held): (NodeId, &Node)| NodeAt {
            node,
            region: held.region.clone(),
            addresses: held.addresses.mesh.clone(),
        };
        self.nodes().map(at).filter(|at| !at.addresses.is_empty()).collect()
    }

    /// Whether an edge takes no new allocations. One that is not in the registry yet takes them.
    fn drains(&self, edge: &EdgeId) -> bool {
        self.edges.get(edge).is_some_and(|edge| edge.state != EdgeState::Admitted)
    }
}

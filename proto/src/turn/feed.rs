//! What an edge follows of the registry: secrets, revocations, fleet, peer policy, draining.

use super::api::EndReason;
use super::server::Server;
use crate::id::SessionId;
use crate::mesh::uplink::{EdgeChange, EdgeView};
use crate::time::{Now, Unix};

impl Server {
    pub(super) fn take_view(&mut self, now: Now, view: &EdgeView) {
        self.credentials.clear();
        for (number, secret) in &view.secrets {
            self.credentials.add_secret(*number, secret);
        }
        self.gate.set_policy(view.peers.clone());
        self.gate.set_fleet(&view.fleet);
        self.recheck();
        self.draining = view.draining;
        for (session, until) in &view.revoked {
            self.revoke(now, *session, *until);
        }
    }

    pub(super) fn take_change(&mut self, now: Now, change: &EdgeChange) {
        match change {
            EdgeChange::SecretAdded { number, secret } => self.credentials.add_secret(*number, secret),
            EdgeChange::SecretRemoved { number } => self.credentials.remove_secret(*number),
            EdgeChange::Revoked { session, until } => self.revoke(now, *session, *until),
            EdgeChange::Fleet { relays } => {
                self.gate.set_fleet(relays);
                self.recheck();
            }
            EdgeChange::Peers(policy) => {
                self.gate.set_policy(policy.clone());
                self.recheck();
            }
            EdgeChange::Draining { draining } => self.draining = *draining,
            EdgeChange::UserSet(_)
            | EdgeChange::UserRemoved { .. }
            | EdgeChange::Origins { .. }
            | EdgeChange::Alternates { .. }
            | EdgeChange::Unknown => {}
        }
    }

    fn revoke(&mut self, now: Now, session: SessionId, until: Unix) {
        self.credentials.revoke(now.unix, session, until);
        self.end_session(now, session, EndReason::Revoked);
    }

    /// Drops what was permitted under another policy.
    fn recheck(&mut self) {
        for allocation in self.table.iter_mut() {
            allocation.recheck(&self.gate);
        }
    }
}

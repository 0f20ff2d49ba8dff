//! What an edge follows of the registry: secrets, revocations, users, realms of origins, fleet, peer
//! policy, draining, alternates.

use super::api::EndReason;
use super::credential::User;
use super::server::Server;
use crate::id::SessionId;
use crate::mesh::uplink::{Alternate, EdgeChange, EdgeView};
use crate::time::{Now, Unix};

impl Server {
    pub(super) fn take_view(&mut self, now: Now, view: &EdgeView) {
        self.credentials.clear();
        for (number, secret) in &view.secrets {
            self.credentials.add_secret(*number, secret);
        }
        self.gate.set_policy(view.peers.clone());
        self.gate.set_fleet(&view.fleet);
        self.gate.set_nodes(&view.nodes);
        self.recheck();
        self.draining = view.draining;
        self.set_alternates(&view.alternates);
        self.realms.clear_users();
        for user in &view.users {
            self.realms.set_user(user);
        }
        self.realms.set_origins(&view.origins);
        self.end_unknown(now);
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
            EdgeChange::UserSet(user) => self.realms.set_user(user),
            EdgeChange::UserRemoved { realm, name } => {
                self.realms.remove_user(realm, name);
                self.end_user(now, &User::long_term(realm, name), EndReason::Revoked);
            }
            EdgeChange::Origins { origins } => self.realms.set_origins(origins),
            EdgeChange::Alternates { alternates } => self.set_alternates(alternates),
            EdgeChange::Nodes { nodes } => {
                self.gate.set_nodes(nodes);
                self.recheck();
            }
            // Whom the edge trusts is its uplink's matter.
            EdgeChange::Authorities { .. } | EdgeChange::Unknown => {}
        }
    }

    fn set_alternates(&mut self, alternates: &[Alternate]) {
        self.alternates = alternates.iter().map(|alternate| alternate.address).collect();
    }

    /// Ends the allocations of long-term users that are none any more.
    fn end_unknown(&mut self, now: Now) {
        let gone = |user: &User| match user {
            User::LongTerm { realm, name } => !self.realms.has(realm, name),
            User::Session(_) | User::Name(_) | User::Probe => false,
        };
        let ids: Vec<_> = self.table.iter().filter(|(_, it)| gone(&it.user)).map(|(id, _)| id).collect();
        for id in ids {
            self.end_allocation(now, id, EndReason::Revoked);
        }
    }

    fn revoke(&mut self, now: Now, session: SessionId, until: Unix) {
        self.credentials.revoke(now.unix, session, until);
        self.end_user(now, &User::Session(session), EndReason::Revoked);
    }

    /// Drops what was permitted under another policy.
    fn recheck(&mut self) {
        for allocation in self.table.iter_mut() {
            allocation.recheck(&self.gate);
        }
    }
}

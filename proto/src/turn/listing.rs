//! Allocations as operators see them: listed and closed piece by piece, so that the loop that asks relays on in
//! between.

use std::time::Duration;

use super::allocation::Allocation;
use super::api::EndReason;
use super::credential::User;
use super::server::Server;
use super::table::AllocationId;
use crate::id::SessionId;
use crate::limits::{ALLOCATIONS_PAGE, ALLOCATIONS_TURN};
use crate::mesh::allocations::{AllocationFilter, AllocationReport};
use crate::time::{Mono, Now};

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl AllocationFilter {
    fn takes(&self, allocation: &Allocation) -> bool {
        let is_of = |user: &User| match user {
            User::Session(session) => {
                self.name.is_none()
                    && self.realm.is_none()
                    && self.sessions.as_ref().is_none_or(|all| all.contains(session))
            }
            User::Probe => false,
            User::Name(name) => self.realm.is_none() && self.is_named(name),
            User::LongTerm { realm, name } => {
                self.is_named(name) && self.realm.as_ref().is_none_or(|asked| **asked == **realm)
            }
        };
        allocation.is_active()
            && self.client.is_none_or(|ip| ip == allocation.client.client.ip())
            && is_of(&allocation.user)
    }

    /// The one session whose are meant: who looks for those of one need not look at all.
    fn only_session(&self) -> Option<SessionId> {
        let sessions = self.sessions.as_ref().filter(|sessions| sessions.len() == 1)?;
        sessions.first().copied()
    }

    fn is_named(&self, name: &str) -> bool {
        self.sessions.is_none() && self.name.as_ref().is_none_or(|asked| asked == name)
    }
}

impl Server {
    /// The next allocations whose Allocate has been answered, from a place on, and where to go on: nothing after
    /// the last ones. At most `limit`, [`ALLOCATIONS_PAGE`] and what is found in [`ALLOCATIONS_TURN`] places,
    /// so there may be none of them and more to come. One that is there all the while is listed once, however
    /// many come and go. Probes are nobody's.
    #[must_use]
    pub fn page(
        &self,
        now: Now,
        filter: &AllocationFilter,
        from: u32,
        limit: usize,
    ) -> (Vec<AllocationReport>, Option<u32>) {
        let (mut page, limit) = (Vec::new(), limit.clamp(1, ALLOCATIONS_PAGE));
        if let Some(session) = filter.only_session().filter(|_| from == 0) {
            let ids = self.table.of_user(&User::Session(session));
            if ids.len() <= limit {
                let held = ids.iter().filter_map(|id| Some((*id, self.table.get(*id)?)));
                let meant = held.filter(|(_, held)| filter.takes(held));
                page.extend(meant.map(|(id, held)| self.report(now.mono, id, held)));
                return (page, None);
            }
        }
        let end = from.saturating_add(ALLOCATIONS_TURN);
        for place in from..end {
            let Some(id) = self.table.id_at(place) else { return (page, None) };
            let Some(allocation) = self.table.get(id).filter(|held| filter.takes(held)) else { continue };
            page.push(self.report(now.mono, id, allocation));
            if page.len() >= limit {
                return (page, Some(place + 1));
            }
        }
        (page, Some(end))
    }

    /// Ends the next of these allocations, [`ALLOCATIONS_PAGE`] at most, as [`Self::page`] finds them: how many, and
    /// where to go on. A filter that
    /// names no user ends none.
    pub fn close_some(&mut self, now: Now, filter: &AllocationFilter, from: u32) -> (u32, Option<u32>) {
        let mut closed = 0;
        if !filter.names_a_user() {
            return (closed, None);
        }
        let end = from.saturating_add(ALLOCATIONS_TURN);
        for place in from..end {
            let Some(id) = self.table.id_at(place) else { return (closed, None) };
            if self.table.get(id).is_some_and(|held| filter.takes(held)) {
                self.end_allocation(now, id, EndReason::Closed);
                closed += 1;
                if closed as usize >= ALLOCATIONS_PAGE {
                    return (closed, Some(place + 1));
                }
            }
        }
        (closed, Some(end))
    }

    /// Ends the allocation of this number; whether there was one.
    pub fn close(&mut self, now: Now, number: u64) -> bool {
        let found = self.table.numbered(number).filter(|id| {
            let held = self.table.get(*id);
            held.is_some_and(|held| held.is_active() && held.user != User::Probe)
        });
        if let Some(id) = found {
            self.end_allocation(now, id, EndReason::Closed);
        }
        found.is_some()
    }

    fn report(&self, now: Mono, id: AllocationId, allocation: &Allocation) -> AllocationReport {
        let (name, realm) = match &allocation.user {
            User::Session(_) | User::Probe => (None, None),
            User::Name(name) => (Some(name.to_string()), None),
            User::LongTerm { realm, name } => (Some(name.to_string()), Some(realm.to_string())),
        };
        let relayed = allocation.relays.iter().filter_map(|relay| Some(self.relays.addresses(relay)?.0));
        let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
        AllocationReport {
            number: self.table.number(id),
            transport: allocation.client.transport,
            client: allocation.client.client,
            server: allocation.client.server,
            relayed: relayed.collect(),
            session: allocation.user.session(),
            name,
            realm,
            age_ms: millis(now.since(allocation.began)),
            left_ms: millis(allocation.expires.since(now)),
            permissions: count(allocation.permissions.count(now)),
            channels: count(allocation.channels.count(now)),
            sent: allocation.sent,
            received: allocation.received,
        }
    }
}

#[cfg(test)]
#[path = "listing/tests.rs"]
mod tests;

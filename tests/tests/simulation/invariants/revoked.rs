//! The revoked never return: once a kick or a ban has been answered, no owner lets that session or that
//! identity in, and in the end nobody whom the registry names is in any room.

use std::collections::{BTreeMap, BTreeSet};

use chappe_proto::id::{Identity, RoomKey, SessionId};
use chappe_proto::registry::State;
use chappe_proto::signal::room::{Revocation, Room};
use chappe_proto::signal::route::Entry;
use chappe_proto::time::Now;

#[derive(Default)]
pub(crate) struct Revoked {
    sessions: BTreeSet<SessionId>,
    identities: BTreeMap<(RoomKey, Identity), ()>,
}

impl Revoked {
    /// Those who asked are told that it is done.
    pub(crate) fn answered(&mut self, room: &RoomKey, revocation: &Revocation) {
        self.sessions.insert(revocation.session);
        if let Some(identity) = revocation.identity.clone().filter(|_| revocation.bars_identity) {
            self.identities.insert((room.clone(), identity), ());
        }
    }

    /// An owner lets somebody in, or takes it over.
    pub(crate) fn joined(&self, room: &RoomKey, entry: &Entry) -> Result<(), String> {
        let member = &entry.member;
        let identity = member.profile.identity.clone().map(|identity| (room.clone(), identity));
        if self.sessions.contains(&member.seat.session)
            || identity.is_some_and(|key| self.identities.contains_key(&key))
        {
            return Err(format!("{room}: {member:?} is let in, and was kicked before"));
        }
        Ok(())
    }

    /// How many were kicked.
    pub(crate) fn count(&self) -> usize {
        self.sessions.len()
    }
}

/// In the end nobody is in a room whom the registry says not to be.
pub(crate) fn nobody(state: &State, key: &RoomKey, room: &Room, now: Now) -> Result<(), String> {
    for entry in room.entries() {
        let (seat, identity) = (&entry.member.seat, entry.member.profile.identity.as_ref());
        let barred = identity.is_some_and(|identity| state.banned(key, identity, now.unix).is_some());
        if barred || state.revoked(&seat.session, now.unix).is_some() {
            return Err(format!("{key}: {} is in, and the registry says that it was kicked", seat.peer));
        }
    }
    Ok(())
}

//! Kicks and bans: sessions whose credentials are dead, identities that stay out of a room.

use serde::{Deserialize, Serialize};

use super::cow::Map;
use super::{Outcome, Refusal, State, Thing};
use crate::id::{Identity, RoomKey, SessionId};
use crate::limits::{BANNED_MAX, REVOKE_AT_ONCE, REVOKED_MAX, SWEEP_EVERY};
use crate::time::Unix;

/// Who stays out of which room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Banned(pub RoomKey, pub Identity);

/// The two tables.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Revocations {
    pub(super) sessions: Map<SessionId, Unix>,
    /// As a list, since MessagePack readers want short keys.
    #[serde(with = "as_list")]
    pub(super) banned: Map<Banned, Unix>,
}

mod as_list {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Banned, Map, Unix};

    pub(super) fn serialize<S: Serializer>(map: &Map<Banned, Unix>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map.iter().collect::<Vec<_>>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Map<Banned, Unix>, D::Error> {
        let mut map = Map::default();
        for (banned, until) in Vec::<(Banned, Unix)>::deserialize(from)? {
            map.insert(banned, until);
        }
        Ok(map)
    }
}

/// Room for `more` in `map`: what has expired is swept when it is full.
fn make_room<K: Ord + Clone>(
    map: &mut Map<K, Unix>,
    more: usize,
    max: usize,
    now: Unix,
    thing: Thing,
) -> Result<(), Refusal> {
    if map.len() + more > max {
        map.retain(|_, until| *until > now);
    }
    if map.len() + more > max { Err(Refusal::Full { thing, max: max as u64 }) } else { Ok(()) }
}

impl State {
    /// Until when a session's credentials are dead, if they are at `now`.
    #[must_use]
    pub fn revoked(&self, session: &SessionId, now: Unix) -> Option<Unix> {
        self.revocations.sessions.get(session).copied().filter(|until| *until > now)
    }

    /// Until when an identity stays out of a room, if it does at `now`.
    #[must_use]
    pub fn banned(&self, room: &RoomKey, identity: &Identity, now: Unix) -> Option<Unix> {
        let key = Banned(room.clone(), identity.clone());
        self.revocations.banned.get(&key).copied().filter(|until| *until > now)
    }

    /// All who stay out of a room at `now`.
    pub fn bans(&self, now: Unix) -> impl Iterator<Item = (&RoomKey, &Identity, Unix)> {
        let all = self.revocations.banned.iter().filter(move |(_, until)| **until > now);
        all.map(|(Banned(room, identity), until)| (room, identity, *until))
    }

    pub(super) fn revoke(
        &mut self,
        sessions: &[SessionId],
        banned: Option<(RoomKey, Identity)>,
        until: Unix,
        banned_until: Option<Unix>,
    ) -> Result<Outcome, Refusal> {
        if sessions.len() > REVOKE_AT_ONCE {
            return Err(Refusal::Full { thing: Thing::Revocation, max: REVOKE_AT_ONCE as u64 });
        }
        let now = self.now;
        let banned_until = banned_until.unwrap_or(until);
        if until.max(banned_until) <= now {
            return Ok(Outcome::Done);
        }
        let tables = &mut self.revocations;
        // Both are asked first: all or nothing.
        make_room(&mut tables.sessions, sessions.len(), REVOKED_MAX, now, Thing::Revocation)?;
        if let Some((room, identity)) = banned {
            make_room(&mut tables.banned, 1, BANNED_MAX, now, Thing::Ban)?;
            let key = Banned(room, identity);
            let banned_until = tables.banned.get(&key).map_or(banned_until, |held| banned_until.max(*held));
            tables.banned.insert(key, banned_until);
        }
        for session in sessions {
            let until = tables.sessions.get(session).map_or(until, |held| until.max(*held));
            tables.sessions.insert(*session, until);
        }
        Ok(Outcome::Done)
    }

    /// The credentials of these sessions are dead, each until its time: all or none.
    pub(super) fn revoke_each(&mut self, sessions: &[(SessionId, Unix)]) -> Result<(), Refusal> {
        let table = &mut self.revocations.sessions;
        make_room(table, sessions.len(), REVOKED_MAX, self.now, Thing::Revocation)?;
        for (session, until) in sessions {
            let until = table.get(session).map_or(*until, |held| *held.max(until));
            table.insert(*session, until);
        }
        Ok(())
    }

    pub(super) fn pardon(&mut self, room: RoomKey, identity: Identity) -> Result<Outcome, Refusal> {
        self.revocations.banned.remove(&Banned(room, identity)).ok_or(Refusal::Unknown(Thing::Ban))?;
        Ok(Outcome::Done)
    }

    /// Once in [`SWEEP_EVERY`] entries, what has expired goes.
    pub(super) fn sweep(&mut self) {
        if self.index.0.is_multiple_of(SWEEP_EVERY) {
            let now = self.now;
            self.revocations.sessions.retain(|_, until| *until > now);
            self.revocations.banned.retain(|_, until| *until > now);
            self.sweep_issued();
        }
    }
}

//! Policies of rooms: what an operator or an app's server decided of one beforehand. A room without needs no entry.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cow::Map;
use super::outcome::unchanged;
use super::{Outcome, Refusal, State, Thing};
use crate::id::{AppId, Index, Region, RoomKey};
use crate::limits::{
    AUDIT_TEXT_MAX, METADATA_MAX, ROOM_CAPACITY_MAX, ROOM_EXPIRED_KEPT, ROOM_EXPIRES_MAX,
    ROOM_POLICIES_BYTES, ROOM_POLICIES_BYTES_PER_APP, ROOM_POLICIES_MAX, ROOM_POLICIES_PER_APP,
    ROOM_POLICY_BYTES, SWEEP_EVERY,
};
use crate::signal::json::Json;
use crate::signal::member::Rules;
use crate::time::Unix;

/// What is decided of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPolicy {
    /// Peers that it holds: in the place of the app's number, and no token's is higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Whether nobody new comes in.
    #[serde(default)]
    pub locked: bool,
    /// Where it is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// When it is closed; nobody gets in after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Unix>,
    /// Whatever its app's server put there, [`METADATA_MAX`] at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// Whether newcomers wait until somebody lets them in.
    #[serde(default)]
    pub lobby: bool,
}

impl RoomPolicy {
    /// What of it the room itself obeys.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        Rules { capacity: self.capacity, locked: self.locked, expires: self.expires, lobby: self.lobby }
    }

    fn check(&self, now: Unix) -> Result<(), Refusal> {
        let fits = |capacity: u32| (1..=ROOM_CAPACITY_MAX as u64).contains(&u64::from(capacity));
        if !self.capacity.is_none_or(fits) {
            return Err(Refusal::Invalid(Thing::Capacity));
        }
        if self.expires.is_some_and(|expires| expires <= now || expires > now + ROOM_EXPIRES_MAX) {
            return Err(Refusal::Invalid(Thing::Expiry));
        }
        if self.metadata.as_ref().is_some_and(|data| data.as_str().len() > METADATA_MAX) {
            return Err(Refusal::Invalid(Thing::Metadata));
        }
        Ok(())
    }

    fn is_over(&self, now: Unix) -> bool {
        self.expires.is_some_and(|expires| expires + ROOM_EXPIRED_KEPT <= now)
    }
}

/// In a line, for the audit log, which is part of the state: it changes with the cluster's version alone.
impl fmt::Display for RoomPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.locked { "locked" } else { "open" })?;
        if self.lobby {
            f.write_str(", with a lobby")?;
        }
        if let Some(capacity) = self.capacity {
            write!(f, ", for {capacity}")?;
        }
        if let Some(region) = &self.region {
            write!(f, ", in {region}")?;
        }
        if let Some(expires) = self.expires {
            write!(f, ", until {}", expires.secs())?;
        }
        match &self.metadata {
            Some(data) => write!(f, ", {} bytes of metadata", data.as_str().len()),
            None => Ok(()),
        }
    }
}

/// A room with a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeRoom {
    /// What is decided of it.
    pub policy: RoomPolicy,
    /// When that was first.
    pub created: Unix,
    /// By whom.
    #[serde(default)]
    pub by: String,
    /// The entry that changed it last.
    #[serde(default)]
    pub changed: Index,
}

/// The rooms, sorted by app and name. Written as a list, since MessagePack readers want short keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(RoomKey, MadeRoom)>", into = "Vec<(RoomKey, MadeRoom)>")]
pub(super) struct Rooms {
    held: Map<RoomKey, MadeRoom>,
    all: Taken,
    of_app: BTreeMap<AppId, Taken>,
}

/// How many there are, and what bytes they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    rooms: usize,
    bytes: usize,
}

impl Taken {
    const fn plus(self, rooms: usize, bytes: usize) -> Self {
        Self { rooms: self.rooms + rooms, bytes: self.bytes + bytes }
    }

    const fn minus(self, rooms: usize, bytes: usize) -> Self {
        Self { rooms: self.rooms - rooms, bytes: self.bytes - bytes }
    }
}

impl From<Vec<(RoomKey, MadeRoom)>> for Rooms {
    fn from(rooms: Vec<(RoomKey, MadeRoom)>) -> Self {
        let mut all = Self::default();
        for (key, room) in rooms {
            all.insert(key, room);
        }
        all
    }
}

impl From<Rooms> for Vec<(RoomKey, MadeRoom)> {
    fn from(rooms: Rooms) -> Self {
        rooms.held.iter().map(|(key, room)| (key.clone(), room.clone())).collect()
    }
}

fn bytes_of(key: &RoomKey, room: &MadeRoom) -> usize {
    let metadata = room.policy.metadata.as_ref().map_or(0, |data| data.as_str().len());
    ROOM_POLICY_BYTES + key.app.as_str().len() + key.room.as_str().len() + room.by.len() + metadata
}

impl Rooms {
    fn insert(&mut self, key: RoomKey, room: MadeRoom) {
        self.remove(&key);
        let bytes = bytes_of(&key, &room);
        self.all = self.all.plus(1, bytes);
        let own = self.of_app.entry(key.app.clone()).or_default();
        *own = own.plus(1, bytes);
        self.held.insert(key, room);
    }

    fn remove(&mut self, key: &RoomKey) -> Option<()> {
        let before = self.held.remove(key)?;
        let bytes = bytes_of(key, &before);
        self.all = self.all.minus(1, bytes);
        if let Some(own) = self.of_app.get_mut(&key.app) {
            *own = own.minus(1, bytes);
            if own.rooms == 0 {
                self.of_app.remove(&key.app);
            }
        }
        Some(())
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&RoomKey, &MadeRoom) -> bool) {
        let gone = self.held.iter().filter(|(key, room)| !keep(key, room)).map(|(key, _)| key.clone());
        for key in gone.collect::<Vec<_>>() {
            self.remove(&key);
        }
    }

    /// What keeps `room` out: the first limit that it is beyond, in the place of what is there.
    fn full(&self, key: &RoomKey, room: &MadeRoom) -> Result<(), Refusal> {
        let before = self.held.get(key);
        let freed = before.map_or(0, |before| bytes_of(key, before));
        let (new, bytes) = (usize::from(before.is_none()), bytes_of(key, room));
        let own = self.of_app.get(&key.app).copied().unwrap_or_default();
        let limits = [
            (own, ROOM_POLICIES_PER_APP, ROOM_POLICIES_BYTES_PER_APP),
            (self.all, ROOM_POLICIES_MAX, ROOM_POLICIES_BYTES),
        ];
        for (taken, rooms, most) in limits {
            if new > 0 && taken.rooms >= rooms {
                return Err(Refusal::Full { thing: Thing::Room, max: rooms as u64 });
            }
            // What grows no larger may change, whatever an earlier release let in.
            if bytes > freed && taken.bytes - freed + bytes > most {
                return Err(Refusal::Full { thing: Thing::RoomBytes, max: most as u64 });
            }
        }
        Ok(())
    }
}

impl State {
    /// What is decided of a room, and since when.
    #[must_use]
    pub fn made_room(&self, room: &RoomKey) -> Option<&MadeRoom> {
        self.rooms.held.get(room)
    }

    /// The rooms that something is decided of, by app and name.
    pub fn made_rooms(&self) -> impl Iterator<Item = (&RoomKey, &MadeRoom)> {
        self.rooms.held.iter()
    }

    /// What a room obeys.
    #[must_use]
    pub fn rules(&self, room: &RoomKey) -> Rules {
        self.made_room(room).map(|made| made.policy.rules()).unwrap_or_default()
    }

    /// The rooms of which something else is decided than in `old`.
    pub fn rooms_decided_since<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a RoomKey> {
        let set = self.rooms.held.changed_since(&old.rooms.held).map(|(key, _)| key);
        let before = old.rooms.held.changed_since(&self.rooms.held).map(|(key, _)| key);
        set.chain(before.filter(|key| self.rooms.held.get(key).is_none()))
    }

    pub(super) fn room_set(
        &mut self,
        key: RoomKey,
        policy: RoomPolicy,
        by: String,
        since: Option<Index>,
    ) -> Result<Outcome, Refusal> {
        if !self.apps.contains_key(&key.app) {
            return Err(Refusal::Unknown(Thing::App));
        }
        let before = self.rooms.held.get(&key);
        unchanged(Thing::Room, since, before.map(|before| before.changed).unwrap_or_default())?;
        // One that has expired is told so until it is forgotten; its other parts may change.
        if before.is_none_or(|before| before.policy.expires != policy.expires) {
            policy.check(self.now)?;
        } else {
            RoomPolicy { expires: None, ..policy.clone() }.check(self.now)?;
        }
        // A path loses such a name (RFC 3986, section 5.2.4): nobody could ask for it again.
        let lost = before.is_none() && key.room.is_lost_in_paths();
        if lost || by.len() > AUDIT_TEXT_MAX {
            return Err(Refusal::Invalid(Thing::Name));
        }
        let room = match before {
            Some(before) => MadeRoom { policy, changed: self.index, ..before.clone() },
            None => MadeRoom { policy, created: self.now, by, changed: self.index },
        };
        if self.rooms.full(&key, &room).is_err() {
            self.forget_rooms();
            self.rooms.full(&key, &room)?;
        }
        self.rooms.insert(key, room);
        Ok(Outcome::Done)
    }

    pub(super) fn room_remove(&mut self, key: &RoomKey) -> Result<Outcome, Refusal> {
        self.rooms.remove(key).ok_or(Refusal::Unknown(Thing::Room))?;
        Ok(Outcome::Done)
    }

    pub(super) fn rooms_of_app_remove(&mut self, app: &AppId) {
        self.rooms.retain(|key, _| key.app != *app);
    }

    /// Once in [`SWEEP_EVERY`] entries, rooms go that expired [`ROOM_EXPIRED_KEPT`] ago.
    pub(super) fn sweep_rooms(&mut self) {
        if self.index.0.is_multiple_of(SWEEP_EVERY) {
            self.forget_rooms();
        }
    }

    fn forget_rooms(&mut self) {
        let now = self.now;
        self.rooms.retain(|_, room| !room.policy.is_over(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RoomName;
    use crate::registry::{AppPolicy, Command, Entry};

    fn key(room: &str) -> RoomKey {
        RoomKey { app: AppId::new("app").unwrap(), room: RoomName::new(room).unwrap() }
    }

    fn apply_at(state: &mut State, at: u64, command: Command) -> Outcome {
        let at = Unix::from_secs(at);
        state.apply(Index(state.index().0 + 1), Entry { at, by: None, note: None, command })
    }

    fn apply(state: &mut State, command: Command) -> Outcome {
        apply_at(state, 1, command)
    }

    fn with_app() -> State {
        let mut state = State::default();
        let (app, name, policy) = (key("r").app, "App".to_owned(), AppPolicy::default());
        assert_eq!(apply(&mut state, Command::AppAdd { app, name, policy }), Outcome::Done);
        state
    }

    fn set(room: &str, policy: RoomPolicy) -> Command {
        Command::RoomSet { room: key(room), policy, by: "ada".to_owned(), since: None }
    }

    #[test]
    fn a_room_is_made_changed_and_removed() {
        let mut state = with_app();
        assert_eq!(state.rules(&key("r")), Rules::default());
        let policy = RoomPolicy { capacity: Some(3), locked: true, ..RoomPolicy::default() };
        assert_eq!(policy.to_string(), "locked, for 3");
        let before = state.clone();
        assert_eq!(apply(&mut state, set("r", policy.clone())), Outcome::Done);
        assert_eq!(state.rules(&key("r")), Rules { capacity: Some(3), locked: true, ..Rules::default() });
        let lobby = RoomPolicy { lobby: true, ..RoomPolicy::default() };
        assert_eq!((lobby.to_string().as_str(), lobby.rules().lobby), ("open, with a lobby", true));
        assert!(state.rooms_decided_since(&before).eq([&key("r")]));
        let open = RoomPolicy { locked: false, ..policy };
        let command = Command::RoomSet { room: key("r"), policy: open, by: "ben".to_owned(), since: None };
        assert_eq!(apply_at(&mut state, 9, command), Outcome::Done);
        let made = state.made_room(&key("r")).unwrap();
        assert_eq!((made.created, made.by.as_str()), (Unix::from_secs(1), "ada"), "who made it stays");
        let before = state.clone();
        let remove = || Command::RoomRemove { room: key("r") };
        assert_eq!(apply(&mut state, remove()), Outcome::Done);
        assert!(state.rooms_decided_since(&before).eq([&key("r")]));
        assert_eq!(apply(&mut state, remove()), Outcome::Refused(Refusal::Unknown(Thing::Room)));
        assert_eq!(state.rooms, Rooms::default());
    }

    #[test]
    fn what_no_room_can_be_is_refused() {
        let mut state = with_app();
        let refused = |thing| Outcome::Refused(Refusal::Invalid(thing));
        let policy = RoomPolicy::default();
        let too_many = u32::try_from(ROOM_CAPACITY_MAX).unwrap() + 1;
        for capacity in [0, too_many] {
            let command = set("r", RoomPolicy { capacity: Some(capacity), ..policy.clone() });
            assert_eq!(apply(&mut state, command), refused(Thing::Capacity));
        }
        for expires in [Unix::from_secs(1), Unix::from_secs(2) + ROOM_EXPIRES_MAX] {
            let command = set("r", RoomPolicy { expires: Some(expires), ..policy.clone() });
            assert_eq!(apply(&mut state, command), refused(Thing::Expiry));
        }
        let long = Json::parse(&format!("\"{}\"", "x".repeat(METADATA_MAX))).unwrap();
        let command = set("r", RoomPolicy { metadata: Some(long), ..policy.clone() });
        assert_eq!(apply(&mut state, command), refused(Thing::Metadata));
        for dots in [".", ".."] {
            assert_eq!(apply(&mut state, set(dots, policy.clone())), refused(Thing::Name));
        }
        let room = RoomKey { app: AppId::new("other").unwrap(), room: key("r").room };
        let command = Command::RoomSet { room, policy, by: String::new(), since: None };
        assert_eq!(apply(&mut state, command), Outcome::Refused(Refusal::Unknown(Thing::App)));
        assert_eq!(state.made_rooms().count(), 0);
    }

    #[test]
    fn an_expired_room_is_forgotten_in_the_end_and_an_app_takes_its_rooms_along() {
        let mut state = with_app();
        let expires = Some(Unix::from_secs(10));
        let policy = RoomPolicy { expires, ..RoomPolicy::default() };
        assert_eq!(apply(&mut state, set("short", policy.clone())), Outcome::Done);
        assert_eq!(apply(&mut state, set("long", RoomPolicy::default())), Outcome::Done);
        let over = 10 + ROOM_EXPIRED_KEPT.as_secs();
        for _ in 0..2 * SWEEP_EVERY {
            apply_at(&mut state, over - 1, Command::Note);
        }
        assert!(state.made_room(&key("short")).is_some(), "it keeps people out");
        let locked = RoomPolicy { locked: true, ..policy };
        assert_eq!(apply(&mut state, set("short", locked)), Outcome::Done, "and may be changed otherwise");
        for _ in 0..SWEEP_EVERY {
            apply_at(&mut state, over, Command::Note);
        }
        assert!(state.made_rooms().map(|(key, _)| key).eq([&key("long")]));
        assert_eq!(State::decode(&state.encode().unwrap()).unwrap(), state);
        assert_eq!(apply(&mut state, Command::AppRemove { app: key("r").app }), Outcome::Done);
        assert_eq!(state.rooms, Rooms::default());
    }

    #[test]
    fn so_many_bytes_fit_and_no_more() {
        let mut state = with_app();
        let metadata = Json::parse(&format!("\"{}\"", "x".repeat(METADATA_MAX - 2))).ok();
        let policy = RoomPolicy { metadata, ..RoomPolicy::default() };
        let mut n = 0;
        let full = loop {
            match apply(&mut state, set(&format!("r{n}"), policy.clone())) {
                Outcome::Done => n += 1,
                refused => break refused,
            }
        };
        let max = ROOM_POLICIES_BYTES_PER_APP as u64;
        assert_eq!(full, Outcome::Refused(Refusal::Full { thing: Thing::RoomBytes, max }));
        assert!(n * METADATA_MAX <= ROOM_POLICIES_BYTES_PER_APP && n > 100);
        assert_eq!(apply(&mut state, set("r0", policy.clone())), Outcome::Done, "known ones change");
        // Another app has its own.
        let (app, name) = (AppId::new("other").unwrap(), "Other".to_owned());
        let add = Command::AppAdd { app: app.clone(), name, policy: AppPolicy::default() };
        assert_eq!(apply(&mut state, add), Outcome::Done);
        let room = RoomKey { app, room: key("r").room };
        let other = Command::RoomSet { room, policy, by: String::new(), since: None };
        assert_eq!(apply(&mut state, other), Outcome::Done);
        assert_eq!(State::decode(&state.encode().unwrap()).unwrap(), state);
    }

    #[test]
    fn one_app_takes_so_many_rooms_and_what_has_expired_makes_room_at_once() {
        let mut state = with_app();
        let room = |expires| {
            let policy = RoomPolicy { expires, ..RoomPolicy::default() };
            MadeRoom { policy, created: Unix::from_secs(1), by: String::new(), changed: Index(0) }
        };
        for n in 1..ROOM_POLICIES_PER_APP {
            state.rooms.insert(key(&format!("r{n}")), room(None));
        }
        state.rooms.insert(key("short"), room(Some(Unix::from_secs(10))));
        let full = Refusal::Full { thing: Thing::Room, max: ROOM_POLICIES_PER_APP as u64 };
        let over = 10 + ROOM_EXPIRED_KEPT.as_secs();
        let policy = RoomPolicy::default;
        assert_eq!(apply_at(&mut state, over - 1, set("new", policy())), Outcome::Refused(full.clone()));
        assert!(!(state.index().0 + 1).is_multiple_of(SWEEP_EVERY));
        assert_eq!(apply_at(&mut state, over, set("new", policy())), Outcome::Done);
        assert!(state.made_room(&key("short")).is_none());
        assert_eq!(apply_at(&mut state, over, set("newer", policy())), Outcome::Refused(full));
        assert_eq!(apply_at(&mut state, over, set("r1", policy())), Outcome::Done, "known ones change");
    }
}

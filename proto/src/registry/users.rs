//! Long-term users of the relays, and the realms that clients of an origin are challenged with.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::apps::is_origin;
use super::cow::Map;
use super::{Outcome, Refusal, State, Thing};
use crate::limits::{TURN_ORIGINS_MAX, TURN_USER_BYTES, TURN_USERS_BYTES, TURN_USERS_MAX};
use crate::mesh::uplink::{Secret, TurnUser};
use crate::mesh::user::{BadUser, check_origin_realm};

/// The users, sorted by realm and name. Written as a list, since MessagePack readers want short keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<TurnUser>", into = "Vec<TurnUser>")]
pub(super) struct Users {
    held: Map<Named, Keys>,
    /// What they take in an edge's view.
    bytes: usize,
}

/// Realm and name.
type Named = (String, String);

#[derive(Debug, Clone, PartialEq)]
struct Keys {
    md5: Option<Secret>,
    sha256: Option<Secret>,
}

fn bytes_of(named: &Named) -> usize {
    TURN_USER_BYTES + named.0.len() + named.1.len()
}

fn user((realm, name): &Named, keys: &Keys) -> TurnUser {
    let Keys { md5, sha256 } = keys.clone();
    TurnUser { realm: realm.clone(), name: name.clone(), md5, sha256 }
}

impl From<Vec<TurnUser>> for Users {
    fn from(users: Vec<TurnUser>) -> Self {
        let mut all = Self::default();
        for user in users {
            all.insert(user);
        }
        all
    }
}

impl From<Users> for Vec<TurnUser> {
    fn from(users: Users) -> Self {
        users.iter().collect()
    }
}

impl Users {
    fn insert(&mut self, TurnUser { realm, name, md5, sha256 }: TurnUser) {
        let named = (realm, name);
        let bytes = bytes_of(&named);
        if self.held.insert(named, Keys { md5, sha256 }).is_none() {
            self.bytes += bytes;
        }
    }

    fn remove(&mut self, named: &Named) -> Option<()> {
        self.held.remove(named)?;
        self.bytes -= bytes_of(named);
        Some(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TurnUser> {
        self.held.iter().map(|(named, keys)| user(named, keys))
    }

    /// Those that are new or have other keys since `old`.
    pub(super) fn set_since<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = TurnUser> + 'a {
        self.held.changed_since(&old.held).map(|(named, keys)| user(named, keys))
    }

    /// Realm and name of those that `old` had besides.
    pub(super) fn removed_since<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = &'a Named> {
        let changed = old.held.changed_since(&self.held).map(|(named, _)| named);
        changed.filter(|named| self.held.get(named).is_none())
    }
}

impl From<BadUser> for Refusal {
    fn from(bad: BadUser) -> Self {
        Self::Invalid(match bad {
            BadUser::Name => Thing::Name,
            BadUser::Realm => Thing::Realm,
            BadUser::NoKey | BadUser::Md5 | BadUser::Sha256 => Thing::Secret,
        })
    }
}

impl State {
    /// The long-term users, by realm and name.
    pub fn turn_users(&self) -> impl Iterator<Item = TurnUser> {
        self.users.iter()
    }

    /// A long-term user.
    #[must_use]
    pub fn turn_user(&self, realm: &str, name: &str) -> Option<TurnUser> {
        let named = (realm.to_owned(), name.to_owned());
        self.users.held.get(&named).map(|keys| user(&named, keys))
    }

    /// Realms by the origins whose clients are challenged with them.
    #[must_use]
    pub fn turn_origins(&self) -> &BTreeMap<String, String> {
        &self.origins
    }

    pub(super) fn turn_user_set(&mut self, user: TurnUser) -> Result<Outcome, Refusal> {
        user.check()?;
        let named = (user.realm.clone(), user.name.clone());
        if self.users.held.get(&named).is_none() {
            let full = |thing, max: usize| Err(Refusal::Full { thing, max: max as u64 });
            if self.users.held.len() >= TURN_USERS_MAX {
                return full(Thing::TurnUser, TURN_USERS_MAX);
            }
            if self.users.bytes + bytes_of(&named) > TURN_USERS_BYTES {
                return full(Thing::TurnUserBytes, TURN_USERS_BYTES);
            }
        }
        self.users.insert(user);
        Ok(Outcome::Done)
    }

    pub(super) fn turn_user_remove(&mut self, realm: String, name: String) -> Result<Outcome, Refusal> {
        self.users.remove(&(realm, name)).ok_or(Refusal::Unknown(Thing::TurnUser))?;
        Ok(Outcome::Done)
    }

    pub(super) fn turn_origins_set(&mut self, origins: BTreeMap<String, String>) -> Result<Outcome, Refusal> {
        if origins.len() > TURN_ORIGINS_MAX {
            return Err(Refusal::Full { thing: Thing::Origin, max: TURN_ORIGINS_MAX as u64 });
        }
        if origins.keys().any(|origin| !is_origin(origin)) {
            return Err(Refusal::Invalid(Thing::Origin));
        }
        if origins.values().any(|realm| check_origin_realm(realm).is_err()) {
            return Err(Refusal::Invalid(Thing::Realm));
        }
        self.origins = Arc::new(origins);
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{EdgeId, Index};
    use crate::limits::{CHALLENGE_REALM_MAX, MESH_FRAME_MAX};
    use crate::mesh::uplink::Down;
    use crate::registry::{Command, Entry};
    use crate::time::Unix;
    use crate::wire;

    fn apply(state: &mut State, command: Command) -> Outcome {
        let at = Unix::from_secs(1);
        state.apply(Index(state.index().0 + 1), Entry { at, by: None, note: None, command })
    }

    #[test]
    fn a_user_is_set_changed_and_removed() {
        let mut state = State::default();
        let set = |user: TurnUser| Command::TurnUserSet(user);
        let ada = TurnUser::of_password("r", "ada", "one");
        assert_eq!(apply(&mut state, set(ada.clone())), Outcome::Done);
        assert_eq!(apply(&mut state, set(ada.clone())), Outcome::Done, "again is the same");
        assert_eq!(state.turn_user("r", "ada"), Some(ada.clone()));
        let other = TurnUser::of_password("q", "ada", "one");
        assert_eq!(apply(&mut state, set(other.clone())), Outcome::Done);
        let changed = TurnUser { md5: None, ..TurnUser::of_password("r", "ada", "two") };
        assert_eq!(apply(&mut state, set(changed.clone())), Outcome::Done);
        assert!(state.turn_users().eq([other, changed]), "sorted by realm and name");
        let remove = || Command::TurnUserRemove { realm: "r".into(), name: "ada".into() };
        assert_eq!(apply(&mut state, remove()), Outcome::Done);
        assert_eq!(apply(&mut state, remove()), Outcome::Refused(Refusal::Unknown(Thing::TurnUser)));
        let bad = TurnUser { md5: None, sha256: None, ..ada };
        assert_eq!(apply(&mut state, set(bad)), Outcome::Refused(Refusal::Invalid(Thing::Secret)));
    }

    #[test]
    fn origins_are_set_as_a_whole_or_refused() {
        let mut state = State::default();
        let origins = |pairs: &[(&str, &str)]| Command::TurnOriginsSet {
            origins: pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        };
        let good = ("https://meet.example.org", "example.org");
        assert_eq!(apply(&mut state, origins(&[good])), Outcome::Done);
        let refused = |thing| Outcome::Refused(Refusal::Invalid(thing));
        assert_eq!(apply(&mut state, origins(&[good, ("example.org", "r")])), refused(Thing::Origin));
        assert_eq!(apply(&mut state, origins(&[("https://a", "")])), refused(Thing::Realm));
        let long = "r".repeat(CHALLENGE_REALM_MAX + 1);
        assert_eq!(apply(&mut state, origins(&[("https://a", &long)])), refused(Thing::Realm));
        assert_eq!(state.turn_origins().len(), 1);
        let many = (0..=TURN_ORIGINS_MAX).map(|n| (format!("https://a{n}"), "r".to_owned())).collect();
        let full = Refusal::Full { thing: Thing::Origin, max: TURN_ORIGINS_MAX as u64 };
        assert_eq!(apply(&mut state, Command::TurnOriginsSet { origins: many }), Outcome::Refused(full));
    }

    /// However long their names are, they fit into a frame beside the rest: what `limits` asserts of
    /// the sum, with the real size of one.
    #[test]
    fn a_full_table_refuses_and_takes_no_more_than_its_part_of_a_frame() {
        for (len, thing) in [(400, Thing::TurnUserBytes), (6, Thing::TurnUser)] {
            let mut state = State::default();
            let named = |n: usize| TurnUser::of_password("r", &format!("{n:0len$}"), "p");
            let mut n = 0;
            while apply(&mut state, Command::TurnUserSet(named(n))) == Outcome::Done {
                n += 1;
            }
            let Outcome::Refused(Refusal::Full { thing: full, .. }) =
                apply(&mut state, Command::TurnUserSet(named(n)))
            else {
                panic!("not full at {n}");
            };
            assert_eq!(full, thing);
            assert_eq!(apply(&mut state, Command::TurnUserSet(named(0))), Outcome::Done, "known ones change");
            let view = state.edge_view(&EdgeId::new("e").unwrap());
            assert_eq!(view.users.len(), n);
            let bytes = wire::encode(&Down::Snapshot(view)).unwrap();
            assert!(
                bytes.len() <= TURN_USERS_BYTES + 1024 && bytes.len() < MESH_FRAME_MAX,
                "{}",
                bytes.len()
            );
            assert!(matches!(wire::decode(&bytes, MESH_FRAME_MAX), Ok(Down::Snapshot(_))));
            let read = State::decode(&state.encode().unwrap()).unwrap();
            assert_eq!(read, state);
            let remove = Command::TurnUserRemove { realm: "r".into(), name: format!("{:0len$}", 1) };
            assert_eq!(apply(&mut state, remove), Outcome::Done);
            assert_eq!(
                apply(&mut state, Command::TurnUserSet(named(n))),
                Outcome::Done,
                "there is room again"
            );
        }
    }

    /// What a release before this one wrote.
    #[test]
    fn a_snapshot_without_users_is_read() {
        let mut state = State::default();
        apply(&mut state, Command::Note);
        // The two fields, cut out of the map by name: each is its name and one empty value.
        let mut older = state.encode().unwrap();
        for (name, empty) in [("users", 0x90), ("origins", 0x80)] {
            let mut field = vec![0xa0 | u8::try_from(name.len()).unwrap()];
            field.extend(name.bytes());
            field.push(empty);
            let at = older.windows(field.len()).position(|at| at == field).unwrap();
            older.drain(at..at + field.len());
        }
        // The map's header is 0xde and two bytes of length: two fields fewer.
        let fields = u16::from_be_bytes([older[1], older[2]]) - 2;
        assert_eq!(older[0], 0xde);
        older[1..3].copy_from_slice(&fields.to_be_bytes());
        assert_eq!(State::decode(&older).unwrap(), state);
    }
}

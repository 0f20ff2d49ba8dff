//! The rooms that this node runs, each in one shard under one epoch: of a room that moves between two shards of
//! this node there are two for a moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::Addr;
use chappe_proto::id::{AppId, Epoch, RoomKey, Shard};
use chappe_proto::signal::route::Home;
use chappe_proto::time::Mono;

use super::room::RoomActor;

/// The shard that a room runs in, and its epoch.
pub type Place = (Shard, Epoch);

/// A room's actors by their places.
pub type Found = Vec<(Place, Arc<Addr<RoomActor>>)>;

/// A leave to run a room away from its anchor, and until when.
pub type Leave = (Home, Mono);

struct Entry {
    place: Place,
    room: Arc<Addr<RoomActor>>,
    leave: Option<Leave>,
    /// How many are in the room, where it is here.
    counted: Option<u32>,
}

impl Entry {
    /// How many are in the room, where this actor runs it and somebody is.
    fn peers(&self) -> Option<u32> {
        self.counted.filter(|peers| *peers > 0 && self.room.connected())
    }
}

/// Which rooms are meant.
#[derive(Debug, Clone, Default)]
pub struct Meant {
    /// Of this app alone.
    pub app: Option<AppId>,
    /// With this in their names, in lower case.
    pub text: Option<String>,
}

impl Meant {
    /// Whether one is.
    #[must_use]
    pub fn is(&self, key: &RoomKey) -> bool {
        self.app.as_ref().is_none_or(|app| *app == key.app)
            && self.text.as_ref().is_none_or(|text| contains(key.room.as_str(), text))
    }
}

type Here = Vec<Entry>;

/// What there is: by name, which is asked for with each frame, and in the order of names, which operators read.
#[derive(Default)]
struct All {
    rooms: HashMap<RoomKey, Here>,
    names: BTreeSet<RoomKey>,
}

/// Actors of rooms by name and place. Addresses are shared, not cloned: one knows that its mailbox is full only
/// while it is the same one.
#[derive(Default)]
pub struct Sites(Mutex<All>);

impl Sites {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running actor of a room in a place.
    pub fn get(&self, key: &RoomKey, place: Place) -> Option<Arc<Addr<RoomActor>>> {
        find(self.lock().rooms.get(key)?, place)
    }

    /// The same, started by `start` if there is none; none where there are `max` rooms already.
    pub fn get_or_start(
        &self,
        key: &RoomKey,
        place: Place,
        max: usize,
        start: impl FnOnce() -> Addr<RoomActor>,
    ) -> Option<Arc<Addr<RoomActor>>> {
        let mut all = self.lock();
        let known = all.rooms.get(key);
        if let Some(room) = known.and_then(|here| find(here, place)) {
            return Some(room);
        }
        if known.is_none() {
            if all.rooms.len() >= max {
                return None;
            }
            all.names.insert(key.clone());
        }
        let room = Arc::new(start());
        let here = all.rooms.entry(key.clone()).or_default();
        here.retain(|entry| entry.place != place);
        here.push(Entry { place, room: Arc::clone(&room), leave: None, counted: None });
        Some(room)
    }

    /// Forgets an actor, unless another has taken its name.
    pub fn remove(&self, key: &RoomKey, place: Place, addr: &Addr<RoomActor>) {
        let mut all = self.lock();
        let Some(here) = all.rooms.get_mut(key) else { return };
        here.retain(|entry| entry.place != place || *entry.room != *addr);
        if here.is_empty() {
            all.rooms.remove(key);
            all.names.remove(key);
        }
    }

    /// A room's running actors, wherever it runs.
    pub fn of(&self, key: &RoomKey) -> Found {
        self.lock().rooms.get(key).map(actors).unwrap_or_default()
    }

    /// The actor of a room in a place holds this leave, or none.
    pub fn set_leave(&self, key: &RoomKey, place: Place, leave: Option<Leave>) {
        let mut all = self.lock();
        let entry =
            all.rooms.get_mut(key).and_then(|here| here.iter_mut().find(|entry| entry.place == place));
        if let Some(entry) = entry {
            entry.leave = leave;
        }
    }

    /// So many are in the room in a place; none where it is elsewhere.
    pub fn set_counted(&self, key: &RoomKey, place: Place, counted: Option<u32>) {
        let mut all = self.lock();
        let entry =
            all.rooms.get_mut(key).and_then(|here| here.iter_mut().find(|entry| entry.place == place));
        if let Some(entry) = entry {
            entry.counted = counted;
        }
    }

    /// How many are in a room, where it is here.
    pub fn counted(&self, key: &RoomKey) -> Option<u32> {
        self.lock().rooms.get(key)?.iter().find_map(Entry::peers)
    }

    /// Of each app: how many rooms run here, and how many are in them.
    pub fn counts(&self) -> Vec<(AppId, u32, u32)> {
        let all = self.lock();
        let mut counts: BTreeMap<&AppId, (u32, u32)> = BTreeMap::new();
        for (key, here) in &all.rooms {
            if let Some(peers) = here.iter().find_map(Entry::peers) {
                let (rooms, people) = counts.entry(&key.app).or_default();
                *rooms += 1;
                *people = people.saturating_add(peers);
            }
        }
        counts.into_iter().map(|(app, (rooms, people))| (app.clone(), rooms, people)).collect()
    }

    /// The home of a room, where it is on this node.
    pub fn home(&self, key: &RoomKey, now: Mono) -> Option<Home> {
        let all = self.lock();
        let leaves = all.rooms.get(key)?.iter().filter_map(|entry| entry.leave);
        leaves.filter(|(_, until)| now < *until).map(|(home, _)| home).max_by_key(|home| home.since)
    }

    /// All of them now.
    pub fn all(&self) -> Vec<(RoomKey, Place, Arc<Addr<RoomActor>>)> {
        let all = self.lock();
        let each = |(key, here): (&RoomKey, &Here)| -> Vec<_> {
            here.iter().map(|entry| (key.clone(), entry.place, Arc::clone(&entry.room))).collect()
        };
        all.rooms.iter().flat_map(each).collect()
    }

    /// The first rooms behind `after` by name, as many as `max` of those that are meant, and how many are in each.
    pub fn page(&self, meant: &Meant, after: Option<&RoomKey>, max: usize) -> Vec<(RoomKey, u32)> {
        let all = self.lock();
        let names = behind(&all.names, after).filter(|key| meant.is(key));
        // One whose anchor alone is here is another node's to tell.
        let line = |key: &RoomKey| Some((key.clone(), all.rooms.get(key)?.iter().find_map(Entry::peers)?));
        names.filter_map(line).take(max).collect()
    }

    /// How many rooms.
    pub fn len(&self) -> usize {
        self.lock().rooms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().rooms.is_empty()
    }
}

fn actors(here: &Here) -> Found {
    let running = here.iter().filter(|entry| entry.room.connected());
    running.map(|entry| (entry.place, Arc::clone(&entry.room))).collect()
}

fn find(here: &Here, place: Place) -> Option<Arc<Addr<RoomActor>>> {
    let found = here.iter().find(|entry| entry.place == place && entry.room.connected());
    found.map(|entry| Arc::clone(&entry.room))
}

/// Those behind `after`, in order; all of them where it is none.
fn behind<'a, K: Ord>(all: &'a BTreeSet<K>, after: Option<&K>) -> impl Iterator<Item = &'a K> {
    all.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
}

/// Whether a name, which is ASCII, has a text in it that is in lower case.
fn contains(name: &str, text: &str) -> bool {
    let mut pieces = name.as_bytes().windows(text.len().max(1));
    text.is_empty() || pieces.any(|piece| piece.eq_ignore_ascii_case(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_each_once_and_in_order() {
        let keys = BTreeSet::from([5, 2, 9, 7, 1, 3, 8]);
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page: Vec<_> = behind(&keys, after).take(3).collect();
            all.extend(page.iter().copied().copied());
            after = page.last().copied();
            if page.len() < 3 {
                break;
            }
        }
        assert_eq!(all, [1, 2, 3, 5, 7, 8, 9]);
        assert!(behind(&keys, Some(&9)).next().is_none());
    }

    #[test]
    fn a_text_is_found_anywhere_in_a_name_in_whatever_case() {
        for text in ["", "tea", "room", "tea-room", "-"] {
            assert!(contains("Tea-ROOM", text), "{text}");
        }
        for text in ["tea-room2", "milk", "é"] {
            assert!(!contains("Tea-ROOM", text), "{text}");
        }
    }
}

//! The rooms that this node runs, each in one shard under one epoch: of a room that moves between two shards of
//! this node there are two for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::Addr;
use chappe_proto::id::{Epoch, RoomKey, Shard};

use super::room::RoomActor;

/// The shard that a room runs in, and its epoch.
pub type Place = (Shard, Epoch);

/// A room's actors by their places.
pub type Here = Vec<(Place, Arc<Addr<RoomActor>>)>;

/// Actors of rooms by name and place. Addresses are shared, not cloned: one knows that its mailbox is full only
/// while it is the same one.
#[derive(Default)]
pub struct Sites(Mutex<HashMap<RoomKey, Here>>);

impl Sites {
    fn lock(&self) -> MutexGuard<'_, HashMap<RoomKey, Here>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The running actor of a room in a place.
    pub fn get(&self, key: &RoomKey, place: Place) -> Option<Arc<Addr<RoomActor>>> {
        find(self.lock().get(key)?, place)
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
        if let Some(room) = all.get(key).and_then(|here| find(here, place)) {
            return Some(room);
        }
        if all.len() >= max {
            return None;
        }
        let room = Arc::new(start());
        let here = all.entry(key.clone()).or_default();
        here.retain(|(of, _)| *of != place);
        here.push((place, Arc::clone(&room)));
        Some(room)
    }

    /// Forgets an actor, unless another has taken its name.
    pub fn remove(&self, key: &RoomKey, place: Place, addr: &Addr<RoomActor>) {
        let mut all = self.lock();
        if let Some(here) = all.get_mut(key) {
            here.retain(|(of, held)| *of != place || **held != *addr);
            if here.is_empty() {
                all.remove(key);
            }
        }
    }

    /// A room's actors, wherever it runs.
    pub fn of(&self, key: &RoomKey) -> Here {
        self.lock().get(key).cloned().unwrap_or_default()
    }

    /// All of them now.
    pub fn all(&self) -> Vec<(RoomKey, Place, Arc<Addr<RoomActor>>)> {
        let all = self.lock();
        let each = |(key, here): (&RoomKey, &Here)| -> Vec<_> {
            here.iter().map(|(place, room)| (key.clone(), *place, Arc::clone(room))).collect()
        };
        all.iter().flat_map(each).collect()
    }

    /// The first rooms behind `after` by name, as many as `max`.
    pub fn page(&self, after: Option<&RoomKey>, max: usize) -> Vec<(RoomKey, Here)> {
        let all = self.lock();
        let page = first(all.keys(), after, max);
        page.into_iter().filter_map(|key| Some((key.clone(), all.get(key)?.clone()))).collect()
    }

    /// How many rooms.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

fn find(here: &Here, place: Place) -> Option<Arc<Addr<RoomActor>>> {
    here.iter().find(|(of, room)| *of == place && room.connected()).map(|(_, room)| Arc::clone(room))
}

/// The smallest keys behind `after`, as many as `max`, in order.
fn first<'a, K: Ord>(keys: impl Iterator<Item = &'a K>, after: Option<&K>, max: usize) -> Vec<&'a K> {
    let mut rest: Vec<_> = keys.filter(|key| after.is_none_or(|after| *key > after)).collect();
    if rest.len() > max {
        rest.select_nth_unstable(max);
        rest.truncate(max);
    }
    rest.sort_unstable();
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_each_once_and_in_order() {
        let keys = [5, 2, 9, 7, 1, 3, 8];
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = first(keys.iter(), after, 3);
            all.extend(page.iter().copied().copied());
            after = page.last().copied();
            if page.len() < 3 {
                break;
            }
        }
        assert_eq!(all, [1, 2, 3, 5, 7, 8, 9]);
        assert_eq!(first(keys.iter(), None, 100).len(), 7);
        assert!(first(keys.iter(), Some(&9), 100).is_empty());
    }
}

//! Who is where on this node: actors by name.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix::{Actor, Addr};

/// Actors by name. Bounded by whoever adds to it.
pub struct Directory<K, A: Actor>(Mutex<HashMap<K, Addr<A>>>);

impl<K, A: Actor> Default for Directory<K, A> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq + Clone, A: Actor> Directory<K, A> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Addr<A>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The actor of this name.
    pub fn get(&self, key: &K) -> Option<Addr<A>> {
        self.lock().get(key).cloned()
    }

    /// The actor of this name, started by `start` if there is none or it has stopped; none where
    /// there are `max` already.
    pub fn get_or_start(&self, key: &K, max: usize, start: impl FnOnce() -> Addr<A>) -> Option<Addr<A>> {
        let mut all = self.lock();
        if let Some(addr) = all.get(key).filter(|addr| addr.connected()) {
            return Some(addr.clone());
        }
        if all.len() >= max {
            return None;
        }
        let addr = start();
        all.insert(key.clone(), addr.clone());
        Some(addr)
    }

    /// Whether an actor of this name is running.
    pub fn has(&self, key: &K) -> bool {
        self.lock().get(key).is_some_and(Addr::connected)
    }

    /// Forgets an actor, unless another has taken its name.
    pub fn remove(&self, key: &K, addr: &Addr<A>) {
        let mut all = self.lock();
        if all.get(key) == Some(addr) {
            all.remove(key);
        }
    }

    /// All of them now.
    pub fn all(&self) -> Vec<(K, Addr<A>)> {
        self.lock().iter().map(|(key, addr)| (key.clone(), addr.clone())).collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

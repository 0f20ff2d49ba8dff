//! Who is where on this node: actors by name.
//!
//! Addresses are shared, not cloned: one knows that its mailbox is full only while it is the same one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Actor, Addr};

/// Actors by name. Bounded by whoever adds to it.
pub struct Directory<K, A: Actor>(Mutex<HashMap<K, Arc<Addr<A>>>>);

impl<K, A: Actor> Default for Directory<K, A> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Hash + Eq + Clone, A: Actor> Directory<K, A> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Addr<A>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The actor of this name.
    pub fn get(&self, key: &K) -> Option<Arc<Addr<A>>> {
        self.lock().get(key).cloned()
    }

    /// The actor of this name, started by `start` if there is none or it has stopped; none where
    /// there are `max` already.
    pub fn get_or_start(&self, key: &K, max: usize, start: impl FnOnce() -> Addr<A>) -> Option<Arc<Addr<A>>> {
        let mut all = self.lock();
        if let Some(addr) = all.get(key).filter(|addr| addr.connected()) {
            return Some(Arc::clone(addr));
        }
        if all.len() >= max {
            return None;
        }
        let addr = Arc::new(start());
        all.insert(key.clone(), Arc::clone(&addr));
        Some(addr)
    }

    /// Whether an actor of this name is running.
    pub fn has(&self, key: &K) -> bool {
        self.lock().get(key).is_some_and(|addr| addr.connected())
    }

    /// Forgets an actor, unless another has taken its name.
    pub fn remove(&self, key: &K, addr: &Addr<A>) {
        let mut all = self.lock();
        if all.get(key).is_some_and(|held| **held == *addr) {
            all.remove(key);
        }
    }

    /// All of them now.
    pub fn all(&self) -> Vec<(K, Arc<Addr<A>>)> {
        self.lock().iter().map(|(key, addr)| (key.clone(), Arc::clone(addr))).collect()
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

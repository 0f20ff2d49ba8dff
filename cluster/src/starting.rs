//! Frames for rooms that are being started on another thread, in their order: what comes while its room
//! begins waits behind what came before.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chappe_proto::limits;

/// Frames of type `F` by the name of the one that begins.
pub(crate) struct Starting<K, F>(Mutex<HashMap<K, Vec<F>>>);

impl<K, F> Default for Starting<K, F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, F> Starting<K, F> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Vec<F>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a frame for `key`: behind those that wait, or else for `running`, which gives it back where nobody
    /// of that name runs. True where the caller is to start it now, and to call [`Self::started`] then.
    pub(crate) fn take(&self, key: &K, frame: F, running: impl FnOnce(F) -> Option<F>) -> bool {
        let mut all = self.lock();
        if let Some(waiting) = all.get_mut(key) {
            // As many as its mailbox will hold. Of more their senders repeat what matters.
            if waiting.len() < limits::MAILBOX {
                waiting.push(frame);
            }
            return false;
        }
        let Some(frame) = running(frame) else { return false };
        all.insert(key.clone(), vec![frame]);
        true
    }

    /// It runs, or will not: all that waits is handed to `give` before anything else can come.
    pub(crate) fn started(&self, key: &K, give: impl FnMut(F)) {
        let mut all = self.lock();
        all.remove(key).into_iter().flatten().for_each(give);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn what_comes_while_a_room_begins_does_not_overtake_what_came_before() {
        let starting = Starting::default();
        let mailbox = RefCell::new(None);
        let take = |frame| {
            let running = |frame| match &mut *mailbox.borrow_mut() {
                Some(room) => {
                    Vec::push(room, frame);
                    None
                }
                None => Some(frame),
            };
            starting.take(&"room", frame, running)
        };
        assert!(take(1), "the first one starts it");
        assert!(!take(2), "once");
        // It runs by now, and has been given nothing yet.
        mailbox.replace(Some(Vec::new()));
        assert!(!take(3));
        starting.started(&"room", |frame| mailbox.borrow_mut().as_mut().unwrap().push(frame));
        assert!(!take(4));
        assert_eq!(mailbox.take().unwrap(), [1, 2, 3, 4]);
        // It has ended, and begins again.
        assert!(take(5));
    }

    #[test]
    fn no_more_wait_than_a_mailbox_holds() {
        let starting = Starting::default();
        for frame in 0..2 * limits::MAILBOX {
            starting.take(&(), frame, Some);
        }
        let mut given = Vec::new();
        starting.started(&(), |frame| given.push(frame));
        assert!(given.into_iter().eq(0..limits::MAILBOX));
    }
}

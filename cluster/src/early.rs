//! Frames that are ahead of the registry here: they wait, and behind them what the same gateway says to the same
//! room.

use std::collections::{HashMap, VecDeque};

use chappe_proto::id::RoomKey;
use chappe_proto::limits;
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::route::ToRoom;

/// Frames that wait, in their order.
#[derive(Default)]
pub(crate) struct Early {
    frames: VecDeque<ToRoom>,
    /// How many of them wait, by room and sender.
    waiting: HashMap<(RoomKey, Gateway), usize>,
}

impl Early {
    /// Gives a frame back that need not wait: it is `in_time`, and nothing of the same sender waits for that room.
    pub(crate) fn take(&mut self, frame: ToRoom, in_time: bool) -> Option<ToRoom> {
        if in_time && self.frames.is_empty() {
            return Some(frame);
        }
        let key = (frame.room.clone(), frame.gateway);
        if in_time && !self.waiting.contains_key(&key) {
            return Some(frame);
        }
        if self.frames.len() >= limits::EARLY_FRAMES
            && let Some(oldest) = self.frames.pop_front()
        {
            self.forget(&(oldest.room, oldest.gateway)); // its proxy repeats what matters
        }
        *self.waiting.entry(key).or_default() += 1;
        self.frames.push_back(frame);
        None
    }

    /// Gives what is in time by now to `give`, in its order; the rest waits on.
    pub(crate) fn retry(&mut self, in_time: impl Fn(&ToRoom) -> bool, mut give: impl FnMut(ToRoom)) {
        for frame in std::mem::take(self).frames {
            let in_time = in_time(&frame);
            if let Some(frame) = self.take(frame, in_time) {
                give(frame);
            }
        }
    }

    fn forget(&mut self, key: &(RoomKey, Gateway)) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::{AppId, Change, Epoch, Generation, NodeId, RoomName, Shard};
    use chappe_proto::signal::route::RoomInput;

    use super::*;

    /// The `n`th frame of a node to a room.
    fn frame(node: u64, n: u64, epoch: u64) -> ToRoom {
        let room = RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("r").unwrap() };
        let gateway = Gateway { node: NodeId(node), generation: Generation(1) };
        let body = RoomInput::Check { n: Change(n), digest: 0, lobby: None };
        ToRoom { room, shard: Shard(1), epoch: Epoch(epoch), gateway, body }
    }

    #[test]
    fn nothing_overtakes_what_waits_of_the_same_sender() {
        let mut early = Early::default();
        assert_eq!(early.take(frame(1, 1, 1), true), Some(frame(1, 1, 1)));
        assert_eq!(early.take(frame(1, 2, 3), false), None);
        assert_eq!(early.take(frame(1, 3, 1), true), None, "it waits behind the one before it");
        assert_eq!(early.take(frame(2, 4, 1), true), Some(frame(2, 4, 1)), "and no other gateway's");
        assert_eq!(early.take(frame(2, 5, 2), false), None);
        let retried = |early: &mut Early, epoch| {
            let mut given = Vec::new();
            early.retry(|frame| frame.epoch <= Epoch(epoch), |frame| given.push(frame));
            given
        };
        assert_eq!(retried(&mut early, 2), [frame(2, 5, 2)]);
        assert_eq!(retried(&mut early, 3), [frame(1, 2, 3), frame(1, 3, 1)]);
        assert!(early.frames.is_empty() && early.waiting.is_empty());
        assert_eq!(early.take(frame(1, 6, 3), true), Some(frame(1, 6, 3)));
    }

    #[test]
    fn no_more_wait_than_may_and_the_oldest_go_first() {
        let (mut early, max) = (Early::default(), limits::EARLY_FRAMES as u64);
        early.take(frame(1, 0, 2), false);
        for n in 1..=max {
            early.take(frame(2, n, 2), false);
        }
        assert_eq!(early.frames.len() as u64, max);
        assert_eq!(early.take(frame(1, 1, 1), true), Some(frame(1, 1, 1)), "nothing of it waits any more");
        assert_eq!(early.waiting.values().sum::<usize>(), early.frames.len());
    }
}

//! Signals once and in order, as a client keeps them (PROTOCOL.md section 6): what each receiver has not
//! acknowledged, and the mark kept of each sender.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use chappe_proto::time::Mono;

/// What one receiver has not acknowledged: `held[0]` has the id `base + 1`, and so on.
#[derive(Debug, Default)]
struct Outbox {
    base: u64,
    /// The last id given to the present socket.
    sent: u64,
    held: VecDeque<String>,
    paused: Option<Mono>,
}

/// All that this client has said and nobody has confirmed.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    boxes: BTreeMap<String, Outbox>,
    /// `unacked_max` of the welcome.
    pub(super) window: u64,
}

impl Outboxes {
    /// Holds a payload, a JSON text.
    pub(super) fn push(&mut self, to: &str, payload: String) {
        self.boxes.entry(to.to_owned()).or_default().held.push_back(payload);
    }

    /// The next frame that may be sent.
    pub(super) fn next(&mut self, now: Mono) -> Option<String> {
        for (to, held) in &mut self.boxes {
            if held.paused.is_some_and(|until| until > now) {
                continue;
            }
            held.paused = None;
            let waiting = usize::try_from(held.sent - held.base).unwrap_or(usize::MAX);
            let Some(payload) = held.held.get(waiting).filter(|_| held.sent < held.base + self.window) else {
                continue;
            };
            held.sent += 1;
            let id = held.sent;
            return Some(format!(
                r#"{{"type":"signal","to":"{to}","id":{id},"kind":"n","payload":{payload}}}"#
            ));
        }
        None
    }

    /// When the first of the paused ones may go on.
    pub(super) fn wake(&self) -> Option<Mono> {
        self.boxes.values().filter_map(|held| held.paused).min()
    }

    /// Everything to that peer up to that id is settled. Answers how many that were not before.
    pub(super) fn settle(&mut self, to: &str, id: u64) -> u64 {
        let Some(held) = self.boxes.get_mut(to) else { return 0 };
        let before = held.base;
        while held.base < id && held.held.pop_front().is_some() {
            held.base += 1;
        }
        held.sent = held.sent.max(held.base);
        held.base - before
    }

    /// Refused for now: from that id on again, after the wait. Without a receiver it may have been any.
    pub(super) fn refused(&mut self, to: Option<&str>, id: Option<u64>, now: Mono, wait: Duration) {
        for (peer, held) in &mut self.boxes {
            if to.is_none_or(|to| to == peer) && held.paused.is_none() {
                held.sent = held.base.max(id.map_or(0, |id| id.saturating_sub(1)).min(held.sent));
                held.paused = Some(now + wait);
            }
        }
    }

    /// A new socket: all that is held goes again.
    pub(super) fn rewind(&mut self) {
        for held in self.boxes.values_mut() {
            (held.sent, held.paused) = (held.base, None);
        }
    }

    /// Whether nothing waits for anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.boxes.values().all(|held| held.held.is_empty())
    }
}

/// The last signal taken of each sender, and whom to acknowledge.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// `{sender: last id}`.
    marks: BTreeMap<String, u64>,
    due: BTreeSet<String>,
    /// The marks that went with the last resume.
    told: BTreeMap<String, u64>,
}

impl Inbox {
    /// A signal has come, before which nothing up to `settled` will come any more: whether it is the next one.
    pub(super) fn take(&mut self, from: &str, id: u64, settled: u64) -> bool {
        let mark = self.marks.entry(from.to_owned()).or_default();
        *mark = settled.max(*mark);
        if id > *mark + 1 {
            return false;
        }
        let next = id > *mark;
        *mark = id.max(*mark);
        self.due.insert(from.to_owned());
        next
    }

    /// The marks, for a resume.
    pub(super) fn tell(&mut self) -> &BTreeMap<String, u64> {
        self.told.clone_from(&self.marks);
        &self.told
    }

    /// What was taken over an older socket since then is acknowledged over the newer one.
    pub(super) fn catch_up(&mut self) {
        let more = self.marks.iter().filter(|(from, id)| self.told.get(*from) != Some(*id));
        self.due.extend(more.map(|(from, _)| from.clone()));
    }

    /// Whether somebody waits for an acknowledgement.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The next acknowledgement.
    pub(super) fn acknowledge(&mut self) -> Option<String> {
        let from = self.due.pop_first()?;
        let id = self.marks.get(&from)?;
        Some(format!(r#"{{"type":"ack","from":"{from}","id":{id}}}"#))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(boxes: &mut Outboxes, now: u64) -> Vec<u64> {
        let frames = std::iter::from_fn(|| boxes.next(Mono(Duration::from_millis(now))));
        frames
            .map(|frame| serde_json::from_str::<serde_json::Value>(&frame).unwrap()["id"].as_u64().unwrap())
            .collect()
    }

    #[test]
    fn within_the_window_and_again_after_a_new_socket() {
        let mut boxes = Outboxes { window: 2, ..Outboxes::default() };
        for _ in 0..4 {
            boxes.push("b", "1".to_owned());
        }
        assert_eq!(ids(&mut boxes, 0), [1, 2]);
        assert_eq!((boxes.settle("b", 1), boxes.settle("b", 1)), (1, 0));
        assert_eq!(ids(&mut boxes, 0), [3]);
        boxes.rewind();
        assert_eq!(ids(&mut boxes, 0), [2, 3]);
        boxes.settle("b", 4);
        assert!(boxes.is_empty());
    }

    #[test]
    fn a_refused_one_goes_again_after_its_time() {
        let mut boxes = Outboxes { window: 64, ..Outboxes::default() };
        for _ in 0..4 {
            boxes.push("b", "1".to_owned());
        }
        assert_eq!(ids(&mut boxes, 0).len(), 4);
        let (now, wait) = (Mono(Duration::ZERO), Duration::from_millis(100));
        boxes.refused(Some("b"), Some(3), now, wait);
        boxes.refused(Some("b"), Some(4), now, wait);
        assert!(ids(&mut boxes, 99).is_empty());
        assert_eq!(boxes.wake(), Some(now + wait));
        assert_eq!(ids(&mut boxes, 100), [3, 4]);
    }

    #[test]
    fn each_is_taken_once_and_in_order() {
        let mut inbox = Inbox::default();
        let taken: Vec<bool> = [2, 1, 1, 2, 4, 3].map(|id| inbox.take("a", id, 0)).to_vec();
        assert_eq!(taken, [false, true, false, true, false, true]);
        assert!(inbox.take("b", 7, 6), "its sender does not wait for those before it");
        assert!(!inbox.take("b", 6, 4));
        assert_eq!(inbox.acknowledge().unwrap(), r#"{"type":"ack","from":"a","id":3}"#);
        assert_eq!(inbox.acknowledge().unwrap(), r#"{"type":"ack","from":"b","id":7}"#);
        assert!(!inbox.is_due());
    }
}

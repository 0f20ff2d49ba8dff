//! What a gateway holds for one sender and one receiver until the receiver's client has it,
//! and the receiving end's mark that saves work.

use std::collections::VecDeque;
use std::time::Duration;

use super::route::Content;
use crate::limits::{RESEND_AFTER, RESEND_MAX, UNACKED_BYTES_MAX, UNACKED_MAX};
use crate::time::Mono;

/// What became of an offered signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Taken: send it on.
    Taken,
    /// Held already: nothing to do.
    Held,
    /// Acknowledged long ago: tell the client so again.
    Delivered(u64),
    /// Over the limit of what may be unacknowledged; not taken.
    Busy,
    /// Something before it is missing; not taken. The id that is expected.
    Gap(u64),
}

/// The unacknowledged signals of one sender to one receiver, in order.
#[derive(Debug)]
pub struct Outbox {
    acked: u64,
    held: VecDeque<(u64, Content)>,
    bytes: usize,
    resend_at: Mono,
    wait: Duration,
}

impl Outbox {
    /// Empty, everything up to `acked` being known as acknowledged: 0 for a new peer.
    #[must_use]
    pub const fn new(acked: u64) -> Self {
        Self { acked, held: VecDeque::new(), bytes: 0, resend_at: Mono::NEVER, wait: RESEND_AFTER }
    }

    /// The last id taken.
    fn last(&self) -> u64 {
        self.held.back().map_or(self.acked, |(id, _)| *id)
    }

    /// A signal from the sender's client.
    pub fn offer(&mut self, now: Mono, id: u64, content: &Content) -> Offer {
        if id == 0 {
            return Offer::Gap(self.last().saturating_add(1));
        }
        if id <= self.acked {
            return Offer::Delivered(self.acked);
        }
        if id <= self.last() {
            return Offer::Held;
        }
        if id != self.last() + 1 {
            return Offer::Gap(self.last() + 1);
        }
        if self.held.len() >= UNACKED_MAX || self.bytes + content.len() > UNACKED_BYTES_MAX {
            return Offer::Busy;
        }
        if self.held.is_empty() {
            self.wait = RESEND_AFTER;
            self.resend_at = now + self.wait;
        }
        self.bytes += content.len();
        self.held.push_back((id, content.clone()));
        Offer::Taken
    }

    /// The receiver's client has everything up to `id`. True when that is news.
    pub fn ack(&mut self, now: Mono, id: u64) -> bool {
        let id = id.min(self.last());
        if id <= self.acked {
            return false;
        }
        self.acked = id;
        while let Some((_, content)) = self.held.pop_front_if(|(held, _)| *held <= id) {
            self.bytes -= content.len();
        }
        self.wait = RESEND_AFTER;
        self.resend_at = if self.held.is_empty() { Mono::NEVER } else { now + self.wait };
        true
    }

    /// The receiver is back, or the room has a new owner: the next [`Self::resend`] waits no longer
    /// than the first.
    pub const fn restart(&mut self) {
        self.wait = Duration::ZERO;
    }

    /// Everything that is held, in order, to be sent now; the next time on its own is later each time.
    pub fn resend(&mut self, now: Mono) -> impl Iterator<Item = (u64, &Content)> {
        if !self.held.is_empty() {
            self.wait = (self.wait * 2).clamp(RESEND_AFTER, RESEND_MAX);
            self.resend_at = now + self.wait;
        }
        self.held.iter().map(|(id, content)| (*id, content))
    }

    /// When to [`Self::resend`].
    #[must_use]
    pub const fn resend_at(&self) -> Mono {
        self.resend_at
    }

    /// Everything up to here is acknowledged.
    #[must_use]
    pub const fn acked(&self) -> u64 {
        self.acked
    }

    /// Signals held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes held.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits for an acknowledgement.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The ids that will never be acknowledged, the receiver being gone.
    pub fn into_undelivered(self) -> impl Iterator<Item = u64> {
        self.held.into_iter().map(|(id, _)| id)
    }
}

/// What the present socket of a receiver was sent of one sender, and what its client took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbox {
    /// Whether the client has taken no more than `acked`, as far as it was not sent more here.
    sure: bool,
    /// Whether its client came back, and may have forgotten what it told before.
    returned: bool,
    acked: u64,
    /// What the sender does not hold any more: it waits for nothing up to here.
    settled: u64,
    /// The last that was sent in order.
    sent: u64,
    /// When the first that is not acknowledged was sent last.
    asked_at: Mono,
}

/// What to do with a signal that came for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Send it, perhaps once more.
    Next,
    /// The client has it: acknowledge up to here again.
    Acked(u64),
    /// On its way to the client, or out of order: it comes again if it must.
    Skip,
}

impl Inbox {
    /// Of one who was never here before.
    pub const NEW: Self =
        Self { sure: true, returned: false, acked: 0, settled: 0, sent: 0, asked_at: Mono(Duration::ZERO) };

    /// A client that came back and took everything up to `mark` at least (0: it gave no mark): it may have
    /// taken more by its former socket since it said so.
    #[must_use]
    pub const fn since(mark: u64) -> Self {
        Self { sure: false, returned: true, acked: mark, sent: mark, ..Self::NEW }
    }

    /// A signal arrived for the client; everything before it up to `settled` is settled for its sender.
    pub fn arrive(&mut self, now: Mono, id: u64, settled: u64) -> Arrival {
        self.settled = settled.min(id.saturating_sub(1)).max(self.settled);
        if id <= self.acked {
            return Arrival::Acked(self.acked);
        }
        if id <= self.settled {
            return Arrival::Skip; // overtaken: its sender waits for it no more
        }
        let before = self.acked.max(self.settled);
        self.sent = self.sent.max(before);
        let previous = id - 1; // it is no 0: that is acknowledged from the beginning
        let first = previous == before;
        if previous == self.sent {
            self.sent = id;
        } else if !first || now.since(self.asked_at) < RESEND_AFTER / 2 {
            return Arrival::Skip; // copies come by two ways
        } // else it was sent, and its acknowledgement got lost perhaps
        if first {
            self.asked_at = now;
        }
        Arrival::Next
    }

    /// Up to where the client is to wait for nothing, as far as it may not know that.
    #[must_use]
    pub fn settled(&self) -> Option<u64> {
        if self.returned {
            Some(self.settled.max(self.acked)).filter(|settled| *settled > 0)
        } else {
            Some(self.settled).filter(|settled| *settled > self.acked)
        }
    }

    /// The client says that it took everything up to `id`. False when it was never sent that much, as
    /// far as is known.
    pub fn ack(&mut self, id: u64) -> bool {
        if self.sure && id > self.sent {
            return false;
        }
        if id > self.acked {
            self.asked_at = Mono(Duration::ZERO); // of the next nothing was asked yet
        }
        self.acked = self.acked.max(id);
        self.sent = self.sent.max(self.acked);
        self.sure = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use bytestring::ByteString;

    use super::super::json::Json;
    use super::*;

    fn content(len: usize) -> Content {
        let payload = Json::parse(&format!("\"{}\"", "x".repeat(len))).unwrap();
        Content { connection: None, kind: ByteString::from_static("x"), payload }
    }

    #[test]
    fn ids_without_gaps() {
        let mut outbox = Outbox::new(0);
        let now = Mono::default();
        assert_eq!(outbox.offer(now, 2, &content(1)), Offer::Gap(1));
        assert_eq!(outbox.offer(now, 1, &content(1)), Offer::Taken);
        assert_eq!(outbox.offer(now, 1, &content(1)), Offer::Held);
        assert_eq!(outbox.offer(now, 2, &content(1)), Offer::Taken);
        assert!(outbox.ack(now, 1) && !outbox.ack(now, 1));
        assert_eq!(outbox.offer(now, 1, &content(1)), Offer::Delivered(1));
        assert_eq!(outbox.resend(now).map(|(id, _)| id).collect::<Vec<_>>(), [2]);
        assert!(outbox.ack(now, 99) && outbox.is_empty());
        assert_eq!(outbox.offer(now, 3, &content(1)), Offer::Taken);
    }

    #[test]
    fn bounded_by_count_and_by_bytes() {
        let now = Mono::default();
        let mut many = Outbox::new(0);
        for id in 1..=UNACKED_MAX as u64 {
            assert_eq!(many.offer(now, id, &content(1)), Offer::Taken);
        }
        assert_eq!(many.offer(now, 65, &content(1)), Offer::Busy);
        assert!(many.ack(now, 1));
        assert_eq!(many.offer(now, 65, &content(1)), Offer::Taken);

        let mut large = Outbox::new(0);
        let half = UNACKED_BYTES_MAX / 2;
        assert_eq!(large.offer(now, 1, &content(half)), Offer::Taken);
        assert_eq!(large.offer(now, 2, &content(half)), Offer::Busy);
    }

    #[test]
    fn resends_later_each_time_until_something_is_acknowledged() {
        let mut outbox = Outbox::new(0);
        let mut now = Mono::default();
        outbox.offer(now, 1, &content(1));
        outbox.offer(now, 2, &content(1));
        let first = outbox.resend_at().since(now);
        now = outbox.resend_at();
        assert_eq!(outbox.resend(now).count(), 2);
        assert_eq!(outbox.resend_at().since(now), first * 2);
        outbox.ack(now, 1);
        assert_eq!(outbox.resend_at().since(now), first);
    }

    #[test]
    fn a_receiver_is_sent_each_once_in_order() {
        let (mut inbox, now) = (Inbox::NEW, Mono(RESEND_AFTER));
        for id in 1..=3 {
            assert_eq!(inbox.arrive(now, id, 0), Arrival::Next);
        }
        assert!(inbox.ack(3));
        assert_eq!(inbox.arrive(now, 3, 2), Arrival::Acked(3));
        assert_eq!(inbox.arrive(now, 5, 3), Arrival::Skip);
        assert_eq!(inbox.arrive(now, 4, 3), Arrival::Next);
        assert_eq!(inbox.arrive(now, 5, 3), Arrival::Next);
        assert_eq!(inbox.arrive(now, 5, 3), Arrival::Skip);
        assert_eq!(inbox.arrive(now, 4, 3), Arrival::Skip); // it came by two ways
        let now = now + RESEND_AFTER;
        assert_eq!(inbox.arrive(now, 4, 3), Arrival::Next); // is its acknowledgement lost?
        assert!(!inbox.ack(6) && inbox.ack(4));
        assert_eq!(inbox.settled(), None, "the client knows");
        assert_eq!(inbox.arrive(now, 4, 3), Arrival::Acked(4));
        assert_eq!(inbox.arrive(now, 5, 4), Arrival::Next);
    }

    #[test]
    fn a_receiver_of_unknown_mark_says_what_is_new_to_it() {
        let (mut inbox, now) = (Inbox::since(0), Mono::default());
        assert_eq!(inbox.arrive(now, 8, 6), Arrival::Skip);
        assert_eq!(inbox.arrive(now, 7, 6), Arrival::Next);
        assert_eq!(inbox.settled(), Some(6), "it may wait for 1");
        assert_eq!(inbox.arrive(now, 8, 6), Arrival::Next);
        assert!(inbox.ack(7));
        assert_eq!(inbox.settled(), Some(7), "a client that came back may forget it again");
        assert_eq!(inbox.arrive(now, 7, 6), Arrival::Acked(7));
        assert!(!inbox.ack(9));
        let mut inbox = Inbox::since(0);
        assert!(inbox.ack(5)); // it took that on a former socket
    }

    #[test]
    fn what_was_taken_by_the_former_socket_leaves_no_gap() {
        // It said 27 when it came back, and took 28 on the socket that it still had.
        let (mut inbox, now) = (Inbox::since(27), Mono(RESEND_AFTER));
        assert_eq!(inbox.arrive(now, 27, 26), Arrival::Acked(27));
        assert_eq!(inbox.arrive(now, 29, 28), Arrival::Next, "28 never comes again");
        assert_eq!(inbox.settled(), Some(28));
        assert_eq!(inbox.arrive(now, 30, 28), Arrival::Next);
        assert_eq!(inbox.arrive(now, 29, 28), Arrival::Skip); // it came by two ways
        assert!(inbox.ack(29));
        assert_eq!(inbox.arrive(now, 32, 28), Arrival::Skip);
        assert_eq!(inbox.arrive(now, 31, 28), Arrival::Next);

        // 28 was lost: it comes again, before all that followed it.
        let mut inbox = Inbox::since(27);
        for (id, does) in [(29, Arrival::Skip), (28, Arrival::Next), (29, Arrival::Next), (30, Arrival::Next)]
        {
            assert_eq!(inbox.arrive(now, id, 27), does, "{id}");
        }
        assert_eq!(inbox.arrive(now + RESEND_AFTER, 28, 27), Arrival::Next); // is its acknowledgement lost?
        assert!(inbox.ack(30));
        assert!(!inbox.ack(31));
    }

    #[test]
    fn what_its_sender_has_given_up_is_waited_for_no_more() {
        // It took 4; 5 to 9 its sender was told to be undelivered.
        let (mut inbox, now) = (Inbox::since(4), Mono(RESEND_AFTER));
        assert_eq!(inbox.arrive(now, 10, 9), Arrival::Next);
        assert_eq!(inbox.settled(), Some(9));
        assert_eq!(inbox.arrive(now, 7, 4), Arrival::Skip, "one that was late");
        assert_eq!(inbox.arrive(now, 11, 9), Arrival::Next);
        assert!(inbox.ack(11));
        assert_eq!(inbox.arrive(now, u64::MAX, u64::MAX), Arrival::Next, "its own affair");
        assert_eq!(inbox.settled(), Some(u64::MAX - 1));
    }
}

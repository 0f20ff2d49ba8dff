//! What waits to be written to a stream.

use std::collections::VecDeque;
use std::io;

use chappe_proto::limits::{STREAM_CONTROL_BYTES, STREAM_MEDIA_BYTES};

/// A queue that keeps its storage no longer than it is used by more than this.
const KEEP: usize = 8 * 1024;

/// A client that does not read its answers: its stream is to be closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stuck;

/// Messages that wait for the stream to take them. Media gives way to newer media, oldest first; STUN
/// messages never do.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// The messages that `bytes` is made of.
    messages: VecDeque<Message>,
    /// How much of the first message the stream has already taken: still at the start of `bytes`.
    taken: usize,
    /// Media messages that gave way.
    dropped: u64,
}

struct Message {
    len: usize,
    media: bool,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Media messages that gave way since the last time that this was asked.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Queues relayed data: `head`, `body` and `pad` zero bytes.
    pub(crate) fn media(&mut self, head: &[u8], body: &[u8], pad: u8) {
        let len = head.len() + body.len() + usize::from(pad);
        if self.bytes.len() + len > STREAM_MEDIA_BYTES {
            self.make_room();
        }
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len() + usize::from(pad), 0);
        self.messages.push_back(Message { len, media: true });
    }

    /// Queues a STUN message.
    pub(crate) fn control(&mut self, message: &[u8]) -> Result<(), Stuck> {
        if self.bytes.len() + message.len() > STREAM_MEDIA_BYTES + STREAM_CONTROL_BYTES {
            self.make_room();
            if self.bytes.len() + message.len() > STREAM_MEDIA_BYTES + STREAM_CONTROL_BYTES {
                return Err(Stuck);
            }
        }
        self.bytes.extend_from_slice(message);
        self.messages.push_back(Message { len: message.len(), media: false });
        Ok(())
    }

    /// Drops the oldest media until half of its room is free; a message that the stream has begun to take
    /// stays.
    fn make_room(&mut self) {
        let (mut from, mut to, mut begun) = (0, 0, self.taken > 0);
        let goal = STREAM_MEDIA_BYTES / 2;
        let mut left = self.bytes.len();
        let (bytes, dropped) = (&mut self.bytes, &mut self.dropped);
        let taken = self.taken;
        self.messages.retain(|message| {
            let here = message.len - if begun { taken } else { 0 };
            let drop = message.media && !begun && left > goal;
            begun = false;
            if drop {
                left -= here;
                *dropped += 1;
            } else {
                bytes.copy_within(from..from + here, to);
                to += here;
            }
            from += here;
            !drop
        });
        bytes.truncate(to);
    }

    /// Writes until nothing is left or the stream takes no more (`write` says `WouldBlock`); `each` message by
    /// itself, or as much as there is.
    pub(crate) fn flush(
        &mut self,
        each: bool,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut lengths = self.messages.iter().map(|message| message.len);
        // What is written next ends there. Of the first message a part has left already.
        let mut end = if each { lengths.next().unwrap_or(0) - self.taken } else { self.bytes.len() };
        let mut written = 0;
        let result = loop {
            if written == self.bytes.len() {
                break Ok(());
            }
            if written == end {
                end += lengths.next().unwrap_or(0);
            }
            match write(&self.bytes[written..end]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.forget(written);
        result
    }

    /// Removes what the stream has taken.
    fn forget(&mut self, written: usize) {
        if written == self.bytes.len() {
            self.bytes.clear();
            self.messages.clear();
            self.taken = 0;
            self.bytes.shrink_to(KEEP);
            return;
        }
        self.bytes.drain(..written);
        self.taken += written;
        while let Some(first) = self.messages.front()
            && first.len <= self.taken
        {
            self.taken -= first.len;
            self.messages.pop_front();
        }
    }

    /// Gives the storage of an empty queue back.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Self { dropped: self.dropped, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream that takes `window` bytes gets.
    fn take(queue: &mut Outgoing, mut window: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let each = window.is_multiple_of(2);
        queue
            .flush(each, |bytes| {
                let count = window.min(bytes.len());
                window -= count;
                got.extend_from_slice(&bytes[..count]);
                if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
            })
            .unwrap();
        got
    }

    #[test]
    fn what_is_queued_arrives_in_order_however_the_stream_takes_it() {
        let mut queue = Outgoing::default();
        queue.media(b"head", b"body!", 3);
        queue.control(b"control").unwrap();
        let mut got = Vec::new();
        while !queue.is_empty() {
            got.extend(take(&mut queue, 2));
        }
        assert_eq!(got, b"headbody!\0\0\0control");
        assert_eq!(queue.take_dropped(), 0);
    }

    #[test]
    fn each_message_is_written_by_itself_where_that_is_wanted() {
        let mut queue = Outgoing::default();
        for message in [&b"one!"[..], b"two two!", b"three three!"] {
            queue.control(message).unwrap();
        }
        let mut room = 6;
        let mut got = Vec::new();
        let mut write = |room: &mut usize, queue: &mut Outgoing| {
            queue.flush(true, |bytes| {
                let count = bytes.len().min(*room);
                *room -= count;
                got.push(bytes[..count].to_vec());
                if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
            })
        };
        write(&mut room, &mut queue).unwrap();
        room = 100;
        write(&mut room, &mut queue).unwrap();
        assert_eq!(got, [&b"one!"[..], b"tw", b"", b"o two!", b"three three!"]);
    }

    #[test]
    fn the_oldest_media_gives_way_but_not_what_was_begun_nor_control() {
        let mut queue = Outgoing::default();
        let count = STREAM_MEDIA_BYTES / 1000;
        let packet = |n: usize| vec![u8::try_from(n % 251).unwrap(); 996];
        for n in 0..count {
            queue.media(b"abcd", &packet(n), 0);
            if n == 1 {
                queue.control(b"control").unwrap();
            }
        }
        let mut got = take(&mut queue, 10);
        queue.media(b"abcd", &packet(count), 0);
        queue.media(b"abcd", &packet(count + 1), 0);
        got.extend(take(&mut queue, usize::MAX));
        let dropped = usize::try_from(queue.take_dropped()).unwrap();
        assert!(dropped > count / 3, "{dropped}");
        let mut expected = [b"abcd".as_slice(), &packet(0), b"control"].concat();
        for n in 1 + dropped..count + 2 {
            expected.extend([b"abcd".as_slice(), &packet(n)].concat());
        }
        assert!(got == expected, "{} {}", got.len(), expected.len());
    }

    #[test]
    fn a_client_that_reads_no_answers_is_stuck() {
        let mut queue = Outgoing::default();
        let answer = [1; 100];
        let limit = (STREAM_MEDIA_BYTES + STREAM_CONTROL_BYTES) / 100;
        for _ in 0..limit {
            queue.control(&answer).unwrap();
        }
        assert_eq!(queue.control(&answer), Err(Stuck));
    }

    /// After any history: messages arrive whole and in order, none of control is lost, what is missing is
    /// counted, and no more waits than may.
    #[test]
    fn any_history_leaves_whole_messages_in_order() {
        let mut state = 1_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..40 {
            let (mut queue, mut got) = (Outgoing::default(), Vec::new());
            let (mut number, mut controls, mut dropped) = (0_u32, 0, 0);
            for _ in 0..300 {
                match random(8) {
                    0 => got.extend(take(&mut queue, random(40_000))),
                    1 => got.extend(take(&mut queue, random(5))),
                    2 => {
                        let mut message = vec![1];
                        message.extend(number.to_be_bytes());
                        message.extend([0, 0]);
                        if queue.control(&message) == Ok(()) {
                            controls += 1;
                            number += 1;
                        }
                    }
                    _ => {
                        let length = u16::try_from(random(3000)).unwrap();
                        let head = [&[2][..], &number.to_be_bytes(), &length.to_be_bytes()].concat();
                        queue.media(&head, &vec![7; usize::from(length)], 0);
                        number += 1;
                    }
                }
                assert!(queue.bytes.len() <= STREAM_MEDIA_BYTES + STREAM_CONTROL_BYTES);
                dropped += queue.take_dropped();
            }
            got.extend(take(&mut queue, usize::MAX));
            assert!(queue.is_empty());
            let (mut rest, mut last, mut seen) = (&got[..], None, [0_u64; 3]);
            while let [kind, a, b, c, d, high, low, tail @ ..] = rest {
                let number = u32::from_be_bytes([*a, *b, *c, *d]);
                assert!(last.is_none_or(|last| last < number), "out of order");
                last = Some(number);
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                assert!(tail[..length].iter().all(|byte| *byte == 7), "torn");
                seen[usize::from(*kind)] += 1;
                rest = &tail[length..];
            }
            assert!(rest.is_empty());
            assert_eq!((seen[1], seen[2] + dropped), (controls, u64::from(number) - controls));
        }
    }
}

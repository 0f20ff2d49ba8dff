//! The queue of datagrams to send, kept as trains: packets of equal size to one destination become one
//! message that the kernel (or the network card) cuts into segments again.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::address::Name;
use super::control::Control;
use super::{HEADROOM, Inbox, SEGMENT_MAX, SEGMENTS_MAX, SEND_MAX};

/// Messages of one flush.
const MESSAGES: usize = 256;
/// Stretches of bytes of one flush.
const PIECES: usize = 2048;
/// Bytes of one flush that lie in no buffer of the [`Inbox`]: heads of trains, and answers.
const SCRATCH: usize = 256 * 1024;
/// The longest thing that one push copies there: a STUN message.
const SCRATCH_EACH: usize = 65_536 + 64;
/// How far back a train is looked for that a packet may join: packets of several senders come interleaved.
const LOOK_BACK: usize = 8;
/// Marks a [`Piece`] as one of the scratch bytes.
pub(super) const IN_SCRATCH: usize = 1 << (usize::BITS - 1);
/// The end of a chain of [`Piece`]s.
const END: u32 = u32::MAX;

/// The scratch begins with so many zero bytes: those of padding.
const ZEROS: usize = 4;

/// A payload on its way: what goes before it, where it lies in its packet's slot, what goes behind it.
pub struct Part<'a> {
    /// The bytes before it.
    pub head: &'a [u8],
    /// Where it lies.
    pub body: Range<usize>,
    /// How many zero bytes follow.
    pub pad: u8,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The caller's name of the socket.
    pub socket: u32,
    /// The destination.
    pub to: SocketAddr,
    /// The address of this host that it leaves from, where the socket has several.
    pub from: Option<IpAddr>,
    /// Its DSCP and ECN (the IPv4 TOS, the IPv6 traffic class).
    pub tos: u8,
    /// Not to be fragmented: sent by itself, in IPv4 with the DF bit.
    pub df: bool,
}

impl Target {
    /// Unmarked, and fragmented where needed.
    #[must_use]
    pub const fn new(socket: u32, to: SocketAddr, from: Option<IpAddr>) -> Self {
        Self { socket, to, from, tos: 0, df: false }
    }

    /// Whether the socket must be told before and after.
    const fn needs_df_bit(&self) -> bool {
        self.df && self.to.is_ipv4()
    }
}

/// Packets that the kernel did not take, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// The socket's or the interface's queue was full (EAGAIN, ENOBUFS, ENOMEM).
    pub full: u64,
    /// Longer than the path takes (EMSGSIZE).
    pub too_long: u64,
    /// No way there: no route, refused by a firewall or by an ICMP error.
    pub unreachable: u64,
    /// Anything else.
    pub other: u64,
    /// Trains that had to be sent packet by packet. None of them is lost.
    pub untrained: u64,
}

/// A datagram or a train.
pub(super) struct Message {
    pub(super) target: Target,
    /// The size of every segment but the last.
    pub(super) segment: usize,
    pub(super) total: usize,
    pub(super) count: usize,
    /// Takes no more: its last segment was shorter, or it is none to be cut.
    closed: bool,
    pub(super) first: u32,
    last: u32,
    pub(super) pieces: u32,
}

/// A stretch of bytes in the arena, or ([`IN_SCRATCH`]) in the scratch.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) next: u32,
}

/// The queue. Everything in it is sent by [`Outbox::flush`], before the [`Inbox`] is cleared.
pub struct Outbox {
    pub(super) messages: Vec<Message>,
    pub(super) pieces: Vec<Piece>,
    pub(super) scratch: Vec<u8>,
    /// Whether the kernel cuts trains for us.
    pub(super) segments: bool,
    pub(super) headers: Vec<libc::mmsghdr>,
    pub(super) iovecs: Vec<libc::iovec>,
    pub(super) names: Vec<Name>,
    pub(super) controls: Vec<Control>,
    pub(super) too_long: Vec<Target>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self {
            messages: Vec::with_capacity(MESSAGES),
            pieces: Vec::with_capacity(PIECES),
            scratch: zeros(),
            segments: true,
            headers: Vec::with_capacity(MESSAGES),
            iovecs: Vec::with_capacity(PIECES),
            names: Vec::with_capacity(MESSAGES),
            controls: Vec::with_capacity(MESSAGES),
            too_long: Vec::new(),
        }
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether the next push might find no room: flush first.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.messages.len() == MESSAGES
            || self.pieces.len() + 3 > PIECES
            || self.scratch.len() + SCRATCH_EACH > SCRATCH
    }

    /// How many messages and stretches of bytes are queued.
    #[cfg(test)]
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.messages.len(), self.pieces.len())
    }

    /// Queues a payload that lies in `slot` of the inbox. `segment` is where the packet that it is taken
    /// from lies: what of that comes before the payload is free to be
    /// overwritten by the head, so that head and body are one stretch. `pad` zero bytes follow, at most 3.
    /// Answers false when full.
    pub fn push(
        &mut self,
        inbox: &mut Inbox,
        target: Target,
        slot: usize,
        segment: &Range<usize>,
        part: &Part<'_>,
    ) -> bool {
        let Part { head, body, pad } = part;
        let pad = usize::from(*pad).min(ZEROS);
        if self.is_full() || body.end < body.start {
            return false;
        }
        let free = body.start - segment.start.min(body.start) + if segment.start == 0 { HEADROOM } else { 0 };
        let at = Inbox::position(slot, body.start);
        let message = self.message(target, head.len() + body.len() + pad);
        if head.len() <= free {
            let start = at - head.len();
            inbox.bytes_mut(start, head.len()).copy_from_slice(head);
            self.append(message, start, head.len() + body.len());
        } else {
            let start = self.scratch.len();
            self.scratch.extend_from_slice(head);
            self.append(message, start | IN_SCRATCH, head.len());
            self.append(message, at, body.len());
        }
        if pad > 0 {
            self.append(message, IN_SCRATCH, pad);
        }
        true
    }

    /// Queues a copy of `bytes`. Answers false when full.
    pub fn push_copy(&mut self, target: Target, bytes: &[u8]) -> bool {
        if self.is_full() || bytes.len() > SCRATCH_EACH {
            return false;
        }
        let start = self.scratch.len();
        self.scratch.extend_from_slice(bytes);
        let message = self.message(target, bytes.len());
        self.append(message, start | IN_SCRATCH, bytes.len());
        true
    }

    /// The message that a packet of `size` bytes joins, or a new one; its counts include the packet.
    fn message(&mut self, target: Target, size: usize) -> usize {
        let from = self.messages.len().saturating_sub(LOOK_BACK);
        let found = self.messages[from..].iter().rposition(|message| message.target == target);
        if let Some(found) = found {
            let message = &mut self.messages[from + found];
            let fits = message.total + size <= SEND_MAX && message.count < SEGMENTS_MAX;
            if !message.closed && fits && (1..=message.segment).contains(&size) {
                message.closed = size < message.segment;
                message.total += size;
                message.count += 1;
                return from + found;
            }
        }
        let closed = !self.segments || size == 0 || size > SEGMENT_MAX || target.df;
        self.messages.push(Message {
            target,
            segment: size,
            total: size,
            count: 1,
            closed,
            first: END,
            last: END,
            pieces: 0,
        });
        self.messages.len() - 1
    }

    /// Adds a stretch of bytes to a message, joined to its last where it follows that one in memory.
    fn append(&mut self, message: usize, at: usize, len: usize) {
        let message = &mut self.messages[message];
        if let Some(last) = self.pieces.get_mut(message.last as usize)
            && last.at + last.len == at
        {
            last.len += len;
            return;
        }
        let Ok(index) = u32::try_from(self.pieces.len()) else { return };
        if let Some(last) = self.pieces.get_mut(message.last as usize) {
            last.next = index;
        } else {
            message.first = index;
        }
        message.last = index;
        message.pieces += 1;
        self.pieces.push(Piece { at, len, next: END });
    }

    /// Where those went that were too long to be sent unfragmented, since the last call.
    pub(crate) fn take_too_long(&mut self) -> Vec<Target> {
        std::mem::take(&mut self.too_long)
    }

    /// Sends everything. `socket` finds the socket of a name; packets of a name that it does not find
    /// are dropped without being counted.
    pub fn flush<'a>(
        &mut self,
        inbox: &Inbox,
        socket: impl Fn(u32) -> Option<BorrowedFd<'a>>,
        refusals: &mut Refusals,
    ) {
        let mut at = 0;
        while let Some(first) = self.messages.get(at) {
            let (name, df) = (first.target.socket, first.target.needs_df_bit());
            let same = |target: &Target| target.socket == name && target.needs_df_bit() == df;
            let run = self.messages[at..].iter().take_while(|message| same(&message.target)).count();
            if let Some(fd) = socket(name) {
                // Nothing goes out without the bit that was asked for.
                if !df || super::forbid_fragments(fd).is_ok() {
                    self.send(fd.as_raw_fd(), at..at + run, inbox, refusals);
                }
                if df && super::allow_fragments(fd, false).is_err() {
                    refusals.other += 1;
                }
            }
            at += run;
        }
        self.messages.clear();
        self.pieces.clear();
        self.scratch.truncate(ZEROS);
    }
}

// SAFETY: the pointers among its fields are only followed within `flush`, which sets them itself.
unsafe impl Send for Outbox {}

/// A scratch without anything in it.
fn zeros() -> Vec<u8> {
    let mut scratch = Vec::with_capacity(SCRATCH);
    scratch.resize(ZEROS, 0);
    scratch
}

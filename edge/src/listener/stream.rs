//! One client's stream.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use chappe_proto::limits::{STREAM_IDLE, STREAM_MESSAGE_WITHIN};
use chappe_proto::time::Mono;
use chappe_proto::turn::FiveTuple;
use mio::net::TcpStream;

use super::outgoing::{Outgoing, Stuck};
use crate::udp::Inbox;

/// One client's stream.
pub(crate) struct Stream {
    socket: TcpStream,
    /// Who it is.
    pub(crate) client: FiveTuple,
    /// The start of a message whose end has not come. No storage while there is none.
    partial: Vec<u8>,
    /// What waits to be written.
    outgoing: Outgoing,
    /// Whether the last write left something for when the stream takes more.
    blocked: bool,
    /// Since when a whole message is awaited: the accept, or the first byte of a partial one.
    awaiting: Option<Mono>,
    /// When the last whole message came.
    heard: Mono,
    /// To be closed at the end of this turn.
    pub(crate) doomed: bool,
    /// To be looked at at the end of this turn.
    pub(crate) touched: bool,
}

/// What reading a stream brought.
pub(crate) enum Got {
    /// Bytes up to this length in a slot of the inbox. `more` when the stream may hold more.
    Bytes { slot: usize, len: usize, more: bool },
    /// None at present.
    Nothing,
    /// It has ended or failed.
    End,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, client: FiveTuple, now: Mono) -> Self {
        Self {
            socket,
            client,
            partial: Vec::new(),
            outgoing: Outgoing::default(),
            blocked: false,
            awaiting: Some(now),
            heard: now,
            doomed: false,
            touched: false,
        }
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Reads into a free slot, behind the partial message that was kept.
    pub(crate) fn read(&mut self, inbox: &mut Inbox) -> Got {
        let mut room = 0;
        let socket = &mut self.socket;
        let read = inbox.fill(&self.partial, |buffer| {
            room = buffer.len();
            loop {
                match socket.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => return other,
                }
            }
        });
        match read {
            Ok((_, 0)) => Got::End,
            Ok((slot, added)) => {
                let len = self.partial.len() + added;
                Got::Bytes { slot, len, more: added == room }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
            Err(_) => Got::End,
        }
    }

    /// Keeps what no whole message was made of, and notes whether any was.
    pub(crate) fn keep(&mut self, rest: &[u8], any: bool, now: Mono) {
        if any {
            self.heard = now;
            self.awaiting = None;
        }
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
            self.awaiting.get_or_insert(now);
        }
    }

    /// Queues relayed data.
    pub(crate) fn media(&mut self, head: &[u8], body: &[u8], pad: u8) {
        self.outgoing.media(head, body, pad);
    }

    /// Queues a STUN message; a client that reads none is given up.
    pub(crate) fn control(&mut self, message: &[u8]) {
        if self.outgoing.control(message) == Err(Stuck) {
            self.doomed = true;
        }
    }

    /// Writes what waits, unless the stream takes nothing at present. Answers how much media gave way.
    pub(crate) fn flush(&mut self) -> u64 {
        if !self.blocked {
            let socket = &mut self.socket;
            if self.outgoing.flush(|bytes| socket.write(bytes)).is_err() {
                self.doomed = true;
            }
            self.blocked = !self.outgoing.is_empty();
        }
        self.outgoing.take_dropped()
    }

    /// The stream takes more again. Answers whether something waits for that.
    pub(crate) fn unblock(&mut self) -> bool {
        std::mem::take(&mut self.blocked)
    }

    /// Whether it is overdue: a message was begun and not finished, or, where `idle`, none came for long.
    pub(crate) fn is_overdue(&self, now: Mono) -> Overdue {
        match self.awaiting {
            Some(since) if now.since(since) >= STREAM_MESSAGE_WITHIN => Overdue::Message,
            _ if now.since(self.heard) >= STREAM_IDLE => Overdue::Idle,
            _ => Overdue::No,
        }
    }

    /// Counts its silence from now on.
    pub(crate) fn excuse(&mut self, now: Mono) {
        self.heard = now;
        self.outgoing.release();
    }

    /// Says goodbye; what the kernel has taken is still delivered.
    pub(crate) fn close(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// Whether a stream is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It is not.
    No,
    /// A whole message has not come in time.
    Message,
    /// No message has come for long: fine for the holder of an allocation.
    Idle,
}

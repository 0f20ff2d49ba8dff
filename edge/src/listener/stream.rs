//! One client's stream, over TCP or TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};

use chappe_proto::limits::{PROXY_HEADER_WITHIN, STREAM_IDLE, STREAM_MESSAGE_WITHIN};
use chappe_proto::time::Mono;
use chappe_proto::turn::{FiveTuple, Limit};
use mio::net::TcpStream;

use super::half_open::Ticket;
use super::opening::Opening;
use super::outgoing::{Outgoing, Stuck};
use super::tls::Tls;
use crate::config::Backend;
use crate::udp::Inbox;

/// A connection, and its TLS where it has one.
pub(crate) struct Parts {
    pub(crate) socket: TcpStream,
    pub(crate) tls: Option<Box<Tls>>,
    /// Whose it is.
    pub(crate) client: FiveTuple,
}

impl Parts {
    /// Says goodbye; what the kernel has taken is still delivered.
    pub(crate) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            let _ = tls.finish(&mut self.socket);
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Reads what fits into `into`, `cipher` being room for what TLS is to decrypt. Nothing is the end.
    pub(super) fn read(&mut self, cipher: &mut [u8], into: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.tls {
            None => return take(&mut self.socket, into),
            Some(tls) => tls.read(&mut self.socket, cipher, into),
        };
        match read {
            Ok(added) => Ok(added.len),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Writes a part of `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(bytes),
            Some(tls) => tls.write(&mut self.socket, bytes),
        }
    }

    /// Writes what TLS itself has to say.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => match tls.flush(&mut self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                other => other,
            },
            None => Ok(()),
        }
    }

    pub(super) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

/// Reads a socket.
fn take(socket: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// One client's stream.
pub(crate) struct Stream {
    pub(super) parts: Parts,
    /// The listener that accepted it.
    pub(crate) listener: usize,
    /// What comes before its first byte is read.
    pub(super) opening: Option<Opening>,
    /// What it is counted by.
    pub(super) source: Option<IpAddr>,
    /// Its place among those that no whole message has come from.
    pub(super) ticket: Option<Ticket>,
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
    /// HTTP requests that were answered on it: one that has had any is no TURN client's.
    pub(crate) answered: u32,
}

/// What reading a stream brought.
pub(crate) enum Got {
    /// Bytes up to this length in a slot of the inbox. `more` when the stream may hold more.
    Bytes { slot: usize, len: usize, more: bool },
    /// None at present.
    Nothing,
    /// It has ended or failed.
    End,
    /// Its client has too many.
    Limited(Limit, IpAddr),
    /// Another stream must be closed for it: the oldest that is half open.
    Displaced(usize),
    /// It is a web client's, to be passed on as it is.
    Web(Backend),
}

impl Stream {
    pub(super) fn new(parts: Parts, listener: usize, opening: Opening, now: Mono) -> Self {
        Self {
            parts,
            listener,
            opening: Some(opening),
            source: None,
            ticket: None,
            partial: Vec::new(),
            outgoing: Outgoing::default(),
            blocked: false,
            awaiting: Some(now),
            heard: now,
            doomed: false,
            touched: false,
            answered: 0,
        }
    }

    /// Who it is.
    pub(crate) fn client(&self) -> FiveTuple {
        self.parts.client
    }

    /// Whether no whole message has come from it yet.
    pub(crate) fn is_half_open(&self) -> bool {
        self.ticket.is_some()
    }

    /// What was agreed on by ALPN.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.parts.tls.as_ref().and_then(|tls| tls.alpn())
    }

    /// Whether TLS has something to say although nothing is queued.
    pub(crate) fn wants_write(&self) -> bool {
        !self.blocked && self.parts.wants_write()
    }

    /// Reads into a free slot, behind the partial message that was kept.
    pub(super) fn read(&mut self, inbox: &mut Inbox, cipher: &mut [u8]) -> Got {
        let mut more = false;
        let Parts { socket, tls, .. } = &mut self.parts;
        let read = inbox.fill(&self.partial, |buffer| match tls {
            Some(tls) => {
                let added = tls.read(socket, cipher, buffer)?;
                more = added.more;
                Ok(added.len)
            }
            None => {
                let count = take(socket, buffer)?;
                more = count == buffer.len();
                if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
            }
        });
        match read {
            Ok((slot, added)) => Got::Bytes { slot, len: self.partial.len() + added, more },
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
            let parts = &mut self.parts;
            // A record for each message: some clients take one for the other (coturn's among them).
            let each = parts.tls.is_some();
            if parts.flush().is_err() || self.outgoing.flush(each, |bytes| parts.write(bytes)).is_err() {
                self.doomed = true;
            }
            self.blocked = !self.outgoing.is_empty() || parts.wants_write();
        }
        self.outgoing.take_dropped()
    }

    /// Whether all that was queued has been written.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.blocked && self.outgoing.is_empty()
    }

    /// The stream takes more again. Answers whether something waits for that.
    pub(crate) fn unblock(&mut self) -> bool {
        std::mem::take(&mut self.blocked)
    }

    /// Whether it is overdue: a message was begun and not finished, or, where `idle`, none came for long.
    pub(crate) fn is_overdue(&self, now: Mono) -> Overdue {
        let within = match self.opening {
            Some(Opening::Header { .. }) => PROXY_HEADER_WITHIN,
            _ => STREAM_MESSAGE_WITHIN,
        };
        match self.awaiting {
            Some(since) if now.since(since) >= within => Overdue::Message,
            _ if now.since(self.heard) >= STREAM_IDLE => Overdue::Idle,
            _ => Overdue::No,
        }
    }

    /// Counts its silence from now on.
    pub(crate) fn excuse(&mut self, now: Mono) {
        self.heard = now;
        self.outgoing.release();
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

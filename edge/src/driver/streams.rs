//! Streams: accepted, read, written, closed.

use std::collections::HashSet;
use std::time::Duration;

use chappe_proto::limits::STREAM_BURST;
use chappe_proto::stun;
use chappe_proto::time::{Mono, Now};
use chappe_proto::turn::{FiveTuple, Limit};

use super::{Drained, Driver};
use crate::listener::{Accepted, Got, HTTP, Overdue, TcpListener, stream_via};
use crate::token::{Ready, token};

/// Streams are looked through for overdue ones this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Driver {
    /// Accepts a part of the streams that wait.
    pub(super) fn tcp_ready(&mut self, now: Now, index: usize) -> Drained {
        for _ in 0..STREAM_BURST {
            let Some(listener) = self.tcp.get(index) else { return Drained::Yes };
            let name = |stream| token(Ready::Stream(stream));
            match self.streams.accept(listener, index, self.poll.registry(), name, now.mono) {
                Accepted::Stream { displaced } => {
                    self.sweep_soon(now);
                    self.displace(now, displaced);
                }
                Accepted::Full(limit, source) => {
                    self.counters.refused_streams += 1;
                    self.limited(now, limit, 1, source);
                }
                Accepted::Refused => self.counters.refused_streams += 1,
                Accepted::Nothing => return Drained::Yes,
                Accepted::Exhausted => {
                    // Tried again at the next sweep, when a stream or an allocation may have ended.
                    self.counters.refused_streams += 1;
                    self.sweep_soon(now);
                    return Drained::Yes;
                }
            }
        }
        Drained::No
    }

    /// Takes a part of what a stream has.
    pub(super) fn stream_ready(&mut self, now: Now, index: usize, ending: bool) -> Drained {
        for _ in 0..STREAM_BURST {
            self.free_slot();
            let Some(stream) = self.streams.get(index) else { return Drained::Yes };
            if stream.doomed {
                return Drained::Yes;
            }
            let got = self.streams.read(index, &self.tcp, ending, &mut self.inbox, now.mono);
            if self.streams.get(index).is_some_and(|stream| stream.wants_write()) {
                self.touch(index);
            }
            match got {
                Got::Nothing => return Drained::Yes,
                Got::End => {
                    self.doom(index);
                    return Drained::Yes;
                }
                Got::Limited(limit, source) => {
                    self.limited(now, limit, 1, source);
                    self.counters.refused_streams += 1;
                    self.doom(index);
                    return Drained::Yes;
                }
                Got::Displaced(other) => self.displace(now, Some(other)),
                Got::Web(backend) => {
                    self.pass_to_web(now, index, backend, None);
                    return Drained::Yes;
                }
                Got::Bytes { slot, len, more } => {
                    self.stream_bytes(now, index, slot, len);
                    // A read that leaves room has emptied the stream (epoll(7)): another would be in vain.
                    if !more && !ending {
                        return Drained::Yes;
                    }
                }
            }
        }
        Drained::No
    }

    /// Handles the messages among a stream's unread bytes, and keeps the rest.
    fn stream_bytes(&mut self, now: Now, index: usize, slot: usize, len: usize) {
        let Some(stream) = self.streams.get(index) else { return };
        let client = &stream.client();
        if stream.is_half_open()
            && self.tcp.get(stream.listener).is_some_and(TcpListener::takes_http)
            && (stream.answered > 0 || is_web(stream.alpn(), self.inbox.bytes(slot, len)))
        {
            return self.http_bytes(now, index, slot, len);
        }
        let mut start = 0;
        loop {
            match stun::frame(&self.inbox.bytes(slot, len)[start..]) {
                Ok(Some(size)) => {
                    self.client_message(now, client, stream_via(index), slot, start, start + size);
                    start += size;
                }
                Ok(None) => break,
                Err(stun::Malformed) => return self.doom(index),
            }
        }
        self.streams.keep(index, &self.inbox.bytes(slot, len)[start..], start > 0, now.mono);
    }

    /// A stream takes more.
    pub(super) fn writable(&mut self, index: usize) {
        if let Some(stream) = self.streams.get(index)
            && stream.unblock()
        {
            self.touch(index);
        }
    }

    /// Has a stream written to at the end of this turn.
    pub(super) fn touch(&mut self, index: usize) {
        if let Some(stream) = self.streams.get(index)
            && !std::mem::replace(&mut stream.touched, true)
        {
            self.touched.push(index);
        }
    }

    /// Has a stream closed at the end of this turn.
    pub(super) fn doom(&mut self, index: usize) {
        if let Some(stream) = self.streams.get(index) {
            stream.doomed = true;
            self.touch(index);
        }
    }

    /// Writes to the streams that have something to be written, and closes those that are to be closed.
    pub(super) fn finish_streams(&mut self, now: Now) {
        while let Some(index) = self.touched.pop() {
            let Some(stream) = self.streams.get(index) else { continue };
            stream.touched = false;
            let (lost, source) = (stream.flush(), stream.client().client.ip());
            let doomed = stream.doomed;
            if lost > 0 {
                self.counters.stream_full += lost;
                self.limited(now, Limit::StreamBuffer, lost, source);
            }
            if doomed && let Some(client) = self.streams.close(self.poll.registry(), index) {
                self.server.handle_closed(now, &client);
                self.outputs(now);
                self.send_queued();
            }
        }
    }

    /// Has streams looked through within a second.
    pub(super) fn sweep_soon(&mut self, now: Now) {
        self.sweep = self.sweep.min(now.mono + SWEEP_EVERY);
    }

    /// Closes a stream that another has displaced.
    fn displace(&mut self, now: Now, index: Option<usize>) {
        if let Some(index) = index {
            self.counters.half_open_displaced += 1;
            if let Some(stream) = self.streams.get(index) {
                let source = stream.client().client.ip();
                self.limited(now, Limit::HalfOpen, 1, source);
            }
            self.doom(index);
        }
    }

    /// Closes overdue streams, and tries again to accept what could not be.
    pub(super) fn sweep(&mut self, now: Now) {
        let mut overdue = Vec::new();
        let mut idle = Vec::new();
        for (index, stream) in self.streams.iter_mut() {
            match stream.is_overdue(now.mono) {
                Overdue::No => {}
                Overdue::Message => overdue.push(index),
                Overdue::Idle => idle.push(index),
            }
        }
        if !idle.is_empty() {
            let holders: HashSet<FiveTuple> =
                self.server.list(now).map(|allocation| *allocation.client).collect();
            for index in idle {
                match self.streams.get(index) {
                    Some(stream) if holders.contains(&stream.client()) => stream.excuse(now.mono),
                    _ => overdue.push(index),
                }
            }
        }
        for index in overdue {
            self.doom(index);
        }
        self.sweep_dtls(now);
        self.pipes.sweep(self.poll.registry(), now.mono);
        let any = self.streams.len() + self.associations.len() + self.pipes.len() > 0;
        self.sweep = if any { now.mono + SWEEP_EVERY } else { Mono::NEVER };
        for index in 0..self.tcp.len() {
            self.ready(now, Ready::Tcp(index), false);
        }
    }
}

/// Whether what a connection has agreed on, or else what it sends first, is a web client's. A STUN message
/// begins with 0 to 3 (RFC 7983 section 7), and ChannelData cannot come first.
fn is_web(alpn: Option<&[u8]>, first: &[u8]) -> bool {
    match alpn {
        Some(protocol) => protocol == HTTP,
        None => first.first().is_some_and(|byte| *byte > 3),
    }
}

//! Connections of web clients: a timing fetch is answered here, everything else passed on to their server.

use std::ops::Range;

use chappe_proto::http::{self, Answer};
use chappe_proto::limits::HTTP_REQUESTS_MAX;
use chappe_proto::time::Now;
use chappe_proto::turn::Limit;

use super::{Drained, Driver};
use crate::config::Backend;
use crate::listener::{Pumped, TcpListener};
use crate::token::{Ready, token};

impl Driver {
    /// Answers the requests among a web client's unread bytes; where a web server shares the port, from the first
    /// that is not the edge's own to answer they go on to it.
    pub(super) fn http_bytes(&mut self, now: Now, index: usize, slot: usize, len: usize) {
        let Some(stream) = self.streams.get(index) else { return };
        let (source, mut answered) = (stream.client().client.ip(), stream.answered);
        let backend = self.tcp.get(stream.listener).and_then(TcpListener::plain_web);
        let mut start = 0;
        while start < len {
            let bytes = &self.inbox.bytes(slot, len)[start..];
            if let Some(backend) = backend.filter(|_| http::is_other(bytes)) {
                return self.pass_to_web(now, index, backend, Some((slot, start..len)));
            }
            let Some(mut request) = http::read(bytes) else { break };
            answered += 1;
            request.keep &= answered < HTTP_REQUESTS_MAX;
            if !self.http.take(now.mono, source) {
                self.limited(now, Limit::HttpRequests, 1, source);
                (request.answer, request.keep) = (Answer::TooMany, false);
            }
            let Some(stream) = self.streams.get(index) else { return };
            stream.answered = answered;
            stream.control(&request.answer.bytes(request.keep));
            self.touch(index);
            if !request.keep {
                return self.doom(index);
            }
            start += request.len;
        }
        // It stays among those that no whole message has come from: those end soonest.
        self.streams.keep(index, &self.inbox.bytes(slot, len)[start..], false, now.mono);
    }

    /// Passes a stream on to a web server: what lies in a slot first, where anything was taken of it.
    pub(super) fn pass_to_web(
        &mut self,
        now: Now,
        index: usize,
        backend: Backend,
        first: Option<(usize, Range<usize>)>,
    ) {
        // What the edge has answered before comes first; a client that does not read it is let go.
        let Some(stream) = self.streams.get(index) else { return };
        stream.flush();
        if !stream.is_flushed() && stream.answered > 0 {
            return self.doom(index);
        }
        let Some(client) = self.streams.take(index) else { return };
        let source = client.client.client.ip();
        let first = first.map_or(&[][..], |(slot, of)| &self.inbox.bytes(slot, of.end)[of.start..]);
        let names = |pipe| (token(Ready::Pipe(pipe)), token(Ready::Backend(pipe)));
        let opened = self.pipes.open(self.poll.registry(), names, client, backend, first, now.mono);
        match opened {
            Ok(pipe) => {
                self.sweep_soon(now);
                self.ready(now, Ready::Pipe(pipe), false);
            }
            Err(limit) => {
                self.counters.refused_web += 1;
                if let Some(limit) = limit {
                    self.limited(now, limit, 1, source);
                }
            }
        }
    }

    /// Moves a part of what a web client's connection has.
    pub(super) fn pipe_ready(&mut self, now: Now, index: usize) -> Drained {
        match self.pipes.pump(index, now.mono) {
            Pumped::Idle => Drained::Yes,
            Pumped::More => Drained::No,
            Pumped::Done => {
                self.pipes.close(self.poll.registry(), index);
                Drained::Yes
            }
        }
    }
}

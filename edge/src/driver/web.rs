//! Connections of web clients, passed on to their server.

use chappe_proto::time::Now;

use super::{Drained, Driver};
use crate::config::Backend;
use crate::listener::Pumped;
use crate::token::{Ready, token};

impl Driver {
    /// Passes a stream on to a web server: what lies in a slot first, where anything was taken of it.
    pub(super) fn pass_to_web(
        &mut self,
        now: Now,
        index: usize,
        backend: Backend,
        first: Option<(usize, usize)>,
    ) {
        let Some(client) = self.streams.take(index) else { return };
        let source = client.client.client.ip();
        let first = first.map_or(&[][..], |(slot, len)| self.inbox.bytes(slot, len));
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

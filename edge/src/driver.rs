//! The loop: receive, handle, poll, send. One thread, which owns the machine and every socket.
//!
//! A turn takes what is ready, a bounded part of each socket, into the buffers of an [`Inbox`]; the
//! machine says of each packet where its payload goes; the [`Outbox`] collects that as trains, and sends
//! it at the end of the turn (or when either is full). Nothing is allocated on the way.

mod orders;
mod receive;
mod send;
mod streams;

use std::io;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use chappe_proto::id::Index;
use chappe_proto::time::{Mono, Now};
use chappe_proto::turn::Server;
use mio::{Events, Poll};

use crate::clock::{self, Clock};
use crate::command::Command;
use crate::listener::{Streams, TcpListener, UdpListener};
use crate::relay::Relays;
use crate::stats::{Lag, SocketCounters};
use crate::token::{Ready, token};
use crate::udp::{Inbox, Outbox};

/// Whether a socket has no more at present.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    Yes,
    /// It had more than its part of this turn.
    No,
}

/// The loop's state.
pub(crate) struct Driver {
    poll: Poll,
    commands: Receiver<Command>,
    clock: Clock,
    server: Server,
    udp: Vec<UdpListener>,
    tcp: Vec<TcpListener>,
    streams: Streams,
    relays: Relays,
    inbox: Inbox,
    outbox: Outbox,
    /// Sockets that had more than their part of the last turn.
    again: Vec<Ready>,
    /// Streams to be written to, or closed, at the end of this turn.
    touched: Vec<usize>,
    /// When the streams are looked through next.
    sweep: Mono,
    applied: Index,
    counters: SocketCounters,
    lag: Lag,
    stopping: bool,
}

impl Driver {
    pub(crate) fn new(
        poll: Poll,
        commands: Receiver<Command>,
        server: impl FnOnce(Now) -> Server,
        mut udp: Vec<UdpListener>,
        mut tcp: Vec<TcpListener>,
    ) -> io::Result<Self> {
        for (index, listener) in udp.iter_mut().enumerate() {
            listener.register(poll.registry(), token(Ready::Udp(index)))?;
        }
        for (index, listener) in tcp.iter_mut().enumerate() {
            listener.register(poll.registry(), token(Ready::Tcp(index)))?;
        }
        let mut clock = Clock::new();
        let server = server(clock.now());
        Ok(Self {
            poll,
            commands,
            clock,
            server,
            udp,
            tcp,
            streams: Streams::default(),
            relays: Relays::default(),
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            again: Vec::new(),
            touched: Vec::new(),
            sweep: Mono::NEVER,
            applied: Index::default(),
            counters: SocketCounters::default(),
            lag: Lag::default(),
            stopping: false,
        })
    }

    /// Turns until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut ended = clock::mono();
        while !self.stopping {
            if let Err(error) = self.poll.poll(&mut events, self.patience(ended))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the system does not let this edge wait for packets; it ends");
                return;
            }
            let now = self.clock.now();
            self.turn(now, &events);
            ended = clock::mono();
            self.lag.note(now.mono, ended);
        }
    }

    /// How long there is nothing to do but wait for packets.
    fn patience(&self, now: Mono) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = self.server.poll_timeout().unwrap_or(Mono::NEVER).min(self.sweep);
        (due != Mono::NEVER).then(|| due.until(now))
    }

    /// Takes what is ready, and sends what comes of it.
    fn turn(&mut self, now: Now, events: &Events) {
        let mut again = std::mem::take(&mut self.again);
        for event in events {
            let ready = Ready::from(event.token());
            if let Ready::Stream(index) = ready
                && event.is_writable()
            {
                self.writable(index);
                if !event.is_readable() && !event.is_read_closed() && !event.is_error() {
                    continue;
                }
            }
            self.ready(now, ready, event.is_read_closed() || event.is_error());
        }
        for ready in again.drain(..) {
            self.ready(now, ready, true);
        }
        if self.server.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.server.handle_timeout(now);
            self.outputs(now);
        }
        if self.sweep <= now.mono {
            self.sweep(now);
        }
        self.send();
        self.finish_streams(now);
    }

    /// Takes a part of what one socket has. `ending` when a stream may have come to its end.
    fn ready(&mut self, now: Now, ready: Ready, ending: bool) {
        let done = match ready {
            Ready::Relay(index) => self.relay_ready(now, index),
            Ready::Udp(index) => self.udp_ready(now, index),
            Ready::Tcp(index) => self.tcp_ready(now, index),
            Ready::Stream(index) => self.stream_ready(now, index, ending),
            Ready::Commands => self.commands_ready(now),
        };
        if done == Drained::No && !self.again.contains(&ready) {
            self.again.push(ready);
        }
    }
}

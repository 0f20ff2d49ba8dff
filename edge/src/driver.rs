//! The loop: receive, handle, poll, send. One thread, which owns the machine and every socket.
//!
//! A turn takes what is ready, a bounded part of each socket, into the buffers of an [`Inbox`]; the
//! machine says of each packet where its payload goes; the [`Outbox`] collects that as trains, and sends
//! it at the end of the turn (or when either is full). Nothing is allocated on the way.

mod dtls;
mod eager;
mod errors;
mod limits;
mod orders;
mod receive;
mod send;
mod streams;
mod web;

use std::io;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use chappe_proto::id::Index;
use chappe_proto::time::{Mono, Now};
use chappe_proto::turn::{FiveTuple, LimitLog, Server, SourceRates};
use mio::{Events, Poll};

use self::eager::Eager;
use crate::clock::{self, Clock};
use crate::command::Command;
use crate::listener::{Associations, Effects, Epoch, Pipes, Streams, TcpListener, UdpListener, http_rates};
use crate::relay::Relays;
use crate::stats::{Lag, SocketCounters};
use crate::token::{Ready, token};
use crate::udp::{Inbox, Outbox, Target};

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
    /// HTTP requests that are answered.
    http: SourceRates,
    pipes: Pipes,
    associations: Associations,
    /// What came of the last datagram, and of the last message, of an association: kept for their storage.
    effects: [Effects; 2],
    /// Clients whose associations have failed in this turn.
    dead: Vec<FiveTuple>,
    relays: Relays,
    inbox: Inbox,
    outbox: Outbox,
    /// Sockets that had more than their part of the last turn.
    again: Vec<Ready>,
    /// The socket that all packets of the last turn came from.
    hot: Option<Ready>,
    eager: Eager,
    /// Packets and trains received.
    received: u64,
    /// Streams to be written to, or closed, at the end of this turn.
    touched: Vec<usize>,
    /// When the streams are looked through next.
    sweep: Mono,
    applied: Index,
    /// Limits that the sockets keep; the machine has its own.
    limits: LimitLog,
    /// Where those packets went that were too long to be sent unfragmented.
    too_long: Vec<Target>,
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
        let (mono, instant) = clock::both();
        Ok(Self {
            poll,
            commands,
            clock,
            server,
            udp,
            tcp,
            streams: Streams::default(),
            http: http_rates(),
            pipes: Pipes::default(),
            associations: Associations::new(Epoch { mono, instant })?,
            effects: Default::default(),
            dead: Vec::new(),
            relays: Relays::default(),
            inbox: Inbox::new(),
            outbox: Outbox::new(),
            again: Vec::new(),
            hot: None,
            eager: Eager::default(),
            received: 0,
            touched: Vec::new(),
            sweep: Mono::NEVER,
            applied: Index::default(),
            limits: LimitLog::default(),
            too_long: Vec::new(),
            counters: SocketCounters::default(),
            lag: Lag::default(),
            stopping: false,
        })
    }

    /// Turns until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut now = self.clock.now();
        while !self.stopping {
            if let Err(error) = self.poll.poll(&mut events, self.patience(now.mono))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the system does not let this edge wait for packets; it ends");
                return;
            }
            self.eager.asked();
            now = self.clock.now();
            self.turn(now, &events);
            now = self.end_turn(now);
            while let Some(hot) = self.hot
                && self.eager.wants()
                && !self.stopping
            {
                let before = self.received;
                self.ready(now, hot, false);
                now = self.end_turn(now);
                let found = self.received != before;
                self.eager.learn(found);
                if !found {
                    break;
                }
            }
        }
    }

    /// How long there is nothing to do but wait for packets.
    fn patience(&self, now: Mono) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = [self.server.poll_timeout(), self.associations.poll_timeout(), Some(self.sweep)];
        let due = due.into_iter().flatten().min().unwrap_or(Mono::NEVER);
        (due != Mono::NEVER).then(|| due.until(now))
    }

    /// Takes what is ready.
    fn turn(&mut self, now: Now, events: &Events) {
        let mut again = std::mem::take(&mut self.again);
        self.hot = None;
        let mut sockets = 0;
        for event in events {
            let ready = Ready::from(event.token());
            sockets += 1;
            match ready {
                Ready::Stream(index) if event.is_writable() => {
                    self.writable(index);
                    if !event.is_readable() && !event.is_read_closed() && !event.is_error() {
                        continue;
                    }
                }
                Ready::Udp(_) | Ready::Relay(_) if sockets == 1 => self.hot = Some(ready),
                _ => {}
            }
            if let Ready::Relay(index) = ready
                && event.is_error()
            {
                self.relay_errors(now, index);
            }
            self.ready(now, ready, event.is_read_closed() || event.is_error());
        }
        for ready in again.drain(..) {
            sockets += 1;
            self.ready(now, ready, true);
        }
        if self.again.is_empty() {
            self.again = again;
        }
        if sockets > 1 {
            // Asking the system once for several of them is cheap.
            self.hot = None;
        }
    }

    /// Does what is due, and sends what came of the turn. Answers when that was done.
    fn end_turn(&mut self, now: Now) -> Now {
        if self.server.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.server.handle_timeout(now);
            self.outputs(now);
        }
        self.dtls_timeouts(now);
        if self.sweep <= now.mono {
            self.sweep(now);
        }
        self.send();
        if !self.too_long.is_empty() {
            self.tell_too_long(now);
            self.send();
        }
        self.finish_streams(now);
        let ended = self.clock.now();
        self.lag.note(now.mono, ended.mono);
        ended
    }

    /// Takes a part of what one socket has. `ending` when a stream may have come to its end.
    fn ready(&mut self, now: Now, ready: Ready, ending: bool) {
        let done = match ready {
            Ready::Relay(index) => self.relay_ready(now, index),
            Ready::Udp(index) => self.udp_ready(now, index),
            Ready::Tcp(index) => self.tcp_ready(now, index),
            Ready::Stream(index) => self.stream_ready(now, index, ending),
            Ready::Pipe(index) | Ready::Backend(index) => self.pipe_ready(now, index),
            Ready::Commands => self.commands_ready(now),
        };
        if done == Drained::No && !self.again.contains(&ready) {
            self.again.push(ready);
        }
    }
}

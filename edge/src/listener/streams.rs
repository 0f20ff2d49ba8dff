//! The streams that were accepted: opened, read, counted, closed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use chappe_proto::limits::{STREAM_UNACKED_FOR, STREAMS_MAX, STREAMS_PER_SOURCE};
use chappe_proto::time::Mono;
use chappe_proto::turn::{FiveTuple, Limit, source};
use mio::{Interest, Registry, Token};
use slab::Slab;
use socket2::SockRef;

use super::half_open::HalfOpen;
use super::handshakes::Handshakes;
use super::opening::{Opening, Step};
use super::stream::Parts;
use super::tls::Tls;
use super::{Got, Stream, TcpListener};
use crate::udp::Inbox;

/// What becomes of the bytes of a TLS record that do not fit elsewhere: room for the longest and more.
const CIPHER: usize = 32 * 1024;

/// What became of an attempt to accept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// A stream was taken. Another may have to be closed for it: the oldest that is half open.
    Stream { displaced: Option<usize> },
    /// One was turned away: too many, of all or of its source.
    Full(Limit, IpAddr),
    /// One was turned away, or has gone already.
    Refused,
    /// There is none to accept.
    Nothing,
    /// This process has no file descriptor left: worth trying again a little later.
    Exhausted,
}

/// The streams of all TCP and TLS listeners.
pub(crate) struct Streams {
    streams: Slab<Stream>,
    sources: HashMap<IpAddr, u32>,
    half_open: HalfOpen,
    handshakes: Handshakes,
    cipher: Box<[u8]>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            streams: Slab::new(),
            sources: HashMap::new(),
            half_open: HalfOpen::default(),
            handshakes: Handshakes::default(),
            cipher: vec![0; CIPHER].into_boxed_slice(),
        }
    }
}

impl Streams {
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Streams that no whole message has come from.
    pub(crate) fn half_open(&self) -> usize {
        self.half_open.len()
    }

    pub(crate) fn get(&mut self, index: usize) -> Option<&mut Stream> {
        self.streams.get_mut(index)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Stream)> {
        self.streams.iter_mut()
    }

    /// Accepts one stream of the `at`th listener.
    pub(crate) fn accept(
        &mut self,
        listener: &TcpListener,
        at: usize,
        registry: &Registry,
        token: impl FnOnce(usize) -> Token,
        now: Mono,
    ) -> Accepted {
        let (mut socket, client) = match listener.socket.accept() {
            Ok(accepted) => accepted,
            Err(error) => return refusal(&error),
        };
        // A proxy's connections are counted by whose they are, which its header tells.
        let of = (!listener.expects_header()).then(|| source(client.ip()));
        if self.streams.len() >= STREAMS_MAX {
            return Accepted::Full(Limit::Streams, client.ip());
        }
        if of.is_some_and(|of| self.is_full(of)) {
            return Accepted::Full(Limit::StreamsPerSource, client.ip());
        }
        let Ok(opening) = Opening::new(listener, client.ip()) else { return Accepted::Refused };
        let entry = self.streams.vacant_entry();
        let prepared = socket.local_addr().and_then(|server| {
            socket.set_nodelay(true)?;
            SockRef::from(&socket.as_fd()).set_tcp_user_timeout(Some(STREAM_UNACKED_FOR))?;
            registry.register(&mut socket, token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
            Ok(server)
        });
        let Ok(server) = prepared else { return Accepted::Refused };
        let (ticket, displaced) = self.half_open.enter(of, entry.key());
        let client = FiveTuple { transport: listener.transport, client, server };
        let parts = Parts { socket, tls: None, client };
        let mut stream = Stream::new(parts, at, opening, now);
        stream.ticket = Some(ticket);
        stream.source = of;
        entry.insert(stream);
        self.count(of);
        Accepted::Stream { displaced }
    }

    fn is_full(&self, source: IpAddr) -> bool {
        self.sources.get(&source).is_some_and(|held| *held >= STREAMS_PER_SOURCE)
    }

    fn count(&mut self, source: Option<IpAddr>) {
        if let Some(source) = source {
            *self.sources.entry(source).or_default() += 1;
        }
    }

    fn uncount(&mut self, source: Option<IpAddr>) {
        let Some(source) = source else { return };
        match self.sources.get_mut(&source) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                self.sources.remove(&source);
            }
        }
    }

    /// Reads a stream into a free slot. `ending` when it may have come to its end.
    pub(crate) fn read(
        &mut self,
        index: usize,
        listeners: &[TcpListener],
        ending: bool,
        inbox: &mut Inbox,
        now: Mono,
    ) -> Got {
        loop {
            let Some(stream) = self.streams.get_mut(index) else { return Got::End };
            let Some(opening) = &mut stream.opening else { return stream.read(inbox, &mut self.cipher) };
            let Some(listener) = listeners.get(stream.listener) else { return Got::End };
            match opening.step(&stream.parts.socket, stream.parts.client, listener, &mut self.cipher) {
                Step::Wait if ending => return Got::End,
                Step::Wait => return Got::Nothing,
                Step::Next => {}
                Step::Client(client) => {
                    if let Some(displaced) = self.carried(index, client) {
                        return displaced;
                    }
                }
                Step::Sealed(backend) => return Got::Web(backend),
                Step::Refused => return Got::End,
                Step::Done => {
                    stream.opening = None;
                    let Some(config) = &listener.tls else { continue };
                    let client = stream.parts.client.client.ip();
                    if !self.handshakes.take(now, client) {
                        return Got::Limited(Limit::Handshakes, client);
                    }
                    let Ok(tls) = Tls::new(config.clone()) else { return Got::End };
                    stream.parts.tls = Some(Box::new(tls));
                }
            }
        }
    }

    /// A proxy has said whose connection it carries: it is counted by that from now on.
    fn carried(&mut self, index: usize, client: SocketAddr) -> Option<Got> {
        let of = source(client.ip());
        if self.is_full(of) {
            return Some(Got::Limited(Limit::StreamsPerSource, client.ip()));
        }
        self.count(Some(of));
        let stream = self.streams.get_mut(index)?;
        stream.parts.client.client = client;
        stream.source = Some(of);
        if let Some(ticket) = stream.ticket {
            self.half_open.leave(ticket);
        }
        let (ticket, displaced) = self.half_open.enter(Some(of), index);
        stream.ticket = Some(ticket);
        displaced.map(Got::Displaced)
    }

    /// Keeps what no whole message of a stream was made of, and notes whether any was.
    pub(crate) fn keep(&mut self, index: usize, rest: &[u8], any: bool, now: Mono) {
        let Some(stream) = self.streams.get_mut(index) else { return };
        stream.keep(rest, any, now);
        if any && let Some(ticket) = stream.ticket.take() {
            self.half_open.leave(ticket);
        }
    }

    /// Lets go of a stream.
    pub(crate) fn take(&mut self, index: usize) -> Option<Parts> {
        let stream = self.streams.try_remove(index)?;
        self.uncount(stream.source);
        if let Some(ticket) = stream.ticket {
            self.half_open.leave(ticket);
        }
        Some(stream.parts)
    }

    /// Closes a stream and answers whose it was.
    pub(crate) fn close(&mut self, registry: &Registry, index: usize) -> Option<FiveTuple> {
        let mut parts = self.take(index)?;
        let _ = registry.deregister(&mut parts.socket);
        parts.close();
        Some(parts.client)
    }
}

fn refusal(error: &io::Error) -> Accepted {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Accepted::Nothing,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) => Accepted::Exhausted,
        // One that was gone again before it was accepted (accept(2)).
        _ => Accepted::Refused,
    }
}

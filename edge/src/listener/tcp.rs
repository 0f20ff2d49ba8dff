//! A TCP socket that clients connect to, and the streams that it accepted.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use chappe_proto::limits::{STREAM_UNACKED_FOR, STREAMS_MAX, STREAMS_PER_SOURCE};
use chappe_proto::time::Mono;
use chappe_proto::turn::{FiveTuple, Transport};
use mio::{Interest, Registry, Token};
use slab::Slab;
use socket2::SockRef;

use super::{Stream, open};
use crate::StartError;

/// A TCP socket that clients connect to.
pub(crate) struct TcpListener {
    socket: mio::net::TcpListener,
    local: SocketAddr,
}

impl TcpListener {
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, StartError> {
        let (fd, local) = open(Transport::Tcp, address)?;
        Ok(Self { socket: mio::net::TcpListener::from_std(fd.into()), local })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// The address that it is bound to.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }
}

/// What became of an attempt to accept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// A stream was taken.
    Stream,
    /// One was turned away: too many, of all or of its source.
    Refused,
    /// There is none to accept.
    Nothing,
    /// This process has no file descriptor left: worth trying again a little later.
    Exhausted,
}

/// The streams of all TCP listeners.
#[derive(Default)]
pub(crate) struct Streams {
    streams: Slab<Stream>,
    sources: HashMap<IpAddr, u32>,
}

impl Streams {
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn get(&mut self, index: usize) -> Option<&mut Stream> {
        self.streams.get_mut(index)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Stream)> {
        self.streams.iter_mut()
    }

    /// Accepts one stream of `listener`.
    pub(crate) fn accept(
        &mut self,
        listener: &TcpListener,
        registry: &Registry,
        token: impl FnOnce(usize) -> Token,
        now: Mono,
    ) -> Accepted {
        let (mut socket, client) = match listener.socket.accept() {
            Ok(accepted) => accepted,
            Err(error) => return refusal(&error),
        };
        let held = self.sources.get(&client.ip()).copied().unwrap_or(0);
        if self.streams.len() >= STREAMS_MAX || held >= STREAMS_PER_SOURCE {
            return Accepted::Refused;
        }
        let entry = self.streams.vacant_entry();
        let prepared = socket.local_addr().and_then(|server| {
            socket.set_nodelay(true)?;
            SockRef::from(&socket.as_fd()).set_tcp_user_timeout(Some(STREAM_UNACKED_FOR))?;
            registry.register(&mut socket, token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
            Ok(server)
        });
        let Ok(server) = prepared else { return Accepted::Refused };
        entry.insert(Stream::new(socket, FiveTuple { transport: Transport::Tcp, client, server }, now));
        self.sources.insert(client.ip(), held + 1);
        Accepted::Stream
    }

    /// Closes a stream and answers whose it was.
    pub(crate) fn close(&mut self, registry: &Registry, index: usize) -> Option<FiveTuple> {
        let mut stream = self.streams.try_remove(index)?;
        let _ = registry.deregister(stream.socket());
        stream.close();
        let source = stream.client.client.ip();
        match self.sources.get_mut(&source) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                self.sources.remove(&source);
            }
        }
        Some(stream.client)
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

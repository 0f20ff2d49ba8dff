//! Connections that are passed on to a web server: bytes both ways, decrypted or as they are.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use chappe_proto::limits::{
    HANDSHAKE_BUCKETS, HTTP_BURST_PER_SOURCE, HTTP_PER_SEC_PER_SOURCE, STREAM_BURST, WEB_CONNECT_WITHIN,
    WEB_HALF_CLOSED_FOR, WEB_KEEP_ALIVE, WEB_MAX, WEB_PER_SOURCE, WEB_UNACKED_FOR,
};
use chappe_proto::proxy_protocol;
use chappe_proto::time::Mono;
use chappe_proto::turn::{Limit, SourceRates, source};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;
use socket2::{SockRef, TcpKeepalive};

use super::handshakes::seed;
use super::stream::Parts;
use crate::config::Backend;

/// HTTP requests that the edge answers itself, by source: whoever asks has shaken hands, and there are as many
/// buckets as for that.
pub(crate) fn http_rates() -> SourceRates {
    SourceRates::new(seed(), HANDSHAKE_BUCKETS, HTTP_BURST_PER_SOURCE, HTTP_PER_SEC_PER_SOURCE)
}

/// How much is read at a time, and so how much waits at most each way: nothing is read before the last has
/// been passed on.
const CHUNK: usize = 16 * 1024;
/// Probes of a silent connection, so far apart, before it is given up.
const PROBES: (u32, Duration) = (4, Duration::from_secs(15));

/// One way of a connection.
#[derive(Default)]
struct Way {
    /// What was read and not yet written.
    waiting: Vec<u8>,
    /// Nothing more is to be read.
    ended: bool,
    /// And the other side knows.
    passed_on: bool,
}

impl Way {
    /// Writes what waits. Answers whether nothing is left.
    fn flush(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        let mut done = 0;
        while done < self.waiting.len() {
            match write(&self.waiting[done..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if done == self.waiting.len() {
            self.waiting = Vec::new();
            return Ok(true);
        }
        self.waiting.drain(..done);
        Ok(false)
    }

    /// Writes what was read just now, and keeps what is not taken.
    fn pass(&mut self, bytes: &[u8], mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match write(&bytes[done..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.waiting.extend_from_slice(&bytes[done..]);
        Ok(())
    }
}

/// A client's connection and the one to its server.
struct Pipe {
    client: Parts,
    server: TcpStream,
    backend: SocketAddr,
    connected: bool,
    up: Way,
    down: Way,
    source: IpAddr,
    /// When it was opened, or when something was last passed on.
    moved: Mono,
}

/// Room for what is on its way.
struct Room {
    cipher: Box<[u8]>,
    plain: Box<[u8]>,
}

/// What pumping came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// Nothing is to be done before either socket says so.
    Idle,
    /// There is more to do.
    More,
    /// Both sides have ended, or one has failed.
    Done,
}

impl Pipe {
    /// What the server's socket says.
    fn connect(&mut self) -> io::Result<bool> {
        if !self.connected {
            if let Some(error) = self.server.take_error()? {
                return Err(error);
            }
            self.connected = match self.server.peer_addr() {
                Ok(_) => true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => false,
                Err(error) => return Err(error),
            };
        }
        Ok(self.connected)
    }

    /// Moves what can be moved, client to server. Answers whether anything was.
    fn pump_up(&mut self, room: &mut Room) -> io::Result<bool> {
        let Self { client, server, up, .. } = self;
        if !up.flush(|bytes| server.write(bytes))? {
            return Ok(false);
        }
        let mut moved = false;
        if !up.ended {
            match client.read(&mut room.cipher, &mut room.plain) {
                Ok(0) => up.ended = true,
                Ok(count) => {
                    up.pass(&room.plain[..count], |bytes| server.write(bytes))?;
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if up.ended && !up.passed_on && up.waiting.is_empty() {
            server.shutdown(Shutdown::Write)?;
            up.passed_on = true;
            moved = true;
        }
        Ok(moved)
    }

    /// The same, server to client.
    fn pump_down(&mut self, room: &mut Room) -> io::Result<bool> {
        let Self { client, server, down, .. } = self;
        if !down.flush(|bytes| client.write(bytes))? {
            return Ok(false);
        }
        let mut moved = false;
        if !down.ended {
            match retry(|| server.read(&mut room.plain)) {
                Ok(0) => down.ended = true,
                Ok(count) => {
                    down.pass(&room.plain[..count], |bytes| client.write(bytes))?;
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if down.ended && !down.passed_on && down.waiting.is_empty() && !client.wants_write() {
            client.close();
            down.passed_on = true;
            moved = true;
        }
        Ok(moved)
    }

    /// Moves a bounded part of what can be moved.
    fn pump(&mut self, room: &mut Room, now: Mono) -> io::Result<Pumped> {
        self.client.flush()?;
        if !self.connect()? {
            return Ok(Pumped::Idle);
        }
        for _ in 0..STREAM_BURST {
            let up = self.pump_up(room)?;
            let down = self.pump_down(room)?;
            if self.up.passed_on && self.down.passed_on {
                return Ok(Pumped::Done);
            }
            if !up && !down {
                return Ok(Pumped::Idle);
            }
            self.moved = now;
        }
        Ok(Pumped::More)
    }

    fn is_overdue(&self, now: Mono) -> bool {
        let within = match (self.connected, self.up.ended || self.down.ended) {
            (false, _) => WEB_CONNECT_WITHIN,
            (true, true) => WEB_HALF_CLOSED_FOR,
            (true, false) => return false,
        };
        now.since(self.moved) >= within
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The connections that are passed on.
pub(crate) struct Pipes {
    pipes: Slab<Pipe>,
    sources: HashMap<IpAddr, u32>,
    /// Servers that did not take the last connection: said once.
    failing: HashSet<SocketAddr>,
    room: Room,
}

impl Default for Pipes {
    fn default() -> Self {
        let room =
            Room { cipher: vec![0; CHUNK].into_boxed_slice(), plain: vec![0; CHUNK].into_boxed_slice() };
        Self { pipes: Slab::new(), sources: HashMap::new(), failing: HashSet::new(), room }
    }
}

impl Pipes {
    pub(crate) fn len(&self) -> usize {
        self.pipes.len()
    }

    /// Passes a client's connection on to `backend`, what it has sent already first. Turned
    /// away, it is closed: where there are too many the error holds the limit, else there is no way to the
    /// server.
    pub(crate) fn open(
        &mut self,
        registry: &Registry,
        names: impl FnOnce(usize) -> (Token, Token),
        mut client: Parts,
        backend: Backend,
        first: &[u8],
        now: Mono,
    ) -> Result<usize, Option<Limit>> {
        let of = source(client.client.client.ip());
        let held = self.sources.get(&of).copied().unwrap_or(0);
        let limit = match () {
            () if self.pipes.len() >= WEB_MAX => Some(Limit::Streams),
            () if held >= WEB_PER_SOURCE => Some(Limit::StreamsPerSource),
            () => None,
        };
        if limit.is_some() {
            let _ = registry.deregister(&mut client.socket);
            return Err(limit);
        }
        let entry = self.pipes.vacant_entry();
        let (client_name, server_name) = names(entry.key());
        let both = Interest::READABLE | Interest::WRITABLE;
        let opened = TcpStream::connect(backend.address).and_then(|mut server| {
            for socket in [&client.socket, &server] {
                prepare(socket)?;
            }
            registry.reregister(&mut client.socket, client_name, both)?;
            registry.register(&mut server, server_name, both)?;
            Ok(server)
        });
        let server = match opened {
            Ok(server) => server,
            Err(error) => {
                let _ = registry.deregister(&mut client.socket);
                self.fails(backend.address, &error);
                return Err(None);
            }
        };
        let mut up = Way::default();
        if backend.proxy_header {
            proxy_protocol::write(client.client.client, client.client.server, &mut up.waiting);
        }
        up.waiting.extend_from_slice(first);
        let index = entry.key();
        entry.insert(Pipe {
            client,
            server,
            backend: backend.address,
            connected: false,
            up,
            down: Way::default(),
            source: of,
            moved: now,
        });
        self.sources.insert(of, held + 1);
        Ok(index)
    }

    /// Says once that a server takes no connections.
    fn fails(&mut self, server: SocketAddr, error: &io::Error) {
        if self.failing.insert(server) {
            tracing::error!(%server, %error, "the web server behind a shared port takes no connections");
        }
    }

    /// Moves a part of what a connection has, both ways.
    pub(crate) fn pump(&mut self, index: usize, now: Mono) -> Pumped {
        let Some(pipe) = self.pipes.get_mut(index) else { return Pumped::Idle };
        let before = pipe.connected;
        let pumped = pipe.pump(&mut self.room, now);
        let (connected, backend) = (pipe.connected, pipe.backend);
        if connected && !before && self.failing.remove(&backend) {
            tracing::info!(server = %backend, "the web server behind a shared port takes connections again");
        }
        match pumped {
            Ok(pumped) => pumped,
            Err(error) => {
                if !connected {
                    self.fails(backend, &error);
                }
                Pumped::Done
            }
        }
    }

    /// Closes a connection.
    pub(crate) fn close(&mut self, registry: &Registry, index: usize) {
        let Some(mut pipe) = self.pipes.try_remove(index) else { return };
        let _ = registry.deregister(&mut pipe.client.socket);
        let _ = registry.deregister(&mut pipe.server);
        if !pipe.down.passed_on {
            pipe.client.close();
        }
        match self.sources.get_mut(&pipe.source) {
            Some(held) if *held > 1 => *held -= 1,
            _ => {
                self.sources.remove(&pipe.source);
            }
        }
    }

    /// Closes those that are overdue: whose server has not taken them, or one side of which has ended long
    /// ago.
    pub(crate) fn sweep(&mut self, registry: &Registry, now: Mono) {
        let overdue: Vec<(usize, bool, SocketAddr)> = self
            .pipes
            .iter()
            .filter(|(_, pipe)| pipe.is_overdue(now))
            .map(|(index, pipe)| (index, pipe.connected, pipe.backend))
            .collect();
        for (index, connected, backend) in overdue {
            if !connected {
                self.fails(backend, &io::ErrorKind::TimedOut.into());
            }
            self.close(registry, index);
        }
    }
}

/// Readies a socket for hours of silence and for the death of its other end.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let fd = socket.as_fd();
    let socket = SockRef::from(&fd);
    socket.set_tcp_user_timeout(Some(WEB_UNACKED_FOR))?;
    let (probes, apart) = PROBES;
    let alive = TcpKeepalive::new().with_time(WEB_KEEP_ALIVE).with_interval(apart).with_retries(probes);
    socket.set_tcp_keepalive(&alive)
}

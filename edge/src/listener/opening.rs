//! What comes before the first byte of a connection is read: a proxy's header, and the server name that a
//! ClientHello asks for. Both are looked at where they lie in the kernel (MSG_PEEK), so that no byte of what
//! follows is taken that another must have.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};

use chappe_proto::limits::HELLO_LOOKS;
use chappe_proto::proxy_protocol::{self, Header};
use chappe_proto::turn::FiveTuple;
use mio::net::TcpStream;

use super::TcpListener;
use super::hello::{Hello, server_name};
use crate::config::Backend;

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Opening {
    /// A PROXY header is awaited. `believed` when it may tell another address.
    Header { believed: bool },
    /// The name in its ClientHello is awaited.
    Hello { looks: u8 },
    /// Nothing.
    Done,
}

/// Nobody of that address may send PROXY headers.
pub(super) struct Stranger;

/// What to do next.
pub(super) enum Step {
    /// Wait for more bytes.
    Wait,
    /// Go on.
    Next,
    /// Count the connection as one of this client, and go on.
    Client(SocketAddr),
    /// Pass it on as it is.
    Sealed(Backend),
    /// Close it.
    Refused,
    /// Read it.
    Done,
}

impl Opening {
    /// That of a connection from `from`.
    pub(super) fn new(listener: &TcpListener, from: IpAddr) -> Result<Self, Stranger> {
        if !listener.expects_header() {
            return Ok(Self::hello(listener));
        }
        let believed = listener.believes(from);
        // The edge's probe of its own listeners comes from this host, and claims no address.
        let own = from.is_loopback() || from == listener.local().ip();
        if believed || own { Ok(Self::Header { believed }) } else { Err(Stranger) }
    }

    fn hello(listener: &TcpListener) -> Self {
        if listener.sealed_web().is_some() { Self::Hello { looks: 0 } } else { Self::Done }
    }

    /// Looks at what has come.
    pub(super) fn step(
        &mut self,
        socket: &TcpStream,
        client: FiveTuple,
        listener: &TcpListener,
        room: &mut [u8],
    ) -> Step {
        if matches!(self, Self::Done) {
            return Step::Done;
        }
        let seen = match socket.peek(room) {
            Ok(0) => return Step::Refused,
            Ok(count) => &room[..count],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Wait,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Step::Next,
            Err(_) => return Step::Refused,
        };
        match self {
            Self::Done => Step::Done,
            Self::Header { believed } => {
                let believed = *believed;
                let header = match proxy_protocol::read(seen) {
                    Ok(Some(header)) => header,
                    Ok(None) => return Step::Wait,
                    Err(_) => return Step::Refused,
                };
                *self = Self::hello(listener);
                pass(socket, &header, client, believed, room)
            }
            Self::Hello { looks } => {
                *looks += 1;
                match server_name(seen) {
                    Hello::Partial if *looks < HELLO_LOOKS && seen.len() < room.len() => return Step::Wait,
                    Hello::Partial => return Step::Refused,
                    Hello::Name(Some(name)) => {
                        let sealed = listener.sealed_web();
                        if let Some(sealed) = sealed.filter(|sealed| sealed.names.contains(&name)) {
                            return Step::Sealed(sealed.backend);
                        }
                    }
                    // The handshake will say what is wrong with it.
                    Hello::Name(None) | Hello::Other => {}
                }
                *self = Self::Done;
                Step::Done
            }
        }
    }
}

/// Takes a header out of the stream.
fn pass(mut socket: &TcpStream, header: &Header, client: FiveTuple, believed: bool, room: &mut [u8]) -> Step {
    let Some(room) = room.get_mut(..header.len) else { return Step::Refused };
    // All of it was seen just now.
    if !matches!(socket.read(room), Ok(count) if count == header.len) {
        return Step::Refused;
    }
    match header.addresses {
        Some(addresses) if believed => {
            let source = addresses.source;
            Step::Client(SocketAddr::new(source.ip().to_canonical(), source.port()))
        }
        Some(_) => Step::Refused,
        // The connection is the proxy's own (section 2.2).
        None => Step::Client(client.client),
    }
}

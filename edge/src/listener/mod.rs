//! What clients reach: UDP sockets with their DTLS associations, TCP sockets with their streams, and the web
//! servers that some of those are passed on to.

mod certificate;
mod dtls;
mod half_open;
mod handshakes;
mod hello;
mod opening;
mod outgoing;
mod stream;
mod streams;
mod tcp;
mod tls;
mod udp;
mod web;

pub(crate) use certificate::{Certificate, Certificates, HTTP};
pub(crate) use dtls::{Associations, Effects, Epoch, RECORD_MAX, config as dtls_config};
pub(crate) use stream::{Got, Overdue, Stream};
pub(crate) use streams::{Accepted, Streams};
pub(crate) use tcp::TcpListener;
pub(crate) use udp::UdpListener;
pub(crate) use web::{Pipes, Pumped, http_rates};

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use chappe_proto::turn::{Transport, Via};
use socket2::{Domain, Protocol, Socket, Type};

use crate::StartError;

/// Marks a [`Via`] as a stream.
const STREAM: u32 = 1 << 31;
/// Marks a [`Via`] as a DTLS association; those with neither mark are UDP listeners.
const DTLS: u32 = 1 << 30;

/// The UDP listener, the stream or the association that a [`Via`] names.
pub(crate) enum Road {
    Udp(usize),
    Stream(usize),
    Dtls(usize),
}

impl From<Via> for Road {
    fn from(via: Via) -> Self {
        let index = (via.0 & !(STREAM | DTLS)) as usize;
        if via.0 & STREAM != 0 {
            Self::Stream(index)
        } else if via.0 & DTLS != 0 {
            Self::Dtls(index)
        } else {
            Self::Udp(index)
        }
    }
}

/// The name of the `index`th UDP listener.
pub(crate) fn udp_via(index: usize) -> Via {
    Via(u32::try_from(index).unwrap_or(0) & !(STREAM | DTLS))
}

/// The name of a stream.
pub(crate) fn stream_via(index: usize) -> Via {
    Via(u32::try_from(index).unwrap_or(0) | STREAM)
}

/// The name of a DTLS association.
pub(crate) fn dtls_via(index: usize) -> Via {
    Via(u32::try_from(index).unwrap_or(0) | DTLS)
}

/// A nonblocking socket bound to `address`, and the address that it got.
fn open(transport: Transport, address: SocketAddr) -> Result<(OwnedFd, SocketAddr), StartError> {
    let bind = || -> io::Result<(OwnedFd, SocketAddr)> {
        let (kind, protocol) =
            if transport.is_stream() { (Type::STREAM, Protocol::TCP) } else { (Type::DGRAM, Protocol::UDP) };
        let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
        if address.is_ipv6() {
            // So that 0.0.0.0 and [::] can be listened to side by side.
            socket.set_only_v6(true)?;
        }
        if transport.is_stream() {
            // A restart need not wait for the old connections' TIME-WAIT.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&address.into())?;
        if transport.is_stream() {
            socket.listen(1024)?;
        }
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok((socket.into(), local))
    };
    bind().map_err(|source| StartError::listener(transport, address, source))
}

//! A way to a server: datagrams, or messages of a stream.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use chappe_proto::stun::frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::dtls::Dtls;
use super::fault::Fault;

/// The longest datagram.
const DATAGRAM: usize = 65_535;
/// Bytes of a stream that are read at once.
const CHUNK: usize = 16 * 1024;

/// What a stream is made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A way to a server.
pub(super) enum Link {
    Udp { socket: UdpSocket, buffer: Vec<u8> },
    Dtls(Box<Dtls>),
    Stream { io: Box<dyn Io>, buffer: Vec<u8>, local: SocketAddr },
}

/// A UDP socket that exchanges datagrams with this server only, and hears of its ICMP errors.
pub(super) async fn udp_socket(server: SocketAddr) -> Result<UdpSocket, Fault> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

impl Link {
    pub(super) async fn udp(server: SocketAddr) -> Result<Self, Fault> {
        Ok(Self::Udp { socket: udp_socket(server).await?, buffer: vec![0; DATAGRAM] })
    }

    pub(super) fn stream(io: Box<dyn Io>, local: SocketAddr) -> Self {
        Self::Stream { io, buffer: Vec::new(), local }
    }

    /// This side's own address.
    pub(super) fn local(&self) -> Result<SocketAddr, Fault> {
        match self {
            Self::Udp { socket, .. } => Ok(socket.local_addr()?),
            Self::Dtls(dtls) => dtls.local(),
            Self::Stream { local, .. } => Ok(*local),
        }
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        match self {
            Self::Udp { socket, .. } => {
                socket.send(message).await?;
            }
            Self::Dtls(dtls) => dtls.send(message)?,
            Self::Stream { io, .. } => {
                io.write_all(message).await?;
                io.flush().await?;
            }
        }
        Ok(())
    }

    /// The next message. Nothing is lost when this is dropped before it is done.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Udp { socket, buffer } => {
                let length = socket.recv(buffer).await?;
                Ok(buffer[..length].to_vec())
            }
            Self::Dtls(dtls) => dtls.receive().await,
            Self::Stream { io, buffer, .. } => loop {
                match frame(buffer) {
                    Ok(Some(whole)) => return Ok(buffer.drain(..whole).collect()),
                    Ok(None) => {}
                    Err(_) => return Err(Fault::NotStun),
                }
                buffer.reserve(CHUNK);
                if io.read_buf(buffer).await? == 0 {
                    return Err(Fault::Closed);
                }
            },
        }
    }
}

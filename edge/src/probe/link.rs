//! A way to a listener: datagrams, or messages of a stream.

use std::io;
use std::net::SocketAddr;

use chappe_proto::stun::frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::dtls::Dtls;

/// The longest datagram.
const DATAGRAM: usize = 65_535;
/// Bytes of a stream that are read at once.
const CHUNK: usize = 4096;

/// What a stream is made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A way to a listener.
pub(super) enum Link {
    Udp { socket: UdpSocket, buffer: Vec<u8> },
    Dtls(Box<Dtls>),
    Stream { io: Box<dyn Io>, buffer: Vec<u8>, local: SocketAddr },
}

impl Link {
    pub(super) fn udp(socket: UdpSocket) -> Self {
        Self::Udp { socket, buffer: vec![0; DATAGRAM] }
    }

    pub(super) fn stream(io: Box<dyn Io>, local: SocketAddr) -> Self {
        Self::Stream { io, buffer: Vec::new(), local }
    }

    /// This side's own address.
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp { socket, .. } => socket.local_addr(),
            Self::Dtls(dtls) => dtls.local(),
            Self::Stream { local, .. } => Ok(*local),
        }
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp { socket, .. } => socket.send(message).await.map(drop),
            Self::Dtls(dtls) => dtls.send(message),
            Self::Stream { io, .. } => {
                io.write_all(message).await?;
                io.flush().await
            }
        }
    }

    /// The next message. Nothing is lost when this is dropped before it is done.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<u8>> {
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
                    Err(_) => return Err(io::ErrorKind::InvalidData.into()),
                }
                buffer.reserve(CHUNK);
                if io.read_buf(buffer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            },
        }
    }
}

//! A UDP socket that clients send to, in the clear or by DTLS.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use chappe_proto::turn::Transport;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use super::certificate::{Certificate, Certificates};
use super::open;
use crate::config::ListenAt;
use crate::{StartError, udp};

/// How much may wait in the socket's queue, in bytes as the kernel counts: every client's packets come
/// through it. The system's `net.core.rmem_max` may allow less.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// A UDP socket that clients send to.
pub(crate) struct UdpListener {
    socket: UdpSocket,
    local: SocketAddr,
    /// For DTLS.
    certificate: Option<Arc<Certificate>>,
}

impl UdpListener {
    pub(crate) fn bind(listen: &ListenAt, certificates: &mut Certificates) -> Result<Self, StartError> {
        let ListenAt { transport, bind: address, .. } = *listen;
        let certificate = match &listen.certificate {
            Some(files) if transport == Transport::Dtls => {
                let refused = |source| StartError::Certificate { transport, address, source };
                Some(certificates.get(files, true, listen.acme.as_ref()).map_err(refused)?)
            }
            _ => None,
        };
        let (fd, local) = open(transport, address)?;
        let socket = socket2::Socket::from(fd);
        // Best effort: a system that allows less drops earlier under load, and still serves.
        let _ = socket.set_recv_buffer_size(QUEUE_BYTES);
        let _ = socket.set_send_buffer_size(QUEUE_BYTES);
        let mut prepared =
            udp::enable_gro(socket.as_fd()).and_then(|()| udp::enable_marks(socket.as_fd(), local.is_ipv6()));
        if local.ip().is_unspecified() {
            prepared = prepared.and_then(|()| udp::enable_pktinfo(socket.as_fd(), local.is_ipv6()));
        }
        prepared.map_err(|source| StartError::listener(transport, address, source))?;
        Ok(Self { socket: UdpSocket::from_std(socket.into()), local, certificate })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> std::io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// The address that it is bound to.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The certificate of a listener of DTLS.
    pub(crate) fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.as_ref()
    }

    /// The address that a packet came to.
    pub(crate) fn server(&self, told: Option<IpAddr>) -> SocketAddr {
        match told {
            Some(ip) if self.local.ip().is_unspecified() => SocketAddr::new(ip, self.local.port()),
            _ => self.local,
        }
    }

    /// The address that an answer must be made to leave from, given the one that its client sent to.
    pub(crate) fn leave_from(&self, server: SocketAddr) -> Option<IpAddr> {
        let several = self.local.ip().is_unspecified() && !server.ip().is_unspecified();
        several.then_some(server.ip())
    }
}

impl AsFd for UdpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

//! An association with a listener of DTLS (RFC 7350), whatever its certificate.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use dimpl::{DtlsCertificate, Output};
use tokio::net::UdpSocket;

use crate::clock;
use crate::listener::dtls_config;

/// The longest datagram.
const DATAGRAM: usize = 65_535;

/// An association.
pub(super) struct Dtls {
    socket: UdpSocket,
    machine: dimpl::Dtls,
    buffer: Vec<u8>,
    inbox: VecDeque<Vec<u8>>,
    /// When the machine wants to be asked again.
    due: Option<Instant>,
    connected: bool,
    closed: bool,
}

fn now() -> Instant {
    clock::both().1
}

/// Shakes hands.
pub(super) async fn connect(socket: UdpSocket) -> io::Result<Dtls> {
    // dimpl wants a certificate of each side. A listener asks for none, so it stays here.
    let own = rcgen::generate_simple_self_signed(Vec::<String>::new()).map_err(io::Error::other)?;
    let certificate = DtlsCertificate {
        certificate: own.cert.der().to_vec(),
        private_key: own.signing_key.serialize_der(),
    };
    let config: Arc<_> = dtls_config().map_err(io::Error::other)?;
    let mut machine = dimpl::Dtls::new_12(config, certificate, now());
    machine.set_active(true);
    let mut dtls = Dtls {
        socket,
        machine,
        buffer: vec![0; DATAGRAM],
        inbox: VecDeque::new(),
        due: None,
        connected: false,
        closed: false,
    };
    // A socket that tokio has not yet seen ready takes nothing, and the first flight would be lost.
    dtls.socket.writable().await?;
    dtls.machine.handle_timeout(now()).map_err(io::Error::other)?;
    dtls.drain();
    while !dtls.connected {
        if dtls.closed {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        dtls.step().await?;
    }
    Ok(dtls)
}

impl Dtls {
    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.machine.send_application_data(message).map_err(io::Error::other)?;
        self.drain();
        Ok(())
    }

    /// The next message. Nothing is lost when this is dropped before it is done.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            if self.closed {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            self.step().await?;
        }
    }

    /// Waits for a datagram or the machine's timer.
    async fn step(&mut self) -> io::Result<()> {
        let timer = async {
            match self.due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let length = tokio::select! {
            length = self.socket.recv(&mut self.buffer) => Some(length?),
            () = timer => None,
        };
        self.machine.handle_timeout(now()).map_err(io::Error::other)?;
        if let Some(length) = length {
            self.machine.handle_packet(&self.buffer[..length]).map_err(io::Error::other)?;
        }
        self.drain();
        Ok(())
    }

    /// Carries out what the machine asks for.
    fn drain(&mut self) {
        loop {
            match self.machine.poll_output(&mut self.buffer) {
                // What the kernel does not take is lost as on any way.
                Output::Packet(packet) => drop(self.socket.try_send(packet)),
                Output::BufferTooSmall { needed } => self.buffer.resize(needed, 0),
                Output::Timeout(due) => {
                    self.due = Some(due);
                    return;
                }
                Output::Connected => self.connected = true,
                Output::ApplicationData(message) => self.inbox.push_back(message.to_vec()),
                Output::CloseNotify => self.closed = true,
                _ => {}
            }
        }
    }
}

impl Drop for Dtls {
    fn drop(&mut self) {
        if self.machine.close().is_ok() {
            self.drain();
        }
    }
}

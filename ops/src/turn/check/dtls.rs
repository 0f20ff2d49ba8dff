//! DTLS to a server (RFC 7350), whatever its certificate, as in `tls`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, DtlsCertificate, Output, ProtocolVersion};
use rustls::pki_types::CertificateDer;
use tokio::net::UdpSocket;

use super::fault::Fault;
use super::link::udp_socket;
use super::tls::Handshake;

/// The longest datagram that comes.
const DATAGRAM: usize = 65_535;
/// The longest that is sent: a relayed packet of 1200 bytes has its place.
const MTU: usize = 1400;

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
    certificate: Option<CertificateDer<'static>>,
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn fault(error: &dimpl::Error) -> Fault {
    Fault::Handshake(error.to_string())
}

/// Shakes hands. The machine knows ECDSA only, and shows the server's own certificate only.
pub(super) async fn connect(server: SocketAddr, wait: Duration) -> Result<(Dtls, Handshake), Fault> {
    let own = rcgen::generate_simple_self_signed(Vec::<String>::new())
        .map_err(|error| Fault::Handshake(error.to_string()))?;
    let certificate = DtlsCertificate {
        certificate: own.cert.der().to_vec(),
        private_key: own.signing_key.serialize_der(),
    };
    let config = Config::builder().mtu(MTU).build().map_err(|error| fault(&error))?;
    let mut machine = dimpl::Dtls::new_auto(Arc::new(config), certificate, now());
    machine.set_active(true);
    let mut dtls = Dtls {
        socket: udp_socket(server).await?,
        machine,
        buffer: vec![0; DATAGRAM],
        inbox: VecDeque::new(),
        due: None,
        connected: false,
        closed: false,
        certificate: None,
    };
    let mut answered = false;
    let shaking = async {
        // A socket that tokio has not yet seen ready takes nothing, and the first flight would be lost.
        dtls.socket.writable().await?;
        dtls.machine.handle_timeout(now()).map_err(|error| fault(&error))?;
        dtls.drain();
        while !dtls.connected && !dtls.closed {
            answered |= dtls.step().await?;
        }
        if dtls.connected { Ok(()) } else { Err(Fault::Closed) }
    };
    match tokio::time::timeout(wait, shaking).await {
        Ok(shaken) => shaken?,
        Err(_) if answered => return Err(Fault::Handshake("it did not come to an end".to_owned())),
        Err(_) => return Err(Fault::HandshakeSilent(wait)),
    }
    let version = match dtls.machine.protocol_version() {
        Some(version) if version == ProtocolVersion::DTLS1_3 => "DTLS 1.3",
        _ => "DTLS 1.2",
    };
    let chain = dtls.certificate.iter().cloned().collect();
    Ok((dtls, Handshake { version, cipher: String::new(), chain }))
}

impl Dtls {
    pub(super) fn local(&self) -> Result<SocketAddr, Fault> {
        Ok(self.socket.local_addr()?)
    }

    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.machine.send_application_data(message).map_err(|error| fault(&error))?;
        self.drain();
        Ok(())
    }

    /// The next message. Nothing is lost when this is dropped before it is done.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            if self.closed {
                return Err(Fault::Closed);
            }
            self.step().await?;
        }
    }

    /// Waits for a datagram or the machine's timer. Whether it was a datagram.
    async fn step(&mut self) -> Result<bool, Fault> {
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
        self.machine.handle_timeout(now()).map_err(|error| fault(&error))?;
        if let Some(length) = length {
            self.machine.handle_packet(&self.buffer[..length]).map_err(|error| fault(&error))?;
        }
        self.drain();
        Ok(length.is_some())
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
                Output::PeerCert(der) => self.certificate = Some(CertificateDer::from(der.to_vec())),
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

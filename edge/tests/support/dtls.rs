//! A client over DTLS, on a socket of its own.

#![allow(clippy::disallowed_methods, reason = "dimpl is told the time")]

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client over DTLS.
pub struct DtlsClient {
    pub socket: UdpSocket,
    dtls: Dtls,
    received: VecDeque<Vec<u8>>,
    /// The certificate that the server showed.
    pub certificate: Vec<u8>,
    connected: bool,
    /// Whether the server has said that it ends.
    pub closed: bool,
    due: Instant,
}

impl DtlsClient {
    /// Connects from a free port.
    pub fn connect(server: SocketAddr) -> Self {
        Self::connect_from(UdpSocket::bind(SocketAddr::new(server.ip(), 0)).unwrap(), server)
    }

    /// Connects from a socket.
    pub fn connect_from(socket: UdpSocket, server: SocketAddr) -> Self {
        let mut client = Self::begin(socket, server);
        client.finish();
        client
    }

    /// Finishes the handshake.
    pub fn finish(&mut self) {
        let end = Instant::now() + PATIENCE;
        while !self.connected {
            assert!(Instant::now() < end, "no handshake");
            self.turn();
        }
    }

    /// Sends its first ClientHello.
    pub fn begin(socket: UdpSocket, server: SocketAddr) -> Self {
        socket.connect(server).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
        let identity =
            DtlsCertificate { certificate: certificate.der().to_vec(), private_key: key.serialize_der() };
        let config = Arc::new(Config::builder().build().unwrap());
        let mut dtls = Dtls::new_12(config, identity, Instant::now());
        dtls.set_active(true);
        dtls.handle_timeout(Instant::now()).unwrap();
        let mut client = Self {
            socket,
            dtls,
            received: VecDeque::new(),
            certificate: Vec::new(),
            connected: false,
            closed: false,
            due: Instant::now(),
        };
        client.poll();
        client
    }

    fn poll(&mut self) {
        let mut out = vec![0; 65_536];
        loop {
            match self.dtls.poll_output(&mut out) {
                Output::Packet(packet) => assert_eq!(self.socket.send(packet).unwrap(), packet.len()),
                Output::Connected => self.connected = true,
                Output::PeerCert(certificate) => self.certificate = certificate.to_vec(),
                Output::ApplicationData(data) => self.received.push_back(data.to_vec()),
                Output::CloseNotify => self.closed = true,
                Output::Timeout(due) => {
                    self.due = due;
                    return;
                }
                _ => {}
            }
        }
    }

    /// Waits for a datagram, or until a timer is due.
    pub fn turn(&mut self) {
        let patience = self.due.saturating_duration_since(Instant::now());
        let patience = patience.clamp(Duration::from_millis(1), Duration::from_millis(500));
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut datagram = vec![0; 65_536];
        let received = self.socket.recv(&mut datagram);
        self.dtls.handle_timeout(Instant::now()).unwrap();
        if let Ok(len) = received {
            self.dtls.handle_packet(&datagram[..len]).unwrap();
        }
        self.poll();
    }

    pub fn send(&mut self, message: &[u8]) {
        assert_eq!(self.dtls.send_application_data(message).unwrap(), message.len());
        self.poll();
    }

    pub fn receive(&mut self) -> Vec<u8> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.received.pop_front() {
                return message;
            }
            assert!(Instant::now() < end && !self.closed, "nothing comes");
            self.turn();
        }
    }

    /// Waits until the server has said that it ends.
    pub fn wait_closed(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.closed {
            assert!(Instant::now() < end, "it is not closed");
            self.turn();
        }
    }

    /// Says that it ends.
    pub fn close(&mut self) {
        self.dtls.close().unwrap();
        self.poll();
    }
}

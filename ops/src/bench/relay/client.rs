//! A TURN client with its socket, for what is not measured by the packet: it waits for each answer.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_proto::stun::Code;
use chappe_proto::turn::{Client, ClientEvent, Transport};

/// A client and its socket.
pub(super) struct TurnClient {
    pub(super) socket: UdpSocket,
    pub(super) machine: Client,
    server: SocketAddr,
    host: IpAddr,
    credentials: (String, String),
}

/// Ports that a client tries: coturn remembers a client's port for a while after its allocation was
/// deleted, and refuses it 437; another port then, as RFC 8656 section 7.3 says.
const PORTS_MAX: u32 = 8;

impl TurnClient {
    /// A client on a port of its own.
    pub(super) fn new(host: IpAddr, server: SocketAddr, credentials: &(String, String)) -> Result<Self> {
        let socket = UdpSocket::bind((host, 0)).with_context(|| format!("no UDP socket on {host}"))?;
        let (username, password) = credentials;
        let machine = Client::new(username, password, Transport::Udp, clock::random());
        Ok(Self { socket, machine, server, host, credentials: credentials.clone() })
    }

    /// Begins to allocate.
    pub(super) fn begin(&mut self) {
        self.machine.allocate(clock::mono(), None, None);
    }

    /// Waits for the allocation that was begun, and answers where it is relayed from.
    pub(super) fn allocated(&mut self) -> Result<SocketAddr> {
        for _ in 0..PORTS_MAX {
            match self.outcome()? {
                ClientEvent::Allocated { relayed, .. } => return Ok(relayed),
                ClientEvent::Refused { code: Code::ALLOCATION_MISMATCH, .. } => {
                    *self = Self::new(self.host, self.server, &self.credentials)?;
                    self.begin();
                }
                other => bail!("{} to an Allocate: {other:?}", self.server),
            }
        }
        bail!("{} refuses {PORTS_MAX} ports", self.server)
    }

    /// Sends what the machine has to send.
    pub(super) fn transmit(&mut self) -> Result<()> {
        while let Some(bytes) = self.machine.poll_transmit() {
            self.socket.send_to(&bytes, self.server).context("the server cannot be sent to")?;
        }
        Ok(())
    }

    /// Waits until something happens: one message, or that none came.
    pub(super) fn receive(&mut self) -> Result<()> {
        let now = clock::mono();
        let Some(due) = self.machine.poll_timeout() else { return Ok(()) };
        // Zero would be for ever.
        self.socket.set_read_timeout(Some(due.until(now).max(Duration::from_millis(1))))?;
        let mut buffer = [0; 2048];
        match self.socket.recv_from(&mut buffer) {
            Ok((len, from)) if from == self.server => {
                self.machine.handle_input(clock::mono(), &buffer[..len]);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                self.machine.handle_timeout(clock::mono());
            }
            Err(error) => return Err(error).with_context(|| format!("{} does not answer", self.server)),
        }
        Ok(())
    }

    /// Does what was asked of the machine, and answers how it ended.
    pub(super) fn outcome(&mut self) -> Result<ClientEvent> {
        loop {
            self.transmit()?;
            match self.machine.poll_event() {
                Some(event) => return Ok(event),
                None => self.receive()?,
            }
        }
    }

    /// The same, where it must succeed.
    pub(super) fn wait(&mut self) -> Result<ClientEvent> {
        match self.outcome()? {
            ClientEvent::Refused { method, code } => bail!("{} refused {method:?}: {code:?}", self.server),
            ClientEvent::TimedOut(method) => bail!("{} did not answer {method:?}", self.server),
            event => Ok(event),
        }
    }

    /// Makes its allocation, and answers where it is relayed from.
    pub(super) fn allocate(&mut self) -> Result<SocketAddr> {
        self.begin();
        self.allocated()
    }

    /// Binds a channel.
    pub(super) fn bind(&mut self, peer: SocketAddr) -> Result<()> {
        self.machine.bind(clock::mono(), peer);
        self.wait().map(drop)
    }

    /// Deletes its allocation.
    pub(super) fn delete(&mut self) -> Result<()> {
        self.machine.refresh(clock::mono(), Some(0));
        self.wait().map(drop)
    }
}

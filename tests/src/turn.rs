//! A TURN client over UDP: the machine of `chappe_proto::turn::Client` and a socket.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chappe_proto::time::Mono;
use chappe_proto::turn::{Client, ClientEvent, Transport};
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout};

use crate::process::WITHIN;

/// A client with a socket of its own.
pub struct Turn {
    machine: Client,
    socket: UdpSocket,
    begin: Instant,
}

/// Data from a peer.
pub type Data = (SocketAddr, Vec<u8>);

enum Heard {
    Event(ClientEvent),
    Data(Data),
}

/// The username and the password that a welcome hands out.
///
/// # Panics
/// When it hands out none.
#[must_use]
pub fn credentials(welcome: &Value) -> (String, String) {
    let server = welcome["ice_servers"]
        .as_array()
        .and_then(|servers| servers.iter().find(|server| server["username"].is_string()))
        .unwrap_or_else(|| panic!("no TURN server in {welcome}"));
    let text = |field: &str| server[field].as_str().unwrap().to_owned();
    (text("username"), text("credential"))
}

impl Turn {
    /// A client of the server at `server`, on its machine.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn new(server: SocketAddr, credentials: &(String, String)) -> Self {
        Self::from(server.ip(), server, credentials).await
    }

    /// The same from another address of this machine.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn from(own: IpAddr, server: SocketAddr, (username, password): &(String, String)) -> Self {
        let socket = UdpSocket::bind(SocketAddr::new(own, 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&socket.local_addr().unwrap().port().to_be_bytes());
        let machine = Client::new(username, password, Transport::Udp, seed);
        Self { machine, socket, begin: Instant::now() }
    }

    fn now(&self) -> Mono {
        Mono(self.begin.elapsed())
    }

    async fn next(&mut self) -> Heard {
        let mut packet = vec![0; 65_536];
        loop {
            while let Some(bytes) = self.machine.poll_transmit() {
                let _ = self.socket.send(&bytes).await; // a server that is gone is noticed by its silence
            }
            if let Some(event) = self.machine.poll_event() {
                return Heard::Event(event);
            }
            let due = self.machine.poll_timeout().map_or(self.begin + 100 * WITHIN, |due| self.begin + due.0);
            tokio::select! {
                received = self.socket.recv(&mut packet) => {
                    let Ok(len) = received else { continue };
                    let now = self.now();
                    if let Some((peer, body)) = self.machine.handle_input(now, &packet[..len]) {
                        return Heard::Data((peer, packet[body].to_vec()));
                    }
                }
                () = sleep_until(due) => {
                    let now = self.now();
                    self.machine.handle_timeout(now);
                }
            }
        }
    }

    /// The next event; data that comes before is passed over.
    async fn event(&mut self) -> ClientEvent {
        let waiting = async {
            loop {
                if let Heard::Event(event) = self.next().await {
                    return event;
                }
            }
        };
        timeout(WITHIN, waiting).await.expect("an answer")
    }

    /// Its address as the server sees it.
    ///
    /// # Panics
    /// When the server does not tell.
    pub async fn binding(&mut self) -> SocketAddr {
        let now = self.now();
        self.machine.binding(now);
        match self.event().await {
            ClientEvent::Mapped(address) => address,
            other => panic!("{other:?}"),
        }
    }

    /// Allocates: the relayed address.
    ///
    /// # Errors
    /// The refusal.
    pub async fn allocate(&mut self) -> Result<SocketAddr, ClientEvent> {
        let now = self.now();
        self.machine.allocate(now, None, None);
        match self.event().await {
            ClientEvent::Allocated { relayed, .. } => Ok(relayed),
            other => Err(other),
        }
    }

    /// Installs a permission.
    ///
    /// # Errors
    /// The refusal.
    pub async fn permit(&mut self, peer: SocketAddr) -> Result<(), ClientEvent> {
        let now = self.now();
        self.machine.permit(now, &[peer]);
        match self.event().await {
            ClientEvent::Permitted(_) => Ok(()),
            other => Err(other),
        }
    }

    /// Refreshes the allocation.
    ///
    /// # Errors
    /// The refusal.
    pub async fn refresh(&mut self) -> Result<(), ClientEvent> {
        let now = self.now();
        self.machine.refresh(now, None);
        match self.event().await {
            ClientEvent::Refreshed { .. } => Ok(()),
            other => Err(other),
        }
    }

    /// Sends data to a peer.
    pub async fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        let mut packet = Vec::new();
        self.machine.send(peer, data, &mut packet);
        let _ = self.socket.send(&packet).await;
    }

    /// The next data within a time.
    pub async fn data(&mut self, within: Duration) -> Option<Data> {
        let waiting = async {
            loop {
                if let Heard::Data(data) = self.next().await {
                    return data;
                }
            }
        };
        timeout(within, waiting).await.ok()
    }
}

//! An allocation of a client, with a socket and a task of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::turn::{Client, ClientEvent, Transport};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Orders that wait for the task. Media that finds no room is lost.
const ORDERS: usize = 256;
/// The longest datagram that is read.
const DATAGRAM_MAX: usize = 2048;
/// A socket is looked at this often where nothing else is due.
const IDLE: Duration = Duration::from_secs(10);

/// Edges that a firewall is closed before: what clients send there, and what comes from there, is dropped.
pub(super) type Walls = Rc<RefCell<BTreeSet<IpAddr>>>;

/// A relay as a client is offered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relay {
    /// The edge's name.
    pub(super) edge: String,
    /// Where it listens over UDP.
    pub(super) at: SocketAddr,
    pub(super) username: String,
    pub(super) credential: String,
}

enum Order {
    Permit(Vec<SocketAddr>),
    Send(SocketAddr, Vec<u8>),
}

/// What an allocation tells its client.
#[derive(Debug)]
pub(super) enum News {
    /// It is there, relayed from that address.
    Allocated(SocketAddr),
    /// There is none, or no more.
    Failed(String),
    /// A peer's data.
    Data(SocketAddr, Vec<u8>),
}

/// The client's end. The allocation is deleted when this is dropped.
pub(super) struct Allocation(mpsc::Sender<Order>);

impl Allocation {
    /// Begins to allocate from that address of this host; all that comes of it is told by `id`.
    pub(super) fn start(
        id: u32,
        relay: &Relay,
        from: Ipv4Addr,
        walls: &Walls,
        news: mpsc::Sender<(u32, News)>,
    ) -> Self {
        let (orders, told) = mpsc::channel(ORDERS);
        let (at, walls) = (relay.at, Rc::clone(walls));
        let machine = Client::new(&relay.username, &relay.credential, Transport::Udp, clock::random());
        tokio::task::spawn_local(async move {
            let why = match UdpSocket::bind((from, 0)).await {
                Ok(socket) => run(Task { id, at, walls, news: news.clone(), socket, machine }, told).await,
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = why {
                let _ = news.send((id, News::Failed(why))).await; // nobody listens any more
            }
        });
        Self(orders)
    }

    /// Lets these peers send.
    pub(super) fn permit(&self, peers: Vec<SocketAddr>) {
        let _ = self.0.try_send(Order::Permit(peers)); // one that has failed said so
    }

    /// Sends to a peer.
    pub(super) fn send(&self, peer: SocketAddr, data: Vec<u8>) {
        let _ = self.0.try_send(Order::Send(peer, data)); // lost, as datagrams are
    }
}

struct Task {
    id: u32,
    at: SocketAddr,
    walls: Walls,
    news: mpsc::Sender<(u32, News)>,
    socket: UdpSocket,
    machine: Client,
}

/// The one loop. Answers why there is no allocation, or no more.
async fn run(mut task: Task, mut told: mpsc::Receiver<Order>) -> Option<String> {
    let mut buffer = vec![0; DATAGRAM_MAX];
    task.machine.allocate(clock::mono(), None, None);
    loop {
        task.transmit().await;
        while let Some(event) = task.machine.poll_event() {
            match event {
                ClientEvent::Allocated { relayed, .. } => task.tell(News::Allocated(relayed)),
                ClientEvent::Permitted(_) | ClientEvent::Refreshed { .. } | ClientEvent::Bound { .. } => {}
                other => return Some(format!("{other:?}")),
            }
        }
        let now = clock::mono();
        let wait = task.machine.poll_timeout().map_or(IDLE, |due| due.since(now));
        tokio::select! {
            received = task.socket.recv_from(&mut buffer) => {
                // A closed port of a dead edge is told by ICMP: the client learns it by silence, as browsers do.
                let Ok((len, from)) = received else { continue };
                if from != task.at || task.is_walled() {
                    continue;
                }
                if let Some((peer, body)) = task.machine.handle_input(clock::mono(), &buffer[..len]) {
                    task.tell(News::Data(peer, buffer[body].to_vec()));
                }
            }
            order = told.recv() => match order {
                Some(Order::Permit(peers)) => task.machine.permit(clock::mono(), &peers),
                Some(Order::Send(peer, data)) => {
                    let mut packet = Vec::new();
                    task.machine.send(peer, &data, &mut packet);
                    task.send(&packet).await;
                }
                None => {
                    task.machine.refresh(clock::mono(), Some(0));
                    task.transmit().await;
                    return None;
                }
            },
            () = tokio::time::sleep(wait) => task.machine.handle_timeout(clock::mono()),
        }
    }
}

impl Task {
    fn is_walled(&self) -> bool {
        self.walls.borrow().contains(&self.at.ip())
    }

    async fn transmit(&mut self) {
        while let Some(bytes) = self.machine.poll_transmit() {
            self.send(&bytes).await;
        }
    }

    async fn send(&self, packet: &[u8]) {
        if !self.is_walled() {
            let _ = self.socket.send_to(packet, self.at).await; // lost, as datagrams are
        }
    }

    fn tell(&self, news: News) {
        let _ = self.news.try_send((self.id, news)); // a client so far behind has lost it
    }
}

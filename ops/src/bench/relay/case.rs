//! What is measured of a relay, and how each of it is set up.

use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_proto::stun::{Class, Method, TransactionId, Writer};

use super::Args;
use super::client::TurnClient;
use super::exchange::{Exchange, Flow};
use super::server::{Server, Way};
use super::storm;
use crate::bench::figures::micros_each;
use crate::bench::forwarder::ORDER;

/// One thing that is measured.
pub(super) struct Case {
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// From a client by a channel to a peer outside.
    ToPeer {
        size: usize,
        burst: u64,
    },
    /// From a client by a channel to another client of the same server, and to it by a channel.
    ToClient {
        size: usize,
        burst: u64,
    },
    Binding,
    Allocate,
    Idle,
}

/// Everything. Memory comes first: later it would be taken from what a server has freed.
pub(super) const CASES: [Case; 9] = [
    Case { name: "idle", kind: Kind::Idle },
    Case { name: "peer-172", kind: Kind::ToPeer { size: 172, burst: 1 } },
    Case { name: "peer-1200", kind: Kind::ToPeer { size: 1200, burst: 1 } },
    Case { name: "clients-172", kind: Kind::ToClient { size: 172, burst: 1 } },
    Case { name: "clients-1200", kind: Kind::ToClient { size: 1200, burst: 1 } },
    Case { name: "peer-burst", kind: Kind::ToPeer { size: 1200, burst: 8 } },
    Case { name: "clients-burst", kind: Kind::ToClient { size: 1200, burst: 8 } },
    Case { name: "binding", kind: Kind::Binding },
    Case { name: "allocate", kind: Kind::Allocate },
];

/// The names, for the command line.
pub(super) fn names() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).collect()
}

/// What a round measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// In the case's unit.
    pub(super) cost: f64,
    /// How much of the time the server was at work, 0 to 1.
    busy: f64,
    /// What was sent and did not arrive.
    lost: u64,
    /// A second.
    rate: f64,
}

impl Round {
    /// What there is to say besides the cost.
    pub(super) fn note(rounds: &[Self]) -> String {
        let lost: u64 = rounds.iter().map(|round| round.lost).sum();
        let Some(last) = rounds.last().filter(|last| last.rate > 0.0) else { return String::new() };
        let loss = if lost == 0 { "0 lost".to_owned() } else { format!("{lost} LOST") };
        format!("{loss}, {:.0} % busy, {:.1} k/s", last.busy * 100.0, last.rate / 1000.0)
    }
}

/// A case made ready on one server.
pub(super) enum Prepared {
    Exchange(Box<Exchange>, Vec<TurnClient>),
    Storm,
    Idle,
}

impl Case {
    pub(super) fn title(&self) -> String {
        match self.kind {
            Kind::ToPeer { size, burst: 1 } => format!("client to peer, {size} B"),
            Kind::ToPeer { size, burst } => format!("client to peer, {burst} x {size} B"),
            Kind::ToClient { size, burst: 1 } => format!("client to client, {size} B"),
            Kind::ToClient { size, burst } => format!("client to client, {burst} x {size} B"),
            Kind::Binding => "Binding request".to_owned(),
            Kind::Allocate => "new allocation (401, 200)".to_owned(),
            Kind::Idle => "idle allocation".to_owned(),
        }
    }

    pub(super) fn unit(&self, server: &Server) -> &'static str {
        match self.kind {
            Kind::Idle => "B",
            _ if server.process.is_none() => "us (time)",
            _ => "us",
        }
    }

    /// Whether it is measured of this server.
    pub(super) fn is_for(&self, server: &Server) -> bool {
        match self.kind {
            Kind::Allocate => !matches!(server.way, Way::Forwarder),
            Kind::Idle => !matches!(server.way, Way::Forwarder) && server.process.is_some(),
            _ => true,
        }
    }

    /// Whether one round tells all.
    pub(super) fn is_once(&self) -> bool {
        self.kind == Kind::Idle
    }

    /// Makes it ready on a server.
    pub(super) fn prepare(&self, args: &Args, server: &Server) -> Result<Prepared> {
        match self.kind {
            Kind::ToPeer { size, burst } => to_peer(args, server, size, burst),
            Kind::ToClient { size, burst } => to_client(args, server, size, burst),
            Kind::Binding => binding(args, server),
            Kind::Allocate => Ok(Prepared::Storm),
            Kind::Idle => Ok(Prepared::Idle),
        }
    }
}

impl Prepared {
    /// Measures once.
    pub(super) fn round(&mut self, args: &Args, server: &Server) -> Result<Round> {
        match self {
            Self::Exchange(exchange, _) => {
                let mut lost = 0;
                let round = timed(server, || {
                    let counts = exchange.run(args.packets)?;
                    lost = counts.sent - counts.arrived;
                    Ok(counts.arrived)
                })?;
                Ok(Round { lost, ..round })
            }
            Self::Storm => {
                let mut clients = Vec::new();
                let round = timed(server, || {
                    clients = storm::allocate(args, server, args.allocations.into())?;
                    Ok(args.allocations.into())
                })?;
                storm::delete(clients)?;
                Ok(round)
            }
            Self::Idle => {
                let cost = storm::memory_each(args, server)?;
                Ok(Round { cost, busy: 0.0, lost: 0, rate: 0.0 })
            }
        }
    }

    /// Takes down what was set up.
    pub(super) fn end(self) {
        if let Self::Exchange(_, clients) = self {
            for mut client in clients {
                // What remains expires.
                let _ = client.delete();
            }
        }
    }
}

/// Does something that handles so many pieces, and measures what each costs the server: processor time,
/// or time where its process is not known.
fn timed(server: &Server, work: impl FnOnce() -> Result<u64>) -> Result<Round> {
    let cpu = || server.process.map_or(Ok(clock::mono().0), |process| process.cpu());
    let (began, before) = (clock::mono(), cpu()?);
    let count = work()?;
    let (used, took) = (cpu()?.saturating_sub(before), clock::mono().since(began));
    if count == 0 {
        bail!("nothing arrived");
    }
    let per_second = 1e6 / micros_each(took, count);
    let busy = used.as_secs_f64() / took.as_secs_f64();
    Ok(Round { cost: micros_each(used, count), busy, lost: 0, rate: per_second })
}

/// Bytes of a size, the last four of which name the flow.
fn payload(size: usize, flow: usize) -> Result<Vec<u8>> {
    let mut payload = vec![0xA5; size - 4];
    payload.extend(u32::try_from(flow)?.to_be_bytes());
    Ok(payload)
}

/// How many flows there are. Bursts of all would overflow the socket of a server that takes packets one by
/// one: then loss would be compared, not cost.
fn flow_count(args: &Args, burst: u64) -> usize {
    usize::from(if burst > 1 { args.flows.div_ceil(4) } else { args.flows })
}

/// A socket that the forwarder is told about.
fn forwarded(args: &Args, server: &Server, order: &str) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((args.host, 0))?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
    let order = format!("{ORDER}{order}");
    socket.send_to(order.as_bytes(), server.address)?;
    let mut answer = [0; 256];
    let (len, _) = socket.recv_from(&mut answer).context("the forwarder does not answer")?;
    if &answer[..len] != order.as_bytes() {
        bail!("the forwarder answers something else");
    }
    Ok(socket)
}

/// Each flow from a client of its own to one peer.
fn to_peer(args: &Args, server: &Server, size: usize, burst: u64) -> Result<Prepared> {
    let peer = UdpSocket::bind((args.host, 0))?;
    let at = peer.local_addr()?;
    let (mut sockets, mut flows, mut clients) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..flow_count(args, burst) {
        let mut packet = payload(size, index)?;
        let socket = if server.way == Way::Forwarder {
            forwarded(args, server, &format!("peer {at}"))?
        } else {
            let mut client = TurnClient::new(args.host, server.address, &server.credentials(index))?;
            client.allocate()?;
            client.bind(at)?;
            packet = framed(&mut client, at, &packet);
            let socket = client.socket.try_clone()?;
            clients.push(client);
            socket
        };
        sockets.push((socket, None));
        flows.push(Flow { socket: index, to: server.address, packet });
    }
    sockets.push((peer, None));
    Ok(Prepared::Exchange(Box::new(Exchange::new(sockets, flows, burst)?), clients))
}

/// Each flow from one client to another.
fn to_client(args: &Args, server: &Server, size: usize, burst: u64) -> Result<Prepared> {
    let (mut sockets, mut flows, mut clients) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..flow_count(args, burst) {
        let mut packet = payload(size, index)?;
        let (from, to) = if server.way == Way::Forwarder {
            let to = forwarded(args, server, "echo")?;
            (forwarded(args, server, &format!("client {}", to.local_addr()?))?, to)
        } else {
            let new =
                |half| TurnClient::new(args.host, server.address, &server.credentials(2 * index + half));
            let (mut from, mut to) = (new(0)?, new(1)?);
            let (source, destination) = (from.allocate()?, to.allocate()?);
            from.bind(destination)?;
            to.bind(source)?;
            packet = framed(&mut from, destination, &packet);
            let both = (from.socket.try_clone()?, to.socket.try_clone()?);
            clients.extend([from, to]);
            both
        };
        sockets.extend([(from, None), (to, Some(index))]);
        flows.push(Flow { socket: 2 * index, to: server.address, packet });
    }
    Ok(Prepared::Exchange(Box::new(Exchange::new(sockets, flows, burst)?), clients))
}

/// ChannelData to a peer, as it stands in a datagram.
fn framed(client: &mut TurnClient, peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    client.machine.send(peer, payload, &mut packet);
    packet
}

/// Each flow asks where it is seen.
fn binding(args: &Args, server: &Server) -> Result<Prepared> {
    let (mut sockets, mut flows) = (Vec::new(), Vec::new());
    for index in 0..flow_count(args, 1) {
        let socket = match server.way {
            Way::Forwarder => forwarded(args, server, "echo")?,
            _ => UdpSocket::bind((args.host, 0))?,
        };
        let transaction = TransactionId(clock::random());
        let packet = Writer::new(Class::Request, Method::BINDING, transaction).finish();
        sockets.push((socket, Some(index)));
        flows.push(Flow { socket: index, to: server.address, packet });
    }
    Ok(Prepared::Exchange(Box::new(Exchange::new(sockets, flows, 1)?), Vec::new()))
}

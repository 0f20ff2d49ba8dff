//! The floor of `chappe bench relay`: a process that forwards datagrams and does nothing else, by the
//! same system calls as an edge: many packets a call, trains kept together.
//!
//! As a relay must, it has one socket for clients and, for each client whose peer is outside, one more
//! to send from. A client says where its packets go by a datagram that begins with [`ORDER`].
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use chappe_edge::udp::{Inbox, Outbox, Part, Refusals, SLOTS, Target, enable_gro};
use mio::{Events, Interest, Poll, Token};

/// What an order begins with; one of the words `peer IP:PORT`, `client IP:PORT` and `echo` follows. The
/// whole is answered as it came.
pub(super) const ORDER: &str = "chappe-bench: ";
/// The name of the socket that clients send to; a client's own is one higher than its number.
const CLIENTS: u32 = 0;
/// Clients at most.
const ROUTES_MAX: usize = 4096;

struct Forwarder {
    clients: UdpSocket,
    relays: Vec<UdpSocket>,
    routes: HashMap<SocketAddr, Target>,
    inbox: Inbox,
    outbox: Outbox,
}

/// Forwards until it is killed.
pub(super) fn run() -> Result<()> {
    let clients = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no free UDP port on loopback")?;
    enable_gro(clients.as_fd())?;
    clients.set_nonblocking(true)?;
    println!("UDP {}", clients.local_addr()?);
    let mut poll = Poll::new()?;
    let mut source = mio::net::UdpSocket::from_std(clients.try_clone()?);
    poll.registry().register(&mut source, Token(0), Interest::READABLE)?;
    let (relays, routes) = (Vec::new(), HashMap::new());
    let mut forwarder = Forwarder { clients, relays, routes, inbox: Inbox::new(), outbox: Outbox::new() };
    let mut events = Events::with_capacity(8);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => while forwarder.turn() == SLOTS {},
        }
    }
}

impl Forwarder {
    /// Takes what there is, at most all slots, and sends it on. Answers how many slots it took.
    fn turn(&mut self) -> usize {
        let count = self.inbox.receive(self.clients.as_fd(), SLOTS).unwrap_or(0);
        for slot in 0..count {
            let packet = self.inbox.packet(slot);
            if self.inbox.bytes(slot, packet.len).starts_with(ORDER.as_bytes()) {
                self.order(slot, packet.from, packet.len);
                continue;
            }
            let Some(target) = self.routes.get(&packet.from).copied() else { continue };
            let mut start = 0;
            while start < packet.len {
                let end = packet.len.min(start + packet.segment);
                let part = Part { head: &[], body: start..end, pad: 0 };
                if !self.outbox.push(&mut self.inbox, target, slot, &(start..end), &part) {
                    self.flush();
                    self.outbox.push(&mut self.inbox, target, slot, &(start..end), &part);
                }
                start = end;
            }
        }
        self.flush();
        self.inbox.clear();
        count
    }

    fn flush(&mut self) {
        let (clients, relays) = (&self.clients, &self.relays);
        let socket = |name: u32| match name.checked_sub(1) {
            None => Some(clients.as_fd()),
            Some(index) => relays.get(index as usize).map(AsFd::as_fd),
        };
        self.outbox.flush(&self.inbox, socket, &mut Refusals::default());
    }

    /// Takes an order, and answers it.
    fn order(&mut self, slot: usize, from: SocketAddr, len: usize) {
        let text = String::from_utf8_lossy(&self.inbox.bytes(slot, len)[ORDER.len()..]).into_owned();
        let target = match text.split_once(' ') {
            Some(("peer", to)) => to.parse().ok().and_then(|to| self.relay(to)),
            Some(("client", to)) => to.parse().ok().map(|to| Target::new(CLIENTS, to, None)),
            _ => Some(Target::new(CLIENTS, from, None)),
        };
        if let Some(target) = target.filter(|_| self.routes.len() < ROUTES_MAX) {
            self.routes.insert(from, target);
            let answer = format!("{ORDER}{text}");
            self.outbox.push_copy(Target::new(CLIENTS, from, None), answer.as_bytes());
        }
    }

    /// A socket to send to a peer from.
    fn relay(&mut self, to: SocketAddr) -> Option<Target> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        socket.set_nonblocking(true).ok()?;
        self.relays.push(socket);
        let name = u32::try_from(self.relays.len()).ok()?;
        Some(Target::new(name, to, None))
    }
}

//! Relayed sockets: one for each allocation, found by the machine's dense ids.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use chappe_proto::turn::{BindError, RelayId};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::udp;

/// The relayed sockets by their ids. A socket keeps the kernel's own buffer limits: memory is only used
/// by packets that wait, and a queue longer than that would be late rather than lost.
#[derive(Default)]
pub(crate) struct Relays {
    sockets: Vec<Option<UdpSocket>>,
    /// What each had dropped when it was looked at last.
    drops: Vec<u32>,
    /// What all have, and those that were closed.
    dropped: u64,
    /// Where the next look begins.
    next: usize,
}

/// Sockets that one look asks: a call each, well under a millisecond together.
const LOOK: usize = 1024;

impl Relays {
    /// The socket of a relay that is open.
    pub(crate) fn get(&self, relay: u32) -> Option<BorrowedFd<'_>> {
        Some(self.sockets.get(relay as usize)?.as_ref()?.as_fd())
    }

    /// Binds the first port that is free, and answers with the local address.
    pub(crate) fn bind(
        &mut self,
        registry: &Registry,
        token: Token,
        relay: RelayId,
        ip: IpAddr,
        ports: &[u16],
    ) -> Result<SocketAddr, BindError> {
        let (socket, local) = open(ip, ports)?;
        let mut socket = UdpSocket::from_std(socket.into());
        registry.register(&mut socket, token, Interest::READABLE).map_err(|error| cause(&error))?;
        let index = relay.0 as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
            self.drops.resize(index + 1, 0);
        }
        self.sockets[index] = Some(socket);
        Ok(local)
    }

    /// Closes a relay's socket, which also ends its registration.
    pub(crate) fn close(&mut self, relay: RelayId) {
        let index = relay.0 as usize;
        self.look(index);
        if let Some(drops) = self.drops.get_mut(index) {
            *drops = 0;
        }
        if let Some(socket) = self.sockets.get_mut(index) {
            *socket = None;
        }
    }

    /// Datagrams that the kernel has dropped on them, as far as is known: each is looked at in its turn, and when
    /// it closes.
    pub(crate) fn dropped(&mut self) -> u64 {
        for _ in 0..self.sockets.len().min(LOOK) {
            self.next = (self.next + 1) % self.sockets.len();
            self.look(self.next);
        }
        self.dropped
    }

    fn look(&mut self, index: usize) {
        let Some(socket) = self.sockets.get(index).and_then(Option::as_ref) else { return };
        let now = udp::dropped(socket.as_fd());
        if let Some(before) = self.drops.get_mut(index) {
            self.dropped += u64::from(now.wrapping_sub(*before));
            *before = now;
        }
    }
}

/// A socket bound to `ip` and the first of `ports` that is free.
fn open(ip: IpAddr, ports: &[u16]) -> Result<(Socket, SocketAddr), BindError> {
    let v6 = ip.is_ipv6();
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let made = Socket::new_raw(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP));
    let socket = made.map_err(|error| cause(&error))?;
    let prepared = if v6 { socket.set_only_v6(true) } else { Ok(()) };
    prepared
        .and_then(|()| udp::enable_gro(socket.as_fd()))
        .and_then(|()| udp::allow_fragments(socket.as_fd(), v6))
        .and_then(|()| udp::enable_marks(socket.as_fd(), v6))
        .and_then(|()| udp::enable_errors(socket.as_fd(), v6))
        .map_err(|error| cause(&error))?;
    for port in ports {
        match socket.bind(&SocketAddr::new(ip, *port).into()) {
            // Port 0 asks the kernel for one; otherwise the address is known without asking.
            Ok(()) if *port == 0 => {
                let local = socket.local_addr().map_err(|error| cause(&error))?;
                return local.as_socket().map(|local| (socket, local)).ok_or(BindError::Other);
            }
            Ok(()) => return Ok((socket, SocketAddr::new(ip, *port))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(cause(&error)),
        }
    }
    Err(BindError::InUse)
}

/// Whether relayed sockets can be bound to `ip` at all.
pub(crate) fn check(ip: IpAddr) -> io::Result<()> {
    std::net::UdpSocket::bind((ip, 0)).map(drop)
}

fn cause(error: &io::Error) -> BindError {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => BindError::InUse,
        Some(libc::EADDRNOTAVAIL) => BindError::NoAddress,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) => BindError::Exhausted,
        _ => BindError::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_first_free_port_is_taken() {
        let taken = std::net::UdpSocket::bind((HERE, 0)).unwrap();
        let busy = taken.local_addr().unwrap().port();
        assert_eq!(open(HERE, &[busy]).unwrap_err(), BindError::InUse);
        let (_socket, local) = open(HERE, &[busy, 0]).unwrap();
        assert_ne!(local.port(), busy);
    }

    #[test]
    fn what_the_kernel_drops_is_counted_of_open_sockets_and_of_closed_ones() {
        let poll = mio::Poll::new().unwrap();
        let mut relays = Relays::default();
        let local = relays.bind(poll.registry(), Token(0), RelayId(2), HERE, &[0]).unwrap();
        assert_eq!(relays.dropped(), 0);
        let sender = std::net::UdpSocket::bind((HERE, 0)).unwrap();
        let flood = || (0..4000).for_each(|_| assert!(sender.send_to(&[0; 1000], local).is_ok()));
        flood();
        let first = relays.dropped();
        assert!(first > 0 && relays.dropped() == first);
        flood();
        relays.close(RelayId(2));
        assert!(relays.dropped() > first);
        let last = relays.dropped();
        relays.bind(poll.registry(), Token(0), RelayId(2), HERE, &[0]).unwrap();
        assert_eq!(relays.dropped(), last, "another socket");
    }

    #[test]
    fn an_address_of_no_interface_is_told() {
        let elsewhere = "192.0.2.1".parse().unwrap();
        assert_eq!(open(elsewhere, &[0]).unwrap_err(), BindError::NoAddress);
        assert!(check(elsewhere).is_err() && check(HERE).is_ok());
    }
}

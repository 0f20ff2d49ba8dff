//! What goes into the TURN machine and what comes out of it. The shell that feeds it owns the
//! sockets; the machine names them.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::limit::Limit;
use crate::id::SessionId;

/// How a client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// One STUN message or ChannelData a datagram.
    Udp,
    /// A stream of them, ChannelData padded to four bytes (RFC 8656 section 12.5).
    Tcp,
    /// The same stream within TLS: `turns:`.
    Tls,
    /// Datagrams within DTLS (RFC 7350): `turns:` over UDP.
    Dtls,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];

    /// Whether messages follow each other in a stream, rather than one a datagram.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Whether it is encrypted: `turns:` rather than `turn:`.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Dtls)
    }

    /// Its name in texts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Dtls => "DTLS",
        }
    }
}

/// The five-tuple of a client (RFC 8656 section 2.2): what an allocation is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FiveTuple {
    /// How the client reaches the server.
    pub transport: Transport,
    /// The client's address as the server sees it.
    pub client: SocketAddr,
    /// The listener's address that the client sent to.
    pub server: SocketAddr,
}

/// The shell's own handle of the socket that a client is reached by: a UDP listener or a stream.
/// The machine stores it and gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Via(pub u32);

/// A relayed socket. Dense and reused after [`Output::CloseRelay`], so that a shell may index by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(pub u32);

/// The bytes that go before a payload: a ChannelData header (4) or a Data indication up to its
/// DATA attribute's header (36 for IPv4, 48 for IPv6).
#[derive(Clone, Copy)]
pub struct Head {
    pub(super) bytes: [u8; 48],
    pub(super) len: u8,
}

impl Head {
    /// The bytes themselves.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Where the payload of one packet goes; ranges are of the buffer that was handed in, so that the
/// shell gathers instead of copying.
#[derive(Clone)]
pub enum Forward {
    /// Nowhere: dropped and counted, or answered through [`Output`].
    None,
    /// Out of a relayed socket.
    ToPeer {
        /// The relayed socket.
        relay: RelayId,
        /// The peer, as it is reached from the relayed socket.
        peer: SocketAddr,
        /// The payload.
        body: Range<usize>,
        /// Not to be fragmented on its way: DF in IPv4, no Fragment header in IPv6 (RFC 8656 sections 14
        /// and 15).
        df: bool,
    },
    /// To a client: `head`, then the payload, then `pad` zero bytes.
    ToClient {
        /// The client's five-tuple.
        client: FiveTuple,
        /// Its socket.
        via: Via,
        /// What goes before the payload.
        head: Head,
        /// The payload.
        body: Range<usize>,
        /// Zero bytes after it (0 to 3).
        pad: u8,
    },
}

/// What the machine asks of its shell besides [`Forward`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send a STUN message to a client.
    Send {
        /// The client's five-tuple.
        client: FiveTuple,
        /// Its socket.
        via: Via,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Bind a UDP socket and answer with `Server::handle_bound`: one of `ports`, in their order.
    BindRelay {
        /// The name that the socket will have.
        relay: RelayId,
        /// The address to bind.
        ip: IpAddr,
        /// Ports to try, the first one that is free.
        ports: Vec<u16>,
    },
    /// Close a relayed socket: its id may be used again at once.
    CloseRelay(RelayId),
    /// Close a client's stream.
    CloseClient(Via),
    /// Something to count or to tell an operator.
    Event(Event),
}

/// Why no relayed socket could be bound. Each is answered 508 (RFC 8656 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Other sockets hold all of the candidate ports.
    #[error("every candidate port is in use")]
    InUse,
    /// No interface holds the address.
    #[error("no interface has the relay address")]
    NoAddress,
    /// Out of file descriptors or memory.
    #[error("out of sockets")]
    Exhausted,
    /// Anything else.
    #[error("cannot bind")]
    Other,
}

/// An ICMP error that a datagram to a peer met, as the kernel's error queue has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Its ICMP or ICMPv6 type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The next hop's MTU, where the error says one.
    pub mtu: u32,
}

impl IcmpError {
    /// The error data of the ICMP attribute (RFC 8656 section 18.13): the MTU for "packet too big" and
    /// "fragmentation needed", else zero.
    pub(super) const fn mtu(self, peer: SocketAddr) -> u32 {
        match (peer, self.kind, self.code) {
            (SocketAddr::V4(_), 3, 4) | (SocketAddr::V6(_), 2, _) => self.mtu,
            _ => 0,
        }
    }
}

/// What happened to an allocation, for logs and figures.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An allocation began.
    Allocated {
        /// The client.
        client: FiveTuple,
        /// The relayed transport address, as advertised.
        relayed: SocketAddr,
        /// The username that authenticated it.
        username: String,
        /// The signaling session in the username, where it is of the REST form.
        session: Option<SessionId>,
    },
    /// An allocation ended.
    Ended {
        /// The client.
        client: FiveTuple,
        /// The relayed transport address, as advertised.
        relayed: SocketAddr,
        /// The username that authenticated it.
        username: String,
        /// Why.
        why: EndReason,
    },
    /// A request was refused with this STUN error code.
    Refused {
        /// The client.
        client: FiveTuple,
        /// The error code, 300 to 699.
        code: u16,
    },
    /// A limit was met: at once, and again after
    /// [`LIMIT_TOLD_EVERY`](crate::limits::LIMIT_TOLD_EVERY).
    Limited {
        /// Which one.
        limit: Limit,
        /// How often since it was told last, this one included.
        count: u64,
        /// The user that met it now, where it is known.
        user: Option<String>,
        /// The address of the client that met it now.
        source: IpAddr,
    },
}

/// Why an allocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Refreshed with a lifetime of zero (RFC 8656 section 7.2).
    Deleted,
    /// Not refreshed in time.
    Expired,
    /// The client's stream closed.
    Disconnected,
    /// Its session was kicked or banned: a revocation.
    Revoked,
    /// Its session left: a directive.
    Left,
    /// An operator closed it.
    Closed,
}

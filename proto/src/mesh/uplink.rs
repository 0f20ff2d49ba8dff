//! The uplink: an edge's QUIC connection to a node.
//!
//! The edge opens one bidirectional stream. Each side writes frames of a 32-bit big-endian length
//! and [`crate::wire`] bytes: the edge [`Up`], the node [`Down`]; both begin with their `Hello`.
//! Once a second the edge sends a [`Health`] as a datagram: a lost one is replaced by the next.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::allocations::{EdgeAnswer, EdgeAsk};
use super::probe::{Fault, Found, Probe};
use crate::id::{EdgeId, Index, NodeId, Region, SessionId};
use crate::time::Unix;
use crate::turn::Transport;
use crate::wire;

/// The ALPN protocol of an uplink.
pub const ALPN: &[u8] = b"chappe-uplink/1";

/// The QUIC application close code of an edge that stops by itself: nodes need not wait for it.
pub const GOODBYE: u32 = 1;

/// The QUIC application close code of a node that refuses an edge which operators have removed: it is not to come
/// back as who it was.
pub const REMOVED: u32 = 20;

/// The QUIC application close code of a node that refuses what an edge says of itself. It may ask again: operators
/// may have changed something.
pub const REFUSED: u32 = 27;

/// What an edge says on its stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Up {
    /// The first frame.
    Hello(EdgeHello),
    /// Everything of the feed up to here is in force on this edge.
    Applied {
        /// The last applied feed number.
        index: Index,
    },
    /// A directive has been carried out.
    Done {
        /// Its number.
        seq: u64,
    },
    /// What a probe of another edge found: the answer to [`Directive::Probe`].
    Probed {
        /// The probe's number.
        number: u64,
        /// The edge that was probed.
        edge: EdgeId,
        /// What was found of each of its listeners.
        found: Vec<Found>,
    },
    /// What users have relayed, of those for whom that has changed since it was last taken. Said again, by the
    /// same number or another, until it is [taken](Down::UsageTaken): totals are totals, so hearing one twice,
    /// or at two nodes, changes nothing.
    Usage {
        /// Its number, ever higher in a life of the edge, whichever node it is said to.
        seq: u64,
        /// Each user at most once.
        usage: Vec<Usage>,
    },
    /// A report that no datagram takes.
    Health(Box<Health>),
    /// The edge's certificate is to be made anew, for this key.
    Certify {
        /// SubjectPublicKeyInfo in DER: the private half stays with the edge.
        #[serde(with = "serde_bytes")]
        public_key: Vec<u8>,
    },
    /// The answer to [`Down::Ask`].
    Answer {
        /// Its number.
        number: u64,
        /// What is answered.
        body: EdgeAnswer,
    },
    /// What a newer release says; skipped.
    #[serde(other)]
    Unknown,
}

/// What a node says on an edge's stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Down {
    /// The first frame.
    Hello(NodeHello),
    /// All that an edge follows of the registry.
    Snapshot(EdgeView),
    /// What changed since the last frame of the feed.
    Delta {
        /// The feed number that the changes lead to.
        index: Index,
        /// In order.
        changes: Vec<EdgeChange>,
    },
    /// Something to do once.
    Directive {
        /// Its number in this life of the node ([`NodeHello::life`]), from 1 and ever higher.
        seq: u64,
        /// What to do.
        body: Directive,
    },
    /// [`Up::Usage`] has been taken.
    UsageTaken {
        /// Its number.
        seq: u64,
    },
    /// Where new clients are to be sent while this edge drains, or has as many allocations as it takes (RFC 8489
    /// section 10): what the node sees alive now, so no part of the feed. Replaces what any node said before.
    Alternates {
        /// The nearest first, at most [`crate::limits::ALTERNATES_MAX`] of each family.
        alternates: Vec<Alternate>,
    },
    /// The answer to [`Up::Certify`].
    Certified {
        /// The edge's new certificate.
        certificate: Certificate,
    },
    /// Something that is answered by [`Up::Answer`], on this uplink or never.
    Ask {
        /// Its number on this uplink.
        number: u64,
        /// What is asked.
        body: EdgeAsk,
    },
    /// What a newer release says; skipped.
    #[serde(other)]
    Unknown,
}

/// Who an edge is and what it offers. Its id must be the one in its certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeHello {
    /// Its name.
    pub edge: EdgeId,
    /// Its build, as `chappe --version` prints it.
    pub build: String,
    /// Where it stands.
    pub region: Region,
    /// Latitude and longitude in degrees, where the operator gave them.
    #[serde(default)]
    pub coordinates: Option<(f64, f64)>,
    /// What clients can reach.
    pub listeners: Vec<Listener>,
    /// Where relayed addresses come from.
    pub relays: Vec<RelayRange>,
    /// Allocations it takes at most.
    pub capacity: u32,
    /// The last feed number it applied before, from any node.
    #[serde(default)]
    pub feed: Option<Index>,
    /// Its secure listeners that its own probe found to work by now, by their place: a certificate may be awaited,
    /// or be one that browsers refuse. Once a [`Health`] has come that one says which fail.
    #[serde(default)]
    pub proven: Vec<u16>,
    /// Whether its TLS listeners answer [`PROBE_PATH`](crate::http::PROBE_PATH).
    #[serde(default)]
    pub timed: bool,
}

impl EdgeHello {
    /// Its secure listeners, by their place: they count as failed until its own probe said that they work.
    pub fn secure(&self) -> impl Iterator<Item = (u16, &Listener)> {
        (0..).zip(&self.listeners).filter(|(_, listener)| listener.transport.is_secure())
    }

    /// The listeners that do not work, as far as it has said.
    #[must_use]
    pub fn failed<'a>(&'a self, health: Option<&'a Health>) -> Vec<&'a Listener> {
        match health {
            Some(health) => health.failed_listeners.iter().collect(),
            None => {
                let unproven = self.secure().filter(|(place, _)| !self.proven.contains(place));
                unproven.map(|(_, listener)| listener).collect()
            }
        }
    }
}

/// One listener of an edge, as clients reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Listener {
    /// How.
    pub transport: Transport,
    /// The advertised address and port.
    #[serde(with = "wire::text")]
    pub address: SocketAddr,
    /// A hostname to put into URLs instead of the address.
    #[serde(default)]
    pub hostname: Option<String>,
}

/// An advertised relay address and its ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RelayRange {
    /// The address that relayed transport addresses carry.
    #[serde(with = "wire::text")]
    pub address: IpAddr,
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl RelayRange {
    /// Whether `address` is one that this range can hand out.
    #[must_use]
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.address == address.ip() && (self.first..=self.last).contains(&address.port())
    }
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHello {
    /// Its id.
    pub node: NodeId,
    /// Its build.
    pub build: String,
    /// The realm of the long-term credential mechanism.
    pub realm: String,
    /// Names this life of its process: directives are numbered within it. 0 is a node of an older release, whose
    /// directives are told apart by their numbers on one uplink alone.
    #[serde(default)]
    pub life: u64,
}

/// A node, as an edge finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAt {
    /// Its id.
    pub node: NodeId,
    /// Where it stands: two nodes in different regions rarely fail together.
    pub region: Region,
    /// The addresses of its QUIC endpoint.
    #[serde(with = "wire::texts")]
    pub addresses: Vec<SocketAddr>,
}

/// What an edge follows of the registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeView {
    /// The feed number: the Raft index that this state is of.
    pub index: Index,
    /// The shared secrets of TURN REST credentials by their number; all of them authenticate, the
    /// highest issues.
    pub secrets: BTreeMap<u64, Secret>,
    /// Sessions whose credentials are dead, until when that must be remembered.
    pub revoked: BTreeMap<SessionId, Unix>,
    /// The relay ranges of the whole fleet: peers there are allowed whatever the policy says.
    pub fleet: Vec<RelayRange>,
    /// What peers the operator allows and denies beyond the built-in list.
    pub peers: PeerPolicy,
    /// Takes no new allocations.
    #[serde(default)]
    pub draining: bool,
    /// Long-term users, of any realm.
    #[serde(default)]
    pub users: Vec<TurnUser>,
    /// Realms besides the edge's own, by the ORIGIN of the clients that are challenged with them.
    #[serde(default)]
    pub origins: BTreeMap<String, String>,
    /// Edges of each family to which new clients are sent (RFC 8489 section 10), where this one is to
    /// take none.
    #[serde(default)]
    pub alternates: Vec<Alternate>,
    /// Certificates of the cluster's authorities, by their number: nodes that show one of any of them are
    /// trusted. Of an older node none: then those that the edge knows stay in force.
    #[serde(default)]
    pub authorities: BTreeMap<u64, Certificate>,
    /// The nodes by id. Of an older node none: then those that the edge knows stay.
    #[serde(default)]
    pub nodes: Vec<NodeAt>,
}

/// One change of an [`EdgeView`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "c", rename_all = "snake_case")]
pub enum EdgeChange {
    /// A secret begins.
    SecretAdded {
        /// Its number.
        number: u64,
        /// Its bytes.
        secret: Secret,
    },
    /// A secret ends: no new Allocate authenticates by it, live allocations keep it.
    SecretRemoved {
        /// Its number.
        number: u64,
    },
    /// A session's credentials die now.
    Revoked {
        /// The session.
        session: SessionId,
        /// When the last credential issued to it expires.
        until: Unix,
    },
    /// The fleet's relay ranges are these.
    Fleet {
        /// All of them.
        relays: Vec<RelayRange>,
    },
    /// The operator's peer policy is this.
    Peers(PeerPolicy),
    /// This edge is to drain, or to serve again.
    Draining {
        /// Which.
        draining: bool,
    },
    /// A long-term user begins, or has other keys from now on.
    UserSet(TurnUser),
    /// A long-term user ends, and its allocations with it.
    UserRemoved {
        /// Its realm.
        realm: String,
        /// Its name.
        name: String,
    },
    /// The realms of origins are these.
    Origins {
        /// All of them: realms by origins.
        origins: BTreeMap<String, String>,
    },
    /// New clients are to be sent to these edges, or to nowhere else.
    Alternates {
        /// At most one of each family.
        alternates: Vec<Alternate>,
    },
    /// The cluster's authorities are these.
    Authorities {
        /// Their certificates by their number.
        authorities: BTreeMap<u64, Certificate>,
    },
    /// The nodes are these.
    Nodes {
        /// By id.
        nodes: Vec<NodeAt>,
    },
    /// What a newer release says; skipped.
    #[serde(other)]
    Unknown,
}

/// A user of the long-term credential mechanism (RFC 8489 section 9.2): its keys, never its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnUser {
    /// The realm that its keys are of.
    pub realm: String,
    /// Its name.
    pub name: String,
    /// `MD5(name ":" realm ":" password)`, 16 bytes: what `turnadmin -k` prints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Secret>,
    /// `SHA-256(name ":" realm ":" password)`, 32 bytes (RFC 8489 section 18.5.1.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Secret>,
}

/// Where a client is sent by ALTERNATE-SERVER (RFC 8489 section 14.15).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternate {
    /// The listener's address.
    #[serde(with = "wire::text")]
    pub address: SocketAddr,
}

/// A shared secret. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// An X.509 certificate (RFC 5280), DER.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Certificate(#[serde(with = "serde_bytes")] pub Vec<u8>);

/// Which peers an operator allows and denies, beyond the built-in denial of special-purpose
/// addresses. A denial wins over an allowance; the most exact prefix is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPolicy {
    /// Allowed although special-purpose (the LAN in a development cluster).
    #[serde(with = "wire::texts")]
    pub allow: Vec<IpNet>,
    /// Denied although global.
    #[serde(with = "wire::texts")]
    pub deny: Vec<IpNet>,
}

/// Something that an edge does once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "d", rename_all = "snake_case")]
pub enum Directive {
    /// The session has left its room: close its allocations.
    End {
        /// The session.
        session: SessionId,
    },
    /// Probe another edge. Done when it is taken on; what is found comes as [`Up::Probed`].
    Probe(Probe),
    /// What a newer release asks; answered as done.
    #[serde(other)]
    Unknown,
}

/// How an edge is, once a second. Counters count from the start of the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Counts the reports of this connection, so that an older one that comes late is dropped.
    pub seq: u64,
    /// Allocations now.
    pub allocations: u32,
    /// Packets and bytes of payload, client to peer.
    pub sent: Traffic,
    /// Packets and bytes of payload, peer to client.
    pub received: Traffic,
    /// Dropped packets by cause.
    pub drops: BTreeMap<String, u64>,
    /// CPU time of the process, user and system, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory in bytes.
    pub rss: u64,
    /// The longest that one turn of the driver's loop took in the last second, in microseconds.
    pub loop_lag_us: u32,
    /// Listeners that did not answer their own probe; where these make a report too long for a datagram, their
    /// places in [`Self::faults`] say it alone, and the node [names](Self::name_failed) them.
    #[serde(default)]
    pub failed_listeners: Vec<Listener>,
    /// How often each limit was met.
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
    /// How long the process has run, in milliseconds; zero from a release that does not tell it.
    #[serde(default)]
    pub uptime_ms: u64,
    /// CPU time of the one thread that relays, in milliseconds: it is full at a thousand a second, however many
    /// cores there are.
    #[serde(default)]
    pub loop_cpu_ms: u64,
    /// Cores that the process may use; zero where that is not told.
    #[serde(default)]
    pub cores: u16,
    /// Bytes of memory that the process may use, where that is known.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// File descriptors in use.
    #[serde(default)]
    pub files: u32,
    /// File descriptors that the process may have; zero where that is not told.
    #[serde(default)]
    pub files_limit: u32,
    /// Datagrams that the kernel dropped because a socket's receive buffer was full, over sockets that are open
    /// now or were.
    #[serde(default)]
    pub receive_drops: u64,
    /// Bits a second that the edge relays each way at most; zero is no limit.
    #[serde(default)]
    pub bandwidth: u64,
    /// When the first of its listeners' certificates ends.
    #[serde(default)]
    pub certificate_until: Option<Unix>,
    /// How long each listener took to answer the edge's own probe, in microseconds, in the order of
    /// [`EdgeHello::listeners`]; none where it has not.
    #[serde(default)]
    pub answered_us: Vec<Option<u32>>,
    /// What failed at those that did not, by their place in that order.
    #[serde(default)]
    pub faults: BTreeMap<u16, Fault>,
    /// It takes no new allocations.
    #[serde(default)]
    pub draining: bool,
}

impl Health {
    /// Names the listeners that failed, where the report has their places alone: those of [`EdgeHello::listeners`].
    pub fn name_failed(&mut self, listeners: &[Listener]) {
        for place in self.faults.keys() {
            if let Some(listener) = listeners.get(usize::from(*place))
                && !self.failed_listeners.contains(listener)
            {
                self.failed_listeners.push(listener.clone());
            }
        }
    }

    /// Whether it has drained, and nobody is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.draining && self.allocations == 0
    }
}

/// What one user has relayed over an edge, in all of its allocations there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Which count this is: made up at random when it begins, at nothing. A user's next one begins no later than
    /// twice [`crate::limits::USAGE_SERIES_FOR`] after it. So of two reports with one series the greater is right,
    /// those of different series add up, and none need be remembered for long.
    pub series: u64,
    /// The signaling session, where the username names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// The name of any other user, without the expiry of the REST convention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Payload from the client to peers.
    pub sent: Traffic,
    /// Payload from peers to the client.
    pub received: Traffic,
    /// The edge, and where it stands: put there by the node that it says it to, from one node to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<(EdgeId, Region)>,
}

/// A count of packets and of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

impl Traffic {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// What was added since `earlier`; nothing where that is more.
    #[must_use]
    pub const fn minus(self, earlier: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(earlier.packets),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }

    /// The greater of each count.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { packets: self.packets.max(other.packets), bytes: self.bytes.max(other.bytes) }
    }
}

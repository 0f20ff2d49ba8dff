//! What the tests of an edge share: configurations, and a node to report to.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

pub mod client;
pub mod dtls;
pub mod node;
pub mod tls;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use chappe_edge::{Config, Credentials, Edge, ListenAt, Source, StartError, Stats};
use chappe_proto::id::{EdgeId, Region};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret};
use chappe_proto::turn::{Quotas, RelayAddress, Transport};

/// Nothing that a test waits for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The shared secret of the tests' edges.
pub const SECRET: &[u8] = b"a secret of the tests";
/// The realm of the tests' edges.
pub const REALM: &str = "chappe.test";

/// An edge that stands alone on a loopback address, over UDP and TCP, and lets its clients reach loopback.
pub fn standalone(ip: &str) -> Config {
    let ip: IpAddr = ip.parse().unwrap();
    let any = SocketAddr::new(ip, 0);
    Config {
        id: EdgeId::new("edge-1").unwrap(),
        build: "test".to_owned(),
        region: Region::new("here").unwrap(),
        coordinates: None,
        listeners: vec![ListenAt::new(Transport::Udp, any), ListenAt::new(Transport::Tcp, any)],
        relays: vec![RelayAddress { bind: ip, advertised: ip, first: 49152, last: 65535 }],
        realm: REALM.to_owned(),
        classic: false,
        // As fast as this machine can.
        quotas: Quotas { allocations: 1000, allocation_bandwidth: 0, ..Quotas::default() },
        source: Source::Standalone(Credentials {
            secrets: vec![Secret(SECRET.to_vec())],
            peers: loopback(),
            ..Credentials::default()
        }),
    }
}

/// Lets clients reach loopback.
pub fn loopback() -> PeerPolicy {
    PeerPolicy { allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()], deny: vec![] }
}

/// Starts an edge.
pub fn start(config: Config) -> Edge {
    Edge::start(config).unwrap_or_else(|error: StartError| panic!("{error}"))
}

/// Waits until the edge's figures are what is expected of them.
#[allow(clippy::disallowed_methods, reason = "a test's deadline")]
pub fn until(edge: &Edge, expected: impl Fn(&Stats) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let stats = edge.stats().unwrap();
        if expected(&stats) {
            return;
        }
        assert!(Instant::now() < end, "{stats:?}");
        std::thread::yield_now();
    }
}

/// A peer's socket.
pub fn peer(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind(format!("{ip}:0")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// What a peer receives next, and from whom.
pub fn recv(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(len);
    (buffer, from)
}

/// The bound address of an edge's listener.
pub fn listener(edge: &Edge, transport: Transport) -> SocketAddr {
    let found = edge.listeners().iter().find(|(listener, _)| listener.transport == transport);
    found.map(|(_, local)| *local).unwrap()
}

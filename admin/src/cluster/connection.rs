//! What a browser needs to test its connection: every edge's and every node's URLs, and a credential that ends soon.

use std::net::{IpAddr, SocketAddr};

use chappe_proto::id::{EdgeId, NodeId, Region, SessionId};
use chappe_proto::limits::{
    CONNECTION_TEST_EDGES, CONNECTION_TEST_NODE_URLS, CONNECTION_TEST_NODES, CONNECTION_TEST_TTL,
    CONNECTION_TEST_URLS,
};
use chappe_proto::mesh::uplink::{Listener, Secret};
use chappe_proto::registry::{EdgeState, NodeState, Note};
use chappe_proto::select::ice::{credential, stun_urls, turn_url};
use chappe_proto::time::Unix;
use chappe_proto::turn::Transport;
use serde::Serialize;
use utoipa::ToSchema;

use super::control::{ClusterStatus, EdgeReport, Fault};
use crate::Answer;

/// Whoever may look may test their own connection.
pub trait Connection {
    /// What there is to test, with a fresh credential that nobody needs to revoke. Who was given it is in the audit log.
    fn connection_test(&self, note: Note) -> Answer<'_, Result<ConnectionTest, Fault>>;
}

/// All that a browser tests, and the credential for it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ConnectionTest {
    /// The node that answers.
    #[schema(value_type = u64)]
    pub node: NodeId,
    /// The nodes that are up, by id: at most [`CONNECTION_TEST_NODES`].
    pub nodes: Vec<NodeToTest>,
    /// The admitted edges, by name, those first that are heard: at most [`CONNECTION_TEST_EDGES`].
    pub edges: Vec<EdgeToTest>,
    /// Edges that there was no place for.
    pub edges_left_out: usize,
    /// The username at every edge.
    pub username: String,
    /// Its password.
    pub credential: String,
    /// How long both open allocations, in seconds. What was allocated ends with the page.
    pub ttl_secs: u64,
}

/// A node's signaling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NodeToTest {
    /// Which.
    #[schema(value_type = u64)]
    pub node: NodeId,
    /// Where it stands.
    #[schema(value_type = String)]
    pub region: Region,
    /// `wss:` and `ws:` URLs, as it says that clients reach it: at most [`CONNECTION_TEST_NODE_URLS`].
    pub urls: Vec<String>,
}

/// An edge's listeners.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EdgeToTest {
    /// Which.
    #[schema(value_type = String)]
    pub edge: EdgeId,
    /// Where it stands.
    #[schema(value_type = String)]
    pub region: Region,
    /// Latitude and longitude in degrees, where known.
    pub coordinates: Option<(f64, f64)>,
    /// Whether the node that answers hears it.
    pub alive: bool,
    /// What is tried of it: at most [`CONNECTION_TEST_URLS`].
    pub urls: Vec<UrlToTest>,
    /// The ports that it relays from, as `192.0.2.1 UDP 49152-65535`: what a firewall before it must let in.
    pub relays: Vec<String>,
}

/// A listener, as a browser is given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UrlToTest {
    /// `stun:…` (RFC 7064) or `turn:…`, `turns:…` (RFC 7065).
    pub url: String,
    /// What is spoken: `stun`, or TURN over `udp`, `tcp`, `tls`.
    pub way: &'static str,
    /// The address behind a hostname: what firewalls know.
    #[schema(value_type = String)]
    pub address: SocketAddr,
}

impl ConnectionTest {
    /// Why there is nothing to test with.
    #[must_use]
    pub fn no_secret() -> Fault {
        Fault::Unavailable("there is no TURN secret yet that a credential could be made of".to_owned())
    }

    /// Of a cluster and its edges, with a credential in a session's name that is good for [`CONNECTION_TEST_TTL`].
    #[must_use]
    pub fn new(
        status: &ClusterStatus,
        edges: &[EdgeReport],
        secret: &Secret,
        session: SessionId,
        now: Unix,
    ) -> Self {
        let (username, credential) = credential(secret, &session.to_string(), now + CONNECTION_TEST_TTL);
        let mut admitted: Vec<_> = edges.iter().filter(|edge| edge.state == EdgeState::Admitted).collect();
        // What is heard first, where there are too many; shown by name all the same.
        admitted.sort_by_key(|edge| !edge.alive);
        let edges_left_out = admitted.len().saturating_sub(CONNECTION_TEST_EDGES);
        admitted.truncate(CONNECTION_TEST_EDGES);
        admitted.sort_by(|one, other| one.edge.cmp(&other.edge));
        Self {
            node: status.node,
            nodes: nodes(status),
            edges: admitted.into_iter().map(EdgeToTest::from).collect(),
            edges_left_out,
            username,
            credential,
            ttl_secs: CONNECTION_TEST_TTL.as_secs(),
        }
    }
}

/// The signaling of the nodes that are up.
#[must_use]
pub fn nodes(status: &ClusterStatus) -> Vec<NodeToTest> {
    let up = status.members.iter().filter(|member| member.state == NodeState::Up);
    let node = |member: &super::control::Member| NodeToTest {
        node: member.node,
        region: member.region.clone(),
        urls: member
            .public
            .iter()
            .filter_map(|url| signal_url(url))
            .take(CONNECTION_TEST_NODE_URLS)
            .collect(),
    };
    up.map(node).filter(|node| !node.urls.is_empty()).take(CONNECTION_TEST_NODES).collect()
}

/// Where a node's signaling is that clients reach at this origin; none where that names no host that anybody reaches.
fn signal_url(public: &str) -> Option<String> {
    let (scheme, host) = match public.split_once("://")? {
        ("https", host) => ("wss", host),
        ("http", host) => ("ws", host),
        _ => return None,
    };
    let host = host.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
    let nowhere = host.parse().is_ok_and(|at: SocketAddr| at.ip().is_unspecified())
        || host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    (!host.is_empty() && host.chars().all(plain) && !nowhere).then(|| format!("{scheme}://{host}/v1/signal"))
}

impl From<&EdgeReport> for EdgeToTest {
    fn from(edge: &EdgeReport) -> Self {
        let relay = |relay: &chappe_proto::mesh::uplink::RelayRange| {
            format!("{} UDP {}-{}", relay.address, relay.first, relay.last)
        };
        Self {
            edge: edge.edge.clone(),
            region: edge.region.clone(),
            coordinates: edge.coordinates,
            alive: edge.alive,
            urls: urls(&edge.listeners),
            relays: edge.relays.iter().map(relay).collect(),
        }
    }
}

/// STUN once, as browsers are given it, and each listener that browsers speak.
fn urls(listeners: &[Listener]) -> Vec<UrlToTest> {
    let stun = listeners.iter().find(|one| one.transport == Transport::Udp);
    let stun = stun.zip(stun_urls(listeners).pop());
    let stun = stun.map(|(listener, url)| UrlToTest { url, way: "stun", address: listener.address });
    let mut all: Vec<_> = stun.into_iter().collect();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        for listener in listeners.iter().filter(|one| one.transport == transport) {
            let way = match transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
                _ => "tls",
            };
            let url = turn_url(listener);
            if !all.iter().any(|one| one.url == url) {
                all.push(UrlToTest { url, way, address: listener.address });
            }
        }
    }
    all.truncate(CONNECTION_TEST_URLS);
    all
}

#[cfg(test)]
mod tests {
    use chappe_proto::mesh::uplink::RelayRange;

    use super::*;
    use crate::memory::{an_edge, three_nodes};

    fn listener(transport: Transport, address: &str, hostname: Option<&str>) -> Listener {
        Listener { transport, address: address.parse().unwrap(), hostname: hostname.map(str::to_owned) }
    }

    fn made(edges: &[EdgeReport]) -> ConnectionTest {
        let secret = Secret(b"secret".to_vec());
        let session = SessionId::from_random([1; 15]);
        ConnectionTest::new(&three_nodes(), edges, &secret, session, Unix::from_secs(1000))
    }

    #[test]
    fn each_listener_that_browsers_speak_is_tried_and_said_by_its_address() {
        let name = Some("turn.example");
        let edge = EdgeReport {
            listeners: vec![
                listener(Transport::Tls, "192.0.2.1:5349", name),
                listener(Transport::Dtls, "192.0.2.1:5349", name),
                listener(Transport::Tcp, "192.0.2.1:3478", name),
                listener(Transport::Udp, "192.0.2.1:3478", name),
                listener(Transport::Udp, "[2001:db8::1]:3478", name),
            ],
            relays: vec![RelayRange { address: "192.0.2.1".parse().unwrap(), first: 50_000, last: 50_999 }],
            ..an_edge()
        };
        let made = made(&[edge]);
        let all: Vec<_> = made.edges[0].urls.iter().map(|one| (one.way, one.url.as_str())).collect();
        let expected = [
            ("stun", "stun:turn.example:3478"),
            ("udp", "turn:turn.example:3478?transport=udp"),
            ("tcp", "turn:turn.example:3478?transport=tcp"),
            ("tls", "turns:turn.example:5349?transport=tcp"),
        ];
        assert_eq!(all, expected, "no browser speaks DTLS, and one name stands for both families");
        assert_eq!(made.edges[0].urls[0].address, "192.0.2.1:3478".parse().unwrap());
        assert_eq!(made.edges[0].relays, ["192.0.2.1 UDP 50000-50999"]);
    }

    #[test]
    fn the_credential_ends_by_itself_soon() {
        let made = made(&[]);
        let session = SessionId::from_random([1; 15]);
        assert_eq!(made.username, format!("1300:{session}"));
        let (_, password) =
            credential(&Secret(b"secret".to_vec()), &session.to_string(), Unix::from_secs(1300));
        assert_eq!((made.credential, made.ttl_secs), (password, 300));
    }

    #[test]
    fn only_admitted_edges_and_not_too_many_of_them() {
        let named = |n: usize, alive| EdgeReport {
            edge: EdgeId::new(&format!("e{n:03}")).unwrap(),
            alive,
            ..an_edge()
        };
        let mut edges: Vec<_> = (0..CONNECTION_TEST_EDGES + 2).map(|n| named(n, n != 0 && n != 1)).collect();
        edges.push(EdgeReport { state: EdgeState::Removed, ..named(900, true) });
        edges.push(EdgeReport { state: EdgeState::Draining, ..named(901, true) });
        let made = made(&edges);
        assert_eq!((made.edges.len(), made.edges_left_out), (CONNECTION_TEST_EDGES, 2));
        assert_eq!(made.edges[0].edge.as_str(), "e002", "those that nobody hears make room");
    }

    #[test]
    fn signaling_is_where_clients_reach_it() {
        for (public, url) in [
            ("https://a.example", Some("wss://a.example/v1/signal")),
            ("http://127.0.0.1:8080/", Some("ws://127.0.0.1:8080/v1/signal")),
            ("http://[::1]:8080", Some("ws://[::1]:8080/v1/signal")),
            ("http://0.0.0.0:8080", None),
            ("https://[::]:443", None),
            ("https://a.example; script-src *", None),
            ("https://a.example/elsewhere", None),
            ("ftp://a.example", None),
            ("https://", None),
        ] {
            assert_eq!(signal_url(public).as_deref(), url, "{public}");
        }
        let mut status = three_nodes();
        status.members[0].public = vec!["https://a.example".to_owned(); CONNECTION_TEST_NODE_URLS + 1];
        status.members[1].public = vec!["https://b.example".to_owned()];
        status.members[1].state = NodeState::Down;
        let all = nodes(&status);
        assert_eq!((all.len(), all[0].urls.len()), (1, CONNECTION_TEST_NODE_URLS));
    }
}

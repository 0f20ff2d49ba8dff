//! Edges of a fleet whose ports somebody has closed, or whose nodes it cannot reach, each on a host of its own.
#![allow(clippy::print_stderr, reason = "what was measured")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use chappe_tests::client::ByHand;
use chappe_tests::fleet::{Fleet, RELAYS, TURN};
use chappe_tests::netns::{now, wait};
use chappe_tests::process::until;
use chappe_tests::turn::{Turn, credentials};
use serde_json::{Value, json};
use tokio::net::UdpSocket;

/// The edges.
const NAMES: [&str; 3] = ["a", "b", "c"];
/// Two probes, of which each waits four seconds for what does not answer.
const FOUND_WITHIN: Duration = Duration::from_secs(40);
/// An edge is probed every half minute.
const HEALED_WITHIN: Duration = Duration::from_secs(60);
/// An uplink is tried again within this.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// So many sessions are offered every edge that may be offered.
const SESSIONS: usize = 16;

/// The URLs of relays that sessions are given now.
async fn offered(fleet: &Fleet) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for _ in 0..SESSIONS {
        // A room has no room for all of those whose sockets are gone.
        let room = format!("look-{}", now().as_nanos());
        let welcome = loop {
            let mut socket = ByHand::open(fleet.cluster.nodes[0].http).await;
            let answer = socket.join(json!({ "room": room })).await;
            // So many a second of one address.
            let Some(wait) = answer["retry_after_ms"].as_u64() else { break answer };
            tokio::time::sleep(Duration::from_millis(wait)).await;
        };
        let servers = welcome["ice_servers"].as_array().unwrap();
        let urls = servers.iter().flat_map(|server| server["urls"].as_array().unwrap());
        all.extend(urls.map(|url| url.as_str().unwrap().to_owned()));
    }
    all
}

/// What `chappe cluster edges` says.
fn edges(fleet: &Fleet) -> (String, Vec<Value>) {
    let node = &fleet.cluster.nodes[0];
    let all = serde_json::from_str(&node.told(&["--json", "edges"])).unwrap();
    (node.told(&["edges"]), all)
}

fn url(edge: Ipv4Addr, transport: &str) -> String {
    format!("turn:{edge}:{TURN}?transport={transport}")
}

#[test]
fn closed_ports_are_named_and_an_edge_without_nodes_serves_and_catches_up() {
    let Some(fleet) = Fleet::found(&["eu"], &NAMES.map(|name| (name, "eu"))) else { return };
    let host = fleet.wan.host("eu");
    let own = host.address();
    // All sockets of this test are a client's, on a host of its own.
    host.run(async move || closed_and_opened(fleet, own.into()).await);
}

async fn closed_and_opened(mut fleet: Fleet, own: IpAddr) {
    // Nobody has opened UDP to the first one, nor anything to the second but its relay ports.
    let [a, b, c] = NAMES.map(|name| fleet.edge(name).host.address());
    fleet.edge("a").host.close_udp(TURN);
    fleet.edge("b").host.close(&[(TURN, TURN)]);
    fleet.launch();
    let began = now();
    let open =
        |protocol: &str, edge: Ipv4Addr| format!("open {protocol} from anywhere to {edge} port {TURN}");
    let expected = [open("UDP", a), open("UDP", b), open("TCP", b)];
    wait("closed ports to be named", FOUND_WITHIN, || {
        let (told, _) = edges(&fleet);
        let certain = !told.contains("nobody else agrees yet");
        (certain && expected.iter().all(|fix| told.contains(fix))).then_some(())
    });
    eprintln!("closed ports are named after {:?}", now() - began);
    let (told, all) = edges(&fleet);
    let conditions: Vec<_> = all.iter().map(|edge| edge["condition"]["state"].as_str().unwrap()).collect();
    assert_eq!(conditions, ["degraded", "degraded", "up"], "{told}");
    assert!(!told.contains("own probe") && !told.contains("relay port"), "nothing else is wrong: {told}");
    assert!(told.contains("a: UDP") && !told.contains(&open("TCP", a)), "{told}");
    nothing_of_it_is_written_down(&fleet);

    let urls = offered(&fleet).await;
    assert!(urls.contains(&url(a, "tcp")) && !urls.contains(&url(a, "udp")), "{urls:?}");
    assert!(!urls.iter().any(|url| url.contains(&format!("{b}:"))), "{urls:?}");
    assert!(urls.contains(&url(c, "udp")), "{urls:?}");
    fleet.edge("a").host.heal();
    fleet.edge("b").host.heal();
    let healed = now();

    an_edge_that_no_node_reaches(&fleet, own).await;

    let back = [url(a, "udp"), url(b, "udp"), url(b, "tcp")];
    let again = async || {
        let urls = offered(&fleet).await;
        back.iter().all(|url| urls.contains(url))
    };
    until("open ports are handed out again", HEALED_WITHIN, again).await;
    eprintln!("opened ports are handed out after {:?}", now() - healed);
}

/// While reports come, one a second of each edge, the registry stays as it is.
fn nothing_of_it_is_written_down(fleet: &Fleet) {
    let registry = || fleet.cluster.nodes[0].call("GET", "/overview", &Value::Null)["registry"].clone();
    let reports = || fleet.seen("a")["health"]["seq"].as_u64().unwrap();
    let (before, first) = (registry(), reports());
    wait("more reports", FOUND_WITHIN, || (reports() >= first + 5).then_some(()));
    assert_eq!(registry(), before);
}

/// It relays what it relays, takes who has a credential, and learns what it has missed.
async fn an_edge_that_no_node_reaches(fleet: &Fleet, own: IpAddr) {
    let (c, node) = (&fleet.edges[2], &fleet.cluster.nodes[0]);
    let alive = || edges(fleet).1[2]["alive"] == true;
    let (_socket, welcome) = ByHand::joined(node.http, "room").await;
    let (_other, others) = ByHand::joined(node.http, "room").await;
    let mut ben = Relayed::of(c.at(), own, &welcome).await;
    let mut ada = Relayed::of(c.at(), own, &others).await;
    c.host.cut(&fleet.nodes());
    wait("the edge to be lost", BACK_WITHIN, || (!alive()).then_some(()));
    assert!(ben.flows().await && ada.flows().await, "an edge on its own relays");
    Relayed::of(c.at(), own, &welcome).await;
    let peer = welcome["peer"].as_str().unwrap();
    node.call("DELETE", &format!("/apps/default/rooms/room/peers/{peer}"), &Value::Null);
    assert!(ben.flows().await, "the edge cannot know");
    c.host.heal();
    let healed = now();
    while ben.flows().await {
        assert!(now() - healed < BACK_WITHIN, "what was revoked is still relayed");
    }
    eprintln!("a revocation is caught up with {:?} after the nodes can be reached again", now() - healed);
    assert!(ben.turn.refresh().await.is_err(), "the allocation is still there");
    let again = Turn::from(own, c.at(), &credentials(&welcome)).await.allocate().await;
    assert!(again.is_err(), "the credential still allocates");
    assert!(ada.flows().await, "nobody else has lost anything");
    wait("the edge to be back", BACK_WITHIN, || alive().then_some(()));
}

/// An allocation and a peer of it.
struct Relayed {
    turn: Turn,
    peer: UdpSocket,
    relayed: SocketAddr,
}

impl Relayed {
    async fn of(edge: SocketAddr, own: IpAddr, welcome: &Value) -> Self {
        let mut turn = Turn::from(own, edge, &credentials(welcome)).await;
        let relayed = turn.allocate().await.unwrap();
        assert!((RELAYS.0..=RELAYS.1).contains(&relayed.port()));
        let peer = UdpSocket::bind((own, 0)).await.unwrap();
        turn.permit(peer.local_addr().unwrap()).await.unwrap();
        let mut this = Self { turn, peer, relayed };
        assert!(this.flows().await, "nothing is relayed at all");
        this
    }

    /// Whether what its peer sends arrives, as it does within milliseconds here.
    async fn flows(&mut self) -> bool {
        self.peer.send_to(b"media", self.relayed).await.unwrap();
        self.turn.data(Duration::from_secs(1)).await.is_some_and(|(_, data)| data == b"media")
    }
}

//! The uplink, against a node's side of it on loopback.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chappe_edge::{Config, Edge, Keep, LinkState, ListenAt, Process, Source, Uplink};
use chappe_proto::id::Region;
use chappe_proto::id::{Index, NodeId, SessionId};
use chappe_proto::logs::{Level, LogPage, Wanted};
use chappe_proto::mesh::allocations::{EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::uplink::{
    Certificate, Directive, Down, EdgeChange, EdgeView, NodeAt, REMOVED, Secret, Traffic, Up, Usage,
};
use chappe_proto::settings::{Origin, Scope, Setting};
use chappe_proto::turn::Transport;
use rustls::pki_types::CertificateDer;
use support::client::Client;
use support::node::{Certificates, Server};
use support::tls::Authority;
use support::{PATIENCE, SECRET, listener, loopback, peer, recv, standalone, start};

fn uplinked(certificates: &Certificates, nodes: &[&Server]) -> Config {
    let nodes: Vec<_> = nodes.iter().map(|node| node.address()).collect();
    Config { source: Source::Uplink(certificates.uplink(&nodes)), ..standalone("127.0.0.1") }
}

fn view(index: u64) -> Down {
    Down::Snapshot(EdgeView { index: Index(index), ..EdgeView::default() })
}

/// Waits until the edge says what is expected of it.
async fn until(edge: &Edge, expected: impl Fn(&chappe_edge::Status) -> bool) {
    let found = tokio::time::timeout(PATIENCE, async {
        while !expected(&edge.status().unwrap()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(found.await.is_ok(), "{}", edge.status().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_says_who_it_is_takes_the_feed_and_reports_each_second() {
    let certificates = Certificates::new();
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let edge = start(uplinked(&certificates, &[&node]));
    let (mut link, hello) = node.accept().await;
    assert_eq!((hello.edge.as_str(), hello.capacity, hello.feed), ("edge-1", 1000, None));
    assert_eq!(hello.listeners.len(), 2);
    assert_eq!(hello.listeners[0].address, listener(&edge, Transport::Udp));
    assert_eq!((hello.relays[0].first, hello.relays[0].last), (49152, 65535));

    // Before the node's hello the link is not up.
    let status = edge.status().unwrap();
    assert!(matches!(status.uplinks[..], [LinkState::Connecting { .. }]), "{status}");
    link.greet().await;
    link.write(&view(5)).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(5) });
    assert!(matches!(edge.status().unwrap().uplinks[..], [LinkState::Up { node: NodeId(7), .. }]));

    let change = EdgeChange::SecretAdded { number: 1, secret: Secret(b"x".to_vec()) };
    link.write(&Down::Delta { index: Index(8), changes: vec![change] }).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(8) });
    // What is in force never goes back.
    link.write(&view(6)).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(8) });

    let session = SessionId::from_random([1; 15]);
    link.write(&Down::Directive { seq: 1, body: Directive::End { session } }).await;
    assert_eq!(link.read().await, Up::Done { seq: 1 });

    let (first, second) = (link.health().await, link.health().await);
    assert_eq!((first.seq, second.seq), (1, 2));
    assert!(second.rss > 0 && second.cpu_ms > 0);
    edge.stop();
    // The edge says goodbye.
    tokio::time::timeout(PATIENCE, link.connection.closed()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_browsers_would_refuse_is_said_to_fail_from_the_first_word_on() {
    let (certificates, authority) = (Certificates::new(), Authority::new());
    for trusted in [false, true] {
        let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
        let mut config = uplinked(&certificates, &[&node]);
        config.listeners.push(ListenAt { trusted, ..authority.listener(Transport::Tls, "127.0.0.1") });
        let edge = start(config);
        if trusted {
            until(&edge, |status| status.health.failed_listeners.is_empty()).await;
        }
        let (mut link, hello) = node.accept().await;
        assert!(hello.timed);
        assert_eq!(hello.proven, if trusted { vec![2] } else { vec![] });
        link.greet().await;
        let first = link.health().await;
        assert_eq!((first.seq, first.failed_listeners.is_empty()), (1, trusted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_comes_back_to_a_node_that_restarts_and_says_what_it_has() {
    let certificates = Certificates::new();
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let address = node.address();
    let edge = start(uplinked(&certificates, &[&node]));
    let (mut link, _) = node.accept().await;
    link.greet().await;
    link.write(&view(3)).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(3) });
    node.close().await;
    drop(link);
    until(&edge, |status| {
        matches!(status.uplinks[..], [LinkState::Down { .. } | LinkState::Connecting { .. }])
    })
    .await;
    let status = edge.status().unwrap();
    assert_eq!(status.applied, Index(3), "what it has stays in force");
    assert!(status.cut_off_ms.is_some() && status.to_string().contains("cut off"), "{status}");

    let node = Server::bind_again(&certificates, address).await;
    let (mut link, hello) = node.accept().await;
    assert_eq!(hello.feed, Some(Index(3)));
    link.greet().await;
    until(&edge, |status| matches!(status.uplinks[..], [LinkState::Up { .. }])).await;
    assert_eq!(edge.status().unwrap().cut_off_ms, None);
    assert_eq!(edge.observer().status().await.unwrap().applied, Index(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_are_linked_to_and_a_third_replaces_one_that_ends() {
    let certificates = Certificates::new();
    let any = "127.0.0.1:0".parse().unwrap();
    let nodes = [(); 3].map(|()| Server::bind(&certificates, any));
    let edge = start(uplinked(&certificates, &[&nodes[0], &nodes[1], &nodes[2]]));
    let (mut first, _) = nodes[0].accept().await;
    let (mut second, _) = nodes[1].accept().await;
    first.greet_as(1).await;
    second.greet_as(2).await;
    let up = |status: &chappe_edge::Status| {
        status.uplinks.iter().filter(|link| matches!(link, LinkState::Up { .. })).count()
    };
    until(&edge, |status| up(status) == 2).await;
    let [first_node, _second_node, third_node] = nodes;
    drop(first);
    first_node.close().await;
    let (mut third, _) = third_node.accept().await;
    third.greet_as(3).await;
    until(&edge, |status| up(status) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_users_relay_is_said_to_one_node_or_another_until_it_is_taken() {
    let certificates = Certificates::new();
    let any = "127.0.0.1:0".parse().unwrap();
    let nodes = [(); 2].map(|()| Server::bind(&certificates, any));
    let edge = start(uplinked(&certificates, &[&nodes[0], &nodes[1]]));
    let (mut first, _) = nodes[0].accept().await;
    let (mut second, _) = nodes[1].accept().await;
    first.greet_as(1).await;
    second.greet_as(2).await;
    let secrets = [(1, Secret(SECRET.to_vec()))].into();
    let view = EdgeView { index: Index(1), secrets, peers: loopback(), ..EdgeView::default() };
    first.write(&Down::Snapshot(view)).await;
    assert_eq!(first.read().await, Up::Applied { index: Index(1) });

    let (session, peer) = (SessionId::from_random([9; 15]), peer("127.0.0.1"));
    let address = peer.local_addr().unwrap();
    let mut client = tokio::task::block_in_place(|| {
        let mut client = Client::new(Transport::Udp, listener(&edge, Transport::Udp), SECRET, Some(session));
        let relayed = client.allocate().unwrap();
        client.permit(address).unwrap();
        client.send_to(address, &[7; 100]);
        recv(&peer);
        peer.send_to(&[8; 10], relayed).unwrap();
        client.data();
        client
    });
    let Up::Usage { usage, .. } = first.read().await else { panic!("no usage") };
    let [Usage { series, session: of, sent, received, .. }] = usage[..] else { panic!("{usage:?}") };
    let traffic = |packets, bytes| Traffic { packets, bytes };
    assert_eq!((of, sent, received), (Some(session), traffic(1, 100), traffic(1, 10)));

    // The node dies before it answers; the next one hears the same, and what comes after is of the same count.
    let [first_node, _second_node] = nodes;
    drop(first);
    first_node.close().await;
    let Up::Usage { seq, usage: again } = second.read().await else { panic!("no usage") };
    assert_eq!(again, usage);
    second.write(&Down::UsageTaken { seq }).await;
    tokio::task::block_in_place(|| {
        client.send_to(address, &[7; 1]);
        recv(&peer);
        client.refresh(0).unwrap();
    });
    let Up::Usage { usage, .. } = second.read().await else { panic!("no usage") };
    assert_eq!(usage, [Usage { series, sent: traffic(2, 101), ..again[0].clone() }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_of_another_authority_is_never_up() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let node = Server::bind(&ours, "127.0.0.1:0".parse().unwrap());
    let edge = start(uplinked(&theirs, &[&node]));
    let accept = async {
        loop {
            node_refuses(&node).await;
        }
    };
    tokio::select! {
        () = accept => {}
        () = until(&edge, |status| matches!(&status.uplinks[..], [LinkState::Down { .. }])) => {}
    }
}

/// Lets one handshake fail.
async fn node_refuses(node: &Server) {
    assert!(node.incoming().await.is_err());
}

/// Tells what it is given to keep.
#[derive(Debug)]
struct Told(Mutex<SyncSender<Kept>>);

#[derive(Debug, PartialEq)]
enum Kept {
    Certificate(Vec<u8>),
    Authorities(usize),
    Nodes(Vec<NodeAt>),
}

impl Told {
    fn new() -> (Arc<Self>, Receiver<Kept>) {
        let (tell, told) = sync_channel(16);
        (Arc::new(Self(Mutex::new(tell))), told)
    }

    fn tell(&self, kept: Kept) -> std::io::Result<()> {
        self.0.lock().unwrap().try_send(kept).map_err(std::io::Error::other)
    }
}

impl Keep for Told {
    fn certificate(&self, certificate: &CertificateDer<'_>) -> std::io::Result<()> {
        self.tell(Kept::Certificate(certificate.to_vec()))
    }

    fn authorities(&self, authorities: &[CertificateDer<'_>]) -> std::io::Result<()> {
        self.tell(Kept::Authorities(authorities.len()))
    }

    fn nodes(&self, nodes: &[NodeAt]) -> std::io::Result<()> {
        self.tell(Kept::Nodes(nodes.to_vec()))
    }
}

fn keeping(certificates: &Certificates, node: &Server) -> (Config, Receiver<Kept>) {
    let (keep, told) = Told::new();
    let uplink = Uplink { keep: Some(keep), ..certificates.uplink(&[node.address()]) };
    (Config { source: Source::Uplink(uplink), ..standalone("127.0.0.1") }, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_learns_where_the_nodes_are_and_keeps_that() {
    let certificates = Certificates::new();
    let any = "127.0.0.1:0".parse().unwrap();
    let [first, second] = [(); 2].map(|()| Server::bind(&certificates, any));
    let (config, told) = keeping(&certificates, &first);
    let _edge = start(config);
    let (mut link, _) = first.accept().await;
    link.greet_as(1).await;
    let at = |id, server: &Server| NodeAt {
        node: NodeId(id),
        region: Region::new("here").unwrap(),
        addresses: vec![server.address()],
    };
    let nodes = vec![at(1, &first), at(2, &second)];
    let view = EdgeView { index: Index(5), nodes: nodes.clone(), ..EdgeView::default() };
    link.write(&Down::Snapshot(view)).await;
    let (mut other, _) = second.accept().await;
    other.greet_as(2).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(5) });
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Kept::Nodes(nodes)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_due_is_made_anew_and_connected_with() {
    let certificates = Certificates::due();
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let (config, told) = keeping(&certificates, &node);
    let _edge = start(config);
    let (mut link, _) = node.accept().await;
    link.greet().await;
    let Up::Certify { public_key } = link.read().await else { panic!("it does not ask") };
    let fresh = certificates.renewed(&public_key);
    link.write(&Down::Certified { certificate: Certificate(fresh.to_vec()) }).await;
    let (again, _) = node.accept().await;
    let shown = again.connection.peer_identity().unwrap();
    let shown = shown.downcast::<Vec<CertificateDer<'static>>>().unwrap();
    assert_eq!(*shown, std::slice::from_ref(&fresh));
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Kept::Certificate(fresh.to_vec())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_key_is_not_taken() {
    let (certificates, other) = (Certificates::due(), Certificates::due());
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let (config, told) = keeping(&certificates, &node);
    let edge = start(config);
    let (mut link, _) = node.accept().await;
    link.greet().await;
    assert!(matches!(link.read().await, Up::Certify { .. }));
    let foreign = other.uplink(&[]).tls.certificates.remove(0);
    link.write(&Down::Certified { certificate: Certificate(foreign.to_vec()) }).await;
    link.write(&view(5)).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(5) }, "the link stands");
    assert!(told.try_recv().is_err());
    edge.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_removed_says_why_and_stays_away() {
    let certificates = Certificates::new();
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let edge = start(uplinked(&certificates, &[&node]));
    let removed = edge.removed();
    let (mut link, _) = node.accept().await;
    link.greet().await;
    until(&edge, |status| matches!(status.uplinks[..], [LinkState::Up { .. }])).await;
    link.connection.close(REMOVED.into(), b"edge edge-1 was removed");
    let why = tokio::time::timeout(PATIENCE, removed).await.unwrap();
    assert_eq!(why, "edge edge-1 was removed");
    edge.stop();
}

/// A process with one option, whose log ends at line 7; what its level was set to.
#[derive(Debug)]
struct Around(SyncSender<(Option<Level>, Duration)>);

fn capacity() -> Setting {
    Setting {
        name: "capacity".to_owned(),
        value: Some("9".to_owned()),
        default: None,
        origin: Origin::Flag,
        scope: Scope::Shared,
        variable: None,
    }
}

impl Process for Around {
    fn settings(&self) -> Vec<Setting> {
        vec![capacity()]
    }

    fn logs(&self, wanted: &Wanted) -> LogPage {
        LogPage { next: 7, more: wanted.level == Some(Level::Warn), ..LogPage::default() }
    }

    fn log_level(&self, level: Option<Level>, within: Duration) {
        self.0.send((level, within)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_tells_what_it_runs_with_and_what_it_logged_where_its_process_does() {
    let (said, heard) = sync_channel(1);
    let known: Arc<dyn Process> = Arc::new(Around(said));
    let asks = [
        EdgeAsk::Settings,
        EdgeAsk::Logs(Wanted { level: Some(Level::Warn), limit: 9, ..Wanted::default() }),
        EdgeAsk::LogLevel { level: Some(Level::Debug), secs: 60 },
        EdgeAsk::Unknown,
    ];
    let page = LogPage { next: 7, more: true, ..LogPage::default() };
    let told = [
        EdgeAnswer::Settings { settings: vec![capacity()] },
        EdgeAnswer::Logs(page),
        EdgeAnswer::Done,
        EdgeAnswer::Unknown,
    ];
    for (process, told) in [(Some(known), told), (None, [(); 4].map(|()| EdgeAnswer::Unknown))] {
        let certificates = Certificates::new();
        let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
        let uplink = Uplink { process, ..certificates.uplink(&[node.address()]) };
        let _edge = start(Config { source: Source::Uplink(uplink), ..standalone("127.0.0.1") });
        let (mut link, _) = node.accept().await;
        link.greet().await;
        for (number, (body, answer)) in (1..).zip(asks.clone().into_iter().zip(told)) {
            link.write(&Down::Ask { number, body }).await;
            assert_eq!(link.read().await, Up::Answer { number, body: answer });
        }
    }
    assert_eq!(heard.try_recv(), Ok((Some(Level::Debug), Duration::from_secs(60))));
}

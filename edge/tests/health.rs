//! What an edge finds out about itself, and about another one that a node has it probe.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]

mod support;

use std::net::UdpSocket;
use std::time::SystemTime;

use chappe_edge::{Config, Edge, Source};
use chappe_proto::id::{EdgeId, Index};
use chappe_proto::limits::PROBE_CREDENTIAL_TTL;
use chappe_proto::mesh::probe::{Cause, Found, Probe, Step};
use chappe_proto::mesh::uplink::{Directive, Down, EdgeView, Health, Listener, RelayRange, Secret, Up};
use chappe_proto::turn::{PROBE_USER, Transport, password};
use support::client::Client;
use support::node::{Certificates, Link, Server};
use support::{SECRET, listener, standalone, start};

async fn linked(certificates: &Certificates, node: &Server) -> (Edge, Link) {
    let source = Source::Uplink(certificates.uplink(&[node.address()]));
    let edge = start(Config { source, ..standalone("127.0.0.1") });
    let (mut link, _) = node.accept().await;
    link.greet().await;
    let secrets = [(1, Secret(SECRET.to_vec()))].into();
    link.write(&Down::Snapshot(EdgeView { index: Index(1), secrets, ..EdgeView::default() })).await;
    assert_eq!(link.read().await, Up::Applied { index: Index(1) });
    (edge, link)
}

/// The first report that is as expected.
async fn report(link: &Link, expected: impl Fn(&Health) -> bool) -> Health {
    loop {
        let health = link.health().await;
        if expected(&health) {
            return health;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_real_figures_and_allocates_on_each_of_its_listeners() {
    let certificates = Certificates::new();
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let (edge, link) = linked(&certificates, &node).await;
    let mut client = Client::new(Transport::Udp, listener(&edge, Transport::Udp), SECRET, None);
    client.allocate().unwrap();
    let health = report(&link, |health| health.answered_us.len() == 2 && health.uptime_ms > 1500).await;
    assert!(health.answered_us.iter().all(Option::is_some), "{health:?}");
    assert_eq!((health.allocations, health.failed_listeners.len(), health.faults.len()), (1, 0, 0));
    assert!(health.cores > 0 && health.files > 10 && health.files_limit >= health.files, "{health:?}");
    assert!(health.loop_cpu_ms <= health.cpu_ms && health.cpu_ms > 0, "{health:?}");
    assert_eq!((health.certificate_until, health.draining), (None, false));
    assert!(health.bandwidth > 0);

    // Its own allocations are in no figure of use. A port that one has had is not free for a while.
    let shared = edge.stats().unwrap();
    assert_eq!((shared.allocations, shared.turn.allocated), (1, 1));
    let status = edge.status().unwrap();
    // On a machine that is busy otherwise its loop may be told to be slow.
    assert!(status.condition.reasons.iter().all(|reason| reason.name() == "slow"), "{status}");
    assert!(status.to_string().contains("answers in"), "{status}");
}

/// When a credential that is made now ends, in seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "the edge reads the same clock")]
fn expiry() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    (now + PROBE_CREDENTIAL_TTL).as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_probes_another_edge_for_a_node() {
    let certificates = Certificates::new();
    let node = Server::bind(&certificates, "127.0.0.1:0".parse().unwrap());
    let (_edge, mut link) = linked(&certificates, &node).await;
    let other = start(standalone("127.0.0.1"));
    let mut listeners: Vec<Listener> =
        other.listeners().iter().map(|(listener, _)| listener.clone()).collect();
    // One where nobody listens.
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    listeners.push(Listener { transport: Transport::Tcp, address: nobody, hostname: None });
    let username = format!("{}:{PROBE_USER}", expiry());
    let probe = |number, relays: Vec<RelayRange>| Probe {
        number,
        edge: EdgeId::new("other").unwrap(),
        listeners: listeners.clone(),
        relays,
        password: Secret(password(&Secret(SECRET.to_vec()), &username).into_bytes()),
        username: username.clone(),
    };
    let all = vec![RelayRange { address: "127.0.0.1".parse().unwrap(), first: 49152, last: 65535 }];
    link.write(&Down::Directive { seq: 0, body: Directive::Probe(probe(7, all)) }).await;
    let found = probed(&mut link, 7).await;
    assert_eq!(found.len(), 3);
    for found in &found[..2] {
        assert_eq!(found.fault, None, "{found:?}");
        assert!(found.answered_us.is_some() && found.relay.as_ref().unwrap().heard_us.is_some(), "{found:?}");
    }
    let fault = found[2].fault.as_ref().unwrap();
    assert_eq!((fault.step, fault.cause), (Step::Connect, Cause::Refused));

    // Nothing is sent to what the probed edge makes up.
    link.write(&Down::Directive { seq: 0, body: Directive::Probe(probe(8, Vec::new())) }).await;
    let found = probed(&mut link, 8).await;
    assert_eq!(found[0].fault.as_ref().unwrap().cause, Cause::Garbage);
}

/// The answer to a probe.
async fn probed(link: &mut Link, expected: u64) -> Vec<Found> {
    match link.read().await {
        Up::Probed { number, found, .. } if number == expected => found,
        other => panic!("{other:?}"),
    }
}

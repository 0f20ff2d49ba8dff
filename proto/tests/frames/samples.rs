//! One of each frame that nodes say to each other, to who joins, and to edges.

use std::collections::BTreeMap;

use chappe_proto::id::{
    AppId, ClusterId, EdgeId, Epoch, Generation, Index, InvitationId, NodeId, PeerId, Region, RoomKey,
    RoomName, SessionId, Shard,
};
use chappe_proto::mesh::join::{EdgeWish, Join, JoinRefusal, Joined};
use chappe_proto::mesh::node::{
    Answer, Ask, Body, EdgeReport, Failure, Feed, Hello, Lane, Loss, NodeStatus, Opening, Parcel,
};
use chappe_proto::mesh::probe::{Cause, Fault, Found, Outside, Probe, Prober, RelayFound, Step};
use chappe_proto::mesh::uplink::{
    Alternate, Certificate, Directive, Down, EdgeChange, EdgeHello, EdgeView, Health, Listener, NodeAt,
    NodeHello, PeerPolicy, RelayRange, Secret, Traffic, Up, Usage,
};
use chappe_proto::registry::{Command, NodeAddresses, Note, Outcome, RequestId};
use chappe_proto::time::Unix;
use chappe_proto::turn::Transport;
use chappe_proto::usage::{Relayed, UsageOf, UsagePage};

use super::Samples;

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 15])
}

pub(crate) fn session() -> SessionId {
    SessionId::from_random([3; 15])
}

pub(crate) fn room() -> RoomKey {
    RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("tower").unwrap() }
}

fn cluster() -> ClusterId {
    ClusterId::from_random([5; 15])
}

fn region() -> Region {
    Region::new("eu").unwrap()
}

fn hello() -> Hello {
    Hello {
        cluster: cluster(),
        node: NodeId(1),
        build: "0.1.0".into(),
        wire: 1,
        oldest: 1,
        life: u64::MAX,
        speaks: 1,
        reaches: vec![NodeId(2), NodeId(3)],
        loss: None,
    }
}

fn edge_hello() -> EdgeHello {
    let address = "192.0.2.1:3478".parse().unwrap();
    EdgeHello {
        edge: EdgeId::new("edge-1").unwrap(),
        build: "0.1.0".into(),
        region: region(),
        coordinates: Some((48.85, 2.35)),
        listeners: vec![Listener {
            transport: Transport::Udp,
            address,
            hostname: Some("turn.example".into()),
        }],
        relays: vec![RelayRange { address: "192.0.2.1".parse().unwrap(), first: 49152, last: 65535 }],
        capacity: 1000,
        feed: Some(Index(4)),
        proven: vec![],
        timed: false,
    }
}

fn health() -> Health {
    Health {
        seq: 1,
        allocations: 2,
        sent: Traffic { packets: 3, bytes: 4 },
        received: Traffic { packets: 5, bytes: 6 },
        drops: BTreeMap::from([("full".into(), 7)]),
        cpu_ms: 8,
        rss: 9,
        loop_lag_us: 10,
        failed_listeners: Vec::new(),
        limits: BTreeMap::from([("streams".into(), 11)]),
        ..Health::default()
    }
}

/// The same with what it tells since.
fn measured_health() -> Health {
    Health {
        uptime_ms: 12,
        loop_cpu_ms: 13,
        cores: 14,
        memory_limit: Some(15),
        files: 16,
        files_limit: 17,
        receive_drops: 18,
        bandwidth: 19,
        certificate_until: Some(Unix::from_secs(20)),
        answered_us: vec![Some(21), None],
        faults: BTreeMap::from([(1, fault())]),
        draining: true,
        ..health()
    }
}

fn usage() -> Usage {
    let (sent, received) = (Traffic { packets: 1, bytes: 2 }, Traffic { packets: 3, bytes: 4 });
    Usage { series: 1 << 63, session: Some(session()), name: None, sent, received }
}

fn usage_page() -> UsagePage {
    let relayed = Relayed { sent: usage().sent, received: usage().received };
    UsagePage { relayed, parts: vec![("ada".into(), relayed)] }
}

fn usage_of(all: &mut Samples) {
    let of = [UsageOf::Apps, UsageOf::App(room().app), UsageOf::Room(room()), UsageOf::Names];
    for (n, of) in of.into_iter().enumerate() {
        match of {
            UsageOf::Apps | UsageOf::App(_) | UsageOf::Room(_) | UsageOf::Names => {}
        }
        all.add(format!("usage_of.{n}"), of);
    }
}

fn fault() -> Fault {
    Fault { step: Step::Allocate, cause: Cause::Code, code: Some(508), text: "full".into() }
}

fn found() -> Found {
    let address = "192.0.2.1:50000".parse().unwrap();
    Found {
        listener: edge_hello().listeners.remove(0),
        answered_us: Some(1),
        fault: Some(Fault { step: Step::Relay, cause: Cause::Silent, code: None, text: String::new() }),
        relay: Some(RelayFound { address, heard_us: None }),
    }
}

fn probe() -> Probe {
    Probe {
        number: 1,
        edge: EdgeId::new("edge-2").unwrap(),
        listeners: edge_hello().listeners,
        relays: edge_hello().relays,
        username: "1700000000:chappe-probe".into(),
        password: Secret(b"password".to_vec()),
    }
}

fn status() -> NodeStatus {
    NodeStatus {
        generation: Generation(2),
        sessions: 3,
        foreign: 1,
        rooms: 4,
        lease: true,
        applied: Index(5),
        role: "leader".into(),
        leader: Some(NodeId(1)),
        term: 6,
        reaches: vec![NodeId(2)],
        edges: vec![EdgeId::new("edge-1").unwrap()],
        round_trips: vec![250],
        through: vec![(NodeId(3), NodeId(2))],
        disk_low: true,
        certificate_until: Some(Unix::from_secs(9)),
    }
}

pub(crate) fn add(all: &mut Samples) {
    openings(all);
    bodies(all);
    asks(all);
    answers(all);
    usage_of(all);
    feed(all);
    joins(all);
    uplinks(all);
}

fn openings(all: &mut Samples) {
    let lanes = [Lane::Control, Lane::Raft, Lane::Rooms(15), Lane::Feed, Lane::Snapshot];
    for (n, lane) in lanes.into_iter().enumerate() {
        // A lane without its sample does not compile.
        match lane {
            Lane::Control | Lane::Raft | Lane::Rooms(_) | Lane::Feed | Lane::Snapshot => {}
        }
        all.add(format!("opening.{n}"), Opening { lane, hello: hello() });
    }
    let loss = Some(Loss { found: Some(7), pledged: Some(9) });
    all.add("opening.loss", Opening { lane: Lane::Control, hello: Hello { loss, ..hello() } });
}

/// The name of a frame: with a new one, this does not compile until its sample is thought of.
fn body_name(body: &Body) -> &'static str {
    match body {
        Body::ToRoom(_) => "to_room",
        Body::FromRoom(_) => "from_room",
        Body::Direct(_) => "direct",
        Body::Renew { .. } => "renew",
        Body::Grant { .. } => "grant",
        Body::Released { .. } => "released",
        Body::Request { .. } => "request",
        Body::Answer { .. } => "answer",
        Body::Reaches(_) => "reaches",
        Body::Edges(_) => "edges",
        Body::End { .. } => "end",
        Body::Usage(_) => "usage",
        Body::UsageRooms(_) => "usage_rooms",
    }
}

pub(crate) fn parcel(all: &mut Samples, detail: &str, body: Body) {
    let name = format!("parcel.{}{detail}", body_name(&body));
    all.add(name, Parcel { from: NodeId(1), to: NodeId(2), body });
}

fn bodies(all: &mut Samples) {
    parcel(all, "", Body::Renew { generation: Generation(3), n: 4 });
    parcel(all, "", Body::Grant { generation: Generation(3), n: 4, index: Index(5) });
    parcel(all, "", Body::Released { shards: vec![(Shard(1), Epoch(2))], applied: Index(3) });
    parcel(all, "", Body::Request { id: 7, ask: Ask::Read });
    parcel(all, "", Body::Answer { id: 7, answer: Answer::Done });
    parcel(all, "", Body::Reaches(vec![NodeId(3)]));
    let report = EdgeReport {
        hello: edge_hello(),
        health: Some(health()),
        alive: true,
        rtt_us: None,
        outside: Vec::new(),
    };
    parcel(all, "", Body::Edges(vec![report.clone()]));
    let probers = [Prober::Edge(EdgeId::new("edge-2").unwrap()), Prober::Node(NodeId(1))];
    let outside = probers.map(|prober| Outside { prober, age_ms: 2, failed: vec![found()] }).to_vec();
    let health = Some(measured_health());
    parcel(all, ".probed", Body::Edges(vec![EdgeReport { health, rtt_us: Some(1), outside, ..report }]));
    parcel(all, "", Body::End { session: session() });
    parcel(all, "", Body::Usage(vec![usage()]));
    parcel(all, "", Body::UsageRooms(vec![(session(), room())]));
}

fn asks(all: &mut Samples) {
    let by = RequestId { node: NodeId(1), generation: Generation(2), n: 3 };
    let note = Note { who: "an operator".into(), what: "a login".into(), from: "192.0.2.9".into() };
    let asks = [
        Ask::Propose { command: Command::Note, by, note: Some(note) },
        Ask::Read,
        Ask::Transfer { to: NodeId(2) },
        Ask::Status,
        Ask::Rooms,
        Ask::RoomsAfter { room: room() },
        Ask::Peers { room: room() },
        Ask::Kick { room: room(), peer: peer(1), ban: true },
        Ask::Certify { public_key: vec![0, 200] },
        Ask::Certified,
        Ask::Usage { of: UsageOf::Room(room()), after: Some("s".into()) },
    ];
    for ask in asks {
        let name = match &ask {
            Ask::Propose { .. } => "propose",
            Ask::Read => "read",
            Ask::Transfer { .. } => "transfer",
            Ask::Status => "status",
            Ask::Rooms => "rooms",
            Ask::RoomsAfter { .. } => "rooms_after",
            Ask::Peers { .. } => "peers",
            Ask::Kick { .. } => "kick",
            Ask::Certify { .. } => "certify",
            Ask::Certified => "certified",
            Ask::Usage { .. } => "usage",
        };
        all.add(format!("ask.{name}"), ask);
    }
}

fn answers(all: &mut Samples) {
    let answers = [
        Answer::Applied { index: Index(1), outcome: Outcome::Up { generation: Generation(2) } },
        Answer::Read { index: Index(1) },
        Answer::Done,
        Answer::Status(status()),
        Answer::Rooms(vec![(room(), 2)]),
        Answer::Peers(Some(vec![super::route::entry()])),
        Answer::NotThere,
        Answer::Certificate { certificate: vec![0, 200], authorities: vec![vec![1, 201]] },
        Answer::Certified { node: 2, edges: vec![(EdgeId::new("edge-1").unwrap(), 1)] },
        Answer::Usage { since: Unix::from_secs(1), page: usage_page() },
        Answer::Failed(Failure::Busy),
    ];
    for answer in answers {
        let name = match &answer {
            Answer::Applied { .. } => "applied",
            Answer::Read { .. } => "read",
            Answer::Done => "done",
            Answer::Status(_) => "status",
            Answer::Rooms(_) => "rooms",
            Answer::Peers(_) => "peers",
            Answer::NotThere => "not_there",
            Answer::Certificate { .. } => "certificate",
            Answer::Certified { .. } => "certified",
            Answer::Usage { .. } => "usage",
            Answer::Failed(_) => "failed",
        };
        all.add(format!("answer.{name}"), answer);
    }
    let failures = [
        Failure::NotLeader { leader: Some(NodeId(3)) },
        Failure::Busy,
        Failure::DiskLow,
        Failure::TooLong,
        Failure::Lost,
        Failure::Other("words".into()),
    ];
    for (n, failure) in failures.into_iter().enumerate() {
        match &failure {
            Failure::NotLeader { .. }
            | Failure::Busy
            | Failure::DiskLow
            | Failure::TooLong
            | Failure::Lost
            | Failure::Other(_) => {}
        }
        all.add(format!("failure.{n}"), failure);
    }
}

fn feed(all: &mut Samples) {
    let frames = [
        Feed::Follow { after: Index(1) },
        Feed::Snapshot { index: Index(2), piece: vec![0, 200], last: true },
        Feed::Entry { index: Index(3), data: vec![0, 200] },
        Feed::Leader { term: 4, leader: Some(NodeId(1)) },
    ];
    for frame in frames {
        let name = match &frame {
            Feed::Follow { .. } => "follow",
            Feed::Snapshot { .. } => "snapshot",
            Feed::Entry { .. } => "entry",
            Feed::Leader { .. } => "leader",
        };
        all.add(format!("feed.{name}"), frame);
    }
}

#[allow(clippy::too_many_lines, reason = "a list")]
fn joins(all: &mut Samples) {
    let mesh = vec!["192.0.2.7:7000".parse().unwrap()];
    all.add(
        "join",
        Join {
            cluster: cluster(),
            invitation: InvitationId::from_random([6; 15]),
            secret: Secret(vec![0, 200]),
            region: region(),
            addresses: NodeAddresses { mesh: mesh.clone(), public: vec!["https://a.example".into()] },
            public_key: vec![0, 200],
            build: "0.1.0".into(),
            wire: 1,
            speaks: 1,
            edge: None,
        },
    );
    let wish = EdgeWish { name: Some(edge_hello().edge), host: None };
    all.add(
        "join.edge",
        Join {
            cluster: cluster(),
            invitation: InvitationId::from_random([6; 15]),
            secret: Secret(vec![0, 200]),
            region: region(),
            addresses: NodeAddresses::default(),
            public_key: vec![0, 200],
            build: "0.1.0".into(),
            wire: 1,
            speaks: 1,
            edge: Some(wish),
        },
    );
    let edge = Joined::Edge {
        edge: edge_hello().edge,
        certificate: vec![0, 200],
        authorities: vec![vec![1, 201]],
        nodes: vec![node_at()],
        realm: "example.org".into(),
    };
    all.add("joined.edge", edge);
    let welcome = Joined::Welcome {
        node: NodeId(4),
        certificate: vec![0, 200],
        authorities: vec![vec![1, 201]],
        peers: vec![(NodeId(1), mesh)],
    };
    all.add("joined.welcome", welcome);
    let refusals = [
        JoinRefusal::Invalid,
        JoinRefusal::Used { node: NodeId(2) },
        JoinRefusal::Expired,
        JoinRefusal::OtherRegion { invited: region() },
        JoinRefusal::OtherCluster { cluster: cluster() },
        JoinRefusal::TooOld { build: "0.2.0".into() },
        JoinRefusal::TooMany { after_ms: 5 },
        JoinRefusal::NotNow("words".into()),
        JoinRefusal::Refused("words".into()),
        JoinRefusal::UsedByEdge { edge: edge_hello().edge },
        JoinRefusal::ForNode,
        JoinRefusal::ForEdge,
        JoinRefusal::OtherEdge { edge: edge_hello().edge },
        JoinRefusal::Nameless,
        JoinRefusal::NameTaken { edge: edge_hello().edge },
        JoinRefusal::EdgeRemoved { edge: edge_hello().edge },
    ];
    for (n, refusal) in refusals.into_iter().enumerate() {
        match &refusal {
            JoinRefusal::Invalid
            | JoinRefusal::Used { .. }
            | JoinRefusal::Expired
            | JoinRefusal::OtherRegion { .. }
            | JoinRefusal::OtherCluster { .. }
            | JoinRefusal::TooOld { .. }
            | JoinRefusal::TooMany { .. }
            | JoinRefusal::NotNow(_)
            | JoinRefusal::Refused(_)
            | JoinRefusal::UsedByEdge { .. }
            | JoinRefusal::ForNode
            | JoinRefusal::ForEdge
            | JoinRefusal::OtherEdge { .. }
            | JoinRefusal::Nameless
            | JoinRefusal::NameTaken { .. }
            | JoinRefusal::EdgeRemoved { .. } => {}
        }
        all.add(format!("joined.refused.{n}"), Joined::Refused(refusal));
    }
}

fn node_at() -> NodeAt {
    NodeAt { node: NodeId(4), region: region(), addresses: vec!["192.0.2.7:7000".parse().unwrap()] }
}

fn uplinks(all: &mut Samples) {
    all.add("up.hello", Up::Hello(edge_hello()));
    all.add("up.hello.proven", Up::Hello(EdgeHello { proven: vec![2], ..edge_hello() }));
    all.add("up.hello.timed", Up::Hello(EdgeHello { timed: true, ..edge_hello() }));
    all.add("up.applied", Up::Applied { index: Index(1) });
    all.add("up.done", Up::Done { seq: 2 });
    let edge = EdgeId::new("edge-2").unwrap();
    all.add("up.probed", Up::Probed { number: 1, edge, found: vec![found()] });
    let (sent, received) = (Traffic { packets: 1, bytes: 100 }, Traffic { packets: 70_000, bytes: 1 << 40 });
    let usage = Usage { series: 1 << 63, session: Some(session()), name: None, sent, received };
    let other = Usage { series: 7, session: None, name: Some("ada".into()), sent, received };
    all.add("up.usage", Up::Usage { seq: 1, usage: vec![usage, other] });
    all.add("health", health());
    all.add("health.measured", measured_health());
    let node = NodeHello { node: NodeId(1), build: "0.1.0".into(), realm: "example.org".into(), life: 0 };
    all.add("down.hello", Down::Hello(node.clone()));
    all.add("down.hello.life", Down::Hello(NodeHello { life: 7, ..node }));
    let fault = Fault { step: Step::Connect, cause: Cause::Local, code: None, text: String::new() };
    let health =
        Health { faults: [(300, fault)].into(), answered_us: vec![Some(1), None], ..Health::default() };
    all.add("up.health", Up::Health(Box::new(health)));
    all.add("up.certify", Up::Certify { public_key: vec![0, 200] });
    all.add("down.certified", Down::Certified { certificate: Certificate(vec![0, 200]) });
    let view = EdgeView { index: Index(7), nodes: vec![node_at()], ..EdgeView::default() };
    all.add("down.snapshot.nodes", Down::Snapshot(view));
    let changes = vec![EdgeChange::Nodes { nodes: vec![node_at()] }];
    all.add("down.delta.nodes", Down::Delta { index: Index(8), changes });
    let view = EdgeView {
        index: Index(7),
        secrets: BTreeMap::from([(1, Secret(vec![0, 200]))]),
        revoked: BTreeMap::from([(session(), Unix::from_secs(9))]),
        fleet: edge_hello().relays,
        peers: PeerPolicy { allow: vec!["10.0.0.0/8".parse().unwrap()], deny: Vec::new() },
        draining: true,
        authorities: BTreeMap::from([(1, Certificate(vec![0, 200]))]),
        ..EdgeView::default()
    };
    all.add("down.snapshot", Down::Snapshot(view));
    let changes = vec![
        EdgeChange::SecretAdded { number: 2, secret: Secret(vec![0, 200]) },
        EdgeChange::SecretRemoved { number: 1 },
        EdgeChange::Revoked { session: session(), until: Unix::from_secs(9) },
        EdgeChange::Draining { draining: true },
        EdgeChange::Authorities { authorities: BTreeMap::from([(1, Certificate(vec![0, 200]))]) },
    ];
    all.add("down.delta", Down::Delta { index: Index(8), changes });
    all.add("down.usage_taken", Down::UsageTaken { seq: 1 });
    let v6 = Alternate { address: "[2001:db8::1]:3478".parse().unwrap() };
    all.add("down.alternates", Down::Alternates { alternates: vec![v6] });
    all.add("down.directive", Down::Directive { seq: 1, body: Directive::End { session: session() } });
    all.add("down.directive.probe", Down::Directive { seq: 1, body: Directive::Probe(probe()) });
}

//! One of each frame that nodes say to each other, to who joins, and to edges.

use std::collections::BTreeMap;

use chappe_proto::history;
use chappe_proto::hooks::event::EventKind;
use chappe_proto::hooks::record::{Attempt, Delivery, DeliveryPage, DeliveryState, HookCounts, Wanted};
use chappe_proto::id::{
    AppId, ClusterId, EdgeId, Epoch, EventId, Generation, HookId, Index, InvitationId, NodeId, PeerId,
    Region, RoomKey, RoomName, SessionId, Shard,
};
use chappe_proto::inspect::{
    EdgeWay, Fate, Filter, Passed, SessionCounts, SessionDetails, SignalsPage, What,
};
use chappe_proto::logs::{self, Changed, Level, Line, LogPage};
use chappe_proto::mesh::allocations::{AllocationFilter, AllocationReport, EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::join::{EdgeWish, Join, JoinRefusal, Joined};
use chappe_proto::mesh::node::{
    Answer, Ask, Body, EdgeReport, Failure, Feed, Hello, Lane, Loss, NodeStatus, Opening, Parcel, RoomSeen,
};
use chappe_proto::mesh::probe::{Cause, Fault, Found, Outside, Probe, Prober, RelayFound, Step};
use chappe_proto::mesh::uplink::{
    Alternate, Certificate, Directive, Down, EdgeChange, EdgeHello, EdgeView, Health, Listener, NodeAt,
    NodeHello, PeerPolicy, RelayRange, Secret, Traffic, Up, Usage,
};
use chappe_proto::registry::{Command, NodeAddresses, Note, Outcome, RequestId};
use chappe_proto::settings::{Origin, Scope, Setting};
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::connection::{CandidateType, Connection, ConnectionState};
use chappe_proto::signal::json::Json;
use chappe_proto::signal::lobby::{Knock, Verdict};
use chappe_proto::signal::member::Muting;
use chappe_proto::time::Unix;
use chappe_proto::turn::Transport;
use chappe_proto::usage::{Relayed, Tally, UsageOf, UsagePage};

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

fn hook() -> HookId {
    HookId::from_random([8; 15])
}

fn event() -> EventId {
    EventId::from_random([9; 15])
}

fn wanted() -> Wanted {
    Wanted {
        state: Some(DeliveryState::Expired),
        kind: Some(EventKind::PeerJoined),
        room: Some(room().room),
        before: Some((Unix::from_secs(5), event())),
    }
}

fn deliveries() -> DeliveryPage {
    let attempt = Attempt { at: Unix::from_secs(3), took_ms: 20, status: Some(500), said: "no".into() };
    let delivery = Delivery {
        event: event(),
        kind: EventKind::RoomEnded,
        room: Some(room().room),
        at: Unix::from_secs(2),
        body: "{}".into(),
        state: DeliveryState::Waiting,
        attempts: vec![attempt],
        tries: 1,
    };
    let failing_since = Some(Unix::from_secs(1));
    let counts = HookCounts { waiting: 1, delivered: 2, failed: 3, dropped: 4, failing_since };
    DeliveryPage { deliveries: vec![delivery], counts }
}

fn usage() -> Usage {
    let (sent, received) = (Traffic { packets: 1, bytes: 2 }, Traffic { packets: 3, bytes: 4 });
    Usage { series: 1 << 63, session: Some(session()), name: None, sent, received, by: None }
}

fn usage_page() -> UsagePage {
    let relayed = Relayed { sent: usage().sent, received: usage().received };
    let tally = Tally { relayed, ..Tally::default() };
    UsagePage { relayed: tally.clone(), parts: vec![("ada".into(), tally)] }
}

fn history_wanted() -> history::Wanted {
    let series = vec!["rooms".into(), "refused.*".into()];
    history::Wanted {
        series,
        since: Unix::from_secs(60),
        step: 10,
        most: 6,
        region: Some(region()),
        names: true,
    }
}

fn sampled() -> history::Sampled {
    let point = history::Point { at: 1_000, min: 0.5, mean: 1.5, max: 2.0, samples: 6 };
    let (since, names) = (Unix::from_secs(60), vec!["rooms".into()]);
    history::Sampled { since, names, series: [("rooms".into(), vec![point])].into() }
}

fn usage_by_region() -> UsagePage {
    let UsagePage { relayed: mut tally, .. } = usage_page();
    tally.regions.insert(region(), 1 << 40);
    UsagePage { relayed: tally.clone(), parts: vec![("ada".into(), tally)] }
}

fn usage_of(all: &mut Samples) {
    let of = [
        UsageOf::Apps,
        UsageOf::App(room().app),
        UsageOf::Room(room()),
        UsageOf::Names,
        UsageOf::Session(session()),
        UsageOf::Edges,
        UsageOf::Rooms,
    ];
    for (n, of) in of.into_iter().enumerate() {
        match of {
            UsageOf::Apps | UsageOf::App(_) | UsageOf::Room(_) | UsageOf::Names | UsageOf::Session(_) => {}
            UsageOf::Edges | UsageOf::Rooms => {}
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
    let outside =
        probers.map(|prober| Outside { prober, age_ms: 2, failed: vec![found()], rtt_us: None }).to_vec();
    let mut timed = report.clone();
    timed.outside = outside.iter().map(|one| Outside { rtt_us: Some(1_500), ..one.clone() }).collect();
    parcel(all, ".timed", Body::Edges(vec![timed]));
    let health = Some(measured_health());
    parcel(all, ".probed", Body::Edges(vec![EdgeReport { health, rtt_us: Some(1), outside, ..report }]));
    parcel(all, "", Body::End { session: session() });
    parcel(all, "", Body::Usage(vec![usage()]));
    let by = Some((edge_hello().edge, region()));
    parcel(all, ".by", Body::Usage(vec![Usage { by, ..usage() }]));
    parcel(all, "", Body::UsageRooms(vec![(session(), room())]));
}

fn filter() -> Filter {
    Filter { peer: Some(peer(1)), kind: Some("offer".into()), text: Some("opus".into()) }
}

fn signals() -> SignalsPage {
    let passed = Passed {
        n: 8,
        at: Unix::from_secs(1),
        what: What::Signal,
        from: Some(peer(1)),
        to: Some(peer(2)),
        id: Some(3),
        kind: Some("offer".into()),
        connection: Some("#01020304".into()),
        size: Some(4),
        fate: Some(Fate::Relayed),
        why: Some("left".into()),
        payload: Some(Json::parse("{\"is\":\"null\"}").unwrap()),
    };
    SignalsPage { passed: vec![passed], next: 8, missed: 1, anew: true, again: 2, more: true }
}

fn details() -> SessionDetails {
    let traffic = Traffic { packets: 2, bytes: 300 };
    let counts = SessionCounts {
        heard: traffic,
        signals_sent: 1,
        signals_received: 2,
        undelivered: 3,
        rate_refusals: 4,
        ice_failures: 5,
        resumes: 6,
    };
    let edge = EdgeId::new("edge-1").unwrap();
    SessionDetails {
        session: session(),
        peer: peer(1),
        node: NodeId(2),
        protocol: "native".into(),
        address: Some("192.0.2.0/24".into()),
        agent: Some("Mozilla/5.0".into()),
        joined: Unix::from_secs(1),
        connected: Some(Unix::from_secs(2)),
        rtt_us: Some(12_345),
        counts,
        told: traffic,
        unacknowledged: 7,
        edges: vec![EdgeWay { edge, place: Some(1), rtt_ms: Some(12.5), failed: true }],
        credential_until: Some(Unix::from_secs(3)),
        connections: None,
    }
}

fn connections() -> BTreeMap<PeerId, Connection> {
    let (local, remote) = (Some(CandidateType::Relay), Some(CandidateType::Srflx));
    let begun = Connection { state: ConnectionState::Connecting, local: None, remote: None };
    BTreeMap::from([
        (peer(1), Connection { state: ConnectionState::Connected, local, remote }),
        (peer(2), begun),
    ])
}

fn ask_name(ask: &Ask) -> &'static str {
    match ask {
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
        Ask::Edge { .. } => "edge",
        Ask::Deliveries { .. } => "deliveries",
        Ask::Resend { .. } => "resend",
        Ask::RoomsLike { .. } => "rooms_like",
        Ask::RoomsNamed { .. } => "rooms_named",
        Ask::RoomCounts => "room_counts",
        Ask::Room { .. } => "room",
        Ask::Close { .. } => "close",
        Ask::Tell { .. } => "tell",
        Ask::Mute { .. } => "mute",
        Ask::Watch { by_app: true, .. } => "watch.by_app",
        Ask::Watch { .. } => "watch",
        Ask::Session { .. } => "session",
        Ask::Settings => "settings",
        Ask::Logs(_) => "logs",
        Ask::LogLevel { .. } => "log_level",
        Ask::History(_) => "history",
        Ask::Admits { .. } => "admits",
        Ask::Move { .. } => "move",
        Ask::Judge { .. } => "judge",
    }
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
        Ask::Edge { edge: edge_hello().edge, ask: EdgeAsk::Close { allocation: 1 << 40 } },
        Ask::Deliveries { hook: hook(), wanted: wanted() },
        Ask::Resend { hook: hook(), event: event() },
        Ask::RoomsLike { app: Some(room().app), text: Some("tow".into()), after: Some(room()), limit: 3 },
        Ask::RoomsNamed { rooms: vec![room()] },
        Ask::RoomCounts,
        Ask::Room { room: room() },
        Ask::Close { room: room() },
        Ask::Tell { room: room(), payload: Json::parse("[1]").unwrap() },
        Ask::Mute {
            room: room(),
            peer: peer(1),
            muting: Muting { publish: true, broadcast: false, on: true },
        },
        Ask::Watch { room: room(), after: 7, filter: filter(), limit: 9, plain: true, by_app: false },
        Ask::Watch { room: room(), after: 0, filter: filter(), limit: 9, plain: false, by_app: true },
        Ask::Session { session: session(), plain: true },
        Ask::Settings,
        Ask::Logs(logs_wanted()),
        Ask::LogLevel { level: Some(Level::Debug), secs: 600 },
        Ask::History(history_wanted()),
        Ask::Admits { room: room(), member: Box::new(super::route::entry().member) },
        Ask::Move { session: session(), to: room().room },
        Ask::Judge { room: room(), peer: peer(1), verdict: Verdict::Deny { reason: None } },
    ];
    for ask in asks {
        let name = ask_name(&ask);
        all.add(format!("ask.{name}"), ask);
    }
}

fn logs_wanted() -> logs::Wanted {
    let (target, contains) = (Some("chappe_edge".into()), Some("uplink".into()));
    logs::Wanted { after: Some(7), level: Some(Level::Warn), target, contains, limit: 9 }
}

fn log_page() -> LogPage {
    let (target, text) = ("chappe_cluster::keeper".into(), "lease held generation=3".into());
    let line = Line { n: 8, at: Unix::from_secs(1), level: Level::Info, target, text };
    let changed = Some(Changed { level: Level::Trace, until: Unix::from_secs(9) });
    LogPage { lines: vec![line], next: 8, missed: 1, more: true, changed }
}

fn settings() -> Vec<Setting> {
    let setting = |name: &str, origin, scope| Setting {
        name: name.into(),
        value: Some("4".into()),
        default: Some("2".into()),
        origin,
        scope,
        variable: Some("CHAPPE_WORKERS".into()),
    };
    vec![
        setting("workers", Origin::Environment, Scope::Shared),
        setting("region", Origin::File, Scope::Own),
        setting("join", Origin::Flag, Scope::Start),
        setting("log", Origin::Default, Scope::Shared),
    ]
}

fn seen(waiting: Vec<Knock>) -> RoomSeen {
    RoomSeen { node: NodeId(1), roster: vec![super::route::entry()], broadcasts: 4, waiting }
}

fn answer_name(answer: &Answer) -> &'static str {
    match answer {
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
        Answer::Edge(_) => "edge",
        Answer::Deliveries(_) => "deliveries",
        Answer::RoomCounts(_) => "room_counts",
        Answer::Room(Some(seen)) if !seen.waiting.is_empty() => "room_lobby",
        Answer::Room(_) => "room",
        Answer::Watched(_) => "watched",
        Answer::Session(details) if details.connections.is_some() => "session_connections",
        Answer::Session(_) => "session",
        Answer::Settings(_) => "settings",
        Answer::Logs(_) => "logs",
        Answer::History(_) => "history",
        Answer::Failed(_) => "failed",
        Answer::Admits(_) => "admits",
        Answer::Refused(_) => "refused",
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
        Answer::Edge(EdgeAnswer::Closed { closed: 1 }),
        Answer::Deliveries(deliveries()),
        Answer::RoomCounts(vec![(room().app, 1, 2)]),
        Answer::Room(Some(seen(Vec::new()))),
        Answer::Room(Some(seen(vec![super::route::knock()]))),
        Answer::Watched(signals()),
        Answer::Session(Box::new(details())),
        Answer::Session(Box::new(SessionDetails { connections: Some(connections()), ..details() })),
        Answer::Settings(settings()),
        Answer::Logs(log_page()),
        Answer::History(sampled()),
        Answer::Failed(Failure::Busy),
        Answer::Admits(Some(Refusal::new(ErrorCode::Locked, "the room is locked"))),
        Answer::Refused(Refusal::new(ErrorCode::RoomFull, "full")),
    ];
    for answer in answers {
        let name = answer_name(&answer);
        all.add(format!("answer.{name}"), answer);
    }
    let usage = Answer::Usage { since: Unix::from_secs(1), page: usage_by_region() };
    all.add("answer.usage.by_region", usage);
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

fn allocation() -> AllocationReport {
    AllocationReport {
        number: 1 << 40,
        transport: Transport::Tls,
        client: "192.0.2.9:5000".parse().unwrap(),
        server: "192.0.2.1:443".parse().unwrap(),
        relayed: vec!["192.0.2.1:50000".parse().unwrap(), "[2001:db8::1]:50000".parse().unwrap()],
        session: Some(session()),
        name: None,
        realm: None,
        age_ms: 1,
        left_ms: 2,
        permissions: 3,
        channels: 4,
        sent: usage().sent,
        received: usage().received,
    }
}

/// What nodes ask of an edge for operators, and its answers.
fn edge_asks(all: &mut Samples) {
    let filter = AllocationFilter {
        sessions: Some([session()].into()),
        name: Some("ada".into()),
        realm: Some("example.org".into()),
        client: Some("192.0.2.9".parse().unwrap()),
    };
    let asks = [
        EdgeAsk::Allocations { filter: AllocationFilter::default(), from: 0, limit: 256 },
        EdgeAsk::Allocations { filter: filter.clone(), from: 70_000, limit: 1 },
        EdgeAsk::Close { allocation: u64::MAX },
        EdgeAsk::CloseAll { filter },
        EdgeAsk::Unknown,
        EdgeAsk::Settings,
        EdgeAsk::Logs(logs_wanted()),
        EdgeAsk::Logs(logs::Wanted::default()),
        EdgeAsk::LogLevel { level: Some(Level::Debug), secs: 600 },
        EdgeAsk::LogLevel { level: None, secs: 0 },
    ];
    for (n, body) in asks.into_iter().enumerate() {
        match &body {
            EdgeAsk::Allocations { .. }
            | EdgeAsk::Close { .. }
            | EdgeAsk::CloseAll { .. }
            | EdgeAsk::Settings
            | EdgeAsk::Logs(_)
            | EdgeAsk::LogLevel { .. }
            | EdgeAsk::Unknown => {}
        }
        all.add(format!("down.ask.{n}"), Down::Ask { number: 7, body });
    }
    let named = AllocationReport {
        session: None,
        name: Some("ben".into()),
        realm: Some("example.org".into()),
        ..allocation()
    };
    let answers = [
        EdgeAnswer::Allocations { page: vec![allocation(), named], next: Some(3) },
        EdgeAnswer::Allocations { page: Vec::new(), next: None },
        EdgeAnswer::Closed { closed: 2 },
        EdgeAnswer::Busy,
        EdgeAnswer::Unknown,
        EdgeAnswer::Settings { settings: settings() },
        EdgeAnswer::Logs(log_page()),
        EdgeAnswer::Logs(LogPage::default()),
        EdgeAnswer::Done,
    ];
    for (n, body) in answers.into_iter().enumerate() {
        match &body {
            EdgeAnswer::Allocations { .. }
            | EdgeAnswer::Closed { .. }
            | EdgeAnswer::Settings { .. }
            | EdgeAnswer::Logs(_)
            | EdgeAnswer::Done
            | EdgeAnswer::Busy
            | EdgeAnswer::Unknown => {}
        }
        all.add(format!("up.answer.{n}"), Up::Answer { number: 7, body });
    }
}

fn uplinks(all: &mut Samples) {
    edge_asks(all);
    all.add("up.hello", Up::Hello(edge_hello()));
    all.add("up.hello.proven", Up::Hello(EdgeHello { proven: vec![2], ..edge_hello() }));
    all.add("up.hello.timed", Up::Hello(EdgeHello { timed: true, ..edge_hello() }));
    all.add("up.applied", Up::Applied { index: Index(1) });
    all.add("up.done", Up::Done { seq: 2 });
    let edge = EdgeId::new("edge-2").unwrap();
    all.add("up.probed", Up::Probed { number: 1, edge, found: vec![found()] });
    let (sent, received) = (Traffic { packets: 1, bytes: 100 }, Traffic { packets: 70_000, bytes: 1 << 40 });
    let usage = Usage { series: 1 << 63, session: Some(session()), name: None, sent, received, by: None };
    let other = Usage { series: 7, session: None, name: Some("ada".into()), sent, received, by: None };
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

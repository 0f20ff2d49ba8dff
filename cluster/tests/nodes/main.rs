//! Several whole nodes in one process: they found, join, share the shards, and go on without one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]

mod homes;
mod uplinks;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chappe_admin::Kicked;
use chappe_cluster::actor::proxy::ProxyActor;
use chappe_cluster::actor::room::{Change, ListPeers, ProxySays, Remove, RoomActor};
use chappe_cluster::geoip::GeoIp;
use chappe_cluster::mesh::join;
use chappe_cluster::start::{self, Begin, Config, Found, Running};
use chappe_cluster::{clock, http};
use chappe_proto::id::{AppId, Attach, Generation, NodeId, PeerId, Region, RoomKey, RoomName, SessionId};
use chappe_proto::mesh::join::Token;
use chappe_proto::mesh::node::{Body, Lane};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{AppPolicy, Command, Refusal, State};
use chappe_proto::signal::member::{Gateway, Grants, Member, Profile, Seat, Withheld};
use chappe_proto::signal::route::{RoomInput, ToRoom};
use chappe_proto::time::Unix;

/// What must happen within this happens at all.
const SOON: Duration = Duration::from_secs(20);

fn config(dir: &Path, begin: Begin) -> Config {
    Config {
        dir: dir.into(),
        begin,
        region: Region::new("here").unwrap(),
        peers: None,
        accept_loss: false,
        http: vec![http::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap()],
        https: None,
        behind: None,
        public: Vec::new(),
        trusted_proxies: Vec::new(),
        hooks_allow: Vec::new(),
        geoip: GeoIp::default(),
        workers: 1,
        mesh: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        advertise: Vec::new(),
        lan: None,
        admin_token: Secret(vec![7; 32]),
        settings: Vec::new(),
        logs: Arc::default(),
    }
}

async fn found(dir: &Path) -> Running {
    let found = Found { name: "test".into(), realm: "chappe".into(), app: None };
    start::start(config(dir, Begin::Found(Box::new(found)))).await.unwrap()
}

/// A token by which one node may join.
async fn invite(by: &Running) -> Token {
    let until = clock::unix() + Duration::from_secs(60);
    let (command, token) = join::invite(&by.node.registry.state(), vec![by.mesh], None, None, until).unwrap();
    by.node.proposals.propose(command, SOON).await.unwrap().outcome.accepted().unwrap();
    token
}

async fn joined(dir: &Path, token: Token) -> Running {
    start::start(config(dir, Begin::Join(Box::new(token)))).await.unwrap()
}

/// An app, with this policy.
async fn add_app(by: &Running, name: &str, policy: AppPolicy) -> AppId {
    let app = AppId::new(name).unwrap();
    let command = Command::AppAdd { app: app.clone(), name: "Test".into(), policy };
    by.node.proposals.propose(command, SOON).await.unwrap().outcome.accepted().unwrap();
    app
}

/// The node stops, and begins again where the others look for it.
async fn again(dir: &Path, node: Running) -> Running {
    let mesh = node.mesh;
    node.stop().await;
    let bound = async {
        loop {
            match UdpSocket::bind(mesh) {
                Ok(socket) => return socket,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let mesh = tokio::time::timeout(SOON, bound).await.unwrap();
    let beginning = start::start(Config { mesh, ..config(dir, Begin::Again) });
    tokio::time::timeout(SOON, beginning).await.unwrap().unwrap()
}

async fn until(node: &Running, what: impl Fn(&State) -> bool) {
    let mut states = node.node.registry.watch();
    let waiting = states.wait_for(|state| what(state));
    tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
}

fn owned(state: &State, node: u64) -> usize {
    state.shards().filter(|(_, shard)| shard.owner == Some(NodeId(node)) && shard.moving.is_none()).count()
}

#[actix_rt::test]
async fn three_nodes_share_what_one_had_and_go_on_without_it() {
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = found(dirs[0].path()).await;
    until(&first, |state| owned(state, 1) == 4096).await;
    let second = joined(dirs[1].path(), invite(&first).await).await;
    let third = joined(dirs[2].path(), invite(&first).await).await;
    for node in [&first, &second, &third] {
        until(node, |state| (1..=3).all(|node| (1365..=1366).contains(&owned(state, node)))).await;
    }
    let mut statuses = first.node.registry.watch_status();
    let voters = statuses.wait_for(|status| status.voters.len() == 3);
    tokio::time::timeout(SOON, voters).await.unwrap().unwrap();
    let (edges, node) = (first.node.edges.clone(), Arc::downgrade(&first.node));
    first.stop().await;
    assert!(!edges.connected(), "nobody looks after edges there any more");
    becomes(|| node.strong_count() == 0).await;
    for node in [&second, &third] {
        until(node, |state| owned(state, 2) == 2048 && owned(state, 3) == 2048).await;
    }
    second.stop().await;
    third.stop().await;
}

#[actix_rt::test]
async fn a_stops_drain_ends_with_the_next_start_and_an_operators_does_not() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = found(dirs[0].path()).await;
    let second = joined(dirs[1].path(), invite(&first).await).await;
    until(&first, |state| owned(state, 2) == 2048).await;

    second.drain(SOON, |_| ()).await;
    until(&first, |state| owned(state, 1) == 4096).await;
    assert!(first.node.registry.state().node(NodeId(2)).unwrap().drains());
    let second = again(dirs[1].path(), second).await;
    assert!(!second.node.registry.state().node(NodeId(2)).unwrap().drains(), "from its very beginning");
    until(&first, |state| owned(state, 2) == 2048).await;

    // The operator's word comes in the middle of a stop.
    let former = second.node.gateway();
    let (begins, has_begun) = tokio::sync::oneshot::channel();
    let mut begins = Some(begins);
    let stopping =
        second.drain(SOON, |_| begins.take().into_iter().for_each(|begins| begins.send(()).unwrap()));
    let operator = async {
        has_begun.await.unwrap();
        let command = Command::NodeSet { node: NodeId(2), weight: 1, draining: true };
        first.node.proposals.propose(command, SOON).await.unwrap().outcome.accepted().unwrap();
    };
    tokio::join!(stopping, operator);
    let second = again(dirs[1].path(), second).await;
    until(&first, |state| state.node(NodeId(2)).is_some_and(|node| node.draining && !node.stopping)).await;
    assert_eq!(owned(&first.node.registry.state(), 2), 0);

    // What its former life said late, says nothing of this one.
    let late = Command::NodeStopping { node: NodeId(2), generation: former.generation };
    let refused = first.node.proposals.propose(late, SOON).await.unwrap().outcome.accepted();
    assert!(matches!(refused, Err(Refusal::OtherGeneration(_))));
    second.stop().await;
    first.stop().await;
}

/// Looks until it is so.
async fn becomes(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap();
}

#[actix_rt::test]
async fn a_frame_of_a_former_life_attaches_nobody_to_a_room() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = found(dirs[0].path()).await;
    let app = add_app(&first, "test", AppPolicy::default()).await;
    let second = joined(dirs[1].path(), invite(&first).await).await;
    until(&first, |state| owned(state, 1) == 2048).await;
    becomes(|| second.node.mesh.links().borrow().reaches(NodeId(1))).await;

    // A process that was stopped for long wakes, and speaks before it knows that it was taken for dead.
    let former = Gateway { generation: Generation(0), ..second.node.gateway() };
    let state = first.node.registry.state();
    let name = |n: u32| RoomKey { app: app.clone(), room: RoomName::new(&format!("r{n}")).unwrap() };
    let stays = |room: &RoomKey| {
        let shard = state.shard(room.anchor()).unwrap();
        shard.owner == Some(NodeId(1)) && shard.moving.is_none()
    };
    let room = (0..).map(name).find(stays).unwrap();
    let (shard, epoch) = first.node.anchor(&room);
    let frame = ToRoom { room: room.clone(), shard, epoch, gateway: former, body: RoomInput::attach() };
    second.node.mesh.send(NodeId(1), Lane::of(&room), Body::ToRoom(frame)).unwrap();

    // The room begins with the frame; nobody follows it, so that it ends.
    becomes(|| !first.node.rooms.is_empty()).await;
    becomes(|| first.node.rooms.is_empty()).await;
    first.stop().await;
    second.stop().await;
}

/// A member that is let in by its gateway.
fn member(token_until: Unix) -> Member {
    let profile = Profile { identity: None, name: None, metadata: None };
    let seat = Seat {
        peer: PeerId::from_random([1; 15]),
        session: SessionId::from_random([2; 15]),
        grants: Grants { create: true, ..Grants::ANONYMOUS },
        capacity: None,
        token_until,
        place: None,
    };
    Member {
        seat,
        profile,
        version: 0,
        attach: Attach(1),
        away: false,
        admitted: None,
        withheld: Withheld::NONE,
    }
}

#[actix_rt::test]
async fn who_asked_for_a_kick_is_answered_though_the_room_ends_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let first = found(dir.path()).await;
    let node = &first.node;
    let app = add_app(&first, "test", AppPolicy::default()).await;
    until(&first, |state| owned(state, 1) == 4096).await;
    becomes(|| node.lease.holds()).await;

    let key = RoomKey { app, room: RoomName::new("r").unwrap() };
    let (shard, epoch) = node.anchor(&key);
    let room = RoomActor::of(node, &key, (shard, epoch)).unwrap();
    let says = |body| ToRoom { room: key.clone(), shard, epoch, gateway: node.gateway(), body };
    let member = member(clock::unix());
    let peer = member.seat.peer;
    // Where it has none, the node says at once that nobody is there.
    let _proxy = ProxyActor::of(node, &key).unwrap();
    room.send(ProxySays(says(RoomInput::attach()))).await.unwrap();
    let announce = RoomInput::Announce {
        member,
        marks: BTreeMap::new(),
        presented: Attach(0),
        age_ms: 0,
        attached_ms: 0,
    };
    room.send(ProxySays(says(announce))).await.unwrap();
    assert_eq!(room.send(ListPeers).await.unwrap().len(), 1);

    // Both wait in its mailbox: the room is over before the registry has committed anything.
    let (kick, over) = (room.send(Remove { peer, ban: false }), room.send(Change::Over));
    let (kicked, over) = tokio::join!(kick, over);
    over.unwrap();
    assert_eq!(kicked.unwrap(), Kicked::Done);
    assert!(node.registry.state().revoked(&SessionId::from_random([2; 15]), clock::unix()).is_some());
    becomes(|| !room.connected()).await;
    first.stop().await;
}

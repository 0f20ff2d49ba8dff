//! A cluster of nothing but a registry in memory, for tests. What is decided of its members is done at
//! once.

mod access;
mod apps;
mod connection;
mod hooks;
pub(crate) mod live;
pub(crate) mod operation;
pub(crate) mod rooms;
mod turn;
mod web;

use std::collections::BTreeMap;
use std::io::{Seek, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{App as WebApp, test};
use chappe_proto::id::{AppId, ClusterId, EdgeId, Generation, Index, InvitationId, NodeId, Region};
use chappe_proto::mesh::uplink::{Secret, Traffic};
use chappe_proto::registry::profile::ProfileName;
use chappe_proto::registry::{
    App, AppPolicy, Command, EdgeState, NodeState, Note, Prices, Refusal, State, Thing,
};
use chappe_proto::select::Policy;
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::usage::{Relayed, Tally, UsageOf};
use serde_json::Value;

use crate::cluster::turn::Allocation;
use crate::control::{
    AuthorityStatus, Backup, ClusterStatus, EdgeChange, EdgeIdentity, EdgeReport, Event, Fault, Invitation,
    InvitationStatus, InvitationWish, Member, MemberOwn, MemberRole, NodeChange,
};
use crate::{Answer, Changed, Cluster, Control, Mount, Overview, Registry, Unavailable, UsageReport};

/// The registry, and the cluster.
pub(crate) struct Memory {
    state: Mutex<State>,
    members: Mutex<ClusterStatus>,
    edges: Mutex<Vec<EdgeReport>>,
    /// What both clocks say.
    now: Mutex<Now>,
    allocations: Mutex<Vec<Allocation>>,
    running: Mutex<rooms::Running>,
    events: Mutex<Vec<Event>>,
    overtaking: Mutex<Vec<Command>>,
    /// The next change is carried out, and nobody is told.
    pub(crate) lost: AtomicBool,
    pub(crate) live: live::Live,
    pub(crate) operation: operation::Running,
    /// The web, as this cluster knows it.
    pub(crate) elsewhere: web::Elsewhere,
}

impl Default for Memory {
    fn default() -> Self {
        let joined = Event { at: Unix::from_secs(1), node: Some(NodeId(3)), text: "joined".to_owned() };
        Self {
            state: Mutex::default(),
            members: Mutex::new(three_nodes()),
            edges: Mutex::new(vec![an_edge()]),
            now: Mutex::new(Now { mono: Mono(Duration::from_secs(1_000)), unix: Unix::from_secs(1) }),
            allocations: Mutex::default(),
            running: Mutex::default(),
            events: Mutex::new(vec![joined]),
            overtaking: Mutex::default(),
            lost: AtomicBool::default(),
            live: live::Live::default(),
            operation: operation::Running::default(),
            elsewhere: web::Elsewhere::default(),
        }
    }
}

/// One that is well.
pub(crate) fn an_edge() -> EdgeReport {
    EdgeReport {
        edge: EdgeId::new("edge-eu").unwrap(),
        region: Region::new("eu").unwrap(),
        coordinates: None,
        build: "0.1.0".to_owned(),
        state: EdgeState::Admitted,
        weight: 100,
        since: Unix::from_secs(1),
        listeners: Vec::new(),
        relays: Vec::new(),
        capacity: 100,
        alive: true,
        heard_ms: Some(0),
        nodes: vec![NodeId(1)],
        uplink_ms: Some(0.5),
        condition: None,
        advice: Vec::new(),
        health: None,
    }
}

/// Three nodes in three regions, of which the first leads.
pub(crate) fn three_nodes() -> ClusterStatus {
    let member = |node, region| Member {
        node: NodeId(node),
        region: Region::new(region).unwrap(),
        role: if node == 1 { MemberRole::Leader } else { MemberRole::Voter },
        generation: Generation(1),
        state: NodeState::Up,
        since: Unix::from_secs(1),
        reachable: true,
        heard_ms: Some(0),
        build: "0.1.0".to_owned(),
        weight: 1,
        draining: false,
        leaving: false,
        shards: 1365,
        lag: Some(0),
        own: Some(MemberOwn { lease: true, sessions: 10, rooms: 4, ..MemberOwn::default() }),
        mesh: Vec::new(),
        public: Vec::new(),
    };
    ClusterStatus {
        id: ClusterId::from_random([7; 15]),
        name: "memory".to_owned(),
        version: 1,
        profile: ProfileName::Lan,
        voters_wanted: 3,
        node: NodeId(1),
        leader: Some(NodeId(1)),
        term: 2,
        committed: Index(10),
        applied: Index(10),
        members: vec![member(1, "eu"), member(2, "us"), member(3, "ap")],
        authorities: vec![AuthorityStatus {
            number: 1,
            fingerprint: "00".repeat(32),
            until: Unix::from_secs(10),
        }],
        invitations: Vec::new(),
    }
}

type Done<T> = Result<T, Fault>;

impl Memory {
    /// Asks the cluster.
    pub(crate) fn members<T>(&self, ask: impl FnOnce(&mut ClusterStatus) -> T) -> T {
        ask(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something happens to the cluster.
    pub(crate) fn happened(&self, events: impl IntoIterator<Item = Event>) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
    }

    /// Carries a decision out and keeps its note, where a majority of the voters is reached.
    fn decide<'a, T: 'a>(
        &self,
        note: Note,
        by: impl FnOnce(&mut ClusterStatus) -> Done<T>,
    ) -> Answer<'a, Done<T>> {
        let done = self.members(|status| {
            let Some(_) = status.leader else {
                return Err(Fault::Unavailable(crate::health::Health::of(status).problems.remove(0)));
            };
            by(status)
        });
        if done.is_ok() {
            drop(self.change(Command::Note, note));
        }
        Box::pin(async { done })
    }
}

impl Control for Memory {
    fn status(&self) -> Answer<'_, ClusterStatus> {
        let status = self.members(|status| status.clone());
        Box::pin(async { status })
    }

    fn node_set(&self, node: NodeId, change: NodeChange, note: Note) -> Answer<'_, Done<()>> {
        self.decide(note, |status| {
            let held = status.members.iter_mut().find(|member| member.node == node);
            let held = held.ok_or(Fault::NotThere("node"))?;
            held.weight = change.weight.unwrap_or(held.weight);
            held.draining = change.draining.unwrap_or(held.draining);
            held.leaving &= held.draining;
            Ok(())
        })
    }

    fn node_remove(&self, node: NodeId, note: Note) -> Answer<'_, Done<()>> {
        self.decide(note, |status| {
            if status.members.len() == 1 {
                return Err(Fault::Refused(Refusal::Last(Thing::Node)));
            }
            status.members.retain(|member| member.node != node || member.state == NodeState::Up);
            for member in status.members.iter_mut().filter(|member| member.node == node) {
                (member.draining, member.leaving) = (true, true);
            }
            Ok(())
        })
    }

    fn transfer(&self, to: Option<NodeId>, note: Note) -> Answer<'_, Done<NodeId>> {
        self.decide(note, |status| {
            let to = to.unwrap_or(NodeId(2));
            for member in &mut status.members {
                member.role = if member.node == to { MemberRole::Leader } else { MemberRole::Voter };
            }
            status.leader = Some(to);
            Ok(to)
        })
    }

    fn invite(&self, wish: InvitationWish, note: Note) -> Answer<'_, Done<Invitation>> {
        self.decide(note, |status| {
            let (id, until) = (InvitationId::from_random([3; 15]), Unix::default() + wish.ttl);
            status.invitations.push(InvitationStatus { id, region: wish.region, edge: wish.edge, until });
            Ok(Invitation { token: "chappe-join-secret".to_owned(), id, until })
        })
    }

    fn invitation_remove(&self, id: InvitationId, note: Note) -> Answer<'_, Done<()>> {
        self.decide(note, |status| {
            let before = status.invitations.len();
            status.invitations.retain(|held| held.id != id);
            if status.invitations.len() < before { Ok(()) } else { Err(Fault::NotThere("invitation")) }
        })
    }

    fn authority_rotate(&self, note: Note) -> Answer<'_, Done<u64>> {
        self.decide(note, |status| {
            let mut next = status.authorities.last().cloned().ok_or(Fault::NotThere("authority"))?;
            next.number += 1;
            status.authorities.push(next);
            Ok(status.authorities.len() as u64)
        })
    }

    fn profile_set(&self, profile: ProfileName, note: Note) -> Answer<'_, Done<()>> {
        self.decide(note, |status| {
            status.profile = profile;
            Ok(())
        })
    }

    fn voters_set(&self, wanted: u8, note: Note) -> Answer<'_, Done<()>> {
        self.decide(note, |status| {
            status.voters_wanted = wanted;
            Ok(())
        })
    }

    fn edges(&self) -> Answer<'_, Vec<EdgeReport>> {
        Box::pin(async { self.edges.lock().unwrap_or_else(PoisonError::into_inner).clone() })
    }

    fn edge_set(&self, edge: EdgeId, change: EdgeChange, note: Note) -> Answer<'_, Done<()>> {
        self.decide(note, |_| {
            let mut edges = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
            let held = edges.iter_mut().find(|held| held.edge == edge).ok_or(Fault::NotThere("edge"))?;
            held.state = change.state.unwrap_or(held.state);
            held.weight = change.weight.unwrap_or(held.weight);
            Ok(())
        })
    }

    fn edge_forget(&self, edge: EdgeId, note: Note) -> Answer<'_, Done<()>> {
        self.decide(note, |_| {
            self.edges.lock().unwrap_or_else(PoisonError::into_inner).retain(|held| held.edge != edge);
            Ok(())
        })
    }

    fn edge_certify(&self, edge: EdgeId, key: Vec<u8>, note: Note) -> Answer<'_, Done<EdgeIdentity>> {
        self.decide(note, |status| {
            Ok(EdgeIdentity {
                cluster: status.id,
                certificate: format!("{edge}: {key:?}"),
                authorities: String::new(),
                nodes: Vec::new(),
                realm: "chappe".to_owned(),
            })
        })
    }

    fn backup(&self, note: Note) -> Answer<'_, Done<Backup>> {
        self.decide(note, |status| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&backup_bytes()).unwrap();
            file.rewind().unwrap();
            Ok(Backup { index: status.applied, file })
        })
    }

    fn shards(&self) -> Answer<'_, Vec<Option<NodeId>>> {
        let mut owners = vec![None; usize::from(chappe_proto::limits::SHARDS)];
        (owners[0], owners[1]) = (Some(NodeId(1)), Some(NodeId(2)));
        Box::pin(async { owners })
    }

    fn events(&self) -> Answer<'_, Vec<Event>> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async { events })
    }
}

/// What [`Memory`]'s backup holds: longer than what is read at once.
pub(crate) fn backup_bytes() -> Vec<u8> {
    (0..700_001_u32).map(|n| n.to_be_bytes()[3]).collect()
}

impl Memory {
    /// Asks the state.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut State) -> T) -> T {
        ask(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Somebody else is quicker: each of the next changes comes after one of these, the last one first.
    pub(crate) fn overtaken_by(&self, commands: impl IntoIterator<Item = Command>) {
        self.overtaking.lock().unwrap_or_else(PoisonError::into_inner).extend(commands);
    }

    /// Commits a change.
    pub(crate) fn commit(&self, command: Command, note: Note) -> Done<()> {
        self.apply(command, Some(note))
    }

    pub(crate) fn change<'a>(&self, command: Command, note: Note) -> Answer<'a, Changed> {
        let changed = match self.commit(command, note) {
            Ok(()) => Changed::Done,
            Err(Fault::Refused(refusal)) => Changed::Refused(refusal),
            Err(_) => Changed::Unavailable,
        };
        Box::pin(async { changed })
    }
}

impl Cluster for Memory {
    fn overview(&self) -> Answer<'_, Overview> {
        let registry = Registry { term: 1, applied: 2, leads: true };
        let overview =
            Overview { build: "x", sessions: 0, rooms: 0, peers: 0, counts: vec![], edges: vec![], registry };
        Box::pin(async move { overview })
    }

    fn usage(&self, of: UsageOf) -> Answer<'_, Option<UsageReport>> {
        let traffic = |packets, bytes| Traffic { packets, bytes };
        let relayed = Relayed { sent: traffic(1, 100), received: traffic(2, 300) };
        let regions = [(Region::new("eu").unwrap(), 250)].into();
        let tally = Tally { relayed, regions };
        let (app, name) = match &of {
            UsageOf::Apps => (None, "dev"),
            UsageOf::App(app) => (Some(app), "room"),
            UsageOf::Room(room) => (Some(&room.app), "s_000000000000000000000000"),
            UsageOf::Names | UsageOf::Session(_) => (None, "ada"),
            UsageOf::Edges => (None, "edge-eu"),
            UsageOf::Rooms => (None, "dev/room"),
        };
        let there = app.is_none_or(|app| app.as_str() == "dev");
        let parts = BTreeMap::from([(name.to_owned(), tally.clone())]);
        let prices = self.with(|state| Arc::clone(state.prices()));
        let report = there.then(|| UsageReport { since: Unix::from_secs(1), relayed: tally, parts, prices });
        Box::pin(async { report })
    }

    fn apps(&self) -> Answer<'_, Result<Vec<(AppId, App)>, Unavailable>> {
        let apps = self.with(|state| state.apps().map(|(id, app)| (id.clone(), app.clone())).collect());
        Box::pin(async { Ok(apps) })
    }

    fn app_set(
        &self,
        app: AppId,
        name: String,
        policy: AppPolicy,
        since: Index,
        note: Note,
    ) -> Answer<'_, Changed> {
        self.change(Command::AppSet { app, name, policy, since: Some(since) }, note)
    }

    fn selection(&self) -> Answer<'_, Result<Policy, Unavailable>> {
        let policy = self.with(|state| state.selection().as_ref().clone());
        Box::pin(async { Ok(policy) })
    }

    fn selection_set(&self, policy: Policy, note: Note) -> Answer<'_, Changed> {
        self.change(Command::SelectionSet(policy), note)
    }

    fn prices(&self) -> Answer<'_, Result<Prices, Unavailable>> {
        let prices = self.with(|state| state.prices().as_ref().clone());
        Box::pin(async { Ok(prices) })
    }

    fn prices_set(&self, prices: Prices, note: Note) -> Answer<'_, Changed> {
        self.change(Command::PricesSet(prices), note)
    }
}

/// One with the app `dev`, whose rooms are those of [`rooms`].
pub(crate) async fn with_dev() -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    let (app, name) = (AppId::new("dev").unwrap(), "Dev".to_owned());
    let note = Note { who: "test".to_owned(), what: "founded".to_owned(), from: String::new() };
    drop(memory.change(Command::AppAdd { app, name, policy: AppPolicy::default() }, note).await);
    memory
}

/// Asks the API of a cluster in memory, as its operator.
pub(crate) async fn bytes(
    memory: &Arc<Memory>,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, Bytes) {
    let mount = Mount::new(Arc::clone(memory) as Arc<dyn Cluster>, Secret(b"right".to_vec()));
    let app = test::init_service(WebApp::new().configure(|config| mount.configure(config))).await;
    let mut request = test::TestRequest::with_uri(&format!("/admin/api/v1{path}")).method(method);
    request = request.insert_header(("Authorization", "Bearer right"));
    if !body.is_null() {
        request = request.set_json(body);
    }
    let answer = test::call_service(&app, request.to_request()).await;
    (answer.status(), test::read_body(answer).await)
}

pub(crate) async fn ask(memory: &Arc<Memory>, method: Method, path: &str, body: Value) -> (u16, Value) {
    let (status, body) = bytes(memory, method, path, body).await;
    (status.as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

pub(crate) async fn refused(memory: &Arc<Memory>, method: Method, path: &str, body: Value) -> String {
    let (status, answer) = ask(memory, method, path, body).await;
    assert!(status >= 400, "{status}: {answer}");
    format!("{status} {}", answer["detail"].as_str().unwrap())
}

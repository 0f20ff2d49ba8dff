//! What every part of a node shares.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use actix::Addr;
use chappe_admin::pool::Pool;
use chappe_proto::id::{Epoch, Generation, NodeId, Region, RoomKey, SessionId, Shard};
use chappe_proto::limits;
use chappe_proto::registry::{NodeAddresses, NodeState, State, rights};
use chappe_proto::select::Place;
use chappe_proto::settings::Setting;
use chappe_proto::signal::member::{Gateway, Policy};
use chappe_proto::signal::resume::SealingKeys;
use chappe_proto::signal::session::World;
use chappe_proto::time::Mono;
use rustix::process::{Resource, getrlimit};

use crate::actor::directory::Directory;
use crate::actor::edges::EdgesActor;
use crate::actor::proxy::ProxyActor;
use crate::actor::session::SessionActor;
use crate::actor::sites::Sites;
use crate::actor::sources::Sources;
use crate::clock;
use crate::consensus::Registry;
use crate::counts::Counts;
use crate::geoip::GeoIp;
use crate::history::Figures;
use crate::hooks::Hooks;
use crate::lease::Held;
use crate::logs::Logs;
use crate::mesh::Mesh;
use crate::proposals::Proposals;
use crate::usage::Book;

/// A running node.
pub struct Node {
    /// Itself.
    pub id: NodeId,
    /// The life that it is in: another one begins where the cluster took it for dead.
    generation: AtomicU64,
    /// The replicated state.
    pub registry: Registry,
    /// The way to change it, whoever leads.
    pub proposals: Proposals,
    /// The other nodes.
    pub mesh: Mesh,
    /// Its right to admit and change.
    pub lease: Held,
    /// What it holds at most.
    pub room: Room,
    /// Sockets that are open for signaling, whether somebody has joined on them or not.
    pub sockets: AtomicUsize,
    /// Sessions whose sockets are here.
    pub sessions: Directory<SessionId, SessionActor>,
    /// Rooms that those sessions are in.
    pub proxies: Directory<RoomKey, ProxyActor>,
    /// Rooms that are run here, each in one shard under one epoch.
    pub rooms: Sites,
    /// The edges that report here.
    pub edges: Addr<EdgesActor>,
    /// What users have relayed.
    pub usage: Arc<Book>,
    /// Its figures over the last hours.
    pub history: Figures,
    /// What its sessions have done.
    pub counts: Counts,
    /// Rooms that operators watch.
    pub watches: Pool,
    /// Fresh joins by source address.
    pub joins: Sources,
    /// Resumes by source address.
    pub resumes: Sources,
    /// Questions for the nearest edges by source address.
    pub nearest: Sources,
    /// Where addresses are, by the operator's database.
    pub geoip: GeoIp,
    /// What webhooks are told.
    pub hooks: Hooks,
    /// Its options, as they are in force.
    pub settings: Vec<Setting>,
    /// What it has logged.
    pub logs: Arc<Logs>,
    /// The proxies that follow a room away from its anchor's shard, and where.
    away: Mutex<HashMap<RoomKey, Shard>>,
    world: RwLock<Arc<World>>,
    owned: RwLock<Vec<(Epoch, Mono)>>,
}

/// Where clients are sent to find a node: a page of HTTPS may open nothing else, so that where there is HTTPS
/// nothing else is told.
pub(crate) fn told(addresses: &NodeAddresses) -> impl Iterator<Item = String> {
    let secure = |url: &String| url.starts_with("https://");
    let only = addresses.public.iter().any(secure);
    addresses.public.iter().filter(move |url| !only || secure(url)).cloned()
}

/// What a node holds whose process may have so many files open: who comes then is told to go to another node. Were
/// sockets not taken instead, they would wait for an answer, and operators with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Sessions.
    pub sessions: usize,
    /// Sockets: those of sessions, and of who has not joined yet or comes back while the old one is still open. They
    /// have half of what is kept beside the sessions.
    pub sockets: usize,
}

impl Room {
    fn within(files: usize) -> Self {
        let kept = limits::NODE_FILES.min(files / 2);
        let sessions = limits::SESSIONS_MAX.min((files - kept) / limits::SESSION_FILES);
        Self { sessions, sockets: sessions + kept / 2 / limits::SESSION_FILES }
    }
}

/// File descriptors that this process may have.
fn files_limit() -> usize {
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// What a node is put together from.
pub struct Parts {
    /// Itself.
    pub id: NodeId,
    /// The replicated state.
    pub registry: Registry,
    /// The way to change it.
    pub proposals: Proposals,
    /// The other nodes.
    pub mesh: Mesh,
    /// The edges that report here.
    pub edges: Addr<EdgesActor>,
    /// What users have relayed.
    pub usage: Arc<Book>,
    /// Where addresses are.
    pub geoip: GeoIp,
    /// What webhooks are told.
    pub hooks: Hooks,
    /// Its options, as they are in force.
    pub settings: Vec<Setting>,
    /// What it has logged.
    pub logs: Arc<Logs>,
}

impl Node {
    /// Where a client at an address is, whose token says this of it.
    pub(crate) fn place(&self, token: &Place, ip: IpAddr) -> Place {
        self.world().edges.place(token, Some(ip), self.geoip.locate(ip))
    }

    /// Of its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            id: parts.id,
            generation: AtomicU64::new(0),
            registry: parts.registry,
            proposals: parts.proposals,
            mesh: parts.mesh,
            lease: Held::default(),
            room: Room::within(files_limit()),
            sockets: AtomicUsize::new(0),
            sessions: Directory::default(),
            proxies: Directory::default(),
            rooms: Sites::default(),
            away: Mutex::default(),
            edges: parts.edges,
            usage: parts.usage,
            history: Figures::default(),
            counts: Counts::default(),
            watches: Pool::new(limits::WATCHES_MAX, limits::WATCHES_OF_APPS),
            joins: Sources::new(limits::JOINS_PER_SEC, limits::JOINS_BURST),
            resumes: Sources::new(limits::RESUMES_PER_SEC, limits::RESUMES_BURST),
            nearest: Sources::new(limits::NEAREST_PER_SEC, limits::NEAREST_BURST),
            geoip: parts.geoip,
            hooks: parts.hooks,
            settings: parts.settings,
            logs: parts.logs,
            world: RwLock::default(),
            owned: RwLock::new(vec![(Epoch(0), Mono::NEVER); usize::from(limits::SHARDS)]),
        })
    }

    /// This node in its present life.
    pub fn gateway(&self) -> Gateway {
        Gateway { node: self.id, generation: Generation(self.generation.load(Ordering::Acquire)) }
    }

    /// A life begins.
    pub(crate) fn begin(&self, generation: Generation) {
        self.generation.store(generation.0, Ordering::Release);
    }

    /// What sessions need to know at the moment.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces what sessions need to know.
    pub fn publish(&self, world: World) {
        *self.world.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(world);
    }

    /// Whether it may let clients in: new ones, and sessions that were elsewhere.
    pub(crate) fn admits(&self) -> bool {
        let me = self.gateway();
        rights::admits(&self.registry.state(), me.node, me.generation, self.lease.holds())
    }

    /// The shard in which this gateway follows a room.
    pub(crate) fn followed(&self, room: &RoomKey) -> Shard {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.get(room).copied().unwrap_or_else(|| room.anchor())
    }

    /// This gateway's proxy follows a room there, or is gone.
    pub(crate) fn follows(&self, room: &RoomKey, shard: Option<Shard>) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match shard.filter(|shard| *shard != room.anchor()) {
            Some(shard) => away.insert(room.clone(), shard),
            None => away.remove(room),
        };
    }

    /// The shard that a room is looked for in, and its epoch.
    pub fn anchor(&self, room: &RoomKey) -> (Shard, Epoch) {
        let shard = room.anchor();
        let epoch = self.registry.state().shard(shard).map(|entry| entry.epoch).unwrap_or_default();
        (shard, epoch)
    }

    /// Takes note of a shard that this node owns from now on.
    pub(crate) fn owns_since(&self, shard: Shard, epoch: Epoch, now: Mono) {
        let mut owned = self.owned.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = owned.get_mut(usize::from(shard.0)) {
            *held = (epoch, now);
        }
    }

    /// For how long this node has owned a shard at an epoch; no time where it does not, as far as it knows.
    pub(crate) fn owned_for(&self, shard: Shard, epoch: Epoch) -> Duration {
        let owned = self.owned.read().unwrap_or_else(PoisonError::into_inner);
        let since = owned.get(usize::from(shard.0)).filter(|(of, _)| *of == epoch).map(|(_, since)| *since);
        since.map_or(Duration::ZERO, |since| clock::mono().since(since))
    }

    /// The lease was not held for this long: graces stood still in rooms meanwhile.
    pub(crate) fn stood_still(&self, gap: Duration) {
        let mut owned = self.owned.write().unwrap_or_else(PoisonError::into_inner);
        for (_, since) in owned.iter_mut() {
            *since = *since + gap;
        }
    }

    /// Whether no peer of a former owner can come back to a room at this epoch: there was none, or
    /// its last grace is over.
    pub fn is_settled(&self, shard: Shard, epoch: Epoch) -> bool {
        epoch <= Epoch(1) || self.owned_for(shard, epoch) >= limits::GRACE_MAX
    }

    /// The gateways that may hold sessions of any room.
    pub fn gateways(state: &State) -> impl Iterator<Item = Gateway> {
        let up = state.nodes().filter(|(_, node)| node.state == NodeState::Up);
        up.map(|(node, held)| Gateway { node, generation: held.generation })
    }

    /// Whether a node can be sent anything now; this one always.
    pub(crate) fn reaches(&self, node: NodeId) -> bool {
        node == self.id || self.mesh.links().borrow().reaches(node)
    }

    /// All other nodes that are up.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        let state = self.registry.state();
        Self::gateways(&state).map(|gateway| gateway.node).filter(|node| *node != self.id).collect()
    }

    /// Where clients reach the nodes, this one's own addresses first: all of them, as each client is told those near it
    /// ([`World::nearest_nodes`]).
    pub(crate) fn urls(&self, state: &State) -> Vec<(String, Region)> {
        let up = state.nodes().filter(|(_, node)| node.state == NodeState::Up);
        let (own, others): (Vec<_>, Vec<_>) = up.partition(|(node, _)| *node == self.id);
        let all = own.into_iter().chain(others.into_iter().filter(|(_, node)| !node.drains()));
        let urls = |node: &chappe_proto::registry::Node| -> Vec<_> {
            told(&node.addresses).map(|url| (url, node.region.clone())).collect()
        };
        all.flat_map(|(_, node)| urls(node)).collect()
    }

    /// An app's policy as a room and its sessions need it, with what is decided of the room.
    #[must_use]
    pub fn policy(state: &State, room: &RoomKey) -> Option<Policy> {
        let policy = &state.app(&room.app)?.policy;
        Some(Policy {
            anonymous: policy.anonymous,
            capacity: policy.capacity,
            grace: policy.grace(),
            credential_ttl: policy.credential_ttl(),
            frames_burst: policy.frames_burst,
            frames_per_sec: policy.frames_per_sec,
            rules: state.rules(room),
        })
    }

    /// The keys of resume tokens.
    #[must_use]
    pub fn sealing_keys(state: &State) -> SealingKeys {
        let keys = state.sealing_keys().all().iter();
        keys.filter_map(|(number, secret)| Some((*number, <[u8; 32]>::try_from(&secret.0[..]).ok()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_holds_as_many_sessions_as_it_may_open_files_for() {
        assert_eq!(Room::within(usize::MAX).sessions, limits::SESSIONS_MAX);
        assert_eq!(Room::within(20_000), Room { sessions: 8_976, sockets: 9_488 });
        assert_eq!(Room::within(1024), Room { sessions: 256, sockets: 384 });
        assert_eq!(Room::within(0), Room { sessions: 0, sockets: 0 });
    }

    #[test]
    fn where_there_is_https_nothing_else_is_told() {
        let at = |urls: &[&str]| {
            let public = urls.iter().copied().map(str::to_owned).collect();
            told(&NodeAddresses { mesh: Vec::new(), public }).collect::<Vec<_>>()
        };
        let both = ["http://a.example:8080", "https://a.example", "http://10.0.0.1", "https://b.example"];
        assert_eq!(at(&both), ["https://a.example", "https://b.example"]);
        assert_eq!(at(&["http://a.example", "http://b.example"]), ["http://a.example", "http://b.example"]);
        assert!(at(&[]).is_empty());
    }
}

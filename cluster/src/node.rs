//! What every part of a node shares.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::Addr;
use chappe_proto::id::{AppId, Epoch, Generation, NodeId, RoomKey, SessionId, Shard};
use chappe_proto::limits;
use chappe_proto::registry::State;
use chappe_proto::signal::member::{Gateway, Policy};
use chappe_proto::signal::resume::SealingKeys;
use chappe_proto::signal::session::World;
use chappe_proto::time::Mono;

use crate::actor::directory::Directory;
use crate::actor::edges::EdgesActor;
use crate::actor::proxy::ProxyActor;
use crate::actor::room::RoomActor;
use crate::actor::session::SessionActor;
use crate::actor::sources::Sources;
use crate::clock;
use crate::consensus::Registry;

/// A running node.
pub struct Node {
    /// Itself, in this life of its process.
    pub gateway: Gateway,
    /// The replicated state.
    pub registry: Registry,
    /// Sessions whose sockets are here.
    pub sessions: Directory<SessionId, SessionActor>,
    /// Rooms that those sessions are in.
    pub proxies: Directory<RoomKey, ProxyActor>,
    /// Rooms that are run here.
    pub rooms: Directory<RoomKey, RoomActor>,
    /// The edges that report here.
    pub edges: Addr<EdgesActor>,
    /// Fresh joins by source address.
    pub joins: Sources,
    /// Resumes by source address.
    pub resumes: Sources,
    world: RwLock<Arc<World>>,
    started: Mono,
}

impl Node {
    /// Of its parts.
    #[must_use]
    pub fn new(id: NodeId, generation: Generation, registry: Registry, edges: Addr<EdgesActor>) -> Arc<Self> {
        Arc::new(Self {
            gateway: Gateway { node: id, generation },
            registry,
            sessions: Directory::default(),
            proxies: Directory::default(),
            rooms: Directory::default(),
            edges,
            joins: Sources::new(limits::JOINS_PER_SEC, limits::JOINS_BURST),
            resumes: Sources::new(limits::RESUMES_PER_SEC, limits::RESUMES_BURST),
            world: RwLock::default(),
            started: clock::mono(),
        })
    }

    /// What sessions need to know at the moment.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces what sessions need to know.
    pub fn publish(&self, world: World) {
        *self.world.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(world);
    }

    /// The shard that a room is looked for in, and its epoch.
    pub fn anchor(&self, room: &RoomKey) -> (Shard, Epoch) {
        let shard = room.anchor();
        let epoch = self.registry.state().shard(shard).map(|entry| entry.epoch).unwrap_or_default();
        (shard, epoch)
    }

    /// Whether no peer of a former owner can come back to a room at this epoch: there was none, or
    /// its last grace is over.
    pub fn is_settled(&self, epoch: Epoch) -> bool {
        epoch <= Epoch(1) || clock::mono().since(self.started) >= limits::GRACE_MAX
    }

    /// Whether this node owns a shard.
    pub fn owns(&self, shard: Shard) -> bool {
        self.registry.state().shard(shard).and_then(|entry| entry.owner) == Some(self.gateway.node)
    }

    /// An app's policy as rooms and sessions need it.
    #[must_use]
    pub fn policy(state: &State, app: &AppId) -> Option<Policy> {
        let policy = &state.app(app)?.policy;
        Some(Policy {
            anonymous: policy.anonymous,
            capacity: policy.capacity,
            grace: Duration::from_millis(policy.grace_ms),
            frames_burst: policy.frames_burst,
            frames_per_sec: policy.frames_per_sec,
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

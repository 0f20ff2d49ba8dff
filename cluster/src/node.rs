//! What every part of a node shares.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::Addr;
use actix::dev::SendError;
use chappe_proto::id::{AppId, Epoch, Generation, NodeId, RoomKey, SessionId, Shard};
use chappe_proto::limits;
use chappe_proto::registry::State;
use chappe_proto::signal::member::{Gateway, Policy};
use chappe_proto::signal::resume::SealingKeys;
use chappe_proto::signal::route::ToRoom;
use chappe_proto::signal::session::World;
use chappe_proto::time::Mono;

use crate::actor::directory::Directory;
use crate::actor::edges::EdgesActor;
use crate::actor::gateway::Sources;
use crate::actor::proxy::ProxyActor;
use crate::actor::room::{ProxySays, RoomActor};
use crate::actor::session::SessionActor;
use crate::clock;
use crate::consensus::Registry;

/// The room's owner cannot take a frame right now. Whoever sent it says it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the room's owner cannot be reached")]
pub struct Unreachable;

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
    /// Joins by source address.
    pub sources: Sources,
    world: RwLock<Arc<World>>,
    started: Mono,
    this: std::sync::Weak<Self>,
}

impl Node {
    /// Of its parts.
    #[must_use]
    pub fn new(id: NodeId, generation: Generation, registry: Registry, edges: Addr<EdgesActor>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            gateway: Gateway { node: id, generation },
            registry,
            sessions: Directory::default(),
            proxies: Directory::default(),
            rooms: Directory::default(),
            edges,
            sources: Sources::default(),
            world: RwLock::default(),
            started: clock::mono(),
            this: std::sync::Weak::clone(this),
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

    /// Hands a frame to its room's owner.
    ///
    /// # Errors
    /// [`Unreachable`]: it has no owner, or one that is too busy.
    pub fn to_room(&self, frame: ToRoom) -> Result<(), Unreachable> {
        let node = self.this.upgrade().ok_or(Unreachable)?;
        let owner = self.registry.state().shard(frame.shard).and_then(|entry| entry.owner);
        if owner != Some(self.gateway.node) {
            return Err(Unreachable);
        }
        let room = RoomActor::of(&node, &frame.room).ok_or(Unreachable)?;
        room.try_send(ProxySays(frame)).map_err(|error| match error {
            SendError::Full(_) | SendError::Closed(_) => Unreachable,
        })
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

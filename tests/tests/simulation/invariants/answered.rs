//! A new owner lets nobody new in before every live gateway has said what it holds.

use std::collections::{BTreeMap, BTreeSet};

use chappe_proto::id::{Epoch, NodeId, PeerId, RoomKey, Shard};
use chappe_proto::signal::member::Gateway;

/// For each room that an owner has begun: who has not answered.
#[derive(Default)]
pub(crate) struct Answered {
    rooms: BTreeMap<(NodeId, RoomKey, Shard), (Epoch, BTreeSet<Gateway>)>,
    knocks: Option<PeerId>,
}

impl Answered {
    /// An owner begins a room that had a former one, while these live.
    pub(crate) fn began(
        &mut self,
        owner: NodeId,
        room: &RoomKey,
        shard: Shard,
        epoch: Epoch,
        live: BTreeSet<Gateway>,
    ) {
        self.rooms.insert((owner, room.clone(), shard), (epoch, live));
    }

    /// A gateway attached or detached.
    pub(crate) fn heard(&mut self, owner: NodeId, room: &RoomKey, shard: Shard, from: Gateway) {
        if let Some((_, waiting)) = self.rooms.get_mut(&(owner, room.clone(), shard)) {
            waiting.retain(|gateway| gateway.node != from.node || gateway.generation > from.generation);
        }
    }

    /// The owner has applied that a gateway is gone.
    pub(crate) fn gone(&mut self, owner: NodeId, lost: Gateway) {
        for ((by, ..), (_, waiting)) in &mut self.rooms {
            if *by == owner {
                waiting.retain(|gateway| gateway.node != lost.node || gateway.generation > lost.generation);
            }
        }
    }

    /// An owner hears next of somebody who is nowhere in the room yet; or of nobody such.
    pub(crate) const fn knocks(&mut self, newcomer: Option<PeerId>) {
        self.knocks = newcomer;
    }

    /// The owner has somebody in the room: let in where that one is the newcomer, else taken over.
    pub(crate) fn joined(
        &self,
        owner: NodeId,
        room: &RoomKey,
        shard: Shard,
        epoch: Epoch,
        peer: PeerId,
    ) -> Result<(), String> {
        if self.knocks != Some(peer) {
            return Ok(());
        }
        match self.rooms.get(&(owner, room.clone(), shard)) {
            Some((began, waiting)) if *began == epoch && !waiting.is_empty() => {
                Err(format!("{room}: node {owner} lets {peer} in before {waiting:?} have answered"))
            }
            _ => Ok(()),
        }
    }
}

//! What befalls gateways, the owner and the links between them, and how they hear of it.

use chappe_proto::id::PeerId;
use chappe_proto::signal::member::Rules;
use chappe_proto::signal::proxy::Proxy;
use chappe_proto::signal::room::{self, Room};

use super::{Broken, Cluster, SHARD, mono};

impl Cluster {
    /// A process ends at once and starts anew: a new generation that knows nothing.
    pub(crate) fn restart_gateway(&mut self, gateway: usize) {
        let lost: Vec<u32> =
            self.sockets.iter().filter(|(_, s)| s.gateway == gateway).map(|(id, _)| *id).collect();
        for socket in &lost {
            self.sockets.remove(socket);
        }
        let epoch = self.epoch;
        self.lost_at = mono(self.now.mono);
        let node = &mut self.nodes[gateway];
        let proxy = node.proxy.take();
        node.epoch = epoch;
        node.sessions.clear();
        node.gateway.generation.0 += 1;
        self.forget_left(proxy.iter().flat_map(Proxy::left).collect());
        if self.owner_at == Some(gateway) {
            self.stop_owner();
        }
    }

    /// Somebody who knew that these have left is gone.
    pub(super) fn forget_left(&mut self, known: Vec<PeerId>) {
        let proxies = || self.nodes.iter().filter_map(|node| node.proxy.as_ref());
        let known_still = |peer: &PeerId| {
            proxies().any(|proxy| proxy.left().any(|left| left == *peer))
                || self.owner.iter().any(|room| room.left().any(|left| left == *peer))
        };
        let forgotten: Vec<PeerId> = known.into_iter().filter(|peer| !known_still(peer)).collect();
        self.forgotten.extend(forgotten);
    }

    /// The registry says that a former life of this gateway is over.
    pub(crate) fn tell_gateway_lost(&mut self, gateway: usize) {
        let mut lost = self.nodes[gateway].gateway;
        self.nodes[gateway].over_before = lost.generation;
        lost.generation.0 -= 1;
        let mut out = Vec::new();
        if let Some(room) = &mut self.owner {
            room.handle_gateway_lost(self.now, lost, &mut out);
        }
        self.room_outputs(out);
        self.settle();
    }

    /// A gateway forgets one session, as when its actor has failed.
    pub(crate) fn forget_session(&mut self, gateway: usize, peer: PeerId) {
        if let Some((_, socket)) = self.nodes[gateway].sessions.remove(&peer) {
            if let Some(socket) = socket {
                self.sockets.remove(&socket);
            }
            self.with_proxy(gateway, |proxy, now, out| proxy.handle_session_lost(now, peer, out));
        }
        self.settle();
    }

    pub(super) fn fresh_room(&self) -> Room {
        let mut room = Room::new(self.epoch, self.policy);
        if let Some(at) = self.owner_at {
            room.set_node(self.nodes[at].gateway.node);
        }
        if self.frozen && self.broken != Some(Broken::Freezes) {
            room.set_frozen(self.now, true, &mut Vec::new());
        }
        // As the shell does: also where a room is forgotten, and made anew later.
        if let Some(since) = self.owner_since {
            if mono(self.now.mono).saturating_sub(since) >= self.policy.grace {
                room.set_settled();
            } else {
                room.expect_gateways(self.now, self.nodes.iter().map(|node| node.gateway));
                if mono(self.now.mono).saturating_sub(self.lost_at) >= self.policy.grace {
                    room.set_unbroken();
                }
            }
        }
        room
    }

    /// The owner's lease ends, or is back.
    pub(crate) fn freeze_owner(&mut self, frozen: bool) {
        self.frozen = frozen;
        if self.broken == Some(Broken::Freezes) {
            return;
        }
        let mut out = Vec::new();
        if let Some(room) = &mut self.owner {
            room.set_frozen(self.now, frozen, &mut out);
        }
        self.room_outputs(out);
        self.settle();
    }

    /// Another rule of the room's comes into force.
    pub(crate) fn rule(&mut self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.policy.rules);
        let rules = self.policy.rules;
        self.decide(|room, _| room.set_rules(rules));
    }

    /// An operator does something in the room; none where there is none.
    pub(crate) fn decide<T>(
        &mut self,
        step: impl FnOnce(&mut Room, &mut Vec<room::Output>) -> T,
    ) -> Option<T> {
        let mut out = Vec::new();
        let now = self.now;
        let done = self.owner.as_mut().map(|room| {
            let done = step(room, &mut out);
            room.obey(now, &mut out);
            done
        });
        self.room_outputs(out);
        self.settle();
        done
    }

    /// A gateway is told that its link to the owner's node is up or down.
    pub(crate) fn tell_link(&mut self, gateway: usize, up: bool) {
        self.with_proxy(gateway, |proxy, now, out| proxy.handle_link(now, up, out));
        self.settle();
    }

    /// The owner's process ends; the room is nowhere until [`Self::new_owner`].
    pub(crate) fn stop_owner(&mut self) {
        let owner = self.owner.take();
        (self.owner_up, self.frozen) = (false, false);
        self.forget_left(owner.iter().flat_map(Room::left).collect());
    }

    /// Somebody owns the shard at the next epoch, and perhaps waits for all gateways. They hear of it
    /// by [`Self::tell_moved`].
    pub(crate) fn new_owner(&mut self, expects: bool) {
        // One that has lost its lease goes on until it hears of the next.
        self.former = self.owner.take().filter(|_| self.frozen).map(|room| (self.epoch, room));
        (self.owner_up, self.frozen) = (true, false);
        self.epoch.0 += 1;
        self.owner_since = expects.then_some(mono(self.now.mono));
        if expects {
            self.owner = Some(self.fresh_room());
        }
    }

    /// A former owner hears that it is one.
    pub(crate) fn end_former(&mut self) {
        let former = self.former.take();
        self.forget_left(former.iter().flat_map(|(_, room)| room.left()).collect());
    }

    /// The registry's feed reaches a gateway.
    pub(crate) fn tell_moved(&mut self, gateway: usize) {
        let epoch = self.epoch;
        self.nodes[gateway].epoch = epoch;
        let local = self.owner_at == Some(gateway);
        self.with_proxy(gateway, |proxy, now, out| {
            proxy.set_local(local);
            proxy.handle_moved(now, SHARD, epoch, out);
        });
        self.settle();
    }
}

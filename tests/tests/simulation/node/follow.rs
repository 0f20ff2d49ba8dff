//! What the applied registry and the lease change in a node (mirrors `cluster::keeper`).

use chappe_proto::id::RoomKey;
use chappe_proto::registry::rights::Right;
use chappe_proto::registry::{NodeState, State};
use chappe_proto::signal::code::CloseCode;
use chappe_proto::signal::frame::ServerFrame;
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::site::{Site, View};
use std::sync::Arc;

use super::Node;
use super::keeper::Keeper;
use super::rooms::{At, anchor_moved};
use crate::breaks::Break;
use crate::env::{Down, Env, index_of};

impl Node {
    /// Rooms without a right end; those without the full one are frozen.
    pub(super) fn keep_rights(&mut self, env: &mut Env) {
        let all: Vec<At> = self.rooms.keys().cloned().collect();
        for at in all {
            let Some(slot) = self.rooms.get(&at) else { continue };
            let (shard, epoch) = slot.machine.place();
            let right = self.right(env, shard);
            let current = self.state.shard(shard).is_some_and(|entry| entry.epoch == epoch);
            if right == Right::None || !current {
                env.note(|| format!("node {} stops {} in {shard} at epoch {epoch}", self.id, at.0));
                self.rooms.remove(&at);
                continue;
            }
            if let Some(slot) = self.rooms.get_mut(&at) {
                slot.full = right == Right::Full;
            }
            self.with_site(env, &at, |site, view, out| site.run(view, out, |_, _| ()));
        }
    }

    /// The registry has come further.
    pub(crate) fn applied(&mut self, env: &mut Env, state: Arc<State>) {
        let former = std::mem::replace(&mut self.state, state);
        self.publish();
        let (now, index, profile) = (self.now(env), self.state.index(), self.state.profile());
        if let Some(lease) = &mut self.keeper.lease {
            lease.handle_applied(index);
            lease.set_profile(now.mono, profile);
        }
        let me = self.state.node(self.id).map(|node| (node.generation, node.state));
        if let Some((gateway, (generation, state))) = self.gateway.zip(me)
            && (gateway.generation != generation || state == NodeState::Down)
        {
            self.die(env);
        }
        self.keep_rights(env);
        let lost = self.lost_since(&former);
        for gateway in lost {
            env.watch.answered.gone(self.id, gateway);
            if !env.broken(Break::KeepsLostGateways) {
                let lose = |site: &mut Site, view: View<'_>, out: &mut Vec<_>| {
                    site.handle_gateway_lost(view, gateway, out);
                };
                self.all_sites(env, |_| true, lose);
            }
        }
        if !self.state.has_shards_of(&former) {
            let state = Arc::clone(&self.state);
            let moved = |(room, shard): &At| *shard != room.anchor() && anchor_moved(&former, &state, room);
            self.all_sites(env, moved, Site::handle_anchor_moved);
        }
        self.follow_shards(env);
        self.hear_early();
        self.steward_follows(env);
        if !self.state.has_shards_of(&former) {
            self.release(env);
        }
        self.keep(env);
        self.front_timers(env);
        self.keep_drained(env);
        self.settle(env);
    }

    /// Lives of gateways that are over, and were not before.
    fn lost_since(&self, former: &State) -> Vec<Gateway> {
        let lost = former.nodes().filter_map(|(id, before)| {
            let gateway = Gateway { node: id, generation: before.generation };
            let over = match self.state.node(id) {
                None => true,
                Some(now) if now.generation != before.generation => true,
                Some(now) => now.state == NodeState::Down && before.state == NodeState::Up,
            };
            over.then_some(gateway)
        });
        lost.collect()
    }

    /// Proxies follow their rooms' shards.
    fn follow_shards(&mut self, env: &mut Env) {
        let keys: Vec<RoomKey> = self.proxies.keys().cloned().collect();
        for key in keys {
            self.follow_shard(env, &key);
        }
        self.follow_links(env);
    }

    /// A proxy follows its room's shard.
    pub(super) fn follow_shard(&mut self, env: &mut Env, key: &RoomKey) {
        let Some(shard) = self.proxies.get(key).map(|proxy| proxy.place().0) else { return };
        let epoch = self.state.shard(shard).map(|entry| entry.epoch).unwrap_or_default();
        self.with_proxy(env, key, |proxy, now, out| proxy.handle_moved(now, shard, epoch, out));
    }

    /// Proxies know whether their owner is this node, and whether it can be reached.
    pub(crate) fn follow_links(&mut self, env: &mut Env) {
        let keys: Vec<RoomKey> = self.proxies.keys().cloned().collect();
        for key in keys {
            self.follow_link(env, &key);
        }
    }

    pub(super) fn follow_link(&mut self, env: &mut Env, key: &RoomKey) {
        let Some(shard) = self.proxies.get(key).map(|proxy| proxy.place().0) else { return };
        let owner = self.state.shard(shard).and_then(|entry| entry.owner);
        let local = owner == Some(self.id);
        let up = local || owner.is_some_and(|owner| env.net.route(self.index, index_of(owner)).is_some());
        self.with_proxy(env, key, |proxy, now, out| {
            proxy.set_local(local);
            proxy.handle_link(now, up, out);
        });
    }

    /// The others have found this process gone, and it is not: it lets go of everything, and begins a new
    /// life. Its clients resume where they like.
    fn die(&mut self, env: &mut Env) {
        env.note(|| format!("node {} was evicted", self.id));
        self.gateway = None;
        self.drain = None;
        self.keeper = Keeper::new();
        self.rooms.clear();
        self.proxies.clear();
        self.early.clear();
        self.local.clear();
        self.sessions.clear();
        let sockets: Vec<u32> = self.sockets.keys().copied().collect();
        for socket in sockets {
            let farewell = ServerFrame::closed(CloseCode::Shutdown).text().to_string();
            env.down(socket, Down::Text(farewell));
            self.close(env, socket, CloseCode::Shutdown);
        }
        self.come_up(env);
    }
}

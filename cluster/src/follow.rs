//! What this node's actors are told when the registry or a link changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::{Actor, Addr, Handler, Message};
use chappe_proto::id::{Generation, NodeId, Shard};
use chappe_proto::registry::{NodeState, State};
use chappe_proto::signal::member::Gateway;

use crate::actor::edges::RegistryChanged;
use crate::actor::proxy::Replaced;
use crate::actor::room::{Change, RoomActor};
use crate::clock;
use crate::node::Node;
use crate::router::Router;

/// Tells actors of each change, until the registry ends.
pub(crate) async fn run(node: Arc<Node>, router: Arc<Router>) {
    let mut states = node.registry.watch();
    let mut links = node.mesh.links();
    let mut known = Arc::new(State::default());
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        changed(&node, &known, &state);
        router.handle_applied(&node);
        if node.edges.send(RegistryChanged).await.is_err() {
            return;
        }
        known = state;
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            changed = links.changed() => {
                if changed.is_err() {
                    return;
                }
                links.borrow_and_update();
                for (_, proxy) in node.proxies.all() {
                    tell(&proxy, Replaced);
                }
            }
        }
    }
}

/// Hands something to an actor, later where its mailbox is full: it must not miss this.
fn tell<A, M>(actor: &Arc<Addr<A>>, what: M)
where
    A: Actor<Context = actix::Context<A>> + Handler<M>,
    M: Message<Result = ()> + Send + Clone + 'static,
{
    if actor.try_send(what.clone()).is_err() && actor.connected() {
        let actor = Arc::clone(actor);
        actix_rt::spawn(async move {
            let _ = actor.send(what).await; // it has ended meanwhile
        });
    }
}

fn changed(node: &Arc<Node>, known: &State, state: &State) {
    let (now, me) = (clock::mono(), node.gateway());
    let mut touched = BTreeSet::new();
    let mut moving = BTreeSet::new();
    for ((shard, before), (_, after)) in known.shards().zip(state.shards()) {
        if (before.owner, before.epoch) != (after.owner, after.epoch) {
            touched.insert(shard);
            if after.owner == Some(me.node) {
                node.owns_since(shard, after.epoch, now);
            }
        } else if before.moving != after.moving && after.owner == Some(me.node) {
            moving.insert(shard);
        }
    }
    // First: who joins a moment later is judged by what is known by then, whatever else changed.
    for key in state.rooms_decided_since(known) {
        for (_, room) in node.rooms.of(key) {
            tell(&room, Change::Rules);
        }
    }
    let lost = lost(known, state);
    if touched.is_empty() && lost.is_empty() && moving.is_empty() {
        return;
    }
    for (room, (shard, epoch), actor) in node.rooms.all() {
        let stays = state.shard(shard).is_some_and(|now| now.owner == Some(me.node) && now.epoch == epoch);
        if stays {
            if moving.contains(&shard) {
                tell(&actor, Change::Moving);
            }
            if shard != room.anchor() && touched.contains(&room.anchor()) {
                tell(&actor, Change::Anchor);
            }
            lost.iter().for_each(|gateway| tell(&actor, Change::GatewayLost(*gateway)));
        } else {
            tell(&actor, Change::Over);
        }
    }
    if !touched.is_empty() {
        for (room, proxy) in node.proxies.all() {
            if touched.contains(&node.followed(&room)) {
                tell(&proxy, Replaced);
            }
        }
    }
}

/// Gateways whose process has ended.
fn lost(known: &State, state: &State) -> Vec<Gateway> {
    let lives = |state: &State, node: NodeId| -> Option<Generation> {
        state.node(node).filter(|held| held.state == NodeState::Up).map(|held| held.generation)
    };
    let ended = |(node, _): (NodeId, _)| {
        let generation = lives(known, node)?;
        (lives(state, node) != Some(generation)).then_some(Gateway { node, generation })
    };
    known.nodes().filter_map(ended).collect()
}

/// The rooms that this node runs in some shards.
pub(crate) fn rooms_of(node: &Node, shards: &BTreeSet<Shard>) -> Vec<Arc<Addr<RoomActor>>> {
    let all = node.rooms.all().into_iter();
    all.filter(|(_, (shard, _), _)| shards.contains(shard)).map(|(_, _, room)| room).collect()
}

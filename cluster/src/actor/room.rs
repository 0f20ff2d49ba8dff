//! The actor of a room, on its owner.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message};
use actix::{WrapFuture, dev::SendError};
use chappe_admin::Kicked;
use chappe_proto::id::{Epoch, Identity, PeerId, RoomKey, SessionId, Shard};
use chappe_proto::limits;
use chappe_proto::registry::rights::{Right, is_over, right};
use chappe_proto::registry::{Command, State};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::room::{Output, Revocation, Room};
use chappe_proto::signal::route::{Entry, FromRoom, ProxyInput, RoomInput, ToRoom};
use chappe_proto::time::Now;

use super::gateway::is_revoked;
use super::proxy::{ProxyActor, RoomSays};
use super::timer::Timer;
use crate::clock;
use crate::mesh::Unsent;
use crate::node::Node;
use crate::router;

/// A kick must be committed within this; else whoever asked is told to try again.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);
/// A room without people and proxies is kept this long.
const LINGER: Duration = Duration::from_secs(2);

/// A frame of a gateway's proxy.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ProxySays(pub ToRoom);

/// What the cluster says that touches a room.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub enum Change {
    /// This node has its lease again, or has lost it.
    Lease,
    /// Its shard is to move, or stays after all: answered once nothing is admitted any more.
    Moving,
    /// This node does not own its shard any more, or owns it under another epoch.
    Over,
    /// A gateway's process has ended.
    GatewayLost(Gateway),
}

/// Who is in the room?
#[derive(Message)]
#[rtype(result = "Vec<Entry>")]
pub struct ListPeers;

/// An operator removes a peer. Answered when it is committed.
#[derive(Message)]
#[rtype(result = "Kicked")]
pub struct Remove {
    /// Whom.
    pub peer: PeerId,
    /// And keeps it out.
    pub ban: bool,
}

/// The actor.
pub struct RoomActor {
    node: Arc<Node>,
    key: RoomKey,
    machine: Room,
    frozen: bool,
    proxies: HashMap<Gateway, Arc<Addr<ProxyActor>>>,
    behind: HashSet<Gateway>,
    timer: Timer,
    lingering: bool,
}

impl RoomActor {
    /// The room of this name under this epoch of its shard, started on this thread if it is not running.
    /// None where this node does not own the shard at that epoch or runs too many, or the app is unknown.
    pub fn of(node: &Arc<Node>, key: &RoomKey, epoch: Epoch) -> Option<Arc<Addr<Self>>> {
        let name = (key.clone(), epoch);
        if let Some(room) = node.rooms.get(&name).filter(|room| room.connected()) {
            return Some(room);
        }
        let (state, shard) = (node.registry.state(), key.anchor());
        if may(node, &state, shard, epoch) == Right::None {
            return None;
        }
        let policy = Node::policy(&state, &key.app)?;
        node.rooms.get_or_start(&name, limits::ROOMS_MAX, || {
            let mut machine = Room::new(epoch, policy);
            machine.set_node(node.id);
            Self {
                node: Arc::clone(node),
                key: key.clone(),
                machine,
                frozen: false,
                proxies: HashMap::new(),
                behind: HashSet::new(),
                timer: Timer::default(),
                lingering: false,
            }
            .start()
        })
    }

    /// Whether it may only relay: its shard moves, or this node has no lease (CLUSTER.md 4). Asked
    /// each time: a process that stood still hears what waits for it before it hears of the end of its lease, or of
    /// its shard's epoch, which wait in line here.
    fn freeze(&mut self, now: Now, state: &State, out: &mut Vec<Output>) {
        let right = may(&self.node, state, self.key.anchor(), self.machine.epoch());
        let frozen = right != Right::Full;
        if frozen != self.frozen {
            self.frozen = frozen;
            self.machine.set_frozen(now, frozen, out);
        }
    }

    fn run(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut Room, &mut Vec<Output>)) {
        self.run_under(&self.node.registry.state(), ctx, step);
    }

    /// Lets the machine do something with the rights that this state gives, and does what it says.
    fn run_under(
        &mut self,
        state: &State,
        ctx: &mut Context<Self>,
        step: impl FnOnce(&mut Room, &mut Vec<Output>),
    ) {
        let mut out = Vec::new();
        self.freeze(clock::now(), state, &mut out);
        step(&mut self.machine, &mut out);
        for output in out {
            match output {
                Output::To(gateway, body) => self.tell(gateway, body, ctx),
                Output::All(body) => {
                    let all: Vec<Gateway> = self.machine.gateways().collect();
                    for gateway in all {
                        self.tell(gateway, body.clone(), ctx);
                    }
                }
                Output::End(session) => router::end(&self.node, session),
                Output::Revoke(revocation) => self.revoke(revocation, ctx),
            }
        }
        self.timer.arm(self.machine.poll_timeout(), ctx, Self::fire);
        if self.machine.is_idle() && !self.lingering {
            self.lingering = true;
            ctx.run_later(LINGER, |actor, ctx| {
                actor.lingering = false;
                if actor.machine.is_idle() {
                    actor.stop(ctx); // a proxy whose frame is lost by this attaches again
                }
            });
        }
    }

    fn stop(&self, ctx: &mut Context<Self>) {
        self.node.rooms.remove(&(self.key.clone(), self.machine.epoch()), &ctx.address());
        ctx.stop();
    }

    fn tell(&mut self, gateway: Gateway, body: ProxyInput, ctx: &mut Context<Self>) {
        let epoch = self.machine.epoch();
        let frame = FromRoom { room: self.key.clone(), shard: self.key.anchor(), epoch, body };
        let behind = if gateway == self.node.gateway() {
            self.tell_here(gateway, frame, ctx)
        } else if gateway.node == self.node.id {
            false // of a former life: nobody is there
        } else {
            // Where there is no link, its proxy attaches again when there is one.
            router::to_proxy(&self.node, gateway, frame)
                .is_err_and(|unsent| matches!(unsent, Unsent::Full(_)))
        };
        if behind && self.behind.insert(gateway) {
            ctx.run_later(limits::CATCH_UP, move |actor, ctx| {
                actor.behind.remove(&gateway);
                actor.input(gateway, RoomInput::Attach { held: None }, ctx);
            });
        }
    }

    /// Tells this node's own proxy. True where its mailbox is full.
    fn tell_here(&mut self, gateway: Gateway, frame: FromRoom, ctx: &mut Context<Self>) -> bool {
        if self.proxies.get(&gateway).is_none_or(|proxy| !proxy.connected()) {
            let Some(proxy) = self.node.proxies.get(&self.key) else {
                if !matches!(frame.body, ProxyInput::Refused { .. }) {
                    ctx.notify(ProxySays(router::detach(&self.node, &frame))); // as another node would say
                }
                return false;
            };
            self.proxies.insert(gateway, proxy);
        }
        // Kept, not cloned: an address knows that its mailbox is full only while it is the same one.
        let Some(proxy) = self.proxies.get(&gateway) else { return false };
        matches!(proxy.try_send(RoomSays(frame)), Err(SendError::Full(_)))
    }

    fn input(&mut self, from: Gateway, input: RoomInput, ctx: &mut Context<Self>) {
        if matches!(input, RoomInput::Attach { .. }) {
            self.proxies.remove(&from); // it may be another proxy than before
        }
        let (now, key, state) = (clock::now(), self.key.clone(), self.node.registry.state());
        if is_over(&state, from.node, from.generation) {
            return; // it would be held here for ever: that it ended has been said, or is about to be
        }
        self.run_under(&state, ctx, |machine, out| {
            let revoked =
                |session: SessionId, who: Option<&Identity>| is_revoked(&state, now, &key, session, who);
            machine.handle(now, from, input, &revoked, out);
        });
    }

    /// Commits a kick or a ban before it is answered (CLUSTER.md 5).
    fn revoke(&self, revocation: Revocation, ctx: &mut Context<Self>) {
        let committing = self.commit(revocation.clone());
        ctx.spawn(committing.into_actor(self).map(move |committed, actor, ctx| {
            actor.run(ctx, |machine, out| machine.handle_revoked(&revocation, committed, out));
        }));
    }

    fn commit(&self, revocation: Revocation) -> impl Future<Output = bool> + use<> {
        let (node, room) = (Arc::clone(&self.node), self.key.clone());
        async move {
            let banned = revocation
                .identity
                .filter(|_| revocation.identity_until > clock::unix())
                .map(|identity| (room, identity));
            let command = Command::Revoke {
                sessions: vec![revocation.session],
                banned,
                until: revocation.session_until,
                banned_until: Some(revocation.identity_until),
            };
            match node
                .proposals
                .propose(command, COMMIT_WITHIN)
                .await
                .map(|applied| applied.outcome.accepted())
            {
                Ok(Ok(_)) => true,
                Ok(Err(refusal)) => {
                    tracing::error!(%refusal, "the registry refuses a kick");
                    false
                }
                Err(error) => {
                    tracing::warn!(%error, "a kick could not be committed");
                    false
                }
            }
        }
    }

    fn fire(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        self.run(ctx, |machine, out| machine.handle_timeout(clock::now(), out));
    }
}

/// What this node may do in a shard under an epoch.
fn may(node: &Node, state: &State, shard: Shard, epoch: Epoch) -> Right {
    if state.shard(shard).is_none_or(|entry| entry.epoch != epoch) {
        return Right::None;
    }
    let me = node.gateway();
    right(state, me.node, me.generation, node.lease.holds(), shard)
}

impl Actor for RoomActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX);
        // In the directory by now: of what changes after this state it is told.
        let (state, shard, epoch) = (self.node.registry.state(), self.key.anchor(), self.machine.epoch());
        if may(&self.node, &state, shard, epoch) == Right::None {
            return self.stop(ctx);
        }
        if self.node.is_settled(shard, epoch) {
            self.machine.set_settled();
        } else {
            self.machine.expect_gateways(clock::now(), Node::gateways(&state));
        }
        self.run_under(&state, ctx, |_, _| ());
    }
}

impl Handler<ProxySays> for RoomActor {
    type Result = ();

    fn handle(&mut self, says: ProxySays, ctx: &mut Self::Context) {
        let frame = says.0;
        if frame.epoch == self.machine.epoch() && frame.shard == self.key.anchor() {
            self.input(frame.gateway, frame.body, ctx);
        } else {
            let epoch = self.machine.epoch();
            self.tell(frame.gateway, ProxyInput::Refused { epoch }, ctx);
        }
    }
}

impl Handler<Change> for RoomActor {
    type Result = ();

    fn handle(&mut self, change: Change, ctx: &mut Self::Context) {
        match change {
            Change::Lease | Change::Moving => self.run(ctx, |_, _| ()),
            Change::Over => self.stop(ctx),
            Change::GatewayLost(gateway) => {
                self.proxies.remove(&gateway);
                self.run(ctx, |machine, out| machine.handle_gateway_lost(clock::now(), gateway, out));
            }
        }
    }
}

impl Handler<ListPeers> for RoomActor {
    type Result = Vec<Entry>;

    fn handle(&mut self, _: ListPeers, _: &mut Self::Context) -> Self::Result {
        self.machine.entries().cloned().collect()
    }
}

impl Handler<Remove> for RoomActor {
    type Result = actix::ResponseActFuture<Self, Kicked>;

    fn handle(&mut self, remove: Remove, _: &mut Self::Context) -> Self::Result {
        let revocation = self.machine.revocation(clock::now(), None, remove.peer, remove.ban);
        let Some(revocation) = revocation else {
            return Box::pin(actix::fut::ready(Kicked::NotThere));
        };
        let committing = self.commit(revocation.clone());
        Box::pin(committing.into_actor(self).map(move |committed, actor, ctx| {
            actor.run(ctx, |machine, out| machine.handle_revoked(&revocation, committed, out));
            if committed { Kicked::Done } else { Kicked::Unavailable }
        }))
    }
}

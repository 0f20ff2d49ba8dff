//! The actor of a room, on its owner.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message};
use actix::{WrapFuture, dev::SendError};
use chappe_admin::Kicked;
use chappe_proto::id::{Identity, PeerId, RoomKey, SessionId};
use chappe_proto::limits;
use chappe_proto::mesh::uplink::Directive;
use chappe_proto::registry::Command;
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::room::{Output, Revocation, Room};
use chappe_proto::signal::route::{Entry, FromRoom, ProxyInput, RoomInput, ToRoom};

use super::edges::Direct;
use super::gateway::is_revoked;
use super::proxy::{ProxyActor, RoomSays};
use super::timer::Timer;
use crate::clock;
use crate::node::Node;

/// A proxy whose mailbox was full is told the whole room again after this.
const CATCH_UP: Duration = Duration::from_millis(100);
/// A kick must be committed within this; else whoever asked is told to try again.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);
/// A room without people and proxies is kept this long.
const LINGER: Duration = Duration::from_secs(2);

/// A frame of a gateway's proxy.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ProxySays(pub ToRoom);

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
    proxies: HashMap<Gateway, Addr<ProxyActor>>,
    behind: HashSet<Gateway>,
    timer: Timer,
    lingering: bool,
}

impl RoomActor {
    /// The room of this name, started on this thread if it is not running. None where the node runs
    /// too many, or the app is unknown.
    pub fn of(node: &Arc<Node>, key: &RoomKey) -> Option<Addr<Self>> {
        if let Some(room) = node.rooms.get(key).filter(Addr::connected) {
            return Some(room);
        }
        let policy = Node::policy(&node.registry.state(), &key.app)?;
        node.rooms.get_or_start(key, limits::ROOMS_MAX, || {
            let (_, epoch) = node.anchor(key);
            let mut machine = Room::new(epoch, policy);
            machine.set_node(node.gateway.node);
            if node.is_settled(epoch) {
                machine.set_settled();
            }
            let (node, key) = (Arc::clone(node), key.clone());
            let (proxies, behind) = (HashMap::new(), HashSet::new());
            Self { node, key, machine, proxies, behind, timer: Timer::default(), lingering: false }.start()
        })
    }

    fn run(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut Room, &mut Vec<Output>)) {
        let mut out = Vec::new();
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
                Output::End(session) => {
                    self.node.edges.try_send(Direct(Directive::End { session })).unwrap_or_else(|_| {
                        tracing::warn!(%session, "too busy to end the session's allocations; they expire");
                    });
                }
                Output::Revoke(revocation) => self.revoke(revocation, ctx),
            }
        }
        self.timer.arm(self.machine.poll_timeout(), ctx, Self::fire);
        if self.machine.is_idle() && !self.lingering {
            self.lingering = true;
            ctx.run_later(LINGER, |actor, ctx| {
                actor.lingering = false;
                if actor.machine.is_idle() {
                    actor.node.rooms.remove(&actor.key, &ctx.address());
                    ctx.stop(); // a proxy whose frame is lost by this attaches again
                }
            });
        }
    }

    fn tell(&mut self, gateway: Gateway, body: ProxyInput, ctx: &mut Context<Self>) {
        if gateway != self.node.gateway {
            return; // a node of another life; its proxies will attach again
        }
        if self.proxies.get(&gateway).is_none_or(|proxy| !proxy.connected()) {
            let Some(proxy) = self.node.proxies.get(&self.key) else {
                return self.input(gateway, RoomInput::Detach, ctx); // as a node without one says
            };
            self.proxies.insert(gateway, proxy);
        }
        // Kept, not cloned: an address knows that its mailbox is full only while it is the same one.
        let Some(proxy) = self.proxies.get(&gateway) else { return };
        let frame =
            FromRoom { room: self.key.clone(), shard: self.key.anchor(), epoch: self.machine.epoch(), body };
        if let Err(SendError::Full(_)) = proxy.try_send(RoomSays(frame))
            && self.behind.insert(gateway)
        {
            ctx.run_later(CATCH_UP, move |actor, ctx| {
                actor.behind.remove(&gateway);
                actor.input(gateway, RoomInput::Attach { held: None }, ctx);
            });
        }
    }

    fn input(&mut self, from: Gateway, input: RoomInput, ctx: &mut Context<Self>) {
        if matches!(input, RoomInput::Attach { .. }) {
            self.proxies.remove(&from); // it may be another proxy than before
        }
        let (now, node, key) = (clock::now(), Arc::clone(&self.node), self.key.clone());
        self.run(ctx, |machine, out| {
            let state = node.registry.state();
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
            let proposed = tokio::time::timeout(COMMIT_WITHIN, node.registry.propose(command)).await;
            match proposed.map(|answer| answer.map(|applied| applied.outcome.accepted())) {
                Ok(Ok(Ok(_))) => true,
                Ok(Ok(Err(refusal))) => {
                    tracing::error!(%refusal, "the registry refuses a kick");
                    false
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a kick could not be committed");
                    false
                }
                Err(_) => {
                    tracing::warn!("a kick was not committed in time");
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

impl Actor for RoomActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX);
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

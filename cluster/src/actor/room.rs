//! The actor of a room, on the owner of the shard that it is in. What is asked of it is in [`asked`], what
//! operators do in it in [`decided`], kicks and bans in [`kick`], where it should be in [`near`], what webhooks are
//! told of it in [`tap`], what an operator sees pass in [`watched`].

mod asked;
mod decided;
mod kick;
mod near;
mod tap;
mod watched;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::dev::SendError;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use chappe_proto::hooks::tap::Tap;
use chappe_proto::id::{Identity, NodeId, RoomKey, SessionId, Shard};
use chappe_proto::limits;
use chappe_proto::registry::State;
use chappe_proto::registry::rights::{Right, is_over, right};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::room::{Output, Room};
use chappe_proto::signal::route::{FromRoom, ProxyInput, RoomInput, ToRoom};
use chappe_proto::signal::site::{Plan, Site, View};

pub use asked::{ListPeers, See, WhereIs, WouldAdmit};
pub use decided::{Decide, Decided};
pub use kick::Remove;
pub use watched::{Signals, Unwatched};

use self::near::Watch;
use super::gateway::is_revoked;
use super::proxy::{ProxyActor, RoomSays};
use super::sites::{Leave, Place};
use super::timer::Timer;
use crate::clock;
use crate::mesh::Unsent;
use crate::node::Node;
use crate::router;

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
    /// The shard of its anchor, where it is not that itself, has another owner.
    Anchor,
    /// Something else is decided of it.
    Rules,
}

/// The owner of the room's anchor speaks to a site elsewhere: where the room is, or asking who knows that.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AnchorSays {
    /// The node that does.
    pub from: NodeId,
    /// What it says.
    pub frame: FromRoom,
    /// Other sites of this room on this node, to be asked next; then its proxy.
    pub others: Vec<Arc<Addr<RoomActor>>>,
}

/// Moves the room to another shard, with all who are in it. False where it is not here, or cannot be moved now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub struct Rehome(pub Shard);

/// The actor.
pub struct RoomActor {
    node: Arc<Node>,
    key: RoomKey,
    place: Place,
    machine: Option<Site>,
    /// Its leave, as the node's other actors know it.
    leave: Option<Leave>,
    /// How many are in it, as the node's lists know it; none where it is elsewhere.
    counted: Option<u32>,
    proxies: HashMap<Gateway, Arc<Addr<ProxyActor>>>,
    behind: HashSet<Gateway>,
    timer: Timer,
    watch: Watch,
    tap: Tap,
    watched: Option<Box<watched::Watched>>,
    lingering: bool,
    /// Kicks and bans whose answers are owed: the actor does not stop before.
    committing: usize,
    /// It runs no room any more.
    over: bool,
}

impl RoomActor {
    /// The room of this name in this place, started on this thread if it is not running. None where this node
    /// does not own the shard at that epoch or runs too many, or the app is unknown.
    pub fn of(node: &Arc<Node>, key: &RoomKey, place: Place) -> Option<Arc<Addr<Self>>> {
        if let Some(room) = node.rooms.get(key, place) {
            return Some(room);
        }
        let state = node.registry.state();
        if may(node, &state, place) == Right::None {
            return None;
        }
        state.app(&key.app)?;
        node.rooms.get_or_start(key, place, limits::ROOMS_MAX, || {
            Self::create(|ctx| {
                // At once: what waited for this room is about to be handed over.
                ctx.set_mailbox_capacity(limits::MAILBOX);
                Self {
                    node: Arc::clone(node),
                    key: key.clone(),
                    place,
                    machine: None,
                    leave: None,
                    counted: None,
                    proxies: HashMap::new(),
                    behind: HashSet::new(),
                    timer: Timer::default(),
                    watch: Watch::new(false),
                    tap: Tap::default(),
                    watched: None,
                    lingering: false,
                    committing: 0,
                    over: false,
                }
            })
        })
    }

    fn run<T>(
        &mut self,
        ctx: &mut Context<Self>,
        step: impl FnOnce(&mut Site, View<'_>, &mut Vec<Output>) -> T,
    ) -> Option<T> {
        self.run_under(&Arc::clone(&self.node.registry.state()), ctx, step)
    }

    /// Lets the machine do something with the rights that this state gives, and does what it says. The rights
    /// are asked for each time: a process that stood still hears what waits for it before it hears of the end of its
    /// lease, or of its shard's epoch, which wait in line here.
    fn run_under<T>(
        &mut self,
        state: &State,
        ctx: &mut Context<Self>,
        step: impl FnOnce(&mut Site, View<'_>, &mut Vec<Output>) -> T,
    ) -> Option<T> {
        let (mut out, now) = (Vec::new(), clock::now());
        let mut machine = self.machine.take()?;
        let done = self.with_view(state, |view| step(&mut machine, view, &mut out));
        let (poll, over, idle) = (machine.poll_timeout(now), machine.is_over(), machine.is_idle());
        let leave = machine.leave();
        let count = |room: &Room| u32::try_from(room.len()).unwrap_or(u32::MAX);
        let counted = machine.room().map(count);
        self.see(now, &machine, &out);
        self.machine = Some(machine);
        let late = leave != self.leave && self.publish(leave, state);
        if counted != self.counted {
            self.counted = counted;
            self.node.rooms.set_counted(&self.key, self.place, counted);
        }
        for output in out {
            match output {
                Output::To(gateway, body) => self.tell(gateway, body, ctx),
                Output::All(body) => {
                    self.tell_hooks(state, &body);
                    let all: Vec<Gateway> = self.machine.iter().flat_map(Site::gateways).collect();
                    for gateway in all {
                        self.tell(gateway, body.clone(), ctx);
                    }
                }
                Output::End(session) => router::end(&self.node, session),
                Output::Revoke(revocation) => self.revoke(revocation, ctx),
                Output::Knocked(knock) => self.tell_hooks_of(state, &knock),
                Output::Anchor(input) => self.ask_anchor(state, input),
            }
        }
        self.forget_if_away();
        let look = self.go_near(state, ctx);
        self.timer.arm(poll.min(look).min(self.watched_until()), ctx, Self::fire);
        if late {
            self.run(ctx, Site::give_back);
        }
        if over {
            self.stop(ctx); // whoever comes meanwhile comes again
        } else if idle && !self.lingering {
            self.lingering = true;
            ctx.run_later(LINGER, |actor, ctx| {
                actor.lingering = false;
                let idle = actor.machine.as_ref().is_some_and(Site::is_idle);
                if idle && actor.committing == 0 && !actor.over {
                    actor.stop(ctx); // a proxy whose frame is lost by this attaches again
                }
            });
        }
        Some(done)
    }

    /// Lets the node's other actors know of the leave: from now on none of them speaks to the anchor's owner without
    /// saying so. True where one may have spoken to a new owner just before, of whom `state` does not know.
    fn publish(&mut self, leave: Option<Leave>, state: &State) -> bool {
        let given = self.leave.is_none();
        self.leave = leave;
        self.node.rooms.set_leave(&self.key, self.place, leave);
        let epoch = |state: &State| state.shard(self.key.anchor()).map(|entry| entry.epoch);
        given && epoch(&self.node.registry.state()) != epoch(state)
    }

    fn with_view<T>(&self, state: &State, step: impl FnOnce(View<'_>) -> T) -> T {
        let now = clock::now();
        let revoked =
            |session: SessionId, who: Option<&Identity>| is_revoked(state, now, &self.key, session, who);
        let epoch = |shard| state.shard(shard).map(|entry| entry.epoch).unwrap_or_default();
        let live = || Node::gateways(state).collect();
        let lost = |within| state.lost_any_within(now.unix, within);
        let full = may(&self.node, state, self.place) == Right::Full;
        let rules = state.rules(&self.key);
        step(View { now, full, epoch: &epoch, live: &live, lost: &lost, revoked: &revoked, rules })
    }

    /// To the owner of the room's anchor; what is lost is said again.
    fn ask_anchor(&self, state: &State, body: RoomInput) {
        let shard = self.key.anchor();
        let Some(entry) = state.shard(shard) else { return };
        let (epoch, gateway) = (entry.epoch, self.node.gateway());
        let frame = ToRoom { room: self.key.clone(), shard, epoch, gateway, body };
        match entry.owner {
            Some(owner) if owner == self.node.id => {
                if let Some(anchor) = Self::of(&self.node, &self.key, (shard, epoch)) {
                    let _ = anchor.try_send(ProxySays(frame));
                }
            }
            Some(owner) => {
                router::to_room(&self.node, owner, frame);
            }
            None => {}
        }
    }

    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.over = true;
        self.node.rooms.remove(&self.key, self.place, &ctx.address());
        if self.committing == 0 {
            ctx.stop();
        }
    }

    /// The place in which gateways listen to it: once it is over, its last answers are of the shard's next epoch.
    fn heard_at(&self) -> Place {
        let (shard, epoch) = self.place;
        let state = self.node.registry.state();
        let current = state.shard(shard).map(|entry| entry.epoch).filter(|_| self.over);
        (shard, current.unwrap_or(epoch))
    }

    fn tell(&mut self, gateway: Gateway, body: ProxyInput, ctx: &mut Context<Self>) {
        let (shard, epoch) = self.heard_at();
        let frame = FromRoom { room: self.key.clone(), shard, epoch, body };
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
                actor.input(gateway, RoomInput::attach(), ctx);
            });
        }
    }

    /// Tells this node's own proxy. True where its mailbox is full.
    fn tell_here(&mut self, gateway: Gateway, frame: FromRoom, ctx: &mut Context<Self>) -> bool {
        let Some(frame) = router::to_site(&self.node, self.node.id, frame) else { return false };
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
        let state = self.node.registry.state();
        if is_over(&state, from.node, from.generation) {
            return; // it would be held here for ever: that it ended has been said, or is about to be
        }
        self.hear(from, &input);
        self.run_under(&state, ctx, |machine, view, out| machine.handle(view, from, input, out));
    }

    fn fire(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        self.run(ctx, Site::handle_timeout);
    }
}

/// What this node may do in a shard under an epoch.
fn may(node: &Node, state: &State, (shard, epoch): Place) -> Right {
    if state.shard(shard).is_none_or(|entry| entry.epoch != epoch) {
        return Right::None;
    }
    let me = node.gateway();
    right(state, me.node, me.generation, node.lease.holds(), shard)
}

impl Actor for RoomActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // In the directory by now: of what changes after this state it is told.
        let (state, place) = (self.node.registry.state(), self.place);
        let Some(policy) =
            Node::policy(&state, &self.key).filter(|_| may(&self.node, &state, place) != Right::None)
        else {
            return self.stop(ctx);
        };
        let (anchor, node) = (self.key.anchor(), self.node.id);
        let settled = self.node.is_settled(place.0, place.1);
        self.watch = Watch::new(settled && place.0 == anchor);
        let plan = Plan { place, anchor, node, policy, settled };
        self.machine = Some(self.with_view(&state, |view| Site::new(view, plan)));
        self.run_under(&state, ctx, |machine, view, out| machine.run(view, out, |_, _| ()));
    }
}

impl Handler<ProxySays> for RoomActor {
    type Result = ();

    fn handle(&mut self, says: ProxySays, ctx: &mut Self::Context) {
        let frame = says.0;
        if !self.over && (frame.shard, frame.epoch) == self.place {
            self.input(frame.gateway, frame.body, ctx);
        } else {
            let (_, epoch) = self.heard_at();
            if let Some((peer, refusal)) = frame.body.unheard() {
                self.tell(frame.gateway, ProxyInput::Error { peer, refusal }, ctx);
            }
            self.tell(frame.gateway, ProxyInput::Refused { epoch }, ctx);
        }
    }
}

impl Handler<Change> for RoomActor {
    type Result = ();

    fn handle(&mut self, change: Change, ctx: &mut Self::Context) {
        match change {
            Change::Lease | Change::Moving | Change::Rules => {
                self.run(ctx, |machine, view, out| machine.run(view, out, |_, _| ()));
            }
            Change::Over => self.stop(ctx),
            Change::Anchor => {
                self.run(ctx, Site::handle_anchor_moved);
            }
            Change::GatewayLost(gateway) => {
                self.proxies.remove(&gateway);
                self.run(ctx, |machine, view, out| machine.handle_gateway_lost(view, gateway, out));
            }
        }
    }
}

impl Handler<Rehome> for RoomActor {
    type Result = bool;

    fn handle(&mut self, Rehome(to): Rehome, ctx: &mut Self::Context) -> Self::Result {
        self.run(ctx, |machine, view, out| machine.move_to(view, to, out)).unwrap_or(false)
    }
}

impl Handler<AnchorSays> for RoomActor {
    type Result = ();

    fn handle(&mut self, AnchorSays { from, frame, others }: AnchorSays, ctx: &mut Self::Context) {
        if let ProxyInput::Home { asked, home, .. } = frame.body {
            self.run(ctx, |machine, view, out| machine.handle_home(view, frame.epoch, (asked, home), out));
        } else if self.run(ctx, Site::handle_asked) != Some(true) {
            router::ask(&self.node, from, frame, others);
        }
    }
}

//! The actor of a proxy: this gateway's one representative of a room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};
use chappe_proto::id::{PeerId, RoomKey};
use chappe_proto::limits;
use chappe_proto::signal::proxy::{Output, Proxy};
use chappe_proto::signal::route::{
    Direct, FromRoom, FromSession, Home, ProxyInput, RoomInput, ToRoom, ToSession,
};

use super::room::{ProxySays, RoomActor};
use super::session::SessionRef;
use super::sites::Place;
use super::timer::Timer;
use crate::clock;
use crate::node::Node;
use crate::router;

/// A proxy without sessions is kept this long: somebody may be about to come back.
const LINGER: Duration = Duration::from_secs(5);
/// Between being taken from the directory and stopping: what was sent meanwhile still arrives.
const FAREWELL: Duration = Duration::from_secs(1);

/// Something from a session of this gateway.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SessionSays {
    /// The session, with an announcement.
    pub session: Option<SessionRef>,
    /// What it says.
    pub input: FromSession,
}

/// Something from the room's owner.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RoomSays(pub FromRoom);

/// Another gateway's proxy speaks, around the room's owner.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ProxySpeaks(pub Direct);

/// The room's shard has moved, or the link to its owner came or went.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Replaced;

/// This node begins another life: its sessions are gone.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Over;

/// The actor.
pub struct ProxyActor {
    node: Arc<Node>,
    room: RoomKey,
    machine: Option<Proxy>,
    sessions: HashMap<PeerId, SessionRef>,
    /// Kept, not looked up for each frame: an address knows that its mailbox is full only while it is
    /// the same one.
    owner: Option<(Place, Arc<Addr<RoomActor>>)>,
    /// Its last attachment, to an epoch that is not applied here yet.
    early: Option<ToRoom>,
    timer: Timer,
    lingering: Option<SpawnHandle>,
    retired: bool,
}

impl ProxyActor {
    /// This gateway's proxy of a room, started on this thread if there is none. None where the node
    /// has too many rooms.
    pub fn of(node: &Arc<Node>, room: &RoomKey) -> Option<Arc<Addr<Self>>> {
        node.proxies.get_or_start(room, limits::ROOMS_MAX, || {
            let (node, room) = (Arc::clone(node), room.clone());
            let (machine, timer, lingering) = (None, Timer::default(), None);
            let (sessions, owner, early) = (HashMap::new(), None, None);
            Self { node, room, machine, sessions, owner, early, timer, lingering, retired: false }.start()
        })
    }

    fn run(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut Proxy, &mut Vec<Output>)) {
        let Some(mut machine) = self.machine.take() else { return };
        let mut out = Vec::new();
        step(&mut machine, &mut out);
        for output in out {
            self.dispatch(output, &machine, ctx);
        }
        self.timer.arm(machine.poll_timeout(), ctx, Self::fire);
        self.machine = Some(machine);
    }

    fn dispatch(&mut self, output: Output, machine: &Proxy, ctx: &mut Context<Self>) {
        match output {
            Output::Room(body @ (RoomInput::Attach { .. } | RoomInput::Detach)) => {
                match router::home(&self.node, &self.room, machine.place().0) {
                    Some(home) => self.go_home(home, matches!(body, RoomInput::Detach), machine, ctx),
                    None => self.send(body, machine),
                }
            }
            Output::Room(body) => self.send(body, machine),
            Output::Asker(place, body) => {
                let frame = self.frame(place, body);
                self.hand_over(frame); // it asks again
            }
            Output::Session(peer, what) => {
                if let Some(session) = self.sessions.get(&peer) {
                    session.tell(what);
                }
            }
            Output::Sessions(what, except) => {
                for (peer, session) in &self.sessions {
                    if Some(*peer) != except {
                        session.tell(what.clone());
                    }
                }
            }
            Output::Direct(gateway, body) => {
                let direct = Direct { room: self.room.clone(), gateway: self.node.gateway(), body };
                router::direct(&self.node, gateway, direct); // what is lost, its sender's session says again
            }
            Output::Idle => {
                self.sessions.clear();
                self.linger(ctx);
            }
        }
    }

    fn frame(&self, (shard, epoch): Place, body: RoomInput) -> ToRoom {
        ToRoom { room: self.room.clone(), shard, epoch, gateway: self.node.gateway(), body }
    }

    /// The room is run on this node, and its anchor's owner is spoken to: that is said instead.
    fn go_home(&mut self, home: Home, over: bool, machine: &Proxy, ctx: &mut Context<Self>) {
        let (shard, epoch) = machine.place();
        self.send(RoomInput::Follows { home }, machine);
        if !over {
            let state = self.node.registry.state();
            let of_home = state.shard(home.shard).map(|entry| entry.epoch).unwrap_or_default();
            let body = ProxyInput::Homed { shard: home.shard, epoch: of_home, since: home.since };
            ctx.notify(RoomSays(FromRoom { room: self.room.clone(), shard, epoch, body }));
        }
    }

    fn send(&mut self, body: RoomInput, machine: &Proxy) {
        let unheard = body.unheard();
        if !self.hand_over(self.frame(machine.place(), body))
            && let Some((peer, refusal)) = unheard
            && let Some(session) = self.sessions.get(&peer)
        {
            session.tell(ToSession::Error(refusal));
        }
    }

    /// Hands a frame to the room's owner. False where there is none, or it is too busy.
    fn hand_over(&mut self, frame: ToRoom) -> bool {
        let state = self.node.registry.state();
        let Some(entry) = state.shard(frame.shard) else { return false };
        if frame.epoch > entry.epoch {
            // Anything else is said again after it.
            if matches!(frame.body, RoomInput::Attach { .. }) {
                self.early = Some(frame);
            }
            return true;
        }
        match entry.owner {
            None => false,
            Some(owner) if owner != self.node.id => router::to_room(&self.node, owner, frame),
            Some(_) => {
                let place = (frame.shard, frame.epoch);
                if self.owner.as_ref().is_none_or(|(of, owner)| *of != place || !owner.connected()) {
                    self.owner = RoomActor::of(&self.node, &self.room, place).map(|owner| (place, owner));
                }
                self.owner.as_ref().is_some_and(|(_, owner)| owner.try_send(ProxySays(frame)).is_ok())
            }
        }
    }

    /// Tells the machine who owns the room by now, and whether that node is reached.
    fn place(&mut self, ctx: &mut Context<Self>) {
        let node = Arc::clone(&self.node);
        self.run(ctx, |machine, out| {
            let (now, (shard, _)) = (clock::now(), machine.place());
            let state = node.registry.state();
            let Some(entry) = state.shard(shard) else { return };
            let local = entry.owner == Some(node.id);
            machine.set_local(local);
            machine.handle_link(now, entry.owner.is_some_and(|owner| node.reaches(owner)), out);
            machine.handle_moved(now, shard, entry.epoch, out);
        });
        if let Some(frame) = self.early.take() {
            self.hand_over(frame);
        }
    }

    fn linger(&mut self, ctx: &mut Context<Self>) {
        if let Some(handle) = self.lingering.take() {
            ctx.cancel_future(handle);
        }
        self.lingering = Some(ctx.run_later(LINGER, |actor, ctx| {
            if !actor.machine.as_ref().is_some_and(Proxy::is_idle) {
                return;
            }
            actor.node.proxies.remove(&actor.room, &ctx.address());
            actor.retired = true;
            ctx.run_later(FAREWELL, |actor, ctx| {
                if actor.retired {
                    // To the owner a successor is the same gateway: it stays attached.
                    if !actor.node.proxies.has(&actor.room) {
                        actor.node.follows(&actor.room, None);
                        actor.run(ctx, |_, out| out.push(Output::Room(RoomInput::Detach)));
                    }
                    ctx.stop();
                }
            });
        }));
    }

    /// A session that found this proxy just before it retired: it takes its name back, or hands the
    /// session on to the one that has it now.
    fn come_back(&mut self, ctx: &mut Context<Self>) -> Option<Arc<Addr<Self>>> {
        let named = self.node.proxies.get_or_start(&self.room, limits::ROOMS_MAX, || ctx.address());
        let other = named.filter(|named| **named != ctx.address());
        self.retired = other.is_some();
        if !self.retired {
            let shard = self.machine.as_ref().map(|machine| machine.place().0);
            self.node.follows(&self.room, shard);
            self.place(ctx); // whatever it was not told of meanwhile
        }
        other
    }

    fn fire(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        self.run(ctx, |machine, out| machine.handle_timeout(clock::now(), out));
    }
}

impl Actor for ProxyActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX);
        let (shard, epoch) = self.node.anchor(&self.room);
        self.node.follows(&self.room, None);
        let mut out = Vec::new();
        self.machine = Some(Proxy::new(clock::now(), self.node.gateway(), shard, epoch, &mut out));
        self.run(ctx, |_, outputs| outputs.append(&mut out));
        self.place(ctx);
    }
}

impl Handler<SessionSays> for ProxyActor {
    type Result = ();

    fn handle(&mut self, says: SessionSays, ctx: &mut Self::Context) {
        if self.retired
            && let Some(other) = self.come_back(ctx)
        {
            let _ = other.try_send(says); // what it misses, the session's machine says again
            return;
        }
        match (&says.input, says.session) {
            (FromSession::Announce { member, .. }, Some(session)) => {
                self.sessions.insert(member.seat.peer, session);
            }
            (FromSession::Leave { peer, .. }, _) => {
                self.sessions.remove(peer);
            }
            _ => {}
        }
        self.run(ctx, |machine, out| machine.handle_session(clock::now(), says.input, out));
    }
}

impl Handler<RoomSays> for ProxyActor {
    type Result = ();

    fn handle(&mut self, says: RoomSays, ctx: &mut Self::Context) {
        let before = self.machine.as_ref().map(|machine| machine.place().0);
        self.run(ctx, |machine, out| machine.handle_room(clock::now(), says.0, out));
        let after = self.machine.as_ref().map(|machine| machine.place().0);
        if before != after && !self.retired {
            self.node.follows(&self.room, after); // from now on it is told of that shard's owners,
            self.place(ctx); // and this is who it is now
        }
        if let Some(machine) = &self.machine
            && self.sessions.len() > machine.sessions()
        {
            self.sessions.retain(|peer, _| machine.attach_of(*peer).is_some());
        }
    }
}

impl Handler<ProxySpeaks> for ProxyActor {
    type Result = ();

    fn handle(&mut self, speaks: ProxySpeaks, ctx: &mut Self::Context) {
        let Direct { gateway, body, .. } = speaks.0;
        self.run(ctx, |machine, out| machine.handle_direct(clock::now(), gateway, body, out));
    }
}

impl Handler<Replaced> for ProxyActor {
    type Result = ();

    fn handle(&mut self, _: Replaced, ctx: &mut Self::Context) {
        self.place(ctx);
    }
}

impl Handler<Over> for ProxyActor {
    type Result = ();

    fn handle(&mut self, _: Over, ctx: &mut Self::Context) {
        self.node.proxies.remove(&self.room, &ctx.address());
        self.node.follows(&self.room, None);
        ctx.stop();
    }
}

//! The actor of a proxy: this gateway's one representative of a room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};
use chappe_proto::id::{PeerId, RoomKey};
use chappe_proto::limits;
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::proxy::{Output, Proxy};
use chappe_proto::signal::route::{FromRoom, FromSession, RoomInput, ToRoom, ToSession};

use super::room::{ProxySays, RoomActor};
use super::session::SessionRef;
use super::timer::Timer;
use crate::clock;
use crate::node::Node;

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

/// The actor.
pub struct ProxyActor {
    node: Arc<Node>,
    room: RoomKey,
    machine: Option<Proxy>,
    sessions: HashMap<PeerId, SessionRef>,
    /// Kept, not looked up for each frame: an address knows that its mailbox is full only while it is
    /// the same one.
    owner: Option<Addr<RoomActor>>,
    timer: Timer,
    lingering: Option<SpawnHandle>,
    retired: bool,
}

impl ProxyActor {
    /// This gateway's proxy of a room, started on this thread if there is none. None where the node
    /// has too many rooms.
    pub fn of(node: &Arc<Node>, room: &RoomKey) -> Option<Addr<Self>> {
        node.proxies.get_or_start(room, limits::ROOMS_MAX, || {
            let (node, room) = (Arc::clone(node), room.clone());
            let (machine, timer, lingering) = (None, Timer::default(), None);
            let (sessions, owner) = (HashMap::new(), None);
            Self { node, room, machine, sessions, owner, timer, lingering, retired: false }.start()
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
            Output::Room(body) => self.send(body, machine),
            Output::Direct(..) => {} // every room's owner is this node
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
            Output::Idle => {
                self.sessions.clear();
                self.linger(ctx);
            }
        }
    }

    fn send(&mut self, body: RoomInput, machine: &Proxy) {
        let asker = match &body {
            RoomInput::Broadcast { from, .. } => Some(*from),
            RoomInput::Kick { by, .. } => Some(*by),
            _ => None, // said again until it is answered, by this proxy or by the sender's session
        };
        let (shard, epoch) = machine.place();
        let frame = ToRoom { room: self.room.clone(), shard, epoch, gateway: self.node.gateway, body };
        if !self.hand_over(frame)
            && let Some(session) = asker.and_then(|peer| self.sessions.get(&peer))
        {
            let refusal = Refusal::new(ErrorCode::Unavailable, "the room cannot be reached right now");
            session.tell(ToSession::Error(refusal.retry_after(limits::BUSY_RETRY)));
        }
    }

    /// Hands a frame to the room's owner. False where there is none, or it is too busy.
    fn hand_over(&mut self, frame: ToRoom) -> bool {
        if !self.node.owns(frame.shard) {
            return false;
        }
        if self.owner.as_ref().is_none_or(|owner| !owner.connected()) {
            self.owner = RoomActor::of(&self.node, &self.room);
        }
        self.owner.as_ref().is_some_and(|owner| owner.try_send(ProxySays(frame)).is_ok())
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
                        actor.run(ctx, |_, out| out.push(Output::Room(RoomInput::Detach)));
                    }
                    ctx.stop();
                }
            });
        }));
    }

    /// A session that found this proxy just before it retired: it takes its name back, or hands the
    /// session on to the one that has it now.
    fn come_back(&mut self, ctx: &Context<Self>) -> Option<Addr<Self>> {
        let named = self.node.proxies.get_or_start(&self.room, limits::ROOMS_MAX, || ctx.address());
        self.retired = named.as_ref().is_some_and(|named| *named != ctx.address());
        named.filter(|_| self.retired)
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
        let mut out = Vec::new();
        let mut machine = Proxy::new(clock::now(), self.node.gateway, shard, epoch, &mut out);
        machine.set_local(true);
        self.machine = Some(machine);
        self.run(ctx, |_, outputs| outputs.append(&mut out));
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
        self.run(ctx, |machine, out| machine.handle_room(clock::now(), says.0, out));
        if let Some(machine) = &self.machine
            && self.sessions.len() > machine.sessions()
        {
            self.sessions.retain(|peer, _| machine.attach_of(*peer).is_some());
        }
    }
}

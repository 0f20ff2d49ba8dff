//! The actor of a signaling session. It outlives its socket.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::dev::SendError;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use bytestring::ByteString;
use chappe_proto::id::{PeerId, RoomKey, RoomName, SessionId};
use chappe_proto::inspect::SessionDetails;
use chappe_proto::inspect::session::shown_address;
use chappe_proto::limits;
use chappe_proto::mesh::uplink::Traffic;
use chappe_proto::select::Place;
use chappe_proto::select::standing::News;
use chappe_proto::signal::code::CloseCode;
use chappe_proto::signal::frame::{GoneReason, ServerFrame};
use chappe_proto::signal::resume::Presented;
use chappe_proto::signal::route::{FromSession, ToSession};
use chappe_proto::signal::session::{Output, Session, Start};

use super::edges::IceReport;
use super::proxy::{ProxyActor, SessionSays};
use super::socket::Socket;
use super::timer::Timer;
use crate::clock;
use crate::node::Node;

/// What could not be handed to a proxy whose mailbox was full is offered again after this.
const RETRY: Duration = Duration::from_millis(20);

/// Something from the session's socket.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromSocket {
    /// Which socket.
    pub number: u64,
    /// What.
    pub word: Word,
}

/// What a socket says.
#[derive(Debug)]
pub enum Word {
    /// A text frame.
    Text(ByteString),
    /// It is gone.
    Lost,
}

/// Another socket brings a resume token of this session.
#[derive(Message)]
#[rtype(result = "Result<(), GoneReason>")]
pub struct Resume {
    /// Which token it is.
    pub presented: Presented,
    /// The last signal that the client took of each sender.
    pub marks: BTreeMap<PeerId, u64>,
    /// Where the client is now.
    pub place: Place,
    /// The socket.
    pub socket: Socket,
}

/// Something from the session's proxy.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromProxy(pub ToSession);

/// The edges changed.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct EdgesChanged(pub News);

/// The node stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown;

/// The client is to resume on another node; its socket stays until it has.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Moving {
    /// URLs of nodes that would take it.
    pub to: Arc<[String]>,
    /// How long it may take.
    pub within: Duration,
}

/// The node keeps its clients after all.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Staying;

/// How is the session? None where it has not begun, or has ended.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Box<SessionDetails>>")]
pub struct Details {
    /// Whether its address is told whole.
    pub plain: bool,
}

/// An operator sends the client to another room of its app. False where it cannot be told now.
#[derive(Debug, Clone, Message)]
#[rtype(result = "bool")]
pub struct Move(pub RoomName);

/// This node begins another life: the session ends here, and its client resumes.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Over;

/// A proxy's hold on a session: its mailbox, and a flag for when that was full.
#[derive(Debug, Clone)]
pub struct SessionRef {
    /// The actor.
    pub addr: Addr<SessionActor>,
    missed: Arc<AtomicBool>,
}

impl SessionRef {
    /// Hands something over. What a full mailbox misses, the session learns of: it then lets its
    /// socket go, and the resume brings the whole roster.
    pub fn tell(&self, what: ToSession) {
        if let Err(SendError::Full(_)) = self.addr.try_send(FromProxy(what)) {
            self.missed.store(true, Ordering::Relaxed);
        }
    }
}

/// What became of a session that was to begin.
pub enum Begun {
    /// It has the socket.
    Here(Arc<Addr<SessionActor>>),
    /// Another socket began it a moment ago: ask it.
    Already {
        /// The session.
        session: Arc<Addr<SessionActor>>,
        /// The attachment of the token that was brought.
        presented: Presented,
        /// The last signal that the client took of each sender.
        marks: BTreeMap<PeerId, u64>,
        /// Where the client is.
        place: Place,
        /// The socket.
        socket: Socket,
    },
    /// The node has too many.
    Full,
}

/// The actor.
pub struct SessionActor {
    node: Arc<Node>,
    id: SessionId,
    room: RoomKey,
    start: Option<Start>,
    machine: Option<Session>,
    socket: Option<Socket>,
    proxy: Option<Arc<Addr<ProxyActor>>>,
    backlog: VecDeque<FromSession>,
    retrying: bool,
    missed: Arc<AtomicBool>,
    timer: Timer,
    /// What its client was told.
    told: Traffic,
}

impl SessionActor {
    /// Starts a session with its first socket, on this thread.
    pub fn begin(node: &Arc<Node>, start: Start, socket: Socket) -> Begun {
        let (id, room) = (start.member.seat.session, start.room.clone());
        let mut parts = Some((start, socket));
        let session = node.sessions.get_or_start(&id, node.room.sessions, || {
            let (start, socket) = parts.take().unzip();
            Self {
                node: Arc::clone(node),
                id,
                room,
                start,
                machine: None,
                socket,
                proxy: None,
                backlog: VecDeque::new(),
                retrying: false,
                missed: Arc::default(),
                timer: Timer::default(),
                told: Traffic::default(),
            }
            .start()
        });
        match (session, parts) {
            (Some(session), None) => Begun::Here(session),
            (Some(session), Some((start, socket))) => {
                let (presented, marks) =
                    start.rebuilt.map(|back| (back.presented, back.marks)).unwrap_or_default();
                Begun::Already { session, presented, marks, place: start.place, socket }
            }
            (None, _) => Begun::Full,
        }
    }

    /// Lets the machine do something, and does what it says.
    fn run(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut Session, &Node, &mut Vec<Output>)) {
        let Some(mut machine) = self.machine.take() else { return };
        let mut out = Vec::new();
        if self.missed.swap(false, Ordering::Relaxed) {
            machine.handle_overflow(clock::now(), &mut out);
        }
        let before = machine.counts();
        step(&mut machine, &self.node, &mut out);
        self.node.counts.add(machine.counts().minus(before));
        // Carrying one out may bring others: a full socket makes the machine let go of it.
        while !out.is_empty() {
            for output in std::mem::take(&mut out) {
                self.dispatch(output, &mut machine, &mut out, ctx);
            }
        }
        self.timer.arm(machine.poll_timeout(), ctx, Self::fire);
        self.machine = Some(machine);
    }

    fn dispatch(
        &mut self,
        output: Output,
        machine: &mut Session,
        out: &mut Vec<Output>,
        ctx: &mut Context<Self>,
    ) {
        match output {
            Output::Text(text) => {
                self.told = self.told.plus(Traffic { packets: 1, bytes: text.len() as u64 });
                let full = self.socket.take_if(|socket| socket.send(text).is_err());
                if let Some(full) = full {
                    full.close(CloseCode::Slow);
                    machine.handle_overflow(clock::now(), out);
                }
            }
            Output::Close(code) => {
                if let Some(socket) = self.socket.take() {
                    socket.close(code);
                }
            }
            Output::IceReport { edge, failure } => {
                if let Some(ip) = self.socket.as_ref().map(Socket::ip) {
                    // One of many that are said: it may be missed.
                    let _ = self.node.edges.try_send(IceReport { edge, ip, failure });
                }
            }
            Output::Proxy(input) => {
                self.backlog.push_back(input);
                self.flush(ctx);
            }
            Output::Over => {
                self.node.sessions.remove(&self.id, &ctx.address());
                if let Some(socket) = self.socket.take() {
                    socket.release();
                }
                if self.backlog.is_empty() {
                    ctx.stop();
                }
            }
        }
    }

    /// Hands the backlog to the proxy, in order.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        if self.proxy.as_ref().is_none_or(|proxy| !proxy.connected()) {
            self.proxy = ProxyActor::of(&self.node, &self.room);
        }
        while let Some(input) = self.backlog.pop_front() {
            let session = matches!(input, FromSession::Announce { .. })
                .then(|| SessionRef { addr: ctx.address(), missed: Arc::clone(&self.missed) });
            let says = SessionSays { session, input };
            // Kept, not cloned: an address knows that its mailbox is full only while it is the same one.
            let unsent = match &self.proxy {
                Some(proxy) => match proxy.try_send(says) {
                    Err(SendError::Full(unsent) | SendError::Closed(unsent)) => unsent,
                    Ok(()) => continue,
                },
                None => says,
            };
            self.backlog.push_front(unsent.input);
            // What is directed is held by the machine and sent again: it need not wait here.
            self.backlog.truncate(limits::MAILBOX);
            self.retry(ctx);
            return;
        }
    }

    fn retry(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.retrying, true) {
            return;
        }
        ctx.run_later(RETRY, |actor, ctx| {
            actor.retrying = false;
            actor.flush(ctx);
            if actor.backlog.is_empty() && actor.machine.as_ref().is_some_and(Session::is_over) {
                ctx.stop();
            }
        });
    }

    fn fire(&mut self, ctx: &mut Context<Self>) {
        self.timer.fired();
        self.run(ctx, |machine, node, out| {
            let now = clock::now();
            if machine.poll_timeout() <= now.mono {
                machine.handle_timeout(now, &node.world(), out);
            }
        });
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(limits::MAILBOX);
        let Some(start) = self.start.take() else { return };
        self.node.usage.begins(self.id, self.room.clone());
        self.node.counts.joined();
        let (mut out, place) = (Vec::new(), start.place.clone());
        let machine = self.machine.insert(Session::new(clock::now(), start, &mut out));
        self.socket.iter().for_each(|socket| machine.handle_source(socket.ip(), place.clone()));
        self.run(ctx, |_, _, outputs| outputs.append(&mut out));
    }
}

impl Handler<FromSocket> for SessionActor {
    type Result = ();

    fn handle(&mut self, from: FromSocket, ctx: &mut Self::Context) {
        if self.socket.as_ref().is_none_or(|socket| socket.number() != from.number) {
            return; // a former socket's
        }
        match from.word {
            Word::Text(text) => self.run(ctx, |machine, node, out| {
                machine.handle_text(clock::now(), &node.world(), &text, out);
            }),
            Word::Lost => {
                self.socket = None;
                self.run(ctx, |machine, _, out| machine.handle_socket_lost(clock::now(), out));
            }
        }
    }
}

impl Handler<Resume> for SessionActor {
    type Result = Result<(), GoneReason>;

    fn handle(&mut self, resume: Resume, ctx: &mut Self::Context) -> Self::Result {
        let Some(machine) = &mut self.machine else { return Err(GoneReason::Unknown) };
        let mut announced = Vec::new();
        machine.handle_resume(clock::now(), resume.presented, resume.marks, &mut announced)?;
        machine.handle_source(resume.socket.ip(), resume.place);
        if let Some(former) = self.socket.replace(resume.socket) {
            let _ = former.send(ServerFrame::closed(CloseCode::Replaced).text()); // it may not read
            former.close(CloseCode::Replaced);
        }
        self.run(ctx, |_, _, out| out.append(&mut announced));
        Ok(())
    }
}

impl Handler<FromProxy> for SessionActor {
    type Result = ();

    fn handle(&mut self, from: FromProxy, ctx: &mut Self::Context) {
        self.run(ctx, |machine, node, out| {
            machine.handle_proxy(clock::now(), &node.world(), from.0, out);
        });
    }
}

impl Handler<EdgesChanged> for SessionActor {
    type Result = ();

    fn handle(&mut self, changed: EdgesChanged, ctx: &mut Self::Context) {
        self.run(ctx, |machine, node, out| {
            let (now, world) = (clock::now(), node.world());
            match &changed.0 {
                News::Up(_) => machine.handle_edge_up(now),
                News::Lost(edge) => machine.handle_edge_lost(now, &world, edge, out),
                News::Draining(edge, within) => machine.handle_draining(now, edge, *within),
            }
        });
    }
}

impl Handler<Shutdown> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.run(ctx, |machine, _, out| machine.handle_shutdown(clock::now(), out));
    }
}

impl Handler<Moving> for SessionActor {
    type Result = ();

    fn handle(&mut self, moving: Moving, ctx: &mut Self::Context) {
        self.run(ctx, |machine, _, out| machine.handle_moving(clock::now(), &moving.to, moving.within, out));
    }
}

impl Handler<Staying> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Staying, ctx: &mut Self::Context) {
        self.run(ctx, |machine, _, _| machine.handle_staying());
    }
}

impl Handler<Over> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Over, ctx: &mut Self::Context) {
        self.run(ctx, |machine, _, out| machine.handle_shutdown(clock::now(), out));
        self.node.sessions.remove(&self.id, &ctx.address());
        ctx.stop(); // its proxy ends too: nobody is told that it left
    }
}

impl Handler<Move> for SessionActor {
    type Result = bool;

    fn handle(&mut self, Move(to): Move, ctx: &mut Self::Context) -> Self::Result {
        let mut told = false;
        self.run(ctx, |machine, node, out| {
            told = machine.handle_move(clock::now(), &node.world(), to, out);
        });
        told
    }
}

impl Handler<Details> for SessionActor {
    type Result = Option<Box<SessionDetails>>;

    fn handle(&mut self, asked: Details, _: &mut Self::Context) -> Self::Result {
        let machine = self.machine.as_ref()?;
        let socket = self.socket.as_ref();
        Some(Box::new(SessionDetails {
            address: socket.map(|socket| shown_address(socket.ip(), asked.plain)),
            agent: socket.and_then(Socket::agent).map(str::to_owned),
            told: self.told,
            ..machine.details(clock::now(), self.node.id)
        }))
    }
}

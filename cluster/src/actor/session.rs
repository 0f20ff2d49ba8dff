//! The actor of a signaling session. It outlives its socket.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::dev::SendError;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use bytestring::ByteString;
use chappe_proto::id::{Attach, EdgeId, PeerId, RoomKey, SessionId};
use chappe_proto::limits;
use chappe_proto::signal::code::CloseCode;
use chappe_proto::signal::frame::{GoneReason, ServerFrame};
use chappe_proto::signal::route::{FromSession, ToSession};
use chappe_proto::signal::session::{Output, Session, Start};

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
    /// The attachment that the socket belongs to.
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
#[rtype(result = "Result<u64, GoneReason>")]
pub struct Resume {
    /// The attachment that the token was issued with.
    pub presented: Attach,
    /// The last signal that the client took of each sender.
    pub marks: BTreeMap<PeerId, u64>,
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
pub struct EdgesChanged {
    /// One that is lost.
    pub lost: Option<EdgeId>,
}

/// The node stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown;

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

/// The actor.
pub struct SessionActor {
    node: Arc<Node>,
    id: SessionId,
    room: RoomKey,
    start: Option<Start>,
    machine: Option<Session>,
    socket: Option<(u64, Socket)>,
    proxy: Option<Addr<ProxyActor>>,
    backlog: VecDeque<FromSession>,
    missed: Arc<AtomicBool>,
    timer: Timer,
}

impl SessionActor {
    /// Starts a session with its first socket, on this thread. None where the node has too many.
    pub fn begin(node: &Arc<Node>, start: Start, socket: Socket) -> Option<Addr<Self>> {
        let id = start.member.seat.session;
        let number = start.member.attach.0;
        node.sessions.get_or_start(&id, limits::SESSIONS_MAX, || {
            Self {
                node: Arc::clone(node),
                id,
                room: start.room.clone(),
                start: Some(start),
                machine: None,
                socket: Some((number, socket)),
                proxy: None,
                backlog: VecDeque::new(),
                missed: Arc::default(),
                timer: Timer::default(),
            }
            .start()
        })
    }

    /// Lets the machine do something, and does what it says.
    fn run(&mut self, ctx: &mut Context<Self>, step: impl FnOnce(&mut Session, &Node, &mut Vec<Output>)) {
        let Some(mut machine) = self.machine.take() else { return };
        let mut out = Vec::new();
        if self.missed.swap(false, Ordering::Relaxed) {
            machine.handle_overflow(clock::now(), &mut out);
        }
        step(&mut machine, &self.node, &mut out);
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
                let Some((_, socket)) = &self.socket else { return };
                if socket.send(text).is_err() {
                    let (_, socket) = match self.socket.take() {
                        Some(full) => full,
                        None => return,
                    };
                    socket.close(CloseCode::Slow);
                    machine.handle_overflow(clock::now(), out);
                }
            }
            Output::Close(code) => {
                if let Some((_, socket)) = self.socket.take() {
                    socket.close(code);
                }
            }
            Output::Proxy(input) => {
                self.backlog.push_back(input);
                self.flush(ctx);
            }
            Output::Over => {
                self.node.sessions.remove(&self.id, &ctx.address());
                if self.backlog.is_empty() {
                    ctx.stop();
                }
            }
        }
    }

    /// Hands the backlog to the proxy, in order.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        while let Some(input) = self.backlog.pop_front() {
            let session = matches!(input, FromSession::Announce { .. })
                .then(|| SessionRef { addr: ctx.address(), missed: Arc::clone(&self.missed) });
            let proxy = match &self.proxy {
                Some(proxy) if proxy.connected() => proxy.clone(),
                _ => {
                    let Some(proxy) = ProxyActor::of(&self.node, &self.room) else { return };
                    self.proxy = Some(proxy.clone());
                    proxy
                }
            };
            if let Err(SendError::Full(said)) = proxy.try_send(SessionSays { session, input }) {
                self.backlog.push_front(said.input);
                // What is directed is held by the machine and sent again: it need not wait here.
                while self.backlog.len() > limits::MAILBOX {
                    self.backlog.pop_back();
                }
                ctx.run_later(RETRY, |actor, ctx| {
                    actor.flush(ctx);
                    if actor.backlog.is_empty() && actor.machine.as_ref().is_some_and(Session::is_over) {
                        ctx.stop();
                    }
                });
                return;
            }
        }
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
        let mut out = Vec::new();
        self.machine = Some(Session::new(clock::now(), start, &mut out));
        self.run(ctx, |_, _, outputs| outputs.append(&mut out));
    }
}

impl Handler<FromSocket> for SessionActor {
    type Result = ();

    fn handle(&mut self, from: FromSocket, ctx: &mut Self::Context) {
        if self.socket.as_ref().is_none_or(|(number, _)| *number != from.number) {
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
    type Result = Result<u64, GoneReason>;

    fn handle(&mut self, resume: Resume, ctx: &mut Self::Context) -> Self::Result {
        let mut answer = Err(GoneReason::Unknown);
        let mut announced = Vec::new();
        if let Some(machine) = &mut self.machine {
            answer = machine.handle_resume(clock::now(), resume.presented, resume.marks, &mut announced);
        }
        answer?;
        if let Some((_, former)) = self.socket.take() {
            let _ = former.send(ServerFrame::closed(CloseCode::Replaced).text());
            former.close(CloseCode::Replaced);
        }
        let number = self.machine.as_ref().map_or(0, |machine| machine.member().attach.0);
        self.socket = Some((number, resume.socket));
        self.run(ctx, |_, _, out| out.append(&mut announced));
        Ok(number)
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
            machine.handle_edges(clock::now(), &node.world(), changed.lost.as_ref(), out);
        });
    }
}

impl Handler<Shutdown> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.run(ctx, |machine, _, out| machine.handle_shutdown(clock::now(), out));
    }
}

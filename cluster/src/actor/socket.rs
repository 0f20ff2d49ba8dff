//! The WebSocket of a session: a pump between the wire and the session's actor, and the only file
//! that knows `actix-web-actors`.
//!
//! A client that stops reading freezes this actor, its timers included: the HTTP dispatcher asks for
//! no more while its buffer is full. So nothing is decided here. What is enqueued and not yet taken
//! is counted by [`Socket`], whose holder closes what does not read and shuts the TCP connection
//! down from outside.

use std::net::{IpAddr, Shutdown};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use actix::dev::SendError;
use actix::{Actor, ActorContext, Addr, AsyncContext, Handler, Message, StreamHandler, WrapFuture};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{self, CloseReason, ProtocolError, WebsocketContext};
use bytestring::ByteString;
use chappe_proto::limits;
use chappe_proto::signal::code::{CloseCode, ErrorCode, Refusal};
use chappe_proto::signal::frame::ServerFrame;

use super::gateway::{self, Greeting, Source};
use super::session::{FromSocket, SessionActor, Word};
use crate::node::Node;

/// The codec's own limit: beyond it a frame cannot be skipped, and the connection ends. Below it and
/// over [`limits::CLIENT_FRAME_MAX`] the frame is refused and the session goes on.
const CODEC_FRAME_MAX: usize = 2 * limits::CLIENT_FRAME_MAX;
/// A socket that was told to close and has not gone by then is shut down from outside.
const CLOSE_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

/// A duplicate of a connection's TCP socket, by which it can be shut down whatever its actor does.
#[derive(Debug)]
pub struct Cutter(socket2::Socket);

impl Cutter {
    /// Of a connection.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new(stream: &actix_web::rt::net::TcpStream) -> std::io::Result<Self> {
        Ok(Self(socket2::SockRef::from(stream).try_clone()?))
    }

    fn cut(&self) {
        let _ = self.0.shutdown(Shutdown::Both); // already gone is as good
    }
}

#[derive(Debug, Default)]
struct Queue {
    frames: AtomicUsize,
    bytes: AtomicUsize,
}

/// A session's hold on its present socket.
#[derive(Debug)]
pub struct Socket {
    number: u64,
    ip: IpAddr,
    agent: Option<Arc<str>>,
    pump: Addr<Pump>,
    queue: Arc<Queue>,
    cutter: Weak<Cutter>,
}

/// More waits for the socket than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl Socket {
    /// Tells it from every other socket of this process.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The client's address.
    pub const fn ip(&self) -> IpAddr {
        self.ip
    }

    /// What the client calls itself.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// Enqueues a text.
    ///
    /// # Errors
    /// [`Overflow`]: the client does not read.
    pub fn send(&self, text: ByteString) -> Result<(), Overflow> {
        let len = text.len();
        let (frames, bytes) =
            (self.queue.frames.load(Ordering::Relaxed), self.queue.bytes.load(Ordering::Relaxed));
        // One frame always fits: the welcome of a very large room is longer than the limit.
        if frames > 0 && (bytes + len > limits::SOCKET_QUEUE_BYTES || frames >= limits::SOCKET_QUEUE_FRAMES) {
            return Err(Overflow);
        }
        self.queue.bytes.fetch_add(len, Ordering::Relaxed);
        self.queue.frames.fetch_add(1, Ordering::Relaxed);
        self.pump.try_send(Outgoing::Text(text)).map_err(|_| Overflow)
    }

    /// The session has ended and the client was told `gone`: the socket may bring a fresh join.
    pub fn release(self) {
        if self.pump.try_send(Outgoing::Release).is_err() {
            self.cutter.upgrade().inspect(|cutter| cutter.cut());
        }
    }

    /// Asks the pump to close, and sees to it that the connection ends.
    pub fn close(self, code: CloseCode) {
        let asked = self.pump.try_send(Outgoing::Close(code));
        let cutter = self.cutter;
        if asked.is_err() {
            cutter.upgrade().inspect(|cutter| cutter.cut());
            return;
        }
        actix_rt::spawn(async move {
            actix_rt::time::sleep(CLOSE_WITHIN).await;
            cutter.upgrade().inspect(|cutter| cutter.cut());
        });
    }
}

/// What a session hands to its socket.
#[derive(Debug, Message)]
#[rtype(result = "()")]
enum Outgoing {
    Text(ByteString),
    Close(CloseCode),
    Release,
}

enum Phase {
    /// The first frame has not come; or a `gone` or a refusal was answered, and another may come.
    Greeting,
    /// A session has this socket, or was asked to take it.
    Attached(Arc<Addr<SessionActor>>),
    /// Nothing more is read.
    Closing,
}

/// The actor of one WebSocket connection.
pub struct Pump {
    node: Arc<Node>,
    number: u64,
    source: Source,
    queue: Arc<Queue>,
    cutter: Option<Arc<Cutter>>,
    phase: Phase,
    /// Counts the times that it waited for a join.
    greetings: u64,
    refusals: u32,
    /// Whether the last one may pass by itself: the client keeps its resume token, and comes back.
    put_off: bool,
    partial: Vec<u8>,
}

/// Refused joins on one socket before it is closed.
const REFUSALS_MAX: u32 = 8;

/// Answers the upgrade to `/v1/signal`.
///
/// # Errors
/// When the request is no WebSocket handshake (RFC 6455 section 4.2.1). A node that has all the sockets it may answers 503.
pub fn upgrade(
    node: &Arc<Node>,
    source: Source,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    if node.sockets.load(Ordering::Relaxed) >= node.room.sockets {
        let full = HttpResponse::ServiceUnavailable().insert_header((header::RETRY_AFTER, "5")).finish();
        return Ok(full);
    }
    let pump = Pump {
        node: Arc::clone(node),
        number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        source,
        queue: Arc::default(),
        cutter: request.conn_data::<Arc<Cutter>>().cloned(),
        phase: Phase::Greeting,
        greetings: 0,
        refusals: 0,
        put_off: false,
        partial: Vec::new(),
    };
    ws::WsResponseBuilder::new(pump, request, body).frame_size(CODEC_FRAME_MAX).start()
}

impl Actor for Pump {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.node.sockets.fetch_add(1, Ordering::Relaxed);
        // One more for the close that must always fit.
        ctx.set_mailbox_capacity(limits::SOCKET_QUEUE_FRAMES + 8);
        self.await_join(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.node.sockets.fetch_sub(1, Ordering::Relaxed);
        if let Phase::Attached(session) = &self.phase {
            // A full mailbox misses this; the session's own silence timer then ends the socket.
            let _ = session.try_send(FromSocket { number: self.number, word: Word::Lost });
        }
    }
}

impl Pump {
    /// Waits for a join, for so long.
    fn await_join(&mut self, ctx: &mut WebsocketContext<Self>) {
        self.phase = Phase::Greeting;
        self.greetings += 1;
        self.put_off = false;
        let greeting = self.greetings;
        ctx.run_later(limits::JOIN_WITHIN, move |pump, ctx| {
            if matches!(pump.phase, Phase::Greeting) && pump.greetings == greeting {
                pump.give_up(CloseCode::JoinTimeout, ctx);
            }
        });
    }

    fn tell(&self, frame: &ServerFrame<'_>, ctx: &mut WebsocketContext<Self>) {
        ctx.text(frame.text());
    }

    /// Nobody has joined on this socket. A refusal that passes must not end the session of one who resumes.
    fn give_up(&mut self, code: CloseCode, ctx: &mut WebsocketContext<Self>) {
        self.close(if self.put_off { CloseCode::Unavailable } else { code }, ctx);
    }

    fn close(&mut self, code: CloseCode, ctx: &mut WebsocketContext<Self>) {
        self.tell(&ServerFrame::closed(code), ctx);
        self.shut(code, ctx);
    }

    fn shut(&mut self, code: CloseCode, ctx: &mut WebsocketContext<Self>) {
        self.phase = Phase::Closing;
        let description = Some(code.message().to_owned());
        ctx.close(Some(CloseReason { code: ws::CloseCode::from(code.websocket()), description }));
        ctx.stop();
    }

    fn text(&mut self, text: &ByteString, ctx: &mut WebsocketContext<Self>) {
        match &self.phase {
            Phase::Greeting => self.greet(text, ctx),
            Phase::Attached(session) => {
                let said = FromSocket { number: self.number, word: Word::Text(text.clone()) };
                match session.try_send(said) {
                    Ok(()) => {}
                    // Read no more until the session has caught up.
                    Err(SendError::Full(said)) => {
                        let sent = session.send(said);
                        ctx.wait(
                            async move {
                                let _ = sent.await; // a session that ended meanwhile: the next frame is told
                            }
                            .into_actor(self),
                        );
                    }
                    // It has ended, and the client was told: this may be its fresh join.
                    Err(SendError::Closed(_)) => {
                        self.await_join(ctx);
                        self.greet(text, ctx);
                    }
                }
            }
            Phase::Closing => {}
        }
    }

    fn greet(&mut self, text: &str, ctx: &mut WebsocketContext<Self>) {
        let socket = Socket {
            number: self.number,
            ip: self.source.ip,
            agent: self.source.agent.clone(),
            pump: ctx.address(),
            queue: Arc::clone(&self.queue),
            cutter: self.cutter.as_ref().map(Arc::downgrade).unwrap_or_default(),
        };
        match gateway::greet(&self.node, &self.source, text, socket) {
            Greeting::Attached(session) => self.phase = Phase::Attached(session),
            Greeting::Resuming(session, answer) => {
                self.phase = Phase::Attached(session); // whom to tell if this socket is lost meanwhile
                let answered = actix::fut::wrap_future::<_, Self>(answer);
                ctx.wait(actix::ActorFutureExt::map(answered, |answer, pump, ctx| {
                    if let Err(reason) = answer {
                        pump.await_join(ctx);
                        pump.tell(&ServerFrame::Gone { reason }, ctx);
                    }
                }));
            }
            Greeting::Gone(reason) => self.tell(&ServerFrame::Gone { reason }, ctx),
            Greeting::Answered(frame) => ctx.text(frame),
            Greeting::Refused(refusal) => {
                self.node.counts.refused(refusal.code);
                self.tell(&ServerFrame::Error(&refusal), ctx);
                self.refusals += 1;
                self.put_off = refusal.code.passes();
                if self.refusals >= REFUSALS_MAX {
                    self.give_up(CloseCode::Refused, ctx);
                }
            }
        }
    }

    fn violation(&mut self, ctx: &mut WebsocketContext<Self>) {
        self.close(CloseCode::Protocol, ctx);
    }

    /// A message in pieces (RFC 6455 section 5.4), put together up to the limit of a frame.
    fn piece(&mut self, item: actix_http::ws::Item, ctx: &mut WebsocketContext<Self>) {
        use actix_http::ws::Item;
        let (bytes, last) = match item {
            Item::FirstText(bytes) | Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
            Item::FirstBinary(_) => return self.violation(ctx),
        };
        if self.partial.len() + bytes.len() > CODEC_FRAME_MAX {
            return self.violation(ctx);
        }
        self.partial.extend_from_slice(&bytes);
        if last {
            match String::from_utf8(std::mem::take(&mut self.partial)) {
                Ok(text) => self.text(&text.into(), ctx),
                Err(_) => self.violation(ctx),
            }
        }
    }
}

impl StreamHandler<Result<ws::Message, ProtocolError>> for Pump {
    fn handle(&mut self, message: Result<ws::Message, ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Text(text)) => self.text(&text, ctx),
            Ok(ws::Message::Ping(data)) => ctx.pong(&data),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Continuation(item)) => self.piece(item, ctx),
            Ok(ws::Message::Close(reason)) => {
                ctx.close(reason); // RFC 6455 section 5.5.1: answered in kind
                ctx.stop();
            }
            Ok(ws::Message::Binary(_)) => self.violation(ctx),
            Err(ProtocolError::Overflow) => {
                let message = format!("frame: over {CODEC_FRAME_MAX} bytes; the connection cannot go on");
                self.tell(&ServerFrame::Error(&Refusal::new(ErrorCode::TooLarge, message)), ctx);
                self.violation(ctx);
            }
            Err(ProtocolError::Io(_)) => ctx.stop(),
            Err(_) => self.violation(ctx),
        }
    }
}

impl Handler<Outgoing> for Pump {
    type Result = ();

    fn handle(&mut self, message: Outgoing, ctx: &mut Self::Context) {
        match message {
            Outgoing::Text(text) => {
                self.queue.bytes.fetch_sub(text.len(), Ordering::Relaxed);
                self.queue.frames.fetch_sub(1, Ordering::Relaxed);
                ctx.text(text);
            }
            Outgoing::Close(code) => self.shut(code, ctx),
            Outgoing::Release => self.await_join(ctx),
        }
    }
}

//! The session machine: one peer's connection, which outlives its socket. It speaks PROTOCOL.md to
//! its client and [`super::route`] to its proxy.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::bucket::Bucket;
use super::code::{CloseCode, ErrorCode, LeaveReason, Refusal};
use super::frame::{
    ClientFrame, GoneReason, IceReason, LimitsView, PeerView, ServerFrame, UndeliveredReason, Welcome,
};
use super::json::Json;
use super::member::{Member, Policy};
use super::outbox::{Arrival, Inbox, Offer, Outbox};
use super::resume::{ResumeToken, SealingKeys};
use super::route::{Ack, ChangeNews, Content, FromSession, RoomChange, Signal, ToSession};
use crate::id::{Attach, Change, EdgeId, Epoch, PeerId, Region, RoomKey};
use crate::limits;
use crate::mesh::uplink::Secret;
use crate::select::ice::IceOffer;
use crate::select::{EdgeStatus, rank};
use crate::time::{Mono, Now};

/// Receivers that are remembered as gone, so that a late signal is told so at once.
const GONE_REMEMBERED: usize = 64;

/// What a session needs to know of its node at the moment.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Keys of resume tokens.
    pub sealing: Arc<SealingKeys>,
    /// The TURN secret that issues credentials.
    pub secret: Option<Secret>,
    /// All edges.
    pub edges: Vec<EdgeStatus>,
    /// URLs of nodes that a client may try after a loss.
    pub nodes: Vec<String>,
}

/// What a session asks of its shell.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send to the present socket.
    Text(ByteString),
    /// Close the present socket after that. The machine has already forgotten it.
    Close(CloseCode),
    /// Tell the proxy.
    Proxy(FromSession),
    /// The session is over: forget it.
    Over,
}

/// How a session comes to be.
#[derive(Debug, Clone)]
pub struct Start {
    /// The room.
    pub room: RoomKey,
    /// The peer, with its first attachment.
    pub member: Member,
    /// The app's policy.
    pub policy: Policy,
    /// Where the client is, where its token says so.
    pub region: Option<Region>,
    /// With a session that is made anew from its resume token: the client's marks.
    pub rebuilt: Option<BTreeMap<PeerId, u64>>,
    /// Random bytes, for the nonces of its resume tokens.
    pub seed: [u8; 32],
}

/// How the present socket came to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entering {
    New,
    Resumed,
    Rebuilt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Announced; the room has not answered yet.
    Entering(Entering),
    /// In the room.
    Present,
    /// Ended.
    Over,
}

#[derive(Debug, Clone, Copy)]
struct Socket {
    heard: Mono,
    pinged: bool,
}

/// One peer's connection.
pub struct Session {
    room: RoomKey,
    member: Member,
    policy: Policy,
    region: Option<Region>,
    rebuilt: bool,
    phase: Phase,
    socket: Option<Socket>,
    away_since: Mono,
    outboxes: BTreeMap<PeerId, Outbox>,
    unacked_bytes: usize,
    inboxes: BTreeMap<PeerId, Inbox>,
    gone: VecDeque<PeerId>,
    bucket: Bucket,
    strikes: u32,
    probes: BTreeMap<EdgeId, f64>,
    offered: Vec<EdgeId>,
    refresh_ice_at: Mono,
    rng: ChaCha12Rng,
}

impl Session {
    /// Starts with a socket attached, and announces itself.
    pub fn new(now: Now, start: Start, out: &mut Vec<Output>) -> Self {
        let rebuilt = start.rebuilt.is_some();
        let marks = start.rebuilt.unwrap_or_default();
        let (member, announced) = (start.member.clone(), marks.clone());
        out.push(Output::Proxy(FromSession::Announce { member, marks: announced }));
        Self {
            room: start.room,
            member: start.member,
            region: start.region,
            rebuilt,
            phase: Phase::Entering(if rebuilt { Entering::Rebuilt } else { Entering::New }),
            socket: Some(Socket { heard: now.mono, pinged: false }),
            away_since: Mono::NEVER,
            outboxes: BTreeMap::new(),
            unacked_bytes: 0,
            inboxes: marks.into_iter().map(|(peer, mark)| (peer, Inbox::new(mark))).collect(),
            gone: VecDeque::new(),
            bucket: Bucket::new(start.policy.frames_per_sec, start.policy.frames_burst),
            policy: start.policy,
            strikes: 0,
            probes: BTreeMap::new(),
            offered: Vec::new(),
            refresh_ice_at: Mono::NEVER,
            rng: ChaCha12Rng::from_seed(start.seed),
        }
    }

    /// The peer.
    #[must_use]
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    // ------------------------------------------------------------------------------- the socket

    /// Another socket takes the session over, with a token of attachment `presented`. The shell
    /// closes the former socket as [`CloseCode::Replaced`].
    ///
    /// # Errors
    /// [`GoneReason::Replaced`] for a token older than the last two.
    pub fn handle_resume(
        &mut self,
        now: Now,
        presented: Attach,
        marks: BTreeMap<PeerId, u64>,
        out: &mut Vec<Output>,
    ) -> Result<(), GoneReason> {
        let current = self.member.attach.0;
        if self.is_over() || presented.0 > current || presented.0 + 1 < current {
            return Err(GoneReason::Replaced);
        }
        self.member.attach = Attach(current + 1);
        self.member.away = false;
        self.away_since = Mono::NEVER;
        self.phase = Phase::Entering(match self.phase {
            Phase::Entering(Entering::Rebuilt) => Entering::Rebuilt,
            _ => Entering::Resumed,
        });
        self.socket = Some(Socket { heard: now.mono, pinged: false });
        self.strikes = 0;
        self.inboxes = marks.iter().map(|(peer, mark)| (*peer, Inbox::new(*mark))).collect();
        self.announce(marks, out);
        Ok(())
    }

    /// The present socket is gone.
    pub fn handle_socket_lost(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.socket.take().is_none() || self.is_over() {
            return;
        }
        if self.member.admitted.is_none() {
            self.leave(LeaveReason::Left, out); // nobody has seen it yet
            return;
        }
        self.phase = Phase::Present;
        self.member.away = true;
        self.away_since = now.mono;
        self.announce(BTreeMap::new(), out);
    }

    /// More waits for the present socket than it may: its client does not read.
    pub fn handle_overflow(&mut self, now: Now, out: &mut Vec<Output>) {
        self.close(now, CloseCode::Slow, out);
    }

    /// The node stops: the client resumes elsewhere.
    pub fn handle_shutdown(&mut self, now: Now, out: &mut Vec<Output>) {
        self.close(now, CloseCode::Shutdown, out);
    }

    /// Binary frames, or a stream that is no WebSocket any more.
    pub fn handle_violation(&mut self, now: Now, out: &mut Vec<Output>) {
        self.close(now, CloseCode::Protocol, out);
    }

    fn close(&mut self, now: Now, code: CloseCode, out: &mut Vec<Output>) {
        if self.socket.is_some() {
            self.tell(&ServerFrame::closed(code), out);
            out.push(Output::Close(code));
            self.handle_socket_lost(now, out);
        }
    }

    /// A text frame of the present socket.
    pub fn handle_text(&mut self, now: Now, world: &World, text: &str, out: &mut Vec<Output>) {
        let Some(socket) = &mut self.socket else { return };
        *socket = Socket { heard: now.mono, pinged: false };
        let frame = ClientFrame::read(text);
        if let Err(wait) = self.bucket.take(now.mono) {
            self.over_rate(now, wait, frame.ok().as_ref(), out);
            return;
        }
        match frame {
            Err(refusal) => self.refuse(&refusal, out),
            Ok(ClientFrame::Ping(t)) => self.tell(&ServerFrame::Pong { t: t.as_ref() }, out),
            Ok(ClientFrame::Pong) => {}
            Ok(ClientFrame::Leave) => {
                self.leave(LeaveReason::Left, out);
            }
            Ok(_) if self.phase != Phase::Present => {
                self.refuse(&Refusal::new(ErrorCode::NotJoined, "wait for the welcome"), out);
            }
            Ok(frame) => self.handle_frame(now, world, frame, out),
        }
    }

    fn handle_frame(&mut self, now: Now, world: &World, frame: ClientFrame, out: &mut Vec<Output>) {
        match frame {
            ClientFrame::Join(_) => {
                self.refuse(&Refusal::new(ErrorCode::AlreadyJoined, "one join per socket"), out);
            }
            ClientFrame::Signal { to, id, content } => self.send(now, to, id, content, out),
            ClientFrame::Ack { from, id } => self.acknowledge(from, id, out),
            ClientFrame::Broadcast(payload) => self.broadcast(payload, out),
            ClientFrame::Ice => self.offer_ice(now, world, IceReason::Requested, None, out),
            ClientFrame::Probes(probes) => {
                self.probes = probes;
                let best = self.ranked(world).first().map(|edge| edge.edge.clone());
                if best.is_some() && best.as_ref() != self.offered.first() {
                    self.offer_ice(now, world, IceReason::Closer, None, out);
                }
            }
            ClientFrame::Update { name, metadata } => {
                let profile = &mut self.member.profile;
                profile.name = name.or_else(|| profile.name.take());
                profile.metadata = metadata.or_else(|| profile.metadata.take());
                self.member.version += 1;
                self.announce(BTreeMap::new(), out);
            }
            ClientFrame::Kick { peer, ban } if self.member.seat.grants.admin => {
                let by = self.member.seat.peer;
                out.push(Output::Proxy(FromSession::Kick { by, peer, ban }));
            }
            ClientFrame::Kick { .. } => {
                self.refuse(&Refusal::new(ErrorCode::Forbidden, "grants: `admin` is missing"), out);
            }
            ClientFrame::Ping(_) | ClientFrame::Pong | ClientFrame::Leave => {}
        }
    }

    fn over_rate(&mut self, now: Now, wait: Duration, frame: Option<&ClientFrame>, out: &mut Vec<Output>) {
        self.strikes += 1;
        if self.strikes > limits::RATE_STRIKES {
            self.tell(&ServerFrame::closed(CloseCode::Rate), out);
            out.push(Output::Close(CloseCode::Rate));
            self.handle_socket_lost(now, out);
            return;
        }
        // An acknowledgement that was not taken is asked for again by the sender's gateway.
        let mut refusal = Refusal::new(ErrorCode::RateLimited, "too many frames a second").retry_after(wait);
        if let Some(ClientFrame::Signal { to, id, .. }) = frame {
            refusal = refusal.about(*to, *id);
        }
        self.refuse(&refusal, out);
    }

    // ------------------------------------------------------------------------------ what it sends

    fn send(&mut self, now: Now, to: PeerId, id: u64, content: Content, out: &mut Vec<Output>) {
        if to == self.member.seat.peer {
            let refusal = Refusal::new(ErrorCode::BadPeer, "to: that is yourself").about(to, id);
            return self.refuse(&refusal, out);
        }
        if self.gone.contains(&to) {
            let reason = UndeliveredReason::Gone;
            return self.tell(&ServerFrame::Undelivered { to, id, reason }, out);
        }
        let busy =
            |message| Refusal::new(ErrorCode::Busy, message).retry_after(limits::BUSY_RETRY).about(to, id);
        if self.unacked_bytes + content.len() > limits::SESSION_UNACKED_BYTES_MAX
            || (self.outboxes.len() >= limits::OUTBOXES_MAX && !self.outboxes.contains_key(&to))
        {
            return self.refuse(&busy("too much is unacknowledged"), out);
        }
        // A session made anew from its token takes the counters of its client, which sends again all
        // that it holds.
        let base = if self.rebuilt { id.saturating_sub(1) } else { 0 };
        let outbox = self.outboxes.entry(to).or_insert_with(|| Outbox::new(base));
        match outbox.offer(now.mono, id, &content) {
            Offer::Taken => {
                self.unacked_bytes += content.len();
                let signal = Signal { from: self.member.seat.peer, to, id, content };
                out.push(Output::Proxy(FromSession::Signal(signal)));
            }
            Offer::Held => {}
            Offer::Delivered(id) => self.tell(&ServerFrame::Delivered { to, id }, out),
            Offer::Busy => self.refuse(&busy("too much is unacknowledged for this receiver"), out),
            Offer::Gap(expected) => {
                let message = format!("id: {expected} is next for this receiver");
                self.refuse(&Refusal::new(ErrorCode::BadId, message).about(to, id), out);
            }
        }
    }

    fn broadcast(&mut self, payload: Json, out: &mut Vec<Output>) {
        if self.member.seat.grants.broadcast {
            let from = self.member.seat.peer;
            out.push(Output::Proxy(FromSession::Broadcast { from, payload }));
        } else {
            self.refuse(&Refusal::new(ErrorCode::Forbidden, "grants: `broadcast` is missing"), out);
        }
    }

    fn acknowledge(&mut self, from: PeerId, id: u64, out: &mut Vec<Output>) {
        let Some(inbox) = self.inboxes.get_mut(&from) else { return };
        if inbox.ack(id) {
            out.push(Output::Proxy(FromSession::Ack(Ack { from, to: self.member.seat.peer, id })));
        } else {
            self.refuse(&Refusal::new(ErrorCode::BadId, "id: nothing with this id was sent to you"), out);
        }
    }

    fn announce(&self, marks: BTreeMap<PeerId, u64>, out: &mut Vec<Output>) {
        let member = self.member.clone();
        out.push(Output::Proxy(FromSession::Announce { member, marks }));
    }

    fn leave(&mut self, reason: LeaveReason, out: &mut Vec<Output>) {
        let peer = self.member.seat.peer;
        out.push(Output::Proxy(FromSession::Leave { peer, reason }));
        self.end(reason.close_code(), out);
    }

    fn end(&mut self, code: CloseCode, out: &mut Vec<Output>) {
        if self.socket.is_some() {
            self.tell(&ServerFrame::closed(code), out);
            out.push(Output::Close(code));
            self.socket = None;
        }
        self.phase = Phase::Over;
        out.push(Output::Over);
    }

    // ---------------------------------------------------------------------------- what it is sent

    /// What its proxy says.
    pub fn handle_proxy(&mut self, now: Now, world: &World, input: ToSession, out: &mut Vec<Output>) {
        if self.is_over() {
            return;
        }
        match input {
            ToSession::Admitted { attach, at, others, broadcasts } => {
                if attach == self.member.attach {
                    self.member.admitted = Some(at);
                    self.welcome(now, world, at, &others, broadcasts, out);
                }
            }
            ToSession::NotAdmitted(refusal) => {
                self.refuse(&refusal, out);
                let banned = refusal.code == ErrorCode::Banned;
                self.end(if banned { CloseCode::Banned } else { CloseCode::Refused }, out);
            }
            ToSession::Changed(news) => self.changed(now, &news, out),
            ToSession::Signal(signal) => self.deliver(&signal, out),
            ToSession::Ack(ack) => self.acked(now, ack.to, ack.id, out),
            ToSession::Undelivered { to, id: _, was_here } => {
                let reason = if was_here { UndeliveredReason::Gone } else { UndeliveredReason::Unknown };
                self.give_up(to, reason, out);
            }
            ToSession::Resend => {
                let peers: Vec<PeerId> = self.outboxes.keys().copied().collect();
                for peer in peers {
                    self.resend(now, peer, out);
                }
            }
            ToSession::Text(text) => self.pass(&text, out),
            ToSession::Error(refusal) => self.refuse(&refusal, out),
        }
    }

    fn welcome(
        &mut self,
        now: Now,
        world: &World,
        admitted: (Epoch, Change),
        others: &[Member],
        broadcasts: u64,
        out: &mut Vec<Output>,
    ) {
        let Phase::Entering(entering) = self.phase else { return };
        self.phase = Phase::Present;
        let offer = self.fresh_offer(now, world);
        let mut nonce = [0; 24];
        self.rng.fill_bytes(&mut nonce);
        let token = ResumeToken {
            room: self.room.clone(),
            seat: self.member.seat.clone(),
            identity: self.member.profile.identity.clone(),
            attach: self.member.attach,
            admitted,
            until: now.unix + limits::RESUME_TTL,
        };
        let capacity = self.member.seat.capacity.unwrap_or(self.policy.capacity);
        let mut view = LimitsView::new(self.policy.grace, capacity);
        (view.frames_burst, view.frames_per_sec) = (self.policy.frames_burst, self.policy.frames_per_sec);
        let welcome = Box::new(Welcome {
            session: self.member.seat.session,
            resume: token.seal(&world.sealing, nonce).unwrap_or_default(),
            peer: self.member.seat.peer,
            room: &self.room.room,
            identity: self.member.profile.identity.as_ref(),
            grants: self.member.seat.grants.names(),
            roster: others.iter().map(PeerView::from).collect(),
            broadcasts,
            ice_servers: &offer.servers,
            ice_ttl_ms: ice_ttl_ms(),
            edges: &offer.edges,
            nodes: &world.nodes,
            limits: view,
        });
        let frame = match entering {
            Entering::New => ServerFrame::Welcome(welcome),
            Entering::Resumed => ServerFrame::Resumed(welcome),
            Entering::Rebuilt => ServerFrame::Rebuilt(welcome),
        };
        let text = frame.text();
        self.push(text, out);
    }

    fn changed(&mut self, now: Now, news: &ChangeNews, out: &mut Vec<Output>) {
        let me = self.member.seat.peer;
        if news.change.peer() == me {
            match &news.change {
                RoomChange::Left { reason, .. } => self.end(reason.close_code(), out),
                RoomChange::Updated { .. } => {
                    if let Some(text) = &news.text {
                        self.pass(text, out);
                    }
                }
                _ => {} // the answer to an announcement: `admitted` says it
            }
            return;
        }
        if let Some(text) = &news.text {
            self.pass(text, out);
        }
        match &news.change {
            RoomChange::Left { peer, .. } => {
                self.inboxes.remove(peer);
                self.give_up(*peer, UndeliveredReason::Gone, out);
            }
            RoomChange::Back { peer, marks, .. } => {
                if let Some(mark) = marks.get(&me) {
                    self.acked(now, *peer, *mark, out);
                }
                self.resend(now, *peer, out);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, signal: &Signal, out: &mut Vec<Output>) {
        if self.socket.is_none() || self.phase != Phase::Present {
            return; // its sender's gateway sends it again when this client is back
        }
        if self.inboxes.len() >= limits::INBOXES_MAX && !self.inboxes.contains_key(&signal.from) {
            return;
        }
        match self.inboxes.entry(signal.from).or_default().arrive(signal.id) {
            Arrival::Next => {
                let content = &signal.content;
                let frame = ServerFrame::Signal {
                    from: signal.from,
                    id: signal.id,
                    connection: content.connection.as_ref(),
                    kind: &content.kind,
                    payload: &content.payload,
                };
                self.tell(&frame, out);
            }
            Arrival::Acked(id) => {
                let ack = Ack { from: signal.from, to: self.member.seat.peer, id };
                out.push(Output::Proxy(FromSession::Ack(ack)));
            }
            Arrival::Skip => {}
        }
    }

    fn acked(&mut self, now: Now, to: PeerId, id: u64, out: &mut Vec<Output>) {
        let Some(outbox) = self.outboxes.get_mut(&to) else { return };
        let before = outbox.bytes();
        if outbox.ack(now.mono, id) {
            self.unacked_bytes -= before - outbox.bytes();
            let id = outbox.acked();
            self.tell(&ServerFrame::Delivered { to, id }, out);
        }
    }

    fn give_up(&mut self, to: PeerId, reason: UndeliveredReason, out: &mut Vec<Output>) {
        if let Some(outbox) = self.outboxes.remove(&to) {
            self.unacked_bytes -= outbox.bytes();
            for id in outbox.into_undelivered() {
                self.tell(&ServerFrame::Undelivered { to, id, reason }, out);
            }
        }
        if reason == UndeliveredReason::Gone && !self.gone.contains(&to) {
            if self.gone.len() == GONE_REMEMBERED {
                self.gone.pop_front();
            }
            self.gone.push_back(to);
        }
    }

    fn resend(&mut self, now: Now, to: PeerId, out: &mut Vec<Output>) {
        let from = self.member.seat.peer;
        if let Some(outbox) = self.outboxes.get_mut(&to) {
            out.extend(outbox.resend(now.mono).map(|(id, content)| {
                Output::Proxy(FromSession::Signal(Signal { from, to, id, content: content.clone() }))
            }));
        }
    }

    // --------------------------------------------------------------------------------------- edges

    /// The edges changed; `lost` names one that was there before.
    pub fn handle_edges(&mut self, now: Now, world: &World, lost: Option<&EdgeId>, out: &mut Vec<Output>) {
        if self.phase != Phase::Present || self.socket.is_none() {
            return;
        }
        match lost {
            Some(edge) if self.offered.contains(edge) => {
                self.offer_ice(now, world, IceReason::EdgeLost, Some(edge), out);
            }
            None if self.offered.is_empty() && !self.ranked(world).is_empty() => {
                self.offer_ice(now, world, IceReason::EdgeUp, None, out);
            }
            _ => {}
        }
    }

    fn ranked<'a>(&self, world: &'a World) -> Vec<&'a EdgeStatus> {
        rank(&world.edges, self.region.as_ref(), &self.probes, self.offered.first())
    }

    fn fresh_offer(&mut self, now: Now, world: &World) -> IceOffer {
        let none = Secret(Vec::new());
        let edges = if world.secret.is_some() { self.ranked(world) } else { Vec::new() };
        let secret = world.secret.as_ref().unwrap_or(&none);
        let offer = IceOffer::new(&edges, secret, self.member.seat.session, now.unix);
        self.offered = offer.edges.iter().map(|edge| edge.edge.clone()).collect();
        self.refresh_ice_at = now.mono + limits::CREDENTIAL_TTL * limits::CREDENTIAL_REFRESH_AT / 100;
        offer
    }

    fn offer_ice(
        &mut self,
        now: Now,
        world: &World,
        reason: IceReason,
        lost: Option<&EdgeId>,
        out: &mut Vec<Output>,
    ) {
        let offer = self.fresh_offer(now, world);
        let (ice_servers, edges) = (&offer.servers[..], &offer.edges[..]);
        self.tell(
            &ServerFrame::IceServers { ice_servers, ice_ttl_ms: ice_ttl_ms(), edges, reason, lost },
            out,
        );
    }

    // -------------------------------------------------------------------------------------- timers

    /// Pings, gives silent sockets up, sends again, refreshes credentials.
    pub fn handle_timeout(&mut self, now: Now, world: &World, out: &mut Vec<Output>) {
        if self.is_over() {
            return;
        }
        if let Some(socket) = &mut self.socket {
            let silent = now.mono.since(socket.heard);
            if silent >= limits::SILENT_AFTER {
                self.close(now, CloseCode::Silent, out);
            } else if silent >= limits::PING_EVERY && !socket.pinged {
                socket.pinged = true;
                self.push(ServerFrame::Ping.text(), out);
            }
        } else if now.mono.since(self.away_since) >= self.forget_after() {
            self.leave(LeaveReason::Lost, out); // the room would have said so, were it reachable
            return;
        }
        if self.refresh_ice_at <= now.mono {
            if self.socket.is_some() && self.phase == Phase::Present {
                self.offer_ice(now, world, IceReason::Expiring, None, out);
            } else {
                self.refresh_ice_at = Mono::NEVER; // the next welcome brings fresh ones
            }
        }
        let due = |outbox: &Outbox| outbox.resend_at() <= now.mono;
        let due: Vec<PeerId> = self.outboxes.iter().filter(|(_, o)| due(o)).map(|(peer, _)| *peer).collect();
        for peer in due {
            self.resend(now, peer, out);
        }
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Mono {
        if self.is_over() {
            return Mono::NEVER;
        }
        let socket = match self.socket {
            Some(Socket { heard, pinged: false }) => heard + limits::PING_EVERY,
            Some(Socket { heard, pinged: true }) => heard + limits::SILENT_AFTER,
            None => self.away_since + self.forget_after(),
        };
        let resend = self.outboxes.values().map(Outbox::resend_at).min().unwrap_or(Mono::NEVER);
        socket.min(resend).min(self.refresh_ice_at)
    }

    /// The room ends a session after its grace; where no room says so, the gateway does, later.
    fn forget_after(&self) -> Duration {
        self.policy.grace * 2 + Duration::from_secs(10)
    }

    // ------------------------------------------------------------------------------------- telling

    fn refuse(&self, refusal: &Refusal, out: &mut Vec<Output>) {
        self.tell(&ServerFrame::Error(refusal), out);
    }

    fn tell(&self, frame: &ServerFrame<'_>, out: &mut Vec<Output>) {
        if self.socket.is_some() {
            out.push(Output::Text(frame.text()));
        }
    }

    fn push(&self, text: ByteString, out: &mut Vec<Output>) {
        if self.socket.is_some() {
            out.push(Output::Text(text));
        }
    }

    /// News of the room: what comes before the welcome is in the welcome.
    fn pass(&self, text: &ByteString, out: &mut Vec<Output>) {
        if self.phase == Phase::Present {
            self.push(text.clone(), out);
        }
    }
}

fn ice_ttl_ms() -> u64 {
    u64::try_from(limits::CREDENTIAL_TTL.as_millis()).unwrap_or(u64::MAX)
}

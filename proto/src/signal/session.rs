//! The session machine: one peer's connection, which outlives its socket. It speaks PROTOCOL.md to
//! its client and [`super::route`] to its proxy. What it sends and is sent is in [`delivery`], its
//! offers of edges in [`edges`].

mod delivery;
mod edges;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::bucket::Bucket;
use super::code::{CloseCode, ErrorCode, LeaveReason, Refusal};
use super::follow::change_frame;
use super::frame::{
    ClientFrame, GoneReason, IceReason, LimitsView, PeerView, ServerFrame, UndeliveredReason, Welcome,
};
use super::member::{Member, Policy, Profile};
use super::outbox::{Inbox, Outbox};
use super::resume::{Presented, ResumeToken, SealingKeys};
use super::route::{ChangeNews, FromSession, RoomChange, ToSession};
use crate::id::{Attach, Change, EdgeId, Epoch, PeerId, Region, RoomKey};
use crate::limits;
use crate::mesh::uplink::Secret;
use crate::select::EdgeStatus;
use crate::time::{Mono, Now, Unix};

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
    /// The session is over: forget it. Where no [`Self::Close`] came before, its socket stays, and
    /// its client may send a fresh `join` on it (PROTOCOL.md 3, `gone`).
    Over,
}

/// What a client brings back.
#[derive(Debug, Clone)]
pub struct Rebuilt {
    /// By which token.
    pub presented: Presented,
    /// The last signal that it took of each sender.
    pub marks: BTreeMap<PeerId, u64>,
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
    /// With a session that is made anew from its resume token.
    pub rebuilt: Option<Rebuilt>,
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
    /// Which life of the session this is: tokens of others show that its client was elsewhere.
    issuer: u64,
    /// By which token its client came back last.
    presented: Presented,
    /// When its join was.
    joined: Unix,
    /// The newest attachment whose token its client is known to have: it came back with it, or spoke
    /// after the welcome that brought it.
    confirmed: Attach,
    /// The client may know counters of receivers that this session knows nothing of: they are taken
    /// as it says. True of one that was made anew, and once it had to forget a receiver.
    trusts_counters: bool,
    phase: Phase,
    /// When to tell a client that waits for its welcome that there is no owner.
    unavailable_at: Mono,
    socket: Option<Socket>,
    away_since: Mono,
    outboxes: BTreeMap<PeerId, Outbox>,
    unacked_bytes: usize,
    inboxes: BTreeMap<PeerId, Inbox>,
    gone: VecDeque<(PeerId, UndeliveredReason)>,
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
        let (presented, marks) = start.rebuilt.map(|back| (back.presented, back.marks)).unwrap_or_default();
        let joined = if rebuilt { presented.joined } else { now.unix };
        out.push(Output::Proxy(FromSession::Announce {
            member: start.member.clone(),
            marks: marks.clone(),
            presented: presented.attach,
            age: now.unix.since(joined),
        }));
        let mut rng = ChaCha12Rng::from_seed(start.seed);
        Self {
            room: start.room,
            member: start.member,
            region: start.region,
            issuer: rng.next_u64(),
            presented,
            joined,
            confirmed: presented.attach,
            trusts_counters: rebuilt,
            phase: Phase::Entering(if rebuilt { Entering::Rebuilt } else { Entering::New }),
            unavailable_at: now.mono + limits::WELCOME_WITHIN,
            socket: Some(Socket { heard: now.mono, pinged: false }),
            away_since: Mono::NEVER,
            outboxes: BTreeMap::new(),
            unacked_bytes: 0,
            inboxes: marks.into_iter().map(|(peer, mark)| (peer, Inbox::since(mark))).collect(),
            gone: VecDeque::new(),
            bucket: Bucket::new(start.policy.frames_per_sec, start.policy.frames_burst),
            policy: start.policy,
            strikes: 0,
            probes: BTreeMap::new(),
            offered: Vec::new(),
            refresh_ice_at: Mono::NEVER,
            rng,
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

    /// Signals that it holds until their receivers have acknowledged them.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.outboxes.values().map(Outbox::len).sum()
    }

    // ------------------------------------------------------------------------------- the socket

    /// Another socket takes the session over, with this token. The shell closes the former socket as
    /// [`CloseCode::Replaced`]. The last two tokens that the client is known to have are good, and any
    /// newer one: so lost welcomes cost nothing, however many. One that was issued on another gateway
    /// shows that the client was there in the meantime: it is answered as `rebuilt`.
    ///
    /// # Errors
    /// [`GoneReason::Replaced`] for an older token.
    pub fn handle_resume(
        &mut self,
        now: Now,
        presented: Presented,
        marks: BTreeMap<PeerId, u64>,
        out: &mut Vec<Output>,
    ) -> Result<(), GoneReason> {
        let current = self.member.attach.0;
        if self.is_over() || presented.attach.0 + 1 < self.confirmed.0 {
            return Err(GoneReason::Replaced);
        }
        let lived_elsewhere = presented.issuer != self.issuer && presented != self.presented;
        self.phase = Phase::Entering(match self.phase {
            Phase::Entering(Entering::New) => Entering::New,
            _ if lived_elsewhere => Entering::Rebuilt,
            Phase::Entering(Entering::Rebuilt) => Entering::Rebuilt,
            _ => Entering::Resumed,
        });
        if lived_elsewhere {
            // What this one holds and counts is out of date; the client's own is not.
            self.outboxes.clear();
            self.unacked_bytes = 0;
            self.trusts_counters = true;
        }
        self.presented = presented;
        self.confirmed = self.confirmed.max(presented.attach);
        self.member.attach = Attach(presented.attach.0.max(current) + 1);
        self.member.away = false;
        self.away_since = Mono::NEVER;
        self.unavailable_at = now.mono + limits::WELCOME_WITHIN;
        self.socket = Some(Socket { heard: now.mono, pinged: false });
        self.strikes = 0;
        self.inboxes = marks.iter().map(|(peer, mark)| (*peer, Inbox::since(*mark))).collect();
        self.announce(now, marks, out);
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
        self.member.away = true;
        self.away_since = now.mono;
        self.announce(now, BTreeMap::new(), out);
    }

    /// More waits for the present socket than it may: its client does not read.
    pub fn handle_overflow(&mut self, now: Now, out: &mut Vec<Output>) {
        self.close(now, CloseCode::Slow, out);
    }

    /// The node stops: the client resumes elsewhere.
    pub fn handle_shutdown(&mut self, now: Now, out: &mut Vec<Output>) {
        self.close(now, CloseCode::Shutdown, out);
    }

    /// The node wants to be rid of the session: it drains, or holds no lease (CLUSTER.md 4 and 11). The
    /// client is to resume at one of these URLs of other nodes, in the order given (where there are none,
    /// at another that it knows), and keeps its socket until that has worked. The session goes on as before;
    /// where the node stops, its shell ends `within` by [`Self::handle_shutdown`], after which the client
    /// resumes all the same. Nothing is said to a client that still waits for its welcome.
    pub fn handle_moving(&self, to: &[String], within: Duration, out: &mut Vec<Output>) {
        if self.phase == Phase::Present {
            let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
            self.tell(&ServerFrame::Moving { to, within_ms }, out);
        }
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
        if self.phase == Phase::Present {
            self.confirmed = self.member.attach;
        }
        let frame = ClientFrame::read(text);
        if self.bucket.is_full(now.mono) {
            self.strikes = 0;
        }
        if let Err(wait) = self.bucket.take(now.mono) {
            self.over_rate(now, wait, frame.ok().as_ref(), out);
            return;
        }
        match frame {
            Err(refusal) => {
                if let (Some(to), Some(id)) = (refusal.to, refusal.id) {
                    self.note_counter(to, id);
                }
                self.refuse(&refusal, out);
            }
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
                self.offer_closer(now, world, out);
            }
            ClientFrame::Update { name, metadata } => {
                let profile = &mut self.member.profile;
                profile.name = name.or_else(|| profile.name.take());
                profile.metadata = metadata.or_else(|| profile.metadata.take());
                self.member.version += 1;
                self.announce(now, BTreeMap::new(), out);
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
        let mut refusal = Refusal::new(ErrorCode::RateLimited, "too many frames a second")
            .retry_after(wait.max(limits::RATE_RETRY));
        if let Some(ClientFrame::Signal { to, id, .. }) = frame {
            self.note_counter(*to, *id);
            refusal = refusal.about(*to, *id);
        }
        self.refuse(&refusal, out);
    }

    fn announce(&self, now: Now, marks: BTreeMap<PeerId, u64>, out: &mut Vec<Output>) {
        let (member, presented) = (self.member.clone(), self.presented.attach);
        let age = now.unix.since(self.joined);
        out.push(Output::Proxy(FromSession::Announce { member, marks, presented, age }));
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
            ToSession::Admitted { attach, at, profile, others, broadcasts } => {
                if attach >= self.member.attach {
                    self.admitted(attach, at, profile);
                    if self.socket.is_some() {
                        self.welcome(now, world, at, &others, broadcasts, out);
                    }
                }
            }
            ToSession::NotAdmitted(refusal) => {
                self.refuse(&refusal, out);
                let banned = refusal.code == ErrorCode::Banned;
                self.end(if banned { CloseCode::Banned } else { CloseCode::Refused }, out);
            }
            ToSession::Elsewhere { tie: true } => self.end(CloseCode::Elsewhere, out),
            ToSession::Elsewhere { tie: false } => {
                self.gone(GoneReason::Replaced, CloseCode::Replaced, out);
            }
            ToSession::Gone(reason) => {
                let code = match reason {
                    GoneReason::Revoked => CloseCode::Kicked,
                    GoneReason::Replaced => CloseCode::Replaced,
                    GoneReason::Unknown | GoneReason::Expired => CloseCode::Lost,
                };
                self.gone(reason, code, out);
            }
            ToSession::Changed(news) => self.changed(now, &news, out),
            ToSession::Signal(signal) => self.deliver(now, &signal, out),
            ToSession::Ack(ack) => self.acked(now, ack.to, ack.id, out),
            ToSession::Undelivered { to, id: _, was_here } => {
                let reason = if was_here { UndeliveredReason::Gone } else { UndeliveredReason::Unknown };
                self.give_up(to, reason, out);
            }
            ToSession::Resend => {
                let peers: Vec<PeerId> = self.outboxes.keys().copied().collect();
                for peer in peers {
                    self.resend_anew(now, peer, out);
                }
            }
            ToSession::Text(text) => self.pass(&text, out),
            ToSession::Error(refusal) => self.refuse(&refusal, out),
        }
    }

    fn admitted(&mut self, attach: Attach, at: (Epoch, Change), (profile, version): (Profile, u64)) {
        self.member.attach = attach;
        self.member.admitted = Some(at);
        if version > self.member.version {
            // It was made anew from its token while the room still had it.
            (self.member.profile, self.member.version) = (profile, version);
        }
    }

    /// The room has it no more. A client that waits for the answer to its `resume` is told `gone` and
    /// may join afresh on the same socket.
    fn gone(&mut self, reason: GoneReason, code: CloseCode, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Entering(Entering::Resumed | Entering::Rebuilt)) {
            self.tell(&ServerFrame::Gone { reason }, out);
            self.socket = None;
        }
        self.end(code, out);
    }

    /// In another order for each session, so that those of a lost node spread over the others
    /// (CLUSTER.md 7).
    fn shuffled(&mut self, nodes: &[String]) -> Vec<String> {
        let mut nodes = nodes.to_vec();
        for last in (1..nodes.len()).rev() {
            let any = self.rng.next_u64() % (last as u64 + 1);
            nodes.swap(last, usize::try_from(any).unwrap_or(last));
        }
        nodes
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
        self.unavailable_at = Mono::NEVER;
        let offer = self.fresh_offer(now, world);
        let mut nonce = [0; 24];
        self.rng.fill_bytes(&mut nonce);
        let token = ResumeToken {
            room: self.room.clone(),
            seat: self.member.seat.clone(),
            identity: self.member.profile.identity.clone(),
            name: self.member.profile.name.clone(),
            metadata: self.member.profile.metadata.clone(),
            region: self.region.clone(),
            issuer: self.issuer,
            attach: self.member.attach,
            admitted,
            joined: self.joined,
            until: now.unix + limits::RESUME_TTL,
        };
        let nodes = self.shuffled(&world.nodes);
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
            ice_ttl_ms: edges::ice_ttl_ms(),
            edges: &offer.edges,
            nodes: &nodes,
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
                RoomChange::Left { reason, .. } => {
                    self.gone(GoneReason::from(*reason), reason.close_code(), out);
                }
                // One who is hidden sees it too, and nobody else.
                change @ RoomChange::Updated { .. } => {
                    let text = news.text.clone().unwrap_or_else(|| change_frame(change).text());
                    self.pass(&text, out);
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
                self.resend_anew(now, *peer, out);
            }
            // Back in a room that had forgotten it.
            RoomChange::Joined(entry) => self.resend_anew(now, entry.member.seat.peer, out),
            _ => {}
        }
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
        if self.unavailable_at <= now.mono {
            self.unavailable_at = Mono::NEVER;
            self.tell_unavailable(out);
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
            self.resend_overdue(now, peer, out);
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
        socket.min(resend).min(self.refresh_ice_at).min(self.unavailable_at)
    }

    fn tell_unavailable(&self, out: &mut Vec<Output>) {
        if self.phase != Phase::Present {
            let refusal = Refusal::new(ErrorCode::Unavailable, "no owner for this room right now")
                .retry_after(limits::BUSY_RETRY);
            self.refuse(&refusal, out);
        }
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

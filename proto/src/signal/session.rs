//! The session machine: one peer's connection, which outlives its socket. It speaks PROTOCOL.md to
//! its client and [`super::route`] to its proxy. What becomes of its socket is in [`socket`], what its
//! client says in [`client`], what its proxy says in [`proxy`], the answer to a join in [`welcome`], signals in
//! [`delivery`], offers of edges in [`edges`], what operators see of it in [`details`], its move to another room in
//! [`moved`], waiting to be let in in [`lobby`].

mod client;
mod delivery;
mod details;
mod edges;
mod lobby;
mod moved;
mod proxy;
mod socket;
mod welcome;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::age::Began;
use super::bucket::Bucket;
use super::code::{CloseCode, ErrorCode, LeaveReason, Refusal};
use super::frame::{IceFailure, IceReason, ServerFrame, UndeliveredReason};
use super::lobby::Knock;
use super::member::{Member, Policy};
use super::outbox::{Inbox, Outbox};
use super::resume::{Presented, SealingKeys};
use super::route::FromSession;
use crate::id::{Attach, EdgeId, PeerId, Region, RoomKey};
use crate::limits;
use crate::mesh::uplink::Secret;
use crate::select::{Catalog, Place};
use crate::time::{Mono, Now, Unix};

/// What a session needs to know of its node at the moment.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Keys of resume tokens.
    pub sealing: Arc<SealingKeys>,
    /// The TURN secret that issues credentials.
    pub secret: Option<Secret>,
    /// All edges, and what is decided of them.
    pub edges: Catalog,
    /// Edges that operators are emptying, at most [`limits::DRAINING_TOLD`].
    pub draining: Vec<EdgeId>,
    /// URLs of nodes that a client may try after a loss, each with the node's region.
    pub nodes: Vec<(String, Region)>,
}

impl World {
    /// Of these nodes those that a client at a place is told of: the nearest regions first, those of one region in the
    /// order given, regions of which nothing is known last.
    pub fn nearest_nodes<'a>(
        &self,
        place: &Place,
        nodes: impl IntoIterator<Item = &'a (String, Region)>,
    ) -> Vec<&'a (String, Region)> {
        let km = |region| self.edges.km(place, region).unwrap_or(f64::INFINITY);
        let mut nodes: Vec<_> = nodes.into_iter().map(|node| (km(&node.1), node)).collect();
        nodes.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        nodes.into_iter().take(limits::NODES_TOLD).map(|(_, node)| node).collect()
    }
}

/// What a session asks of its shell.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a signal, which most of them are, is as large as a member")]
pub enum Output {
    /// Send to the present socket.
    Text(ByteString),
    /// Close the present socket after that. The machine has already forgotten it.
    Close(CloseCode),
    /// Tell the proxy.
    Proxy(FromSession),
    /// Tell those who judge edges how one did for this client that it was handed.
    IceReport {
        /// Which.
        edge: EdgeId,
        /// How ICE failed over it; nothing where the client has measured it.
        failure: Option<IceFailure>,
    },
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
    /// Where the client is as far as is known ([`Catalog::place`]).
    pub place: Place,
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
    /// Which life of the session this is: tokens of others show that its client was elsewhere.
    issuer: u64,
    /// By which token its client came back last.
    presented: Presented,
    /// When its join was, as its token says it,
    joined: Unix,
    /// and on this node's own clock: the wall clock may be set meanwhile.
    began: Began,
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
    /// Signals that the present socket was sent, and not acknowledged one by one: so many
    /// acknowledgements do not count against the rate.
    acks_due: u32,
    /// Where the node would have its client go, and until when.
    moving: Option<(Vec<String>, Mono)>,
    /// The room to which it is moved.
    moved: Option<moved::Moved>,
    ways: edges::Ways,
    /// The last edges that it was offered, the present ones last.
    handed: VecDeque<EdgeId>,
    /// It may use edges that another node offered it.
    came_from_elsewhere: bool,
    ice_failures: Bucket,
    /// When to tell its client of edges that are being emptied.
    tell_draining_at: Mono,
    /// When to tell it of edges that came up.
    tell_up_at: Mono,
    refresh_ice_at: Mono,
    seen: details::Seen,
    /// Its place among those who wait to be let in, as its client was told.
    waits: Option<u32>,
    /// Who waits, where it may let them in.
    lobby: Arc<Vec<Knock>>,
    rng: ChaCha12Rng,
}

impl Session {
    /// Starts with a socket attached, and announces itself.
    pub fn new(now: Now, start: Start, out: &mut Vec<Output>) -> Self {
        let rebuilt = start.rebuilt.is_some();
        let (presented, marks) = start.rebuilt.map(|back| (back.presented, back.marks)).unwrap_or_default();
        let joined = if rebuilt { presented.joined } else { now.unix };
        let age = now.unix.since(joined);
        out.push(Output::Proxy(FromSession::Announce {
            member: start.member.clone(),
            marks: marks.clone(),
            presented: presented.attach,
            age,
        }));
        let mut rng = ChaCha12Rng::from_seed(start.seed);
        Self {
            room: start.room,
            member: start.member,
            issuer: rng.next_u64(),
            presented,
            joined,
            began: Began::ago(now.mono, age),
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
            acks_due: 0,
            moving: None,
            moved: None,
            ways: edges::Ways::from(start.place),
            handed: VecDeque::new(),
            came_from_elsewhere: rebuilt,
            ice_failures: Bucket::new(limits::ICE_FAILURES_PER_SEC, limits::ICE_FAILURES_BURST),
            tell_draining_at: Mono::NEVER,
            tell_up_at: Mono::NEVER,
            refresh_ice_at: Mono::NEVER,
            seen: details::Seen::begin(now),
            waits: None,
            lobby: Arc::default(),
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

    fn announce(&self, now: Now, marks: BTreeMap<PeerId, u64>, out: &mut Vec<Output>) {
        let (member, presented) = (self.member.clone(), self.presented.attach);
        let age = self.began.age(now.mono);
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
                self.seen.asked(now);
                self.push(ServerFrame::Ping.text(), out);
            }
        } else if now.mono.since(self.away_since) >= self.forget_after() {
            self.leave(LeaveReason::Lost, out); // the room would have said so, were it reachable
            return;
        }
        if self.leaves_at() <= now.mono {
            self.leave(LeaveReason::Moved, out);
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
        if self.tell_draining_at <= now.mono {
            self.tell_draining(now, world, out);
        }
        if self.tell_up_at <= now.mono {
            self.tell_up(now, world, out);
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
        let edges = self.refresh_ice_at.min(self.tell_draining_at).min(self.tell_up_at);
        socket.min(resend).min(edges).min(self.unavailable_at).min(self.leaves_at())
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

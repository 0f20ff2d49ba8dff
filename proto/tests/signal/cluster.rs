//! Nodes in memory around the real machines: sockets, the gate that a `join` passes, one session per
//! peer, one proxy per gateway, one room on its owner, and the wire between them, which may lose,
//! double, delay and reorder.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{
    AppId, Attach, Epoch, Generation, Identity, NodeId, PeerId, RoomKey, RoomName, SessionId, Shard,
};
use chappe_proto::signal::code::{CloseCode, ErrorCode, Refusal};
use chappe_proto::signal::frame::{ClientFrame, GoneReason, Join, ServerFrame};
use chappe_proto::signal::member::{Gateway, Grants, Member, Policy, Profile, Seat};
use chappe_proto::signal::proxy::{self, Proxy};
use chappe_proto::signal::resume::{OpenError, ResumeToken};
use chappe_proto::signal::room::{self, Revocation, Room};
use chappe_proto::signal::route::{
    Direct, DirectBody, FromRoom, FromSession, ProxyInput, RoomInput, Signal, ToRoom, ToSession,
};
use chappe_proto::signal::session::{self, Rebuilt, Session, Start, World};
use chappe_proto::signal::token::Claims;
use chappe_proto::time::{Mono, Now, Unix};
use chappe_proto::wire;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub(crate) const SHARD: Shard = Shard(7);

/// What the wire between nodes does to frames.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Of a thousand frames, so many are lost,
    pub(crate) lost: u32,
    /// doubled,
    pub(crate) doubled: u32,
    /// or overtake those before them on their link.
    pub(crate) overtaking: u32,
    /// Each takes up to this long.
    pub(crate) delay: Duration,
}

/// What a socket brings its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Down {
    Text(String),
    Closed(CloseCode),
}

enum Mail {
    ToRoom(Box<ToRoom>),
    FromRoom(Gateway, Box<FromRoom>),
    Direct(Gateway, Box<Direct>),
}

/// From where to where a frame goes; none is the owner.
type Link = (Option<Gateway>, Option<Gateway>);

enum Local {
    Proxy(usize, FromSession),
    Session(usize, PeerId, ToSession),
}

struct Socket {
    gateway: usize,
    session: Option<PeerId>,
}

pub(crate) struct Node {
    pub(crate) gateway: Gateway,
    pub(crate) up: bool,
    /// What the owner says does not arrive, or what it says does not arrive there.
    pub(crate) deaf: bool,
    pub(crate) mute: bool,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) sessions: BTreeMap<PeerId, (Session, Option<u32>)>,
    /// The owner's epoch as the registry's feed said last.
    pub(crate) epoch: Epoch,
    /// Its lives before this one are over, as far as the owner has heard.
    pub(crate) over_before: Generation,
}

/// What gateways and owners leave undone on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// No signal goes around the owner.
    StraightSignals,
    /// No acknowledgement does.
    StraightAcks,
    /// Sessions are not asked to say again what was on its way when the owner was suspected.
    SaysAgain,
    /// An owner without a lease goes on as if it had one.
    Freezes,
}

/// How revocations are answered by the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registry {
    Commits,
    Fails,
}

pub(crate) struct Cluster {
    pub(crate) now: Now,
    pub(crate) room: RoomKey,
    pub(crate) policy: Policy,
    pub(crate) world: World,
    pub(crate) nodes: Vec<Node>,
    pub(crate) owner: Option<Room>,
    pub(crate) owner_up: bool,
    /// Since when there is this owner, where there was another before that all gateways may know.
    owner_since: Option<Duration>,
    /// When a gateway's life ended last.
    lost_at: Duration,
    /// The owner holds no lease.
    pub(crate) frozen: bool,
    /// The gateway that is on the owner's node, if any.
    pub(crate) owner_at: Option<usize>,
    /// An owner without a lease that has not heard yet that there is another.
    former: Option<(Epoch, Room)>,
    /// How often an owner without a lease has changed the room.
    pub(crate) usurped: u64,
    /// Gateways that do not hear each other.
    pub(crate) apart: BTreeSet<(usize, usize)>,
    pub(crate) epoch: Epoch,
    pub(crate) weather: Weather,
    pub(crate) registry: Registry,
    pub(crate) revoked: Vec<(SessionId, Option<Identity>)>,
    /// Whether each frame between nodes is written and read.
    pub(crate) encodes: bool,
    /// What each socket was sent, in order.
    pub(crate) down: Vec<(u32, Down)>,
    /// What a shell would do outside.
    pub(crate) events: Vec<String>,
    pub(crate) rng: ChaCha8Rng,
    /// For the test of the test: no signal leaves its session a second time.
    pub(crate) drops_resends: bool,
    /// The same for each rule of an owner that cannot be reached.
    pub(crate) broken: Option<Broken>,
    /// Says what passes between nodes, but for signals.
    pub(crate) log: bool,
    seen: BTreeSet<(PeerId, PeerId, u64)>,
    /// Those of whom no node knows any more that they have left: the owner and every gateway that knew it
    /// ended before another heard of it.
    pub(crate) forgotten: BTreeSet<PeerId>,
    sockets: BTreeMap<u32, Socket>,
    wire: BinaryHeap<Reverse<(Duration, u64)>>,
    mail: BTreeMap<u64, Mail>,
    arrivals: BTreeMap<Link, Duration>,
    local: VecDeque<Local>,
    seq: u64,
    next_socket: u32,
}

fn mono(at: Mono) -> Duration {
    at.0
}

impl Cluster {
    pub(crate) fn new(seed: u64, nodes: u64, policy: Policy) -> Self {
        let now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::from_secs(1_700_000_000) };
        let node = |id| Node {
            gateway: Gateway { node: NodeId(id), generation: Generation(1) },
            up: true,
            deaf: false,
            mute: false,
            proxy: None,
            sessions: BTreeMap::new(),
            epoch: Epoch(1),
            over_before: Generation(1),
        };
        Self {
            now,
            room: RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("tower").unwrap() },
            policy,
            world: World { sealing: Arc::new(BTreeMap::from([(1, [7; 32])])), ..World::default() },
            nodes: (1..=nodes).map(node).collect(),
            owner: None,
            owner_up: true,
            owner_since: None,
            lost_at: Duration::ZERO,
            frozen: false,
            owner_at: None,
            former: None,
            usurped: 0,
            apart: BTreeSet::new(),
            epoch: Epoch(1),
            weather: Weather::default(),
            registry: Registry::Commits,
            revoked: Vec::new(),
            encodes: false,
            down: Vec::new(),
            events: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            drops_resends: false,
            broken: None,
            log: false,
            seen: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            sockets: BTreeMap::new(),
            wire: BinaryHeap::new(),
            mail: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            local: VecDeque::new(),
            seq: 0,
            next_socket: 0,
        }
    }

    pub(crate) fn per_mille(&mut self, part: u32) -> bool {
        part > 0 && self.rng.next_u32() % 1000 < part
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    // ------------------------------------------------------------------------------------- sockets

    /// A client connects to a gateway.
    pub(crate) fn connect(&mut self, gateway: usize) -> u32 {
        self.next_socket += 1;
        self.sockets.insert(self.next_socket, Socket { gateway, session: None });
        self.next_socket
    }

    pub(crate) fn is_open(&self, socket: u32) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// A socket ends without a word, and its gateway notices.
    pub(crate) fn cut(&mut self, socket: u32) {
        let Some(Socket { gateway, session: Some(peer) }) = self.sockets.remove(&socket) else { return };
        let mut out = Vec::new();
        if let Some((session, bound)) = self.nodes[gateway].sessions.get_mut(&peer)
            && *bound == Some(socket)
        {
            *bound = None;
            session.handle_socket_lost(self.now, &mut out);
        }
        self.session_outputs(gateway, peer, out);
        self.settle();
    }

    /// A text frame from a client.
    pub(crate) fn text(&mut self, socket: u32, text: &str) {
        let Some(Socket { gateway, session }) = self.sockets.get(&socket) else { return };
        let (gateway, session) = (*gateway, *session);
        match session {
            Some(peer) => self.with_session(gateway, peer, |session, now, world, out| {
                session.handle_text(now, world, text, out);
            }),
            None => self.gate(socket, gateway, text),
        }
        self.settle();
    }

    /// What a shell tells a session about its socket.
    pub(crate) fn with_socket(
        &mut self,
        socket: u32,
        act: impl FnOnce(&mut Session, Now, &World, &mut Vec<session::Output>),
    ) {
        if let Some(Socket { gateway, session: Some(peer) }) = self.sockets.get(&socket) {
            let (gateway, peer) = (*gateway, *peer);
            self.with_session(gateway, peer, act);
        }
        self.settle();
    }

    pub(crate) fn with_session(
        &mut self,
        gateway: usize,
        peer: PeerId,
        act: impl FnOnce(&mut Session, Now, &World, &mut Vec<session::Output>),
    ) {
        let mut out = Vec::new();
        if let Some((session, _)) = self.nodes[gateway].sessions.get_mut(&peer) {
            act(session, self.now, &self.world, &mut out);
        }
        self.session_outputs(gateway, peer, out);
    }

    fn say(&mut self, socket: u32, frame: &ServerFrame<'_>) {
        self.down.push((socket, Down::Text(frame.text().to_string())));
    }

    fn close(&mut self, socket: u32, code: CloseCode) {
        self.sockets.remove(&socket);
        self.down.push((socket, Down::Closed(code)));
    }

    // ---------------------------------------------------------------------------------------- gate

    /// What a socket without a session says.
    fn gate(&mut self, socket: u32, gateway: usize, text: &str) {
        match ClientFrame::read(text) {
            Ok(ClientFrame::Join(join)) => {
                if let Err(refusal) = self.join(socket, gateway, *join) {
                    self.say(socket, &ServerFrame::Error(&refusal));
                    self.say(socket, &ServerFrame::closed(CloseCode::Refused));
                    self.close(socket, CloseCode::Refused);
                }
            }
            Ok(_) => {
                let refusal = Refusal::new(ErrorCode::NotJoined, "the first frame is `join`");
                self.say(socket, &ServerFrame::Error(&refusal));
            }
            Err(refusal) => self.say(socket, &ServerFrame::Error(&refusal)),
        }
    }

    fn join(&mut self, socket: u32, gateway: usize, join: Join) -> Result<(), Refusal> {
        if let Some(text) = join.resume.clone() {
            if let Err(reason) = self.resume(socket, gateway, &text, join) {
                self.say(socket, &ServerFrame::Gone { reason });
            }
            return Ok(());
        }
        let (peer, session) = (PeerId::from_random(self.random()), SessionId::from_random(self.random()));
        let (grants, identity, name, capacity, token_until) = match &join.token {
            None if self.policy.anonymous => {
                (Grants::ANONYMOUS, join.identity, join.name, None, self.now.unix)
            }
            None => return Err(Refusal::new(ErrorCode::TokenMissing, "this app wants a token")),
            Some(text) => {
                let bad = |_| Refusal::new(ErrorCode::TokenInvalid, "not a token");
                let claims: Claims = serde_json::from_str(text).map_err(bad)?;
                let grants = claims.check(&join.room, self.now.unix)?;
                (grants, claims.sub.clone(), claims.name.clone(), claims.capacity, claims.until())
            }
        };
        let seat = Seat { peer, session, grants, capacity, token_until };
        let profile = Profile { identity, name, metadata: join.metadata };
        let member = Member { seat, profile, version: 0, attach: Attach(1), away: false, admitted: None };
        self.start(socket, gateway, member, None);
        Ok(())
    }

    fn resume(&mut self, socket: u32, gateway: usize, text: &str, join: Join) -> Result<(), GoneReason> {
        let token = ResumeToken::open(text, &self.world.sealing, self.now.unix).map_err(|e| match e {
            OpenError::Unknown => GoneReason::Unknown,
            OpenError::Expired => GoneReason::Expired,
        })?;
        let peer = token.seat.peer;
        if token.room != self.room {
            return Err(GoneReason::Unknown);
        }
        if self.is_revoked(token.seat.session, token.identity.as_ref()) {
            return Err(GoneReason::Revoked);
        }
        let Some((session, bound)) = self.nodes[gateway].sessions.get_mut(&peer) else {
            let presented = token.presented();
            let says = join.name.is_some() || join.metadata.is_some();
            let profile = Profile {
                identity: token.identity,
                name: join.name.or(token.name),
                metadata: join.metadata.or(token.metadata),
            };
            let member = Member {
                seat: token.seat,
                profile,
                version: if says { self.now.unix.millis() } else { 0 },
                attach: Attach(token.attach.0 + 1),
                away: false,
                admitted: Some(token.admitted),
            };
            self.start(socket, gateway, member, Some(Rebuilt { presented, marks: join.marks }));
            return Ok(());
        };
        let mut out = Vec::new();
        session.handle_resume(self.now, token.presented(), join.marks, &mut out)?;
        let former = bound.replace(socket);
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.session = Some(peer);
        }
        if let Some(former) = former.filter(|former| *former != socket) {
            self.say(former, &ServerFrame::closed(CloseCode::Replaced));
            self.close(former, CloseCode::Replaced);
        }
        self.session_outputs(gateway, peer, out);
        Ok(())
    }

    fn start(&mut self, socket: u32, gateway: usize, member: Member, rebuilt: Option<Rebuilt>) {
        let peer = member.seat.peer;
        let (room, policy, seed) = (self.room.clone(), self.policy, self.random());
        let start = Start { room, member, policy, region: None, rebuilt, seed };
        let (mut out, mut proxy_out) = (Vec::new(), Vec::new());
        let session = Session::new(self.now, start, &mut out);
        let node = &mut self.nodes[gateway];
        node.sessions.insert(peer, (session, Some(socket)));
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.session = Some(peer);
        }
        if node.proxy.is_none() {
            let mut proxy = Proxy::new(self.now, node.gateway, SHARD, node.epoch, &mut proxy_out);
            proxy.set_local(self.owner_at == Some(gateway) && node.epoch == self.epoch);
            node.proxy = Some(proxy);
        }
        self.proxy_outputs(gateway, proxy_out);
        self.session_outputs(gateway, peer, out);
    }

    fn is_revoked(&self, session: SessionId, identity: Option<&Identity>) -> bool {
        self.revoked.iter().any(|(s, i)| *s == session || (i.is_some() && i.as_ref() == identity))
    }

    // ------------------------------------------------------------------------------------- outputs

    fn session_outputs(&mut self, gateway: usize, peer: PeerId, outputs: Vec<session::Output>) {
        for output in outputs {
            let socket = self.nodes[gateway].sessions.get(&peer).and_then(|(_, socket)| *socket);
            match output {
                session::Output::Text(text) => {
                    if let Some(socket) = socket {
                        self.down.push((socket, Down::Text(text.to_string())));
                    }
                }
                session::Output::Close(code) => {
                    if let Some(socket) = socket {
                        self.close(socket, code);
                    }
                    if let Some((_, bound)) = self.nodes[gateway].sessions.get_mut(&peer) {
                        *bound = None;
                    }
                }
                session::Output::Proxy(input) => self.local.push_back(Local::Proxy(gateway, input)),
                session::Output::Over => {
                    self.nodes[gateway].sessions.remove(&peer);
                    if let Some(socket) = socket.and_then(|socket| self.sockets.get_mut(&socket)) {
                        socket.session = None;
                    }
                }
            }
        }
    }

    fn proxy_outputs(&mut self, gateway: usize, outputs: Vec<proxy::Output>) {
        for output in outputs {
            let node = &self.nodes[gateway];
            match output {
                proxy::Output::Room(body) => self.send_to_room(gateway, body),
                proxy::Output::Direct(to, body) => self.send_direct(gateway, to, body),
                proxy::Output::Sessions(ToSession::Resend, None)
                    if self.broken == Some(Broken::SaysAgain) => {}
                proxy::Output::Session(peer, input) => {
                    self.local.push_back(Local::Session(gateway, peer, input));
                }
                proxy::Output::Sessions(input, except) => {
                    let peers = node.sessions.keys().filter(|peer| Some(**peer) != except);
                    self.local.extend(peers.map(|peer| Local::Session(gateway, *peer, input.clone())));
                }
                proxy::Output::Asker(..) => {} // rooms stay at their anchor
                proxy::Output::Idle => {}      // `settle` looks, once its sessions have been heard
            }
        }
    }

    fn with_proxy(&mut self, gateway: usize, act: impl FnOnce(&mut Proxy, Now, &mut Vec<proxy::Output>)) {
        let mut out = Vec::new();
        if let Some(proxy) = &mut self.nodes[gateway].proxy {
            act(proxy, self.now, &mut out);
        }
        self.proxy_outputs(gateway, out);
    }

    fn former_outputs(&mut self, epoch: Epoch, outputs: Vec<room::Output>) {
        for output in outputs {
            match output {
                room::Output::To(to, body) => self.send_to_proxy(epoch, to, body),
                room::Output::All(body) => {
                    let former = self.former.iter().flat_map(|(_, room)| room.gateways());
                    for to in former.collect::<Vec<_>>() {
                        self.send_to_proxy(epoch, to, body.clone());
                    }
                }
                room::Output::Revoke(_) | room::Output::End(_) | room::Output::Anchor(_) => {}
            }
        }
    }

    fn room_outputs(&mut self, outputs: Vec<room::Output>) {
        let epoch = self.epoch;
        for output in outputs {
            match output {
                room::Output::To(to, body) => self.send_to_proxy(epoch, to, body),
                room::Output::All(body) => {
                    let gateways: Vec<Gateway> = self.owner.iter().flat_map(Room::gateways).collect();
                    for to in gateways {
                        self.send_to_proxy(epoch, to, body.clone());
                    }
                }
                room::Output::Revoke(revocation) => self.revoke(&revocation),
                room::Output::End(_) => self.events.push("allocations of a session end".to_owned()),
                room::Output::Anchor(_) => {} // a site's
            }
        }
        if let Some(owner) = self.owner.take_if(|room| room.is_idle()) {
            self.forget_left(owner.left().collect());
        }
    }

    fn revoke(&mut self, revocation: &Revocation) {
        let committed = self.registry == Registry::Commits;
        if committed {
            let identity = revocation.identity.clone().filter(|_| revocation.identity_until > self.now.unix);
            self.revoked.push((revocation.session, identity));
        }
        let mut out = Vec::new();
        if let Some(room) = &mut self.owner {
            room.handle_revoked(revocation, committed, &mut out);
        }
        self.room_outputs(out);
    }

    // ---------------------------------------------------------------------------------------- wire

    fn send_to_room(&mut self, gateway: usize, body: RoomInput) {
        let node = &self.nodes[gateway];
        let (shard, epoch) = node.proxy.as_ref().map_or((SHARD, node.epoch), Proxy::place);
        let local = self.owner_at == Some(gateway);
        let gateway = node.gateway;
        if !node.up || (node.mute && !local) {
            return;
        }
        let frame = ToRoom { room: self.room.clone(), shard, epoch, gateway, body };
        let frame = if self.encodes { again(&frame) } else { frame };
        self.post((Some(gateway), None), local, |frame| Mail::ToRoom(Box::new(frame)), frame);
    }

    fn send_direct(&mut self, gateway: usize, to: Gateway, body: DirectBody) {
        let broken = match &body {
            DirectBody::Signal(_) => Broken::StraightSignals,
            DirectBody::Ack(_) => Broken::StraightAcks,
        };
        let there = self.nodes.iter().position(|node| node.gateway.node == to.node).unwrap();
        if self.broken == Some(broken) || self.apart.contains(&(gateway.min(there), gateway.max(there))) {
            return;
        }
        let gateway = self.nodes[gateway].gateway;
        let frame = Direct { room: self.room.clone(), gateway, body };
        let frame = if self.encodes { again(&frame) } else { frame };
        self.post((Some(gateway), Some(to)), false, |frame| Mail::Direct(to, Box::new(frame)), frame);
    }

    fn send_to_proxy(&mut self, epoch: Epoch, to: Gateway, body: ProxyInput) {
        let frame = FromRoom { room: self.room.clone(), shard: SHARD, epoch, body };
        let local = self.owner_at.is_some_and(|at| self.nodes[at].gateway == to) && epoch == self.epoch;
        let node = self.nodes.iter().find(|node| node.gateway.node == to.node);
        if !local && node.is_some_and(|node| node.deaf) {
            return;
        }
        let frame = if self.encodes { again(&frame) } else { frame };
        self.post((None, Some(to)), local, |frame| Mail::FromRoom(to, Box::new(frame)), frame);
    }

    fn post<F: Clone>(&mut self, link: Link, local: bool, mail: impl Fn(F) -> Mail, frame: F) {
        let weather = if local { Weather::default() } else { self.weather };
        if self.per_mille(weather.lost) {
            return;
        }
        let copies = if self.per_mille(weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let range = u64::try_from(weather.delay.as_micros()).unwrap() + 1;
            let mut at = mono(self.now.mono) + Duration::from_micros(self.rng.next_u64() % range);
            let last = self.arrivals.entry(link).or_default();
            let last_was = *last;
            if weather.overtaking == 0 || self.rng.next_u32() % 1000 >= weather.overtaking {
                at = at.max(last_was);
                self.arrivals.insert(link, at);
            }
            self.seq += 1;
            self.wire.push(Reverse((at, self.seq)));
            self.mail.insert(self.seq, mail(frame.clone()));
        }
    }

    fn note(&self, mail: &Mail) {
        let line = match mail {
            Mail::ToRoom(frame) => match &frame.body {
                RoomInput::Signal(_) | RoomInput::Ack(_) => return,
                body => format!("{} > epoch {} {body:?}", frame.gateway.node, frame.epoch),
            },
            Mail::FromRoom(to, frame) => match &frame.body {
                ProxyInput::Signal(_) | ProxyInput::Ack(_) | ProxyInput::Taken { .. } => return,
                body => format!("{} < epoch {} {body:?}", to.node, frame.epoch),
            },
            Mail::Direct(..) => return,
        };
        println!("{:9.3} {line}", (self.now.mono.0 - Duration::from_secs(1000)).as_secs_f64());
    }

    fn arrive(&mut self, mail: Mail) {
        if self.log {
            self.note(&mail);
        }
        match mail {
            Mail::ToRoom(frame) => self.at_owner(*frame),
            Mail::FromRoom(to, frame) => {
                let Some(at) = self.nodes.iter().position(|node| node.gateway == to && node.up) else {
                    return;
                };
                if self.nodes[at].proxy.is_some() {
                    self.with_proxy(at, |proxy, now, out| proxy.handle_room(now, *frame, out));
                } else if !matches!(frame.body, ProxyInput::Refused { .. }) {
                    self.nodes[at].epoch = self.nodes[at].epoch.max(frame.epoch);
                    self.send_to_room(at, RoomInput::Detach);
                }
            }
            Mail::Direct(to, frame) => {
                if let Some(at) = self.nodes.iter().position(|node| node.gateway.node == to.node) {
                    let Direct { gateway, body, .. } = *frame;
                    self.with_proxy(at, |proxy, now, out| proxy.handle_direct(now, gateway, body, out));
                }
            }
        }
    }

    fn at_owner(&mut self, frame: ToRoom) {
        let from = frame.gateway;
        let is_over = |node: &Node| node.gateway.node == from.node && from.generation < node.over_before;
        if !self.owner_up || self.nodes.iter().any(is_over) {
            return;
        }
        if let Some((epoch, former)) = &mut self.former
            && frame.epoch == *epoch
        {
            let (epoch, mut out) = (*epoch, Vec::new());
            let before = former.last_change();
            former.handle(self.now, frame.gateway, frame.body, &|_, _| false, &mut out);
            self.usurped += u64::from(former.last_change() != before);
            return self.former_outputs(epoch, out);
        }
        if frame.epoch != self.epoch {
            if frame.epoch < self.epoch {
                self.send_to_proxy(self.epoch, frame.gateway, ProxyInput::Refused { epoch: self.epoch });
            }
            return;
        }
        if self.owner.is_none() && frame.body == RoomInput::Detach {
            return; // no room is made for it
        }
        let mut first = Vec::new();
        if self.owner.is_none() {
            let mut room = self.fresh_room();
            room.handle_timeout(self.now, &mut first);
            self.owner = Some(room);
        }
        let Some(room) = &mut self.owner else { return };
        let revoked = &self.revoked;
        let is_revoked = |session: SessionId, identity: Option<&Identity>| {
            revoked.iter().any(|(s, i)| *s == session || (i.is_some() && i.as_ref() == identity))
        };
        let (mut out, before) = (first, room.last_change());
        room.handle(self.now, frame.gateway, frame.body, &is_revoked, &mut out);
        self.usurped += u64::from(self.frozen && room.last_change() != before);
        self.room_outputs(out);
    }

    // ------------------------------------------------------------------------------------- faults

    /// A process ends at once and starts anew: a new generation that knows nothing.
    pub(crate) fn restart_gateway(&mut self, gateway: usize) {
        let lost: Vec<u32> =
            self.sockets.iter().filter(|(_, s)| s.gateway == gateway).map(|(id, _)| *id).collect();
        for socket in &lost {
            self.sockets.remove(socket);
        }
        let epoch = self.epoch;
        self.lost_at = mono(self.now.mono);
        let node = &mut self.nodes[gateway];
        let proxy = node.proxy.take();
        node.epoch = epoch;
        node.sessions.clear();
        node.gateway.generation.0 += 1;
        self.forget_left(proxy.iter().flat_map(Proxy::left).collect());
        if self.owner_at == Some(gateway) {
            self.stop_owner();
        }
    }

    /// Somebody who knew that these have left is gone.
    fn forget_left(&mut self, known: Vec<PeerId>) {
        let proxies = || self.nodes.iter().filter_map(|node| node.proxy.as_ref());
        let known_still = |peer: &PeerId| {
            proxies().any(|proxy| proxy.left().any(|left| left == *peer))
                || self.owner.iter().any(|room| room.left().any(|left| left == *peer))
        };
        let forgotten: Vec<PeerId> = known.into_iter().filter(|peer| !known_still(peer)).collect();
        self.forgotten.extend(forgotten);
    }

    /// The registry says that a former life of this gateway is over.
    pub(crate) fn tell_gateway_lost(&mut self, gateway: usize) {
        let mut lost = self.nodes[gateway].gateway;
        self.nodes[gateway].over_before = lost.generation;
        lost.generation.0 -= 1;
        let mut out = Vec::new();
        if let Some(room) = &mut self.owner {
            room.handle_gateway_lost(self.now, lost, &mut out);
        }
        self.room_outputs(out);
        self.settle();
    }

    /// A gateway forgets one session, as when its actor has failed.
    pub(crate) fn forget_session(&mut self, gateway: usize, peer: PeerId) {
        if let Some((_, socket)) = self.nodes[gateway].sessions.remove(&peer) {
            if let Some(socket) = socket {
                self.sockets.remove(&socket);
            }
            self.with_proxy(gateway, |proxy, now, out| proxy.handle_session_lost(now, peer, out));
        }
        self.settle();
    }

    fn fresh_room(&self) -> Room {
        let mut room = Room::new(self.epoch, self.policy);
        if let Some(at) = self.owner_at {
            room.set_node(self.nodes[at].gateway.node);
        }
        if self.frozen && self.broken != Some(Broken::Freezes) {
            room.set_frozen(self.now, true, &mut Vec::new());
        }
        // As the shell does: also where a room is forgotten, and made anew later.
        if let Some(since) = self.owner_since {
            if mono(self.now.mono).saturating_sub(since) >= self.policy.grace {
                room.set_settled();
            } else {
                room.expect_gateways(self.now, self.nodes.iter().map(|node| node.gateway));
                if mono(self.now.mono).saturating_sub(self.lost_at) >= self.policy.grace {
                    room.set_unbroken();
                }
            }
        }
        room
    }

    /// The owner's lease ends, or is back.
    pub(crate) fn freeze_owner(&mut self, frozen: bool) {
        self.frozen = frozen;
        if self.broken == Some(Broken::Freezes) {
            return;
        }
        let mut out = Vec::new();
        if let Some(room) = &mut self.owner {
            room.set_frozen(self.now, frozen, &mut out);
        }
        self.room_outputs(out);
        self.settle();
    }

    /// A gateway is told that its link to the owner's node is up or down.
    pub(crate) fn tell_link(&mut self, gateway: usize, up: bool) {
        self.with_proxy(gateway, |proxy, now, out| proxy.handle_link(now, up, out));
        self.settle();
    }

    /// The owner's process ends; the room is nowhere until [`Self::new_owner`].
    pub(crate) fn stop_owner(&mut self) {
        let owner = self.owner.take();
        (self.owner_up, self.frozen) = (false, false);
        self.forget_left(owner.iter().flat_map(Room::left).collect());
    }

    /// Somebody owns the shard at the next epoch, and perhaps waits for all gateways. They hear of it
    /// by [`Self::tell_moved`].
    pub(crate) fn new_owner(&mut self, expects: bool) {
        // One that has lost its lease goes on until it hears of the next.
        self.former = self.owner.take().filter(|_| self.frozen).map(|room| (self.epoch, room));
        (self.owner_up, self.frozen) = (true, false);
        self.epoch.0 += 1;
        self.owner_since = expects.then_some(mono(self.now.mono));
        if expects {
            self.owner = Some(self.fresh_room());
        }
    }

    /// A former owner hears that it is one.
    pub(crate) fn end_former(&mut self) {
        let former = self.former.take();
        self.forget_left(former.iter().flat_map(|(_, room)| room.left()).collect());
    }

    /// The registry's feed reaches a gateway.
    pub(crate) fn tell_moved(&mut self, gateway: usize) {
        let epoch = self.epoch;
        self.nodes[gateway].epoch = epoch;
        let local = self.owner_at == Some(gateway);
        self.with_proxy(gateway, |proxy, now, out| {
            proxy.set_local(local);
            proxy.handle_moved(now, SHARD, epoch, out);
        });
        self.settle();
    }

    // ---------------------------------------------------------------------------------------- time

    /// Everything that happens without time passing.
    pub(crate) fn settle(&mut self) {
        loop {
            if let Some(local) = self.local.pop_front() {
                match local {
                    Local::Proxy(_, FromSession::Signal(signal) | FromSession::Again(signal))
                        if self.was_sent(&signal) => {}
                    Local::Proxy(gateway, input) => {
                        self.with_proxy(gateway, |proxy, now, out| proxy.handle_session(now, input, out));
                    }
                    Local::Session(gateway, peer, input) => {
                        self.with_session(gateway, peer, |session, now, world, out| {
                            session.handle_proxy(now, world, input, out);
                        });
                    }
                }
                continue;
            }
            let due = self.wire.peek().is_some_and(|Reverse((at, _))| *at <= mono(self.now.mono));
            if due {
                let mail = self.wire.pop().and_then(|Reverse((_, seq))| self.mail.remove(&seq));
                mail.into_iter().for_each(|mail| self.arrive(mail));
            } else if !self.sweep() {
                return;
            }
        }
    }

    /// With `drops_resends`: whether a session said this before.
    fn was_sent(&mut self, signal: &Signal) -> bool {
        self.drops_resends && !self.seen.insert((signal.from, signal.to, signal.id))
    }

    /// Forgets a proxy that nobody needs.
    fn sweep(&mut self) -> bool {
        let idle = |node: &Node| node.sessions.is_empty() && node.proxy.as_ref().is_some_and(Proxy::is_idle);
        let Some(gateway) = self.nodes.iter().position(idle) else { return false };
        self.send_to_room(gateway, RoomInput::Detach);
        let proxy = self.nodes[gateway].proxy.take();
        self.forget_left(proxy.iter().flat_map(Proxy::left).collect());
        true
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Duration {
        let mut next = Duration::MAX;
        if let Some(Reverse((at, _))) = self.wire.peek() {
            next = *at;
        }
        for node in &self.nodes {
            for (session, _) in node.sessions.values() {
                next = next.min(mono(session.poll_timeout()));
            }
            if let Some(proxy) = &node.proxy {
                next = next.min(mono(proxy.poll_timeout()));
            }
        }
        if let Some((_, room)) = &self.former {
            next = next.min(mono(room.poll_timeout()));
        }
        self.owner.as_ref().map_or(next, |room| next.min(mono(room.poll_timeout())))
    }

    /// Who wants to be woken now.
    fn who(&self) -> String {
        let due = |at: Mono| at <= self.now.mono;
        for node in &self.nodes {
            for (peer, (session, _)) in &node.sessions {
                if due(session.poll_timeout()) {
                    return format!("the session of {peer}");
                }
            }
            if node.proxy.as_ref().is_some_and(|proxy| due(proxy.poll_timeout())) {
                return format!("the proxy of {:?}", node.gateway);
            }
        }
        let room = self.owner.as_ref().is_some_and(|room| due(room.poll_timeout()));
        if room { "the room".to_owned() } else { "the wire".to_owned() }
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, step: Duration) {
        let end = mono(self.now.mono) + step;
        self.settle();
        loop {
            let next = self.next();
            if next > end {
                break;
            }
            self.now = self.now.after(next.saturating_sub(mono(self.now.mono)));
            self.timeouts();
            self.settle();
            // The last gateway that a room waited for may make due at once what was held up till then.
            if self.next() <= mono(self.now.mono) {
                self.timeouts();
                self.settle();
            }
            assert!(
                self.next() > mono(self.now.mono),
                "a machine wants to be woken again at once: {}",
                self.who()
            );
        }
        self.now = self.now.after(end - mono(self.now.mono));
    }

    fn timeouts(&mut self) {
        let now = self.now;
        for gateway in 0..self.nodes.len() {
            let due = |(peer, (session, _)): (&PeerId, &(Session, Option<u32>))| {
                (session.poll_timeout() <= now.mono).then_some(*peer)
            };
            let due: Vec<PeerId> = self.nodes[gateway].sessions.iter().filter_map(due).collect();
            for peer in due {
                self.with_session(gateway, peer, |session, now, world, out| {
                    session.handle_timeout(now, world, out);
                });
            }
            if self.nodes[gateway].proxy.as_ref().is_some_and(|proxy| proxy.poll_timeout() <= now.mono) {
                self.with_proxy(gateway, |proxy, now, out| proxy.handle_timeout(now, out));
            }
        }
        if let Some(room) = self.owner.as_mut().filter(|room| room.poll_timeout() <= now.mono) {
            let mut out = Vec::new();
            room.handle_timeout(now, &mut out);
            self.room_outputs(out);
        }
        if let Some((epoch, room)) = self.former.as_mut().filter(|(_, room)| room.poll_timeout() <= now.mono)
        {
            let (epoch, mut out) = (*epoch, Vec::new());
            room.handle_timeout(now, &mut out);
            self.former_outputs(epoch, out);
        }
    }
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned>(frame: &T) -> T {
    let bytes = wire::encode(frame).unwrap();
    wire::decode(&bytes, bytes.len()).unwrap()
}

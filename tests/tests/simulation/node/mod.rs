//! A node's process: the shell around the machines, as thin as the real one and with the same rules.
//!
//! | here | mirrors |
//! |---|---|
//! | `mod.rs`, the local queue, `rooms.rs` | `cluster::actor::{room, proxy, session}`: each hands its machine's outputs on |
//! | `gate.rs` | `cluster::actor::gateway`: what a socket without a session says |
//! | `router.rs` | `cluster::router`: frames between proxies and rooms on any node |
//! | `follow.rs` | `cluster::keeper` and `start`: what the applied registry changes |
//! | `drain.rs` | `cluster::drain`: a node that drains sends its clients elsewhere |
//! | `feed.rs` | `cluster::feed`: the registry's feed, followed and served |
//! | `front.rs` | `cluster::Front`: proposals that reach the leader from any node |

mod drain;
mod feed;
mod follow;
mod front;
mod gate;
mod keeper;
mod registry;
mod rooms;
mod router;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::consensus::Published;
use chappe_cluster::consensus::member::Member;
use chappe_proto::id::{AppId, NodeId, PeerId, RoomKey};
use chappe_proto::registry::State;
use chappe_proto::signal::code::CloseCode;
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::proxy::{self, Proxy};
use chappe_proto::signal::room::Room;
use chappe_proto::signal::route::{FromRoom, FromSession, RoomInput, ToRoom, ToSession};
use chappe_proto::signal::session::{self, Session, World};
use chappe_proto::signal::site::Site;
use chappe_proto::time::{Mono, Now, Unix};

use crate::breaks::Break;
use crate::env::{Down, Env, id_of};
use front::Front;
use keeper::Keeper;
use registry::Registry;
use rooms::{At, RoomSlot};

/// Unix time at the simulation's beginning, before any skew.
pub(crate) const BEGAN: u64 = 1_700_000_000;

/// What machines of one node say to each other.
#[derive(Debug)]
enum Local {
    ToProxy(RoomKey, FromSession),
    ToSession(PeerId, ToSession),
    ToRoom(ToRoom),
    FromRoom(FromRoom),
}

struct SessionSlot {
    machine: Session,
    room: RoomKey,
    socket: Option<u32>,
}

/// How the node's clocks differ from true time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    /// Monotonic: since the machine was started.
    pub(crate) booted: Duration,
    /// The wall clock is late by this.
    pub(crate) late: Duration,
}

impl Clocks {
    fn now(self, env: &Env) -> Now {
        let unix = Duration::from_secs(BEGAN) + env.at - self.late;
        Now { mono: Mono(env.at + self.booted), unix: Unix(unix) }
    }
}

pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) id: NodeId,
    clocks: Clocks,
    /// This process as others know it, once its `NodeUp` is applied here.
    pub(crate) gateway: Option<Gateway>,
    pub(crate) state: Arc<State>,
    published: Arc<Published>,
    feeds: feed::Feeds,
    keeper: Keeper,
    registry: Registry,
    world: World,
    rooms: BTreeMap<At, RoomSlot>,
    proxies: BTreeMap<RoomKey, Proxy>,
    sessions: BTreeMap<PeerId, SessionSlot>,
    sockets: BTreeMap<u32, Option<PeerId>>,
    local: VecDeque<Local>,
    /// A proxy may be needed no more.
    idle: bool,
    /// Frames of epochs that are not applied here yet.
    early: VecDeque<ToRoom>,
    front: Front,
    drain: Option<drain::Drain>,
    /// With `DropsResends`: what sessions have sent.
    sent: BTreeSet<(PeerId, PeerId, u64)>,
}

impl Node {
    /// A process begins with what its disk knows.
    pub(crate) fn new(env: &mut Env, index: usize, clocks: Clocks) -> Self {
        let (durable, state) = env.disks[index].read();
        let (seed, now) = (env.dice.number(), clocks.now(env));
        let member = Member::new(now, seed, durable, Arc::clone(&state)).unwrap();
        let registry = Registry::new(member);
        let mut node = Self {
            index,
            id: id_of(index),
            clocks,
            gateway: None,
            world: World::default(),
            published: Arc::new(Published::new(Arc::clone(&state))),
            feeds: feed::Feeds::default(),
            keeper: Keeper::new(),
            registry,
            rooms: BTreeMap::new(),
            proxies: BTreeMap::new(),
            sessions: BTreeMap::new(),
            sockets: BTreeMap::new(),
            local: VecDeque::new(),
            idle: false,
            early: VecDeque::new(),
            front: Front::new(env),
            drain: None,
            sent: BTreeSet::new(),
            state,
        };
        node.publish();
        node.come_up(env);
        node
    }

    pub(crate) fn now(&self, env: &Env) -> Now {
        self.clocks.now(env)
    }

    /// A clock of this node, in true time.
    fn true_time(&self, at: Mono) -> Duration {
        if at == Mono::NEVER { Duration::MAX } else { at.0.saturating_sub(self.clocks.booted) }
    }

    /// The wall clock is set.
    pub(crate) const fn set_late(&mut self, late: Duration) {
        self.clocks.late = late;
    }

    pub(crate) fn rooms(&self) -> impl Iterator<Item = (&RoomKey, &Room)> {
        self.rooms.iter().filter_map(|((key, _), slot)| Some((key, slot.machine.room()?)))
    }

    /// Whether something here knows that this peer has left for good.
    pub(crate) fn knows_left(&self, peer: PeerId) -> bool {
        let rooms = self.rooms().flat_map(|(_, room)| room.left());
        self.proxies.values().flat_map(Proxy::left).chain(rooms).any(|left| left == peer)
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&RoomKey, PeerId, usize)> {
        self.sessions.iter().map(|(peer, slot)| (&slot.room, *peer, slot.machine.unacknowledged()))
    }

    pub(crate) fn repairs(&self) -> u64 {
        self.proxies.values().map(Proxy::repairs).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        // An anchor remembers for a while where a room was.
        self.rooms().next().is_none() && self.proxies.is_empty() && self.sessions.is_empty()
    }

    /// Where a room is found on this node.
    fn name<'a>(env: &Env, room: &'a RoomKey) -> Cow<'a, RoomKey> {
        if env.broken(Break::CrossesRooms) {
            return Cow::Owned(RoomKey { app: AppId::new("one").unwrap(), room: room.room.clone() });
        }
        Cow::Borrowed(room)
    }

    // --------------------------------------------------------------------------------- local queue

    /// Everything that happens without time passing.
    pub(crate) fn settle(&mut self, env: &mut Env) {
        loop {
            while let Some(local) = self.local.pop_front() {
                match local {
                    Local::ToProxy(room, input) => self.hear_session(env, &room, input),
                    Local::ToSession(peer, input) => {
                        self.with_session(env, peer, |session, now, world, out| {
                            session.handle_proxy(now, world, input, out);
                        });
                    }
                    Local::ToRoom(frame) => self.at_room(env, frame),
                    Local::FromRoom(frame) => self.at_proxy(env, self.index, frame),
                }
            }
            if !self.sweep(env) {
                return;
            }
        }
    }

    fn hear_session(&mut self, env: &mut Env, room: &RoomKey, mut input: FromSession) {
        if let FromSession::Signal(signal) | FromSession::Again(signal) = &mut input {
            if env.broken(Break::DropsResends) && !self.sent.insert((signal.from, signal.to, signal.id)) {
                return;
            }
            if env.broken(Break::HidesSettled) {
                signal.settled = 0;
            }
        }
        self.proxy_of(env, room);
        self.with_proxy(env, room, |proxy, now, out| proxy.handle_session(now, input, out));
    }

    /// Forgets a proxy that nobody needs.
    fn sweep(&mut self, env: &mut Env) -> bool {
        if !std::mem::take(&mut self.idle) {
            return false;
        }
        let used = |room: &RoomKey| self.sessions.values().any(|slot| *Self::name(env, &slot.room) == *room);
        let idle = self.proxies.iter().find(|(room, proxy)| proxy.is_idle() && !used(room));
        let Some(room) = idle.map(|(room, _)| room.clone()) else { return false };
        self.idle = true;
        self.with_proxy(env, &room, |_, _, out| out.push(proxy::Output::Room(RoomInput::Detach)));
        self.proxies.remove(&room);
        true
    }

    // ------------------------------------------------------------------------------------ sessions

    fn with_session(
        &mut self,
        env: &mut Env,
        peer: PeerId,
        act: impl FnOnce(&mut Session, Now, &World, &mut Vec<session::Output>),
    ) {
        let (now, mut out) = (self.now(env), Vec::new());
        if let Some(slot) = self.sessions.get_mut(&peer) {
            act(&mut slot.machine, now, &self.world, &mut out);
        }
        self.session_outputs(env, peer, out);
    }

    fn session_outputs(&mut self, env: &mut Env, peer: PeerId, outputs: Vec<session::Output>) {
        for output in outputs {
            let Some(slot) = self.sessions.get_mut(&peer) else { return };
            match output {
                session::Output::Text(text) => {
                    if let Some(socket) = slot.socket {
                        env.down(socket, Down::Text(text.to_string()));
                    }
                }
                session::Output::Close(code) => {
                    if let Some(socket) = slot.socket.take() {
                        self.close(env, socket, code);
                    }
                }
                session::Output::Proxy(input) => {
                    self.local.push_back(Local::ToProxy(Self::name(env, &slot.room).into_owned(), input));
                }
                session::Output::IceReport { .. } => {} // there are no edges here
                session::Output::Over => {
                    // Its socket stays for a fresh join.
                    if let Some(socket) = slot.socket.take() {
                        self.sockets.insert(socket, None);
                    }
                    self.sessions.remove(&peer);
                    self.idle = true;
                }
            }
        }
    }

    fn close(&mut self, env: &mut Env, socket: u32, code: CloseCode) {
        if self.sockets.remove(&socket).is_some() {
            env.down(socket, Down::Closed(code));
        }
    }

    // ------------------------------------------------------------------------------------- proxies

    /// This gateway's proxy of a room, begun if there is none.
    fn proxy_of(&mut self, env: &mut Env, room: &RoomKey) {
        let Some(gateway) = self.gateway.filter(|_| !self.proxies.contains_key(room)) else { return };
        let (now, shard) = (self.now(env), room.anchor());
        let epoch = self.state.shard(shard).map(|entry| entry.epoch).unwrap_or_default();
        let mut out = Vec::new();
        let proxy = Proxy::new(now, gateway, shard, epoch, &mut out);
        self.proxies.insert(room.clone(), proxy);
        self.idle = true; // until it has heard who is in it
        self.proxy_outputs(env, room, out);
        self.follow_link(env, room);
    }

    fn with_proxy(
        &mut self,
        env: &mut Env,
        room: &RoomKey,
        act: impl FnOnce(&mut Proxy, Now, &mut Vec<proxy::Output>),
    ) {
        let (now, mut out) = (self.now(env), Vec::new());
        if let Some(proxy) = self.proxies.get_mut(room) {
            act(proxy, now, &mut out);
        }
        self.proxy_outputs(env, room, out);
    }

    fn proxy_outputs(&mut self, env: &mut Env, room: &RoomKey, outputs: Vec<proxy::Output>) {
        for output in outputs {
            match output {
                proxy::Output::Room(body) => self.send_room(env, room, body),
                proxy::Output::Direct(to, body) => self.send_proxy(env, room, to, body),
                proxy::Output::Session(peer, input) => self.local.push_back(Local::ToSession(peer, input)),
                proxy::Output::Sessions(input, except) => {
                    let here = |(peer, slot): &(&PeerId, &SessionSlot)| {
                        *Self::name(env, &slot.room) == *room && Some(**peer) != except
                    };
                    let peers = self.sessions.iter().filter(here);
                    self.local.extend(peers.map(|(peer, _)| Local::ToSession(*peer, input.clone())));
                }
                proxy::Output::Asker(place, body) => self.send_site(env, room, place, body),
                proxy::Output::Idle => self.idle = true, // once its sessions have been heard
            }
        }
    }

    // ---------------------------------------------------------------------------------------- time

    /// When [`Self::timers`] has something to do, in true time.
    pub(crate) fn deadline(&self, env: &Env) -> Duration {
        let sessions = self.sessions.values().map(|slot| slot.machine.poll_timeout());
        let proxies = self.proxies.values().map(Proxy::poll_timeout);
        let now = self.now(env);
        let rooms = self.rooms.values().map(|slot| slot.machine.poll_timeout(now));
        let member = self.registry.member.poll_timeout();
        let machines = sessions.chain(proxies).chain(rooms).min().unwrap_or(Mono::NEVER).min(member);
        let keeper = self.keeper_deadline(self.now(env).mono);
        self.true_time(machines).min(self.front.deadline()).min(keeper).min(self.drain_deadline())
    }

    /// What of it has something to do, and when.
    pub(crate) fn who(&self, env: &Env) -> String {
        let now = self.now(env).mono;
        let late = |at: Mono| at <= now;
        let sessions = self.sessions.values().filter(|slot| late(slot.machine.poll_timeout())).count();
        let proxies = self.proxies.values().filter(|proxy| late(proxy.poll_timeout())).count();
        let rooms = self.rooms.values().filter(|slot| late(slot.machine.poll_timeout(self.now(env)))).count();
        let (member, keeper) =
            (late(self.registry.member.poll_timeout()), self.keeper_deadline(now) <= env.at);
        let front = self.front.deadline() <= env.at;
        format!(
            "{sessions} sessions, {proxies} proxies, {rooms} rooms, member {member}, keeper {keeper} {:?}, front {front}",
            self.keeper_state(now)
        )
    }

    /// Lets every machine whose time has come do what it has to.
    pub(crate) fn timers(&mut self, env: &mut Env) {
        let now = self.now(env).mono;
        if self.registry.member.poll_timeout() <= now {
            self.registry.member.handle_timeout(self.now(env));
            self.pump(env);
            self.keep_feed(env);
        }
        let peers = self.sessions.iter().filter(|(_, slot)| slot.machine.poll_timeout() <= now);
        let peers: Vec<PeerId> = peers.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.with_session(env, peer, |session, now, world, out| session.handle_timeout(now, world, out));
        }
        let due = self.proxies.iter().filter(|(_, proxy)| proxy.poll_timeout() <= now);
        let due: Vec<RoomKey> = due.map(|(room, _)| room.clone()).collect();
        for room in due {
            self.with_proxy(env, &room, |proxy, now, out| proxy.handle_timeout(now, out));
        }
        self.keep(env);
        self.keep_drained(env);
        let at = self.now(env);
        let due = self.rooms.iter().filter(|(_, slot)| slot.machine.poll_timeout(at) <= now);
        let due: Vec<At> = due.map(|(at, _)| at.clone()).collect();
        for at in due {
            self.with_site(env, &at, Site::handle_timeout);
        }
        self.front_timers(env);
        self.settle(env);
    }
}

//! One seed: a cluster and its clients, a storm, then calm; what must hold all the time, and what must hold
//! in the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::consensus::member::Durable;
use chappe_proto::id::{AppId, ClusterId, Identity, Index, KeyId, NodeId, PeerId, Region, RoomKey, RoomName};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::placement::solve;
use chappe_proto::registry::profile::ProfileName;
use chappe_proto::registry::{AppPolicy, Command, Entry, NodeAddresses, State, VERSION};
use chappe_proto::time::Unix;

use super::breaks::Break;
use super::client::{self, Client, Fact, Want, Who};
use super::dice::{Dice, ms};
use super::disk::Disk;
use super::env::{Down, Env, Event, Packet, id_of};
use super::faults::{self, Fault};
use super::invariants::{Name, Wrong, revoked, roster};
use super::network::{Network, Weather};
use super::node::{BEGAN, Clocks, Node};

/// When the first fault may come.
const BEGIN: Duration = ms(2500);
/// Everything must be well within this of the calm: sockets that died unnoticed take their whole silence,
/// and the grace after it, twice and more where no room counts it.
const CALM: Duration = ms(90_000);
/// So often something may happen at one moment.
const STILL: u32 = 10_000;
const FAREWELL: Duration = ms(30_000);

struct Host {
    node: Option<Node>,
    /// When its process has something to do; asked again whenever it has done something.
    due: Duration,
    clocks: Clocks,
    paused: bool,
}

/// What a seed amounted to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sum {
    pub(crate) seeds: u64,
    pub(crate) taken: u64,
    pub(crate) undelivered: u64,
    pub(crate) kicked: usize,
    pub(crate) entries: u64,
    pub(crate) repairs: u64,
    pub(crate) calm: Duration,
}

impl Sum {
    /// Of this and another.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            seeds: self.seeds + other.seeds,
            taken: self.taken + other.taken,
            undelivered: self.undelivered + other.undelivered,
            kicked: self.kicked + other.kicked,
            entries: self.entries + other.entries,
            repairs: self.repairs + other.repairs,
            calm: self.calm.max(other.calm),
        }
    }
}

pub(crate) struct World {
    env: Env,
    hosts: Vec<Host>,
    clients: Vec<Client>,
    /// When each client does something next, until the calm.
    acts: Vec<Duration>,
    /// When each client's timers have something to do; asked again whenever it has done something.
    dues: Vec<Duration>,
    rooms: BTreeSet<RoomKey>,
    storm: Duration,
    lively: bool,
}

fn weather(dice: &mut Dice, wan: bool) -> Weather {
    let delay = if wan { dice.between(ms(20), ms(60)) } else { Duration::from_micros(300) };
    let jitter = if wan { ms(20) } else { dice.between(ms(1), ms(15)) };
    // Half of the seeds have what the mesh has: streams.
    if dice.one_in(2) {
        return Weather { lost: 0, doubled: 0, overtaking: 0, delay, jitter };
    }
    let part = |dice: &mut Dice| dice.below(30) as u32;
    Weather { lost: part(dice), doubled: part(dice), overtaking: part(dice), delay, jitter }
}

/// The registry that a cluster begins with: what its operators set up before.
fn founded(dice: &mut Dice, nodes: usize, wan: bool, rooms: &[(RoomKey, KeyId)]) -> State {
    let mut state = State::default();
    let policy = AppPolicy {
        grace_ms: 3000 + dice.below(3000) as u64,
        anonymous: false,
        capacity: 16,
        frames_burst: if dice.one_in(4) { 30 } else { 200 },
        frames_per_sec: if dice.one_in(4) { 20 } else { 100 },
        origins: Vec::new(),
    };
    let secret = Secret(dice.bytes::<32>().to_vec());
    let mut commands = vec![
        Command::ClusterBegin {
            id: ClusterId::from_random(dice.bytes()),
            name: "simulation".into(),
            realm: "simulation".into(),
        },
        Command::ProfileSet { profile: if wan { ProfileName::Wan } else { ProfileName::Lan } },
        Command::SealingKeyAdd { number: 1, key: secret.clone() },
        Command::VotersSet { wanted: if nodes > 3 && dice.one_in(2) { 5 } else { 3 } },
    ];
    for (room, key) in rooms {
        let (app, policy) = (room.app.clone(), policy.clone());
        commands.push(Command::AppAdd { app: app.clone(), name: app.to_string(), policy });
        commands.push(Command::KeyAdd { app, key: *key, secret: secret.clone() });
    }
    for node in 0..nodes {
        let region = Region::new(if node % 2 == 0 { "west" } else { "east" }).unwrap();
        let node = id_of(node);
        commands.push(Command::NodeAdd { node, region });
        let (addresses, build) = (NodeAddresses::default(), String::new());
        commands.push(Command::NodeUp { node, addresses, build, speaks: VERSION });
    }
    let apply = |state: &mut State, command| {
        let at = Unix::from_secs(BEGAN);
        state.apply(Index(1), Entry { at, by: None, note: None, command });
    };
    for command in commands {
        apply(&mut state, command);
    }
    let moves = solve(&state);
    apply(&mut state, Command::Moved { moves });
    state
}

/// Of so many nodes, the first being members of Raft.
fn disks(state: &Arc<State>, members: usize, nodes: usize) -> Vec<Disk> {
    let founders: Vec<NodeId> = (0..members).map(id_of).collect();
    let durables = Durable::found_on(&founders, state).unwrap();
    let of_others = (members..nodes).map(|node| Disk::empty(id_of(node)));
    durables.into_iter().map(|durable| Disk::new(durable, Arc::clone(state))).chain(of_others).collect()
}

impl Host {
    fn act(&mut self, env: &mut Env, act: impl FnOnce(&mut Node, &mut Env)) {
        if let Some(node) = &mut self.node {
            act(node, env);
            self.due = node.deadline(env);
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, breaks: Option<Break>, log: bool) -> Self {
        let mut dice = Dice::new(seed ^ 0x0051_7e55);
        let most = if dice.one_in(4) { 4 } else { 3 };
        let nodes = 3 + dice.below(most);
        let wan = dice.one_in(5);
        let key = |app: &str, room: &str| RoomKey {
            app: AppId::new(app).unwrap(),
            room: RoomName::new(room).unwrap(),
        };
        let keys = [KeyId::from_random(dice.bytes()), KeyId::from_random(dice.bytes())];
        let rooms =
            [(key("one", "tower"), keys[0]), (key("two", "tower"), keys[1]), (key("one", "mast"), keys[0])];
        let state = Arc::new(founded(&mut dice, nodes, wan, &rooms));
        // In some, nodes have joined that are no members of Raft yet; of six, one will never be.
        let members = if dice.one_in(3) { 3 } else { nodes };
        let disks = disks(&state, members, nodes);
        let network = Network::new(nodes, weather(&mut dice, wan));
        let mut env = Env::new(seed, network, disks, log);
        (env.breaks, env.encodes) = (breaks, dice.one_in(8));
        env.cluster = state.cluster().unwrap().id;
        let mut clients = Vec::new();
        for index in 0..3 + dice.below(5) {
            let (room, key) = rooms[if index < 3 { 0 } else { dice.below(rooms.len()) }].clone();
            let who = Who {
                identity: Identity::new(&format!("client{index}")).unwrap(),
                room,
                key,
                admin: index == 0 || dice.one_in(3),
                token_until: Unix::from_secs(BEGAN + 7200),
            };
            let begins = ms(800) + dice.up_to(ms(1500));
            clients.push(Client::new(index, who, !dice.one_in(4), begins));
        }
        let wanted = breaks.map_or(&[][..], Break::needs);
        let storm = dice.between(ms(2000), ms(9000));
        for (at, fault) in faults::schedule(&mut dice, (nodes, clients.len()), (BEGIN, storm), wanted) {
            env.when(at, Event::Fault(fault));
        }
        let hosts = (0..nodes).map(|_| {
            let late = dice.up_to(ms(3000));
            Host {
                node: None,
                due: Duration::MAX,
                clocks: Clocks { booted: dice.up_to(ms(1_000_000)), late },
                paused: false,
            }
        });
        let hosts = hosts.collect();
        let acts = clients.iter().map(|_| dice.up_to(ms(500))).collect();
        let dues = clients.iter().map(Client::deadline).collect();
        let rooms = rooms.into_iter().map(|(room, _)| room).collect();
        Self { env, hosts, clients, acts, dues, rooms, storm, lively: true }
    }

    /// Runs it all.
    pub(crate) fn run(mut self) -> Result<Sum, Wrong> {
        for node in 0..self.hosts.len() {
            let wait = self.env.dice.up_to(ms(100));
            self.env.later(wait, Event::Fault(Fault::Start(node)));
        }
        let end = BEGIN + self.storm;
        self.until(end, |_| false)?;
        self.heal();
        let calm = end + ms(1500);
        self.until(calm, |_| false)?;
        self.lively = false;
        if !self.until(end + CALM, |world| world.well().is_ok())? {
            let why = format!("not well {CALM:?} after the storm: {}", self.well().unwrap_err());
            return Err(Name::Roster.broken(why));
        }
        let live: BTreeSet<PeerId> =
            self.clients.iter().filter(|c| c.is_live()).filter_map(|c| c.peer).collect();
        Name::Signals.judge(self.env.watch.signals.end(&live))?;
        Name::Durable.judge(self.env.watch.durable.end())?;
        let sum = self.sum(end);
        self.farewell()?;
        Ok(sum)
    }

    fn sum(&self, end: Duration) -> Sum {
        let watch = &self.env.watch;
        let nodes = self.hosts.iter().filter_map(|host| host.node.as_ref());
        Sum {
            seeds: 1,
            taken: watch.signals.taken,
            undelivered: watch.signals.undelivered,
            kicked: watch.revoked.count(),
            entries: watch.registries.last().0,
            repairs: nodes.map(Node::repairs).sum(),
            calm: self.env.at.saturating_sub(end),
        }
    }

    /// Whether all is as it should be when nothing is broken.
    fn well(&self) -> Result<(), String> {
        let mut nodes = Vec::new();
        for (index, host) in self.hosts.iter().enumerate() {
            nodes.push(host.node.as_ref().ok_or_else(|| format!("node {} is down", index + 1))?);
        }
        for node in &nodes {
            if node.gateway.is_none() {
                return Err(format!("node {} has not begun", node.id));
            }
            if node.state.index() != nodes[0].state.index() {
                return Err(format!("node {} is at index {}", node.id, node.state.index()));
            }
        }
        self.clients.iter().try_for_each(|client| roster::seen(client, &self.clients))?;
        for node in &nodes {
            node.rooms()
                .try_for_each(|(key, room)| revoked::nobody(&node.state, key, room, node.now(&self.env)))?;
        }
        for key in &self.rooms {
            let rooms = nodes.iter().flat_map(|node| node.rooms());
            roster::held(key, rooms.filter(|(room, _)| *room == key).map(|(_, room)| room), &self.clients)?;
            let live = client::live(&self.clients, key);
            let sessions = nodes.iter().flat_map(|node| node.sessions());
            let held: Vec<_> = sessions.filter(|(room, _, _)| *room == key).collect();
            if held.len() != live.len() {
                return Err(format!("{key}: gateways hold {held:?}, not {live:?}"));
            }
            if let Some((_, peer, _)) = held.iter().find(|(_, _, unacknowledged)| *unacknowledged > 0) {
                return Err(format!("the gateway of {peer} still holds signals"));
            }
        }
        self.clients.iter().try_for_each(|client| self.env.watch.apart.sees(client))
    }

    fn farewell(&mut self) -> Result<(), Wrong> {
        for index in 0..self.clients.len() {
            let wants = self.clients[index].leave();
            self.wants(index, wants);
            if self.clients[index].barred {
                self.clients[index].state = client::State::Done;
                self.wants(index, Vec::new());
            }
        }
        let end = self.env.at + FAREWELL;
        let empty =
            |world: &Self| world.hosts.iter().filter_map(|host| host.node.as_ref()).all(Node::is_empty);
        let held = || Name::Roster.broken("something is held when all have left".to_owned());
        if self.until(end, empty)? { Ok(()) } else { Err(held()) }
    }

    // ---------------------------------------------------------------------------------------- time

    /// Lets time pass until `end`, or until it is `enough`, which is asked four times a second.
    fn until(&mut self, end: Duration, enough: impl Fn(&Self) -> bool) -> Result<bool, Wrong> {
        let (mut look, mut still) = (self.env.at, 0);
        while self.env.at < end {
            if look <= self.env.at {
                look = self.env.at + ms(250);
                self.look();
                if enough(self) {
                    return Ok(true);
                }
            }
            let next = self.next().min(end).min(look).max(self.env.at);
            still = if next == self.env.at { still + 1 } else { 0 };
            if still > STILL {
                return Err(Name::Runs.broken(format!("no time passes: {}", self.who())));
            }
            self.env.at = next;
            self.step();
            self.env.watch.verdict()?;
        }
        Ok(enough(self))
    }

    /// What is looked at from time to time.
    fn look(&mut self) {
        for (index, host) in self.hosts.iter().enumerate() {
            let drained = &mut self.env.watch.drained;
            match host.node.as_ref().filter(|_| !host.paused) {
                Some(node) => {
                    let judgement = drained.looks(self.env.at, node.id, node.drains(), node.attached());
                    self.env.watch.judge(Name::Drained.judge(judgement));
                }
                None => drained.stands_still(id_of(index)),
            }
        }
    }

    fn next(&self) -> Duration {
        let mut next = self.env.next().unwrap_or(Duration::MAX);
        for host in self.hosts.iter().filter(|host| !host.paused && host.node.is_some()) {
            next = next.min(host.due);
        }
        next = next.min(self.dues.iter().copied().min().unwrap_or(Duration::MAX));
        if self.lively { next.min(self.acts.iter().copied().min().unwrap_or(Duration::MAX)) } else { next }
    }

    /// Who wants to be woken again at once.
    fn who(&self) -> String {
        let nodes = self.hosts.iter().enumerate().filter(|(_, host)| !host.paused && host.due <= self.env.at);
        let clients = self.clients.iter().filter(|client| client.deadline() <= self.env.at);
        let nodes: Vec<_> =
            nodes.map(|(index, host)| (index + 1, host.node.as_ref().map(|n| n.who(&self.env)))).collect();
        let clients: Vec<_> = clients.map(|client| client.who.identity.to_string()).collect();
        format!("nodes {nodes:?}, {clients:?}")
    }

    fn step(&mut self) {
        while let Some(event) = self.env.pop_due() {
            self.happen(event);
        }
        let now = self.env.at;
        for host in self.hosts.iter_mut().filter(|host| !host.paused) {
            if host.due <= now {
                host.act(&mut self.env, |node, env| node.timers(env));
            }
        }
        for index in 0..self.clients.len() {
            if self.lively && self.acts[index] <= now {
                self.acts[index] = now + self.env.dice.between(ms(5), ms(250));
                self.act(index);
            }
            if self.dues[index] <= now {
                let wants = self.clients[index].tick(now);
                self.wants(index, wants);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Mesh { from, to, life, packet } => {
                if life.is_none_or(|life| life == self.env.lives[to]) {
                    self.arrive(from, to, life, packet);
                }
            }
            Event::Link(turn) => {
                if self.env.turned(turn) {
                    self.env.note(|| format!("link {} to {} up: {}", turn.here + 1, turn.there + 1, turn.up));
                    let event = Event::Link(turn);
                    if !turn.up {
                        self.streams_end(turn.here, turn.there);
                    }
                    self.at_node(turn.here, event, |node, env| node.link(env, turn.there, turn.up));
                    for host in self.hosts.iter_mut().filter(|host| !host.paused) {
                        host.act(&mut self.env, |node, env| {
                            node.follow_links(env);
                            node.settle(env);
                        });
                    }
                }
            }
            Event::Up { socket, text } => self.up(socket, text),
            Event::Cut { socket } => {
                if let Some(node) = self.gateway_of(socket) {
                    self.at_node(node, event, |node, env| node.cut(env, socket));
                }
            }
            Event::Down { socket, down } => self.down(socket, down),
            Event::Lost { socket } => self.lost(socket),
            Event::Flushed { node, life } => {
                if life == self.env.lives[node] {
                    let number = self.env.disks[node].flushed();
                    let broken = self.env.broken(Break::SkipsFsync);
                    if let Some(number) = number.filter(|_| !broken) {
                        let event = Event::Synced { node, life, number };
                        self.at_node(node, event, |node, env| node.synced(env, number));
                    }
                }
            }
            Event::Synced { node, life, number } => {
                if life == self.env.lives[node] {
                    self.at_node(node, event, |node, env| node.synced(env, number));
                }
            }
            Event::Built { node, life } => {
                if life == self.env.lives[node] {
                    self.at_node(node, event, |node, env| node.built(env));
                }
            }
            Event::Fault(fault) => self.fault(fault),
        }
    }

    /// Hands something to a process; one that stands still gets it when it goes on.
    fn at_node(&mut self, node: usize, event: Event, act: impl FnOnce(&mut Node, &mut Env)) {
        let host = &mut self.hosts[node];
        if host.paused {
            self.env.hold(node, event);
        } else {
            host.act(&mut self.env, act);
        }
    }

    /// The process at a socket's other end, if it is there still.
    fn gateway_of(&self, socket: u32) -> Option<usize> {
        let pipe = self.env.sockets.get(&socket)?;
        let there = pipe.life == self.env.lives[pipe.node] && self.hosts[pipe.node].node.is_some();
        there.then_some(pipe.node)
    }

    /// A client's text reaches its gateway.
    fn up(&mut self, socket: u32, text: String) {
        let Some(node) = self.gateway_of(socket) else { return };
        if self.hosts[node].paused {
            return self.env.hold(node, Event::Up { socket, text });
        }
        self.hosts[node].act(&mut self.env, |node, env| node.text(env, socket, &text));
    }

    fn arrive(&mut self, from: usize, to: usize, life: Option<u32>, packet: Packet) {
        let host = &mut self.hosts[to];
        if host.paused {
            return self.env.hold(to, Event::Mesh { from, to, life, packet });
        }
        match packet {
            Packet::Body(body) => host.act(&mut self.env, |node, env| node.body(env, from, *body)),
            Packet::Raft(message) => host.act(&mut self.env, |node, env| {
                let message = if env.broken(Break::AppliesByWallClock) {
                    node.restamp(env, *message)
                } else {
                    *message
                };
                node.raft(env, message);
                node.settle(env);
            }),
            Packet::Feed { stream, word } => {
                host.act(&mut self.env, |node, env| node.feed_word(env, from, stream, word));
            }
            Packet::Forward { origin, to: last, inner } if last == to => {
                self.arrive(origin, to, life, *inner);
            }
            Packet::Forward { origin, to: last, inner } => host.act(&mut self.env, |_, env| {
                // Passed on once, and only to a neighbour.
                if env.net.is_up(to, last) {
                    env.transmit(to, last, Packet::Forward { origin, to: last, inner });
                }
            }),
        }
    }

    // ------------------------------------------------------------------------------------- clients

    fn down(&mut self, socket: u32, down: Down) {
        let Some(pipe) = self.env.sockets.get(&socket) else { return };
        if !pipe.client_open
            || pipe.black && down != Down::Closed(chappe_proto::signal::code::CloseCode::Left)
        {
            return;
        }
        let (client, now) = (pipe.client, self.env.at);
        self.env.note(|| format!("client{client} socket {socket} < {down:?}"));
        match down {
            Down::Text(text) => {
                let wants = self.clients[client].frame(now, socket, &text);
                self.wants(client, wants);
            }
            Down::Closed(_) => self.lost(socket),
        }
    }

    fn lost(&mut self, socket: u32) {
        let Some(pipe) = self.env.sockets.get_mut(&socket).filter(|pipe| pipe.client_open) else { return };
        let client = pipe.client;
        (pipe.client_open, pipe.black) = (false, true);
        self.clients[client].lost(self.env.at, socket);
        self.wants(client, Vec::new());
    }

    fn wants(&mut self, index: usize, wants: Vec<Want>) {
        for want in wants {
            match want {
                Want::Say(socket, text) => {
                    self.env.note(|| format!("client{index} socket {socket} > {text}"));
                    self.env.up(socket, text);
                }
                Want::Close(socket) => self.env.client_closes(socket),
                Want::Connect => self.connect(index),
            }
        }
        for fact in std::mem::take(&mut self.clients[index].facts) {
            self.env.note(|| format!("client{index} {fact:?}"));
            let judgement = self.env.watch.signals.hear(&fact);
            self.env.watch.judge(Name::Signals.judge(judgement));
            if let Fact::Gone { socket, grace } = fact {
                let since = self.env.away_since(index, socket);
                let who = self.clients[index].who.identity.as_str();
                let judgement = self.env.watch.rebuilt.gone(self.env.at, since, grace, who);
                self.env.watch.judge(Name::Rebuilt.judge(judgement));
            }
            let judgement = self.env.watch.apart.hear(&self.clients[index], &fact);
            self.env.watch.judge(Name::Apart.judge(judgement));
        }
        self.dues[index] = self.clients[index].deadline();
    }

    fn connect(&mut self, index: usize) {
        let told = self.clients[index].elsewhere();
        let node = self.env.dice.pick(&told).unwrap_or_else(|| self.env.dice.below(self.hosts.len()));
        let gateway = self.hosts[node].node.as_ref().and_then(|node| node.gateway);
        let socket = self.env.connect(index, node, gateway);
        let want = self.clients[index].connected(self.env.at, socket);
        self.env.note(|| format!("client{index} connects to node {} by socket {socket}", node + 1));
        if self.hosts[node].node.is_none() {
            let wait = self.env.dice.up_to(ms(50));
            self.env.later(wait, Event::Lost { socket });
            self.wants(index, Vec::new());
        } else {
            self.wants(index, vec![want]);
        }
    }

    /// A client does what people do.
    fn act(&mut self, index: usize) {
        let others = self.clients[index].others();
        let room = self.clients[index].who.room.to_string();
        match self.env.dice.below(40) {
            0..30 => {
                if let Some(to) = self.env.dice.pick(&others) {
                    self.clients[index].signal(to);
                }
            }
            30 => {
                for _ in 0..12 {
                    if let Some(to) = self.env.dice.pick(&others) {
                        self.clients[index].signal(to);
                    }
                }
            }
            31 if !self.clients[index].who.admin => {
                let text = format!(r#"{{"type":"broadcast","payload":"{room}"}}"#);
                let wants = self.clients[index].say(&text).into_iter().collect();
                self.wants(index, wants);
            }
            32 => {
                let wants =
                    self.clients[index].say(r#"{"type":"update","metadata":1}"#).into_iter().collect();
                self.wants(index, wants);
            }
            _ => {}
        }
        let wants = self.clients[index].tick(self.env.at);
        self.wants(index, wants);
    }

    // -------------------------------------------------------------------------------------- faults

    fn fault(&mut self, fault: Fault) {
        self.env.note(|| format!("--- {fault:?}"));
        match fault {
            Fault::Crash(node) => self.crash(node),
            Fault::Start(node) => self.start(node),
            Fault::Pause(node) => self.pause(node),
            Fault::Resume(node) => self.resume(node),
            Fault::Cut(from, to) => self.env.cut(from, to),
            Fault::Mend(from, to) => {
                let dials = self.is_awake(from) && self.is_awake(to);
                self.env.mend(from, to, dials);
            }
            Fault::Slow(from, to, millis) => self.env.net.set_slow(from, to, ms(millis.into())),
            Fault::Disk(node, millis) => self.env.disks[node].slow = ms(millis.into()),
            Fault::Clock(node, millis) => {
                self.env.watch.rebuilt.clock(ms(millis.into()));
                self.hosts[node].clocks.late = ms(millis.into());
                self.hosts[node].act(&mut self.env, |node, _| node.set_late(ms(millis.into())));
            }
            Fault::Drain(node) => {
                self.operate(Command::NodeSet { node: id_of(node), weight: 1, draining: true });
            }
            Fault::Undrain(node) => {
                self.operate(Command::NodeSet { node: id_of(node), weight: 1, draining: false });
            }
            Fault::Kick(client, ban) => self.kick(client, ban),
            Fault::Move(client, to) => {
                let room = self.clients[client].who.room.clone();
                for host in self.hosts.iter_mut().filter(|host| !host.paused) {
                    host.act(&mut self.env, |node, env| {
                        node.move_room(env, &room, to);
                    });
                }
            }
            Fault::BlackHole(client) => {
                if let Some(socket) = self.clients[client].socket {
                    self.env.black_hole(socket);
                }
            }
            Fault::Drop(client) => {
                if let Some(socket) = self.clients[client].socket {
                    self.env.client_closes(socket);
                    let now = self.env.at;
                    self.clients[client].lost(now, socket);
                    self.wants(client, Vec::new());
                }
            }
            Fault::Reload(client) => {
                if self.clients[client].state != client::State::Done {
                    let wants = self.clients[client].reload(self.env.at);
                    self.wants(client, wants);
                }
            }
            Fault::Leave(client) => {
                let wants = self.clients[client].leave();
                self.wants(client, wants);
            }
        }
    }

    fn is_awake(&self, node: usize) -> bool {
        self.hosts[node].node.is_some() && !self.hosts[node].paused
    }

    fn crash(&mut self, node: usize) {
        if self.hosts[node].node.take().is_none() {
            return;
        }
        self.hosts[node].paused = false;
        self.env.lives[node] += 1;
        self.env.forget_held(node);
        let env = &mut self.env;
        env.disks[node].crash(&mut env.dice);
        env.process_gone(node);
        self.fall_silent(node);
    }

    fn fall_silent(&mut self, node: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != node) {
            let turns = self.env.net.silent(&mut self.env.dice, node, other);
            self.env.turns(turns);
        }
    }

    fn be_heard(&mut self, node: usize) {
        for other in 0..self.hosts.len() {
            let cut = self.env.net.is_cut(node, other) || self.env.net.is_cut(other, node);
            if other != node && self.is_awake(other) && !cut {
                let turns = self.env.net.dial(&mut self.env.dice, node, other);
                self.env.turns(turns);
            }
        }
    }

    /// A link is one connection: with it all streams end, on both sides.
    fn streams_end(&mut self, a: usize, b: usize) {
        for (here, there) in [(a, b), (b, a)] {
            if let Some(node) = &mut self.hosts[here].node {
                node.feeds_end(&self.env, there);
            }
        }
    }

    fn start(&mut self, node: usize) {
        if self.hosts[node].node.is_some() {
            return;
        }
        for other in 0..self.hosts.len() {
            self.streams_end(node, other);
        }
        self.env.net.forget(node);
        let clocks = self.hosts[node].clocks;
        self.hosts[node].node = Some(Node::new(&mut self.env, node, clocks));
        self.hosts[node].due = self.env.at;
        self.be_heard(node);
    }

    fn pause(&mut self, node: usize) {
        if self.hosts[node].node.is_some() && !self.hosts[node].paused {
            self.hosts[node].paused = true;
            self.fall_silent(node);
        }
    }

    fn resume(&mut self, node: usize) {
        if self.hosts[node].paused {
            self.hosts[node].paused = false;
            self.be_heard(node);
            self.env.release_held(node);
        }
    }

    fn operate(&mut self, command: Command) {
        let awake: Vec<usize> = (0..self.hosts.len()).filter(|node| self.is_awake(*node)).collect();
        if let Some(node) = self.env.dice.pick(&awake) {
            self.hosts[node].act(&mut self.env, |node, env| {
                node.operate(env, command);
                node.settle(env);
            });
        }
    }

    fn kick(&mut self, client: usize, ban: bool) {
        let room = self.clients[client].who.room.clone();
        let fit = |c: &Client| c.who.admin && c.is_live() && c.who.room == room;
        let Some(admin) = self.clients.iter().position(fit) else { return };
        let others = self.clients[admin].others();
        if let Some(peer) = self.env.dice.pick(&others) {
            let text = format!(r#"{{"type":"kick","peer":"{peer}","ban":{ban}}}"#);
            let wants = self.clients[admin].say(&text).into_iter().collect();
            self.wants(admin, wants);
        }
    }

    /// The storm is over: everything runs, nothing is cut, slow or set back.
    fn heal(&mut self) {
        self.env.note(|| "--- calm".to_owned());
        self.env.forget_faults();
        self.env.net.weather = self.env.net.weather.fair();
        let nodes = self.hosts.len();
        for node in 0..nodes {
            self.env.disks[node].slow = ms(4);
            self.resume(node);
            self.start(node);
            self.operate(Command::NodeSet { node: id_of(node), weight: 1, draining: false });
        }
        for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
            self.env.net.set_slow(from, to, Duration::ZERO);
            while self.env.net.is_cut(from, to) {
                self.env.mend(from, to, true);
            }
        }
    }
}

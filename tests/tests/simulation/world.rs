//! One seed: a cluster and its clients, a storm, then calm; what must hold all the time, and what must hold
//! in the end.

mod blows;
mod events;
mod founding;
mod people;
mod time;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{AppId, Identity, KeyId, PeerId, RoomKey, RoomName};
use chappe_proto::time::Unix;

use super::breaks::Break;
use super::client::{self, Client, Who};
use super::dice::{Dice, ms};
use super::env::{Env, Event};
use super::faults::{self, Fault};
use super::invariants::{Name, Wrong, revoked, roster};
use super::network::Network;
use super::node::{BEGAN, Clocks, Node};
use founding::{disks, founded, weather};

/// When the first fault may come.
const BEGIN: Duration = ms(2500);
/// Everything must be well within this of the calm: sockets that died unnoticed take their whole silence,
/// and the grace after it, twice and more where no room counts it.
const CALM: Duration = ms(90_000);
const FAREWELL: Duration = ms(30_000);

struct Host {
    node: Option<Node>,
    /// When its process has something to do; asked again whenever it has done something.
    due: Duration,
    clocks: Clocks,
    paused: bool,
    /// Its process is to stop.
    stopping: bool,
}

/// What a seed amounted to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sum {
    pub(crate) seeds: u64,
    pub(crate) taken: u64,
    pub(crate) undelivered: u64,
    /// Peers who came back though they were called gone.
    pub(crate) risen: usize,
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
            risen: self.risen + other.risen,
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
                stopping: false,
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
            risen: watch.signals.risen(),
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
}

//! One schedule: clients, gateways and an owner under random weather and random blows, then calm, then
//! everybody leaves. Or an outage: fair weather, an owner that cannot be reached, and a limit on how long
//! signals among those present may take.

mod blows;
mod outage;
mod pipes;
mod steps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use chappe_proto::id::PeerId;
use chappe_proto::signal::member::{Policy, Withheld};
use chappe_proto::signal::proxy::Proxy;
use chappe_proto::signal::session::Session;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::client::{Client, State};
use super::cluster::{Broken, Cluster, Down, Weather};
use super::referee::Referee;

const STEP: Duration = Duration::from_millis(20);
const STORM: Duration = Duration::from_secs(12);
const GRACE: Duration = Duration::from_secs(4);

/// What a world does wrong on purpose, to see that the test notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breakage {
    Client(super::client::Breakage),
    /// Gateways never send a signal to the owner a second time.
    DropsResends,
    /// A rule about an owner that cannot be reached.
    Rule(Broken),
}

#[derive(Default)]
struct Pipe {
    up: VecDeque<(Duration, String)>,
    down: VecDeque<(Duration, Down)>,
    /// The client has let go of it, or the network has: nothing passes any more.
    broken: bool,
}

/// Something that happens later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    GatewayNotices(u32),
    ClientNotices(u32),
    GatewayLost(usize),
    NewOwner,
    Hears(usize),
    Thaws,
    FormerHears,
    LinkNoticed(usize),
    LinkHeals(usize),
    Together(usize, usize),
    JoinsAgain(usize),
}

pub(crate) struct Schedule {
    seed: u64,
    cluster: Cluster,
    clients: Vec<Client>,
    pipes: BTreeMap<u32, Pipe>,
    later: Vec<(Duration, Later)>,
    referee: Referee,
    rng: ChaCha8Rng,
    breakage: Option<Breakage>,
    log: bool,
    /// When each signal that was not taken yet was sent, and how long any took at most.
    under_way: BTreeMap<(PeerId, PeerId, u64), Duration>,
    longest: Duration,
}

/// What a schedule amounted to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sum {
    pub(crate) taken: u64,
    pub(crate) undelivered: u64,
    pub(crate) repairs: u64,
    /// Those who came back though they were called gone: see [`Cluster::forgotten`].
    pub(crate) risen: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, other: Self) {
        self.taken += other.taken;
        self.undelivered += other.undelivered;
        self.repairs += other.repairs;
        self.risen += other.risen;
    }
}

impl Schedule {
    pub(crate) fn new(seed: u64, breakage: Option<Breakage>, log: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut policy = Policy { anonymous: true, grace: GRACE, ..Policy::default() };
        if rng.next_u32().is_multiple_of(4) {
            (policy.frames_per_sec, policy.frames_burst) = (12, 20);
        }
        let mut cluster = Cluster::new(seed ^ 0x5eed, 2 + u64::from(rng.next_u32() % 3), policy);
        cluster.broken = match breakage {
            Some(Breakage::Rule(broken)) => Some(broken),
            _ => None,
        };
        // Half of the owners are on a gateway's node.
        let at = rng.next_u32() as usize % (2 * cluster.nodes.len());
        cluster.owner_at = (at < cluster.nodes.len()).then_some(at);
        cluster.log = log;
        cluster.drops_resends = breakage == Some(Breakage::DropsResends);
        // Half of the schedules keep the order of each link, as the mesh does.
        let overtaking = if rng.next_u32() % 2 == 0 { 0 } else { 10 };
        let delay = Duration::from_millis(u64::from(rng.next_u32() % 80));
        cluster.weather = Weather { lost: rng.next_u32() % 60, doubled: 20, overtaking, delay };
        let mut clients: Vec<Client> = (0..2 + rng.next_u32() as usize % 3).map(Client::new).collect();
        for client in &mut clients {
            client.sends_marks = !rng.next_u32().is_multiple_of(4);
        }
        if let Some(Breakage::Client(breakage)) = breakage {
            clients.iter_mut().for_each(|client| client.breakage = Some(breakage));
        }
        let (pipes, later, referee) = (BTreeMap::new(), Vec::new(), Referee::default());
        let (under_way, longest) = (BTreeMap::new(), Duration::ZERO);
        Self { seed, cluster, clients, pipes, later, referee, rng, breakage, log, under_way, longest }
    }

    fn now(&self) -> Duration {
        self.cluster.now.mono.0
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.next_u32().is_multiple_of(n)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let range = u64::try_from(most.as_micros()).unwrap() + 1;
        Duration::from_micros(self.rng.next_u64() % range)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.rng.next_u32() as usize % from.len()])
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.log {
            println!("{:9.3} {}", (self.now() - Duration::from_secs(1000)).as_secs_f64(), what());
        }
    }

    fn at(&mut self, wait: Duration, what: Later) {
        let at = self.now() + wait;
        self.later.push((at, what));
    }

    /// Runs it all.
    pub(crate) fn run(mut self) -> Result<Sum, String> {
        let end = self.now() + STORM;
        while self.now() < end {
            self.blow();
            self.step(STEP)?;
        }
        if self.cluster.usurped > 0 {
            return Err("an owner without a lease has changed the room".to_owned());
        }
        self.calm()?;
        let live = self.live();
        self.referee.end(&live, &self.cluster.forgotten)?;
        self.rosters()?;
        let repairs = self.cluster.nodes.iter().filter_map(|n| n.proxy.as_ref()).map(Proxy::repairs).sum();
        let (taken, undelivered) = (self.referee.taken, self.referee.undelivered);
        let risen = live.intersection(&self.cluster.forgotten).count() as u64;
        let sum = Sum { taken, undelivered, repairs, risen };
        self.farewell()?;
        Ok(sum)
    }

    fn calm(&mut self) -> Result<(), String> {
        self.note(|| "calm".to_owned());
        self.cluster.weather = Weather::default();
        self.cluster.apart.clear();
        for node in 0..self.cluster.nodes.len() {
            self.heal(node);
        }
        // An owner that has stopped starts, what was to be noticed is; sockets that are dead and not
        // noticed take their whole silence, then the grace, twice and more where no room counts it.
        let end = self.now() + Duration::from_secs(60);
        while self.now() < end {
            self.step(5 * STEP)?;
        }
        Ok(())
    }

    /// And what is withheld from each is the same for all: its own session, those who follow the room, its owner.
    fn withheld(&self) -> Result<(), String> {
        let entries = self.cluster.owner.iter().flat_map(|room| room.entries());
        let truth: BTreeMap<PeerId, Withheld> =
            entries.map(|entry| (entry.member.seat.peer, entry.member.withheld)).collect();
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            let own = node.sessions.values().map(|(session, _)| session.member());
            let seen = node.proxy.iter().flat_map(|proxy| proxy.roster()).map(|entry| &entry.member);
            for member in own.chain(seen) {
                let due = truth.get(&member.seat.peer);
                if due != Some(&member.withheld) {
                    let (peer, held) = (member.seat.peer, member.withheld);
                    return Err(format!("node {} has {held:?} of {peer}, not {due:?}", number + 1));
                }
            }
        }
        Ok(())
    }

    fn farewell(&mut self) -> Result<(), String> {
        for client in 0..self.clients.len() {
            self.say(client, r#"{"type":"leave"}"#.to_owned());
        }
        let end = self.now() + Duration::from_secs(5);
        while self.now() < end {
            self.step(5 * STEP)?;
        }
        for (number, node) in self.cluster.nodes.iter().enumerate() {
            if !node.sessions.is_empty() || node.proxy.is_some() {
                return Err(format!("node {} still holds something when all have left", number + 1));
            }
        }
        if self.cluster.owner.is_some() {
            return Err("the owner still holds the room when all have left".to_owned());
        }
        Ok(())
    }

    fn live(&self) -> BTreeSet<PeerId> {
        super::client::live(&self.clients)
    }

    /// In the end everybody sees everybody, and nobody else.
    fn rosters(&self) -> Result<(), String> {
        self.note(|| format!("{:?}", self.cluster.owner));
        for node in &self.cluster.nodes {
            self.note(|| format!("{:?}", node.proxy));
        }
        let live = self.live();
        for client in self.clients.iter().filter(|client| client.state != State::Done) {
            let Some(peer) = client.peer.filter(|_| client.state == State::Live) else {
                return Err(format!("{} never came in", client.name));
            };
            let seen: BTreeMap<PeerId, bool> = client.roster.clone();
            let due: BTreeMap<PeerId, bool> =
                live.iter().filter(|other| **other != peer).map(|other| (*other, false)).collect();
            if seen != due {
                return Err(format!("{} sees {seen:?}, not {due:?}", client.name));
            }
        }
        let held: BTreeSet<PeerId> =
            self.cluster.owner.iter().flat_map(|room| room.entries()).map(|e| e.member.seat.peer).collect();
        if held != live {
            return Err(format!("the owner has {held:?}, not {live:?}"));
        }
        let sessions = || self.cluster.nodes.iter().flat_map(|node| node.sessions.iter());
        let held: Vec<PeerId> = sessions().map(|(peer, _)| *peer).collect();
        if held.len() != live.len() {
            return Err(format!("the gateways have sessions of {held:?}, not {live:?}"));
        }
        self.withheld()?;
        let holds = |(_, (session, _)): &(&PeerId, &(Session, Option<u32>))| session.unacknowledged() > 0;
        if let Some((peer, _)) = sessions().find(holds) {
            return Err(format!("the gateway of {peer} still holds signals"));
        }
        Ok(())
    }
}

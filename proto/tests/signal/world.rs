//! One schedule: clients, gateways and an owner under random weather and random blows, then calm, then
//! everybody leaves. Or an outage: fair weather, an owner that cannot be reached, and a limit on how long
//! signals among those present may take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use chappe_proto::id::PeerId;
use chappe_proto::limits;
use chappe_proto::signal::member::Policy;
use chappe_proto::signal::proxy::Proxy;
use chappe_proto::signal::session::Session;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::client::Fact;
use super::client::{ANSWER_WITHIN, Client, State};
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
        // To one that was called gone nothing more can be said.
        let risen = live.iter().any(|peer| self.cluster.forgotten.contains(peer));
        let holds = |(_, (session, _)): &(&PeerId, &(Session, Option<u32>))| session.unacknowledged() > 0;
        if let Some((peer, _)) = sessions().find(holds).filter(|_| !risen) {
            return Err(format!("the gateway of {peer} still holds signals"));
        }
        Ok(())
    }

    // ------------------------------------------------------------------------------------- outages

    /// Those present talk while the owner cannot be reached: nobody waits long.
    pub(crate) fn outage(mut self) -> Result<Sum, String> {
        self.cluster.weather =
            Weather { delay: Duration::from_millis(20), doubled: 20, ..Weather::default() };
        let default = Policy::default();
        self.cluster.policy = Policy {
            frames_per_sec: default.frames_per_sec,
            frames_burst: default.frames_burst,
            ..self.cluster.policy
        };
        let how = self.rng.next_u32() % 4;
        if how != 1 {
            // A gateway beside the owner ends with it, and what a cut between two nodes takes from it the mesh
            // carries by one hop.
            self.cluster.owner_at = None;
        }
        self.settle_in()?;
        self.talk(Duration::from_secs(1))?;
        let allowed = self.lose_owner(how);
        self.note(|| format!("allowed: {allowed:?}"));
        // What was with the owner then is said again in its own time: measured is what is sent from now on.
        self.longest = Duration::ZERO;
        self.under_way.clear();
        self.talk(Duration::from_secs(4))?;
        let end = self.now() + allowed;
        while self.now() < end {
            self.step(STEP)?;
        }
        if let Some((signal, sent)) = self.under_way.iter().next() {
            return Err(format!("{signal:?} of {sent:?} was not taken or acknowledged in {allowed:?}"));
        }
        if self.longest > allowed {
            return Err(format!("a signal took {:?}, more than {allowed:?}", self.longest));
        }
        self.later.push((self.now(), if self.cluster.frozen { Later::Thaws } else { Later::NewOwner }));
        self.calm()?;
        let live = self.live();
        self.referee.end(&live, &self.cluster.forgotten)?;
        self.rosters()?;
        Ok(Sum { taken: self.referee.taken, ..Sum::default() })
    }

    /// Everybody comes in.
    fn settle_in(&mut self) -> Result<(), String> {
        let end = self.now() + Duration::from_secs(5);
        let all = self.clients.len();
        while self.live().len() < all || self.clients.iter().any(|client| client.roster.len() + 1 < all) {
            self.step(STEP)?;
            if self.now() > end {
                return Err("not all come in".to_owned());
            }
        }
        Ok(())
    }

    fn talk(&mut self, how_long: Duration) -> Result<(), String> {
        let end = self.now() + how_long;
        while self.now() < end {
            if self.one_in(4) {
                let client = self.rng.next_u32() as usize % self.clients.len();
                self.signals(client, 1);
            }
            self.step(STEP)?;
        }
        Ok(())
    }

    /// The owner cannot be reached any more, by all or by one; how long signals may take by then.
    fn lose_owner(&mut self, how: u32) -> Duration {
        let node = self.rng.next_u32() as usize % self.cluster.nodes.len();
        let suspected = Duration::from_millis(550);
        match how {
            0 => self.cluster.stop_owner(),
            1 => self.cluster.freeze_owner(true),
            2 => {
                // Nobody notices: acknowledgements are lost until the sender asks again.
                self.cluster.nodes[node].mute = true;
                return limits::RESEND_AFTER + suspected;
            }
            _ => {
                (self.cluster.nodes[node].deaf, self.cluster.nodes[node].mute) = (true, true);
                self.cluster.tell_link(node, false);
                return limits::RESEND_AFTER + suspected; // the owner takes, and cannot pass on
            }
        }
        suspected
    }

    /// How long a signal takes until its sender knows that it has arrived.
    fn time(&mut self, fact: &Fact) {
        match *fact {
            Fact::Sent { from, to, id, .. } => {
                self.under_way.insert((from, to, id), self.now());
            }
            Fact::Delivered { from, to, id } => {
                if let Some(sent) = self.under_way.remove(&(from, to, id)) {
                    self.longest = self.longest.max(self.now() - sent);
                }
            }
            _ => {}
        }
    }

    // --------------------------------------------------------------------------------------- steps

    fn step(&mut self, step: Duration) -> Result<(), String> {
        self.cluster.advance(step);
        self.happen();
        self.down();
        self.flow();
        let now = self.now();
        for index in 0..self.clients.len() {
            self.clients[index].tick(now);
            match self.clients[index].state {
                State::Offline { again_at } if again_at <= now => self.connect(index),
                State::Joining { since } if now.saturating_sub(since) > ANSWER_WITHIN => {
                    self.drop_socket(index);
                }
                _ => {}
            }
            for text in self.clients[index].pump(now) {
                self.say(index, text);
            }
            for fact in std::mem::take(&mut self.clients[index].facts) {
                self.note(|| format!("client{index} {fact:?}"));
                self.time(&fact);
                self.referee.hear(&fact)?;
            }
        }
        Ok(())
    }

    /// What was due by now.
    fn happen(&mut self) {
        let now = self.now();
        let due: Vec<Later> =
            self.later.iter().filter(|(at, _)| *at <= now).map(|(_, later)| *later).collect();
        self.later.retain(|(at, _)| *at > now);
        for later in due {
            self.note(|| format!("{later:?}"));
            match later {
                Later::GatewayNotices(socket) => self.cluster.cut(socket),
                Later::ClientNotices(socket) => {
                    if let Some(client) = self.clients.iter().position(|c| c.socket == Some(socket)) {
                        self.clients[client].lost(now);
                    }
                }
                Later::GatewayLost(node) => self.cluster.tell_gateway_lost(node),
                // Another only where the one before has ended or lost its lease.
                Later::NewOwner if self.cluster.owner_up && !self.cluster.frozen => {}
                Later::NewOwner => {
                    let at = self.rng.next_u32() as usize % (2 * self.cluster.nodes.len());
                    self.cluster.owner_at = (at < self.cluster.nodes.len()).then_some(at);
                    self.cluster.new_owner(true);
                    let wait = self.up_to(Duration::from_secs(4));
                    self.at(wait, Later::FormerHears);
                    for node in 0..self.cluster.nodes.len() {
                        let wait = self.up_to(Duration::from_millis(800));
                        self.at(wait, Later::Hears(node));
                    }
                }
                Later::Hears(node) => self.cluster.tell_moved(node),
                Later::Thaws if self.cluster.frozen => self.cluster.freeze_owner(false),
                Later::Thaws => {}
                Later::FormerHears => self.cluster.end_former(),
                Later::LinkNoticed(node) => self.cluster.tell_link(node, false),
                Later::LinkHeals(node) => self.heal(node),
                Later::Together(a, b) => {
                    self.cluster.apart.remove(&(a, b));
                }
                Later::JoinsAgain(client) => {
                    if self.clients[client].state == State::Done {
                        self.clients[client].reload(now);
                    }
                }
            }
        }
        self.down();
    }

    /// What the cluster said, into the pipes.
    fn down(&mut self) {
        for (socket, down) in std::mem::take(&mut self.cluster.down) {
            let wait = self.up_to(Duration::from_millis(30));
            let at = self.now() + wait;
            let Some(pipe) = self.pipes.get_mut(&socket) else { continue };
            let at = pipe.down.back().map_or(at, |(last, _)| at.max(*last));
            pipe.down.push_back((at, down));
        }
    }

    /// What has passed the pipes.
    fn flow(&mut self) {
        let now = self.now();
        let sockets: Vec<u32> = self.pipes.keys().copied().collect();
        for socket in sockets {
            while let Some(pipe) = self.pipes.get_mut(&socket).filter(|pipe| !pipe.broken) {
                if let Some((_, text)) = pipe.up.pop_front_if(|(at, _)| *at <= now) {
                    self.note(|| format!("socket {socket} > {text}"));
                    self.cluster.text(socket, &text);
                    self.down();
                } else if let Some((_, down)) = pipe.down.pop_front_if(|(at, _)| *at <= now) {
                    self.arrive(socket, down);
                } else {
                    break;
                }
            }
        }
        self.pipes.retain(|_, pipe| !pipe.broken);
    }

    fn arrive(&mut self, socket: u32, down: Down) {
        let now = self.now();
        self.note(|| format!("socket {socket} < {down:?}"));
        let Some(client) = self.clients.iter().position(|c| c.socket == Some(socket)) else { return };
        match down {
            Down::Text(text) => {
                for answer in self.clients[client].frame(now, &text) {
                    self.say(client, answer);
                }
            }
            Down::Closed(_) => {
                self.pipes.remove(&socket);
                self.clients[client].lost(now);
            }
        }
    }

    fn say(&mut self, client: usize, text: String) {
        let Some(socket) = self.clients[client].socket else { return };
        let wait = self.up_to(Duration::from_millis(30));
        let at = self.now() + wait;
        let Some(pipe) = self.pipes.get_mut(&socket).filter(|pipe| !pipe.broken) else { return };
        let at = pipe.up.back().map_or(at, |(last, _)| at.max(*last));
        pipe.up.push_back((at, text));
    }

    fn connect(&mut self, client: usize) {
        let gateway = self.rng.next_u32() as usize % self.cluster.nodes.len();
        let socket = self.cluster.connect(gateway);
        self.pipes.insert(socket, Pipe::default());
        let now = self.now();
        let join = self.clients[client].join(now, socket);
        self.note(|| format!("client{client} connects to node {} by socket {socket}", gateway + 1));
        self.say(client, join);
    }

    // --------------------------------------------------------------------------------------- blows

    /// The client lets go of its socket; the gateway may take long to notice.
    fn drop_socket(&mut self, client: usize) {
        let now = self.now();
        if let Some(socket) = self.clients[client].socket {
            self.break_pipe(socket);
            self.clients[client].lost(now);
        }
    }

    fn break_pipe(&mut self, socket: u32) {
        if let Some(pipe) = self.pipes.get_mut(&socket) {
            pipe.broken = true;
        }
        if !self.one_in(8) {
            let wait = self.up_to(Duration::from_secs(3));
            self.at(wait, Later::GatewayNotices(socket));
        } // else nobody tells the gateway: only the silence does
    }

    /// Something random happens, or nothing.
    fn blow(&mut self) {
        let client = self.rng.next_u32() as usize % self.clients.len();
        match self.rng.next_u32() % 1000 {
            0..200 => self.signals(client, 1),
            200..210 => self.signals(client, 12),
            210..220 => self.say_live(client, r#"{"type":"broadcast","payload":1}"#),
            220..225 => self.say_live(client, r#"{"type":"update","metadata":1}"#),
            300..312 => {
                self.note(|| format!("client{client} loses its socket"));
                self.drop_socket(client);
            }
            312..315 => self.dies_unnoticed(client),
            320..322 => self.reload(client),
            322..324 => self.leave(client),
            330..333 => self.forget(client),
            340..342 => self.restart_gateway(),
            350..352 => self.restart_owner(),
            352..355 => self.freeze_owner(),
            360..364 => self.cut_link(),
            364..366 => self.part(),
            _ => {}
        }
    }

    fn signals(&mut self, client: usize, many: usize) {
        for _ in 0..many {
            let others = self.clients[client].others();
            if let Some(to) = self.pick(&others) {
                self.clients[client].signal(to);
            }
        }
    }

    fn say_live(&mut self, client: usize, text: &str) {
        if self.clients[client].state == State::Live {
            self.say(client, text.to_owned());
        }
    }

    /// The network swallows the socket; the client notices late.
    fn dies_unnoticed(&mut self, client: usize) {
        if let Some(socket) = self.clients[client].socket {
            self.note(|| format!("socket {socket} is black-holed"));
            self.break_pipe(socket);
            let wait = self.up_to(Duration::from_secs(5));
            self.at(wait, Later::ClientNotices(socket));
        }
    }

    fn reload(&mut self, client: usize) {
        self.note(|| format!("client{client} reloads"));
        self.drop_socket(client);
        let now = self.now();
        self.clients[client].reload(now);
    }

    fn leave(&mut self, client: usize) {
        if self.clients[client].state == State::Live {
            self.note(|| format!("client{client} leaves"));
            self.say(client, r#"{"type":"leave"}"#.to_owned());
            if self.one_in(2) {
                let wait = self.up_to(Duration::from_secs(5));
                self.at(wait, Later::JoinsAgain(client));
            }
        }
    }

    fn forget(&mut self, client: usize) {
        let Some(peer) = self.clients[client].peer else { return };
        for node in 0..self.cluster.nodes.len() {
            if self.cluster.nodes[node].sessions.contains_key(&peer) {
                self.note(|| format!("node {} forgets client{client}", node + 1));
                let socket = self.clients[client].socket;
                self.cluster.forget_session(node, peer);
                if let Some(socket) = socket.filter(|socket| !self.cluster.is_open(*socket)) {
                    self.sockets_end(&[socket]);
                }
            }
        }
    }

    fn restart_gateway(&mut self) {
        let node = self.rng.next_u32() as usize % self.cluster.nodes.len();
        self.end_gateway(node);
    }

    fn end_gateway(&mut self, node: usize) {
        self.note(|| format!("node {} restarts", node + 1));
        self.cluster.restart_gateway(node);
        if !self.cluster.owner_up {
            let wait = self.up_to(Duration::from_secs(2));
            self.at(wait, Later::NewOwner);
        }
        let ended: Vec<u32> =
            self.pipes.keys().filter(|socket| !self.cluster.is_open(**socket)).copied().collect();
        self.sockets_end(&ended);
        let wait = self.up_to(Duration::from_secs(1));
        self.at(wait, Later::GatewayLost(node));
    }

    /// The servers' end is gone; clients notice by and by.
    fn sockets_end(&mut self, sockets: &[u32]) {
        for socket in sockets {
            self.pipes.remove(socket);
            let wait = self.up_to(Duration::from_millis(500));
            self.at(wait, Later::ClientNotices(*socket));
        }
    }

    /// Its lease ends; it gets another, or the room another owner of which it does not hear.
    fn freeze_owner(&mut self) {
        let settled = !self.later.iter().any(|(_, later)| matches!(later, Later::Hears(_)));
        if self.cluster.owner_up && !self.cluster.frozen && settled {
            self.note(|| "the owner freezes".to_owned());
            self.cluster.freeze_owner(true);
            let (wait, next) = (self.up_to(Duration::from_secs(5)), self.one_in(2));
            self.at(wait, if next { Later::NewOwner } else { Later::Thaws });
        }
    }

    /// A gateway and the owner do not hear each other, or one of them does not. It may be noticed.
    fn cut_link(&mut self) {
        let node = self.rng.next_u32() as usize % self.cluster.nodes.len();
        let which = self.rng.next_u32() % 3;
        self.note(|| format!("the link of node {} is cut ({which})", node + 1));
        let link = &mut self.cluster.nodes[node];
        (link.deaf, link.mute) = (which != 1, which != 2);
        let noticed = self.up_to(Duration::from_millis(2500));
        if !self.one_in(4) {
            self.at(noticed, Later::LinkNoticed(node));
        }
        let healed = self.up_to(Duration::from_secs(4));
        self.at(noticed + healed, Later::LinkHeals(node));
    }

    fn heal(&mut self, node: usize) {
        let link = &mut self.cluster.nodes[node];
        (link.deaf, link.mute) = (false, false);
        self.later.retain(|(_, later)| *later != Later::LinkNoticed(node));
        self.cluster.tell_link(node, true);
    }

    /// Two gateways do not hear each other.
    fn part(&mut self) {
        let nodes = self.cluster.nodes.len();
        let (a, b) = (self.rng.next_u32() as usize % nodes, self.rng.next_u32() as usize % nodes);
        if a != b {
            self.cluster.apart.insert((a.min(b), a.max(b)));
            let wait = self.up_to(Duration::from_secs(4));
            self.at(wait, Later::Together(a.min(b), a.max(b)));
        }
    }

    fn restart_owner(&mut self) {
        if self.cluster.owner_up && !self.later.iter().any(|(_, later)| matches!(later, Later::Hears(_))) {
            self.note(|| "the owner ends".to_owned());
            if let Some(node) = self.cluster.owner_at {
                return self.end_gateway(node); // which is the same process
            }
            self.cluster.stop_owner();
            let wait = self.up_to(Duration::from_secs(2));
            self.at(wait, Later::NewOwner);
        }
    }
}

//! What the parts of the simulation share: true time, chance, the queue of what is to happen, the network,
//! the sockets of clients, and those who watch.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_cluster::consensus::Message;
use chappe_proto::id::{ClusterId, NodeId};
use chappe_proto::mesh::node::{Body, Feed};
use chappe_proto::signal::code::CloseCode;
use chappe_proto::signal::member::Gateway;
use chappe_proto::wire;

use super::breaks::Break;
use super::dice::{Dice, ms};
use super::disk::Disk;
use super::faults::Fault;
use super::invariants::Watch;
use super::network::{Network, Route, Turn};

/// What travels between nodes.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    /// As the mesh's parcels.
    Body(Box<Body>),
    /// Between members of Raft.
    Raft(Box<Message>),
    /// Of the registry's feed, on a stream of its own between neighbours.
    Feed { stream: u64, word: Word },
    /// For another node: passed on once.
    Forward { origin: usize, to: usize, inner: Box<Self> },
}

/// What passes on the stream of a feed, either way.
#[derive(Debug, Clone)]
pub(crate) enum Word {
    Frame(Box<Feed>),
    End,
}

/// What a socket brings its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Down {
    Text(String),
    Closed(CloseCode),
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A frame arrives at a node; of an orderly network only in the life that it was sent to.
    Mesh { from: usize, to: usize, life: Option<u32>, packet: Packet },
    /// A link comes or goes, as one side sees it.
    Link(Turn),
    /// A client's text reaches its gateway.
    Up { socket: u32, text: String },
    /// A gateway notices that a socket has ended.
    Cut { socket: u32 },
    /// A gateway's word reaches its client.
    Down { socket: u32, down: Down },
    /// A client notices that its socket has ended.
    Lost { socket: u32 },
    /// A disk has flushed its oldest write.
    Flushed { node: usize, life: u32 },
    /// A member is told that a write is durable, though it is not.
    Synced { node: usize, life: u32, number: u64 },
    /// A snapshot is encoded.
    Built { node: usize, life: u32 },
    /// A process that is to stop says so.
    Stops { node: usize, life: u32 },
    /// Something breaks, or is mended.
    Fault(Fault),
}

/// A socket between a client and a gateway.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) client: usize,
    pub(crate) node: usize,
    pub(crate) life: u32,
    /// The network swallows everything.
    pub(crate) black: bool,
    pub(crate) client_open: bool,
    /// The process at its other end.
    gateway: Option<Gateway>,
    /// Since when it is of no use, as the one side or the other sees it.
    parted: Option<Duration>,
    up_last: Duration,
    down_last: Duration,
}

pub(crate) struct Env {
    pub(crate) at: Duration,
    pub(crate) dice: Dice,
    pub(crate) cluster: ClusterId,
    pub(crate) breaks: Option<Break>,
    pub(crate) watch: Watch,
    pub(crate) net: Network,
    pub(crate) disks: Vec<Disk>,
    pub(crate) sockets: BTreeMap<u32, Pipe>,
    /// The lives of the nodes' processes.
    pub(crate) lives: Vec<u32>,
    pub(crate) log: bool,
    /// Whether frames between nodes are written and read.
    pub(crate) encodes: bool,
    queue: BTreeMap<(Duration, u64), Event>,
    seq: u64,
    next_socket: u32,
    /// What a cut holds up while the link lives.
    stalled: BTreeMap<(usize, usize), Vec<Event>>,
    /// What waits for processes that stand still.
    held: BTreeMap<usize, Vec<Event>>,
}

pub(crate) const fn index_of(node: NodeId) -> usize {
    node.0 as usize - 1
}

pub(crate) const fn id_of(index: usize) -> NodeId {
    NodeId(index as u64 + 1)
}

impl Env {
    pub(crate) fn new(seed: u64, net: Network, disks: Vec<Disk>, log: bool) -> Self {
        Self {
            at: Duration::ZERO,
            dice: Dice::new(seed),
            cluster: ClusterId::from_random([0; 15]),
            breaks: None,
            watch: Watch::default(),
            lives: vec![0; net.nodes()],
            net,
            disks,
            sockets: BTreeMap::new(),
            log,
            encodes: false,
            queue: BTreeMap::new(),
            seq: 0,
            next_socket: 0,
            stalled: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    pub(crate) fn broken(&self, by: Break) -> bool {
        self.breaks == Some(by)
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        if self.log {
            println!("{:9.4} {}", self.at.as_secs_f64(), what());
        }
    }

    // --------------------------------------------------------------------------------------- events

    pub(crate) fn later(&mut self, wait: Duration, event: Event) {
        self.when(self.at + wait, event);
    }

    pub(crate) fn when(&mut self, at: Duration, event: Event) {
        self.seq += 1;
        self.queue.insert((at, self.seq), event);
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop_due(&mut self) -> Option<Event> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= self.at).then(|| entry.remove())
    }

    // -------------------------------------------------------------------------------- between nodes

    /// Sends from one node to another. False where there is no way, as far as the sender knows.
    pub(crate) fn send(&mut self, from: usize, to: usize, body: Body) -> bool {
        let body = if self.encodes { again(&body) } else { body };
        self.route(from, to, Packet::Body(Box::new(body)))
    }

    pub(crate) fn route(&mut self, from: usize, to: usize, packet: Packet) -> bool {
        match self.net.route(from, to) {
            Some(Route::Direct) => self.transmit(from, to, packet),
            Some(Route::Through(hop)) => {
                let packet = Packet::Forward { origin: from, to, inner: Box::new(packet) };
                self.transmit(from, hop, packet);
            }
            None => return false,
        }
        true
    }

    /// Onto the wire of a link.
    pub(crate) fn transmit(&mut self, from: usize, to: usize, packet: Packet) {
        let (first, second) = self.net.arrivals(&mut self.dice, self.at, from, to);
        let orderly = self.net.weather.is_orderly();
        if let Some(at) = second {
            self.put_on_wire(at, from, to, packet.clone(), orderly);
        }
        if let Some(at) = first {
            self.put_on_wire(at, from, to, packet, orderly);
        }
    }

    /// As [`Self::transmit`], on a stream that ends with the link: nothing of it is lost before, in any weather.
    pub(crate) fn stream(&mut self, from: usize, to: usize, packet: Packet) {
        if self.net.is_up(from, to) || self.net.is_up(to, from) {
            let at = self.net.arrival_in_order(&mut self.dice, self.at, from, to);
            self.put_on_wire(at, from, to, packet, true);
        }
    }

    fn put_on_wire(&mut self, at: Duration, from: usize, to: usize, packet: Packet, orderly: bool) {
        let life = orderly.then(|| self.lives[to]);
        let event = Event::Mesh { from, to, life, packet };
        if !self.net.is_cut(from, to) {
            self.when(at, event);
        } else if orderly {
            self.stalled.entry((from, to)).or_default().push(event);
        }
    }

    pub(crate) fn turns(&mut self, turns: Vec<(Duration, Turn)>) {
        for (wait, turn) in turns {
            self.later(wait, Event::Link(turn));
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        let turns = self.net.cut(&mut self.dice, from, to);
        self.turns(turns);
    }

    /// Ends a cut; `dials` where both ends are there to find each other.
    pub(crate) fn mend(&mut self, from: usize, to: usize, dials: bool) {
        let turns = self.net.mend(&mut self.dice, from, to);
        if dials {
            self.turns(turns);
        }
        if !self.net.is_cut(from, to)
            && let Some(events) = self.stalled.remove(&(from, to))
            && self.net.is_up(to, from)
        {
            events.into_iter().for_each(|event| self.later(ms(1), event));
        }
    }

    /// A link comes or goes. True where it changed; what it held up is lost with it.
    pub(crate) fn turned(&mut self, turn: Turn) -> bool {
        let changed = self.net.turned(turn);
        if changed && !turn.up {
            self.stalled.remove(&(turn.there, turn.here));
            self.stalled.remove(&(turn.here, turn.there));
        }
        changed
    }

    /// What comes for a process that stands still.
    pub(crate) fn hold(&mut self, node: usize, event: Event) {
        self.held.entry(node).or_default().push(event);
    }

    pub(crate) fn release_held(&mut self, node: usize) {
        for event in self.held.remove(&node).unwrap_or_default() {
            self.later(Duration::ZERO, event);
        }
    }

    pub(crate) fn forget_held(&mut self, node: usize) {
        self.held.remove(&node);
    }

    /// No fault that is still to come does.
    pub(crate) fn forget_faults(&mut self) {
        self.queue.retain(|_, event| !matches!(event, Event::Fault(_)));
    }

    // -------------------------------------------------------------------------------------- sockets

    /// The network swallows a socket, and tells nobody.
    pub(crate) fn black_hole(&mut self, socket: u32) {
        self.goes_black(socket);
    }

    /// A client connects to a node.
    pub(crate) fn connect(&mut self, client: usize, node: usize, gateway: Option<Gateway>) -> u32 {
        self.next_socket += 1;
        let life = self.lives[node];
        let (black, client_open) = (false, true);
        let (up_last, down_last) = (self.at, self.at);
        let parted = None;
        let pipe = Pipe { client, node, life, black, client_open, gateway, parted, up_last, down_last };
        self.sockets.insert(self.next_socket, pipe);
        self.next_socket
    }

    /// A client writes.
    pub(crate) fn up(&mut self, socket: u32, text: String) {
        let takes = self.dice.between(ms(1), ms(25));
        let Some(pipe) = self.sockets.get_mut(&socket).filter(|pipe| !pipe.black) else { return };
        pipe.up_last = pipe.up_last.max(self.at + takes);
        let at = pipe.up_last;
        self.when(at, Event::Up { socket, text });
    }

    /// A gateway writes.
    pub(crate) fn down(&mut self, socket: u32, down: Down) {
        let takes = self.dice.between(ms(1), ms(25));
        let Some(pipe) = self.sockets.get_mut(&socket).filter(|pipe| !pipe.black) else { return };
        if matches!(down, Down::Closed(_)) {
            pipe.parted.get_or_insert(self.at);
        }
        pipe.down_last = pipe.down_last.max(self.at + takes);
        let at = pipe.down_last;
        self.when(at, Event::Down { socket, down });
    }

    fn goes_black(&mut self, socket: u32) {
        if let Some(pipe) = self.sockets.get_mut(&socket) {
            pipe.black = true;
            pipe.parted.get_or_insert(self.at);
        }
    }

    /// Since when a client that was in by this socket is away, as anybody may see it: since that one ended, or one
    /// by which it has tried to come back, or the process behind either.
    pub(crate) fn away_since(&self, client: usize, socket: u32) -> Duration {
        let tried = self.sockets.range(socket..).map(|(_, pipe)| pipe).filter(|pipe| pipe.client == client);
        let ends = tried.flat_map(|pipe| {
            let ended = pipe.gateway.and_then(|life| self.watch.rebuilt.ended(life));
            pipe.parted.into_iter().chain(ended)
        });
        ends.min().unwrap_or(self.at)
    }

    /// A client lets go of a socket: its gateway mostly hears of it.
    pub(crate) fn client_closes(&mut self, socket: u32) {
        let lost = self.dice.one_in(8);
        let wait = self.dice.up_to(ms(1500));
        let Some(pipe) = self.sockets.get_mut(&socket) else { return };
        pipe.client_open = false;
        if !pipe.black && !lost {
            let at = pipe.up_last.max(self.at + wait);
            pipe.up_last = at;
            self.when(at, Event::Cut { socket });
        }
        self.goes_black(socket);
    }

    /// The gateway's process is gone, and its sockets with it: clients notice soon, late, or by asking.
    pub(crate) fn process_gone(&mut self, node: usize) {
        let sockets: Vec<u32> =
            self.sockets.iter().filter(|(_, p)| p.node == node).map(|(s, _)| *s).collect();
        for socket in sockets {
            let told = !self.sockets[&socket].black && !self.dice.one_in(4);
            self.goes_black(socket);
            if told {
                let wait = self.dice.up_to(ms(300));
                self.later(wait, Event::Lost { socket });
            }
        }
    }
}

fn again(body: &Body) -> Body {
    let bytes = wire::encode(body).unwrap();
    wire::decode(&bytes, bytes.len()).unwrap()
}

//! Nodes in memory around the real machines: sockets, the gate that a `join` passes, one session per
//! peer, one proxy per gateway, one room on its owner, and the wire between them, which may lose,
//! double, delay and reorder. [`sockets`] and [`gate`] are where clients are, [`wire`] is between nodes,
//! [`outputs`] are what the machines ask of them, [`faults`] what befalls them, and [`time`] lets it pass.

mod faults;
mod gate;
mod outputs;
mod sockets;
mod time;
mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::{
    AppId, Epoch, Generation, Identity, NodeId, PeerId, RoomKey, RoomName, SessionId, Shard,
};
use chappe_proto::signal::code::CloseCode;
use chappe_proto::signal::member::{Gateway, Policy};
use chappe_proto::signal::proxy::Proxy;
use chappe_proto::signal::room::Room;
use chappe_proto::signal::route::{Direct, FromRoom, FromSession, ToRoom, ToSession};
use chappe_proto::signal::session::{Session, World};
use chappe_proto::time::{Mono, Now, Unix};
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
}

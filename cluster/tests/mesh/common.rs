//! Nodes that are nothing but their mesh: real sockets, real certificates, a registry by hand.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_cluster::consensus::Message;
use chappe_cluster::mesh::identity::{Identity, IdentityDir};
use chappe_cluster::mesh::pki::{Authority, Holder};
use chappe_cluster::mesh::{
    Answering, Config, Credentials, FeedWriter, Handler, Incident, Links, Mesh, Refusal,
};
use chappe_proto::id::{ClusterId, Index, NodeId, Region};
use chappe_proto::limits::{AUTHORITY_REST, CERTIFICATE_TTL};
use chappe_proto::mesh::node::{Answer, Ask, Body, Failure, Feed};
use chappe_proto::registry::{Command, Entry, NodeAddresses, Outcome, State};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// Nothing here takes so long.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn cluster() -> ClusterId {
    ClusterId::from_random([7; 15])
}

pub(crate) fn authority() -> Authority {
    Authority::make(cluster(), clock::unix()).unwrap()
}

pub(crate) fn region() -> Region {
    Region::new("here").unwrap()
}

/// A socket on loopback.
pub(crate) fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub(crate) fn apply(state: &mut State, command: Command) {
    outcome(state, command).accepted().unwrap();
}

pub(crate) fn outcome(state: &mut State, command: Command) -> Outcome {
    let index = Index(state.index().0 + 1);
    state.apply(index, Entry { at: clock::unix(), by: None, note: None, command })
}

/// A registry with nodes 1, 2, ... at these addresses.
pub(crate) fn registry(addresses: &[SocketAddr]) -> State {
    let mut state = State::default();
    let begin = Command::ClusterBegin { id: cluster(), name: "test".into(), realm: "test".into() };
    apply(&mut state, begin);
    for (n, address) in (1..).zip(addresses) {
        add(&mut state, NodeId(n), *address);
    }
    state
}

pub(crate) fn add(state: &mut State, node: NodeId, address: SocketAddr) {
    apply(state, Command::NodeAdd { node, region: region() });
    let addresses = NodeAddresses { mesh: vec![address], public: Vec::new() };
    apply(state, Command::NodeUp { node, addresses, build: "test".into(), speaks: 1 });
}

/// What a node's handler has been given.
#[allow(clippy::large_enum_variant)] // a test
#[derive(Debug)]
pub(crate) enum Heard {
    Body(NodeId, Body),
    Raft(NodeId, Box<Message>),
    SnapshotSent(NodeId, bool),
    Incident(Incident),
    Proposed(Command),
    /// Asked for its status, which is never answered.
    Asked(NodeId),
}

/// Hands all over to the test, and answers `Read` with its node's id and nothing else.
struct Recorder {
    node: NodeId,
    states: watch::Sender<Arc<State>>,
    heard: mpsc::Sender<Heard>,
}

impl Recorder {
    fn hear(&self, heard: Heard) {
        // A test that looks at nothing hears no more.
        let _ = self.heard.try_send(heard);
    }
}

impl Handler for Recorder {
    fn handle(&self, from: NodeId, body: Body) {
        self.hear(Heard::Body(from, body));
    }

    fn raft(&self, from: NodeId, message: Message) {
        self.hear(Heard::Raft(from, Box::new(message)));
    }

    fn snapshot_sent(&self, to: NodeId, arrived: bool) {
        self.hear(Heard::SnapshotSent(to, arrived));
    }

    fn answer(&self, from: NodeId, ask: Ask) -> Answering<Answer> {
        if ask == Ask::Status {
            self.hear(Heard::Asked(from));
        }
        let index = Index(self.node.0);
        Box::pin(async move {
            match ask {
                Ask::Read => Answer::Read { index },
                Ask::Status => std::future::pending().await,
                _ => Answer::Failed(Failure::Busy),
            }
        })
    }

    fn follow(&self, _: NodeId, after: Index, mut feed: FeedWriter) -> Answering<()> {
        Box::pin(async move {
            for n in 1.. {
                let frame = Feed::Entry { index: Index(after.0 + n), data: vec![1; 100_000] };
                if feed.send(&frame).await.is_err() {
                    return;
                }
            }
        })
    }

    /// A registry of one.
    fn propose(&self, command: Command) -> Answering<Result<Outcome, Failure>> {
        self.hear(Heard::Proposed(command.clone()));
        let mut told = Outcome::Done;
        self.states.send_modify(|state| told = outcome(Arc::make_mut(state), command));
        Box::pin(async { Ok(told) })
    }

    fn incident(&self, incident: Incident) {
        self.hear(Heard::Incident(incident));
    }
}

pub(crate) fn config(credentials: Credentials, node: NodeId, socket: UdpSocket) -> Config {
    Config {
        socket,
        node,
        cluster: cluster(),
        credentials,
        peers: Vec::new(),
        dir: None,
        certificate_ttl: CERTIFICATE_TTL,
        authority_rest: AUTHORITY_REST,
    }
}

/// A node, with threads of its own: dropped, it is gone without a farewell, as after kill -9.
pub(crate) struct Peer {
    runtime: Option<Runtime>,
    pub(crate) node: NodeId,
    pub(crate) mesh: Mesh,
    pub(crate) states: watch::Sender<Arc<State>>,
    pub(crate) heard: mpsc::Receiver<Heard>,
}

impl Peer {
    /// A node with a certificate of this authority.
    pub(crate) fn start(authority: &Authority, node: NodeId, socket: UdpSocket, state: &State) -> Self {
        let issued = authority.issue(&Holder::Node(node), clock::unix()).unwrap();
        Self::with(issued.into(), node, socket, state)
    }

    pub(crate) fn with(credentials: Credentials, node: NodeId, socket: UdpSocket, state: &State) -> Self {
        Self::of(config(credentials, node, socket), state)
    }

    /// With all that a mesh may begin with.
    pub(crate) fn of(config: Config, state: &State) -> Self {
        let node = config.node;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let mesh = Mesh::bind(config).unwrap();
        drop(entered);
        let states = watch::Sender::new(Arc::new(state.clone()));
        let (told, heard) = mpsc::channel(100_000);
        mesh.run(states.subscribe(), Arc::new(Recorder { node, states: states.clone(), heard: told }), None);
        Self { runtime: Some(runtime), node, mesh, states, heard }
    }

    /// Waits until the links are so.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Links) -> bool) {
        let mut links = self.mesh.links();
        let waited = tokio::time::timeout(SOON, links.wait_for(|links| so(links))).await;
        assert!(waited.is_ok(), "node {}: not {what}: {:?}", self.node, self.mesh.links().borrow());
    }

    pub(crate) async fn linked(&self, node: u64) {
        self.until(&format!("linked with {node}"), |links| links.is_direct(NodeId(node))).await;
    }

    pub(crate) async fn unlinked(&self, node: u64) {
        self.until(&format!("unlinked from {node}"), |links| !links.is_direct(NodeId(node))).await;
    }

    /// The next thing that the handler was given, by `pick`; others are skipped.
    pub(crate) async fn hear<T>(&mut self, what: &str, pick: impl Fn(Heard) -> Option<T>) -> T {
        let next = async {
            loop {
                let heard = self.heard.recv().await.unwrap();
                if let Some(picked) = pick(heard) {
                    return picked;
                }
            }
        };
        let heard = tokio::time::timeout(SOON, next).await;
        heard.unwrap_or_else(|_| panic!("node {} did not hear {what}", self.node))
    }

    pub(crate) async fn body(&mut self) -> (NodeId, Body) {
        self.hear("a frame", |heard| match heard {
            Heard::Body(from, body) => Some((from, body)),
            _ => None,
        })
        .await
    }

    /// Waits for a refusal that is so.
    pub(crate) async fn refusal(&mut self, what: &str, so: impl Fn(&Incident) -> bool) {
        self.hear(what, |heard| match heard {
            Heard::Incident(incident) if so(&incident) => Some(()),
            _ => None,
        })
        .await;
    }

    /// Waits until a refusal of this node's has been told.
    pub(crate) async fn refuses(&mut self, refusal: &Refusal) {
        self.refusal(&refusal.to_string(), |incident| incident.ours && incident.refusal == *refusal).await;
    }

    /// Waits until this node has been told a refusal of the other side's.
    pub(crate) async fn is_refused(&mut self, refusal: &Refusal) {
        let theirs = match refusal {
            Refusal::Removed { .. } => Refusal::RemovedThis(refusal.to_string()),
            refusal => Refusal::Theirs(refusal.to_string()),
        };
        self.refusal(&refusal.to_string(), |incident| !incident.ours && incident.refusal == theirs).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// Nodes 1 to `n`, each linked with each.
pub(crate) async fn nodes(authority: &Authority, n: u64) -> Vec<Peer> {
    let (sockets, addresses): (Vec<_>, Vec<_>) = (0..n).map(|_| socket()).unzip();
    let state = registry(&addresses);
    let peers: Vec<_> = (1..)
        .zip(sockets)
        .map(|(node, socket)| Peer::start(authority, NodeId(node), socket, &state))
        .collect();
    for peer in &peers {
        for other in (1..=n).filter(|other| NodeId(*other) != peer.node) {
            peer.linked(other).await;
        }
    }
    peers
}

/// A cluster of `n` nodes whose registry has the authority, and that registry; `change` has a word.
pub(crate) async fn founded(data: &Path, n: u64, change: impl Fn(Config) -> Config) -> (Vec<Peer>, State) {
    let (sockets, addresses): (Vec<_>, Vec<_>) = (0..n).map(|_| socket()).unzip();
    let mut state = registry(&addresses);
    let dirs: Vec<_> = (1..=n).map(|node| IdentityDir::of(&data.join(node.to_string()))).collect();
    let first = dirs[0].found(cluster(), region(), clock::unix()).unwrap();
    let command = dirs[0].authority_to_add(&state).unwrap().unwrap();
    apply(&mut state, command);
    let authority = Authority::newest(&state).unwrap().unwrap();
    let mut peers = Vec::new();
    for ((node, dir), socket) in (1..).map(NodeId).zip(dirs).zip(sockets) {
        let credentials = authority.issue(&Holder::Node(node), clock::unix()).unwrap().into();
        let identity = Identity { node, credentials, ..first.clone() };
        dir.save(&identity).unwrap();
        peers.push(Peer::of(change(Config::of(identity, dir, socket)), &state));
    }
    for peer in &peers {
        for other in (1..=n).filter(|other| NodeId(*other) != peer.node) {
            peer.linked(other).await;
        }
    }
    (peers, state)
}

//! Puts a node together and takes it apart again.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use actix_web::dev::ServerHandle;
use chappe_proto::id::{ClusterId, NodeId};
use chappe_proto::limits;
use chappe_proto::mesh::uplink::{NodeHello, PeerPolicy, Secret};
use chappe_proto::registry::{Command, NodeAddresses};
use ipnet::IpNet;
use tokio::runtime::{EnterGuard, Runtime};

use crate::actor::edges::{EdgesActor, RegistryChanged, Serve};
use crate::actor::session::Shutdown;
use crate::admin::Admin;
use crate::clock;
use crate::consensus::{self, Begun, BootstrapError, Ended, Founding, OpenError, ProposeError, Registry};
use crate::http;
use crate::mesh::pki::{Authority, Holder, PkiError};
use crate::mesh::uplink::{self, Uplinks};
use crate::node::Node;

/// A node's registry must have a leader within this of its start.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// How a node is started.
pub struct Config {
    /// Where its registry lives.
    pub dir: PathBuf,
    /// Its id.
    pub node: NodeId,
    /// What a new cluster begins with.
    pub founding: Founding,
    /// Which peers relays may reach beyond the built-in rules.
    pub peers: PeerPolicy,
    /// Goes on although the disk has lost something.
    pub accept_loss: bool,
    /// Bound sockets for plain HTTP.
    pub http: Vec<TcpListener>,
    /// HTTPS, where the node speaks TLS itself.
    pub https: Option<http::Secure>,
    /// HTTPS that an edge decrypts, where it shares its port.
    pub behind: Option<http::Behind>,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// HTTP worker threads.
    pub workers: usize,
    /// A bound socket that edges connect to.
    pub uplink: UdpSocket,
    /// Where the cluster's certificate authority is kept, or made.
    pub authority: PathBuf,
    /// Serving phones on the LAN.
    pub lan: Option<http::Lan>,
    /// What the admin API asks for.
    pub admin_token: Secret,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its registry cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The registry does not begin.
    #[error("the registry does not begin: {0}")]
    Bootstrap(#[from] BootstrapError),
    /// The registry takes no proposals.
    #[error("the registry takes no proposals: {0}")]
    Propose(#[from] ProposeError),
    /// No leader in time.
    #[error("the registry has no leader after {} s", LEADER_WITHIN.as_secs())]
    NoLeader,
    /// The registry holds no cluster: a bug of ours.
    #[error("the registry holds no cluster after its bootstrap")]
    NotFounded,
    /// Its certificate cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A thread cannot be started, or a listener not used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The thread of the links. A runtime may not simply be dropped within another one, as a start that
/// fails half way does.
struct Mesh(Option<Runtime>);

impl Mesh {
    fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A running node. Dropping it does not stop it.
pub struct Running {
    /// What its parts share.
    pub node: Arc<Node>,
    /// Where plain HTTP is served.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served.
    pub https: Vec<SocketAddr>,
    /// Where edges connect to.
    pub uplink: SocketAddr,
    /// Whether the cluster began with this start.
    pub founded: bool,
    /// The cluster's id.
    pub cluster: ClusterId,
    /// Its certificate authority.
    pub authority: Authority,
    server: ServerHandle,
    uplinks: Uplinks,
    mesh: Mesh,
    ended: Ended,
}

/// Starts a node. Call it within an actix system, which runs its actors that are not of an HTTP
/// worker.
///
/// # Errors
/// [`StartError`], each with what to do about it.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let mut opening = consensus::Config::alone(config.dir.clone(), config.node);
    opening.accept_loss = config.accept_loss;
    let (registry, ended) = actix_web::rt::task::spawn_blocking(move || Registry::open(opening))
        .await
        .map_err(io::Error::other)??;
    let http = local(&config.http);
    let https = config.https.as_ref().map_or_else(Vec::new, |secure| local(&secure.listeners));
    let uplink = config.uplink.local_addr()?;
    let of = |scheme: &'static str, all: &[SocketAddr]| -> Vec<String> {
        all.iter().map(|address| format!("{scheme}://{address}")).collect()
    };
    let behind = config.behind.as_ref().map(|behind| behind.urls.clone()).unwrap_or_default();
    let public = [behind, of("https", &https), of("http", &http)].concat();
    let begun = begin(&registry, &config, NodeAddresses { mesh: vec![uplink], public }).await?;

    let edges = EdgesActor::default().start();
    let node = Node::new(config.node, begun.generation, registry.clone(), edges.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("mesh")
        .enable_all()
        .build()?;
    let mesh = Mesh(Some(runtime));
    let cluster = registry.state().cluster().map(|cluster| cluster.id).ok_or(StartError::NotFounded)?;
    let authority = Authority::open(&config.authority, cluster, clock::unix())?;
    let uplinks = listen(&mesh, &config, &registry, &edges, &authority, cluster)?;
    edges.send(Serve(Arc::clone(&node))).await.map_err(io::Error::other)?;
    actix_rt::spawn(follow(registry, edges));

    let admin = chappe_admin::Mount::new(Arc::new(Admin(Arc::clone(&node))), config.admin_token);
    let server = http::serve(
        Arc::clone(&node),
        http::Config {
            plain: config.http,
            secure: config.https,
            behind: config.behind,
            trusted_proxies: config.trusted_proxies,
            workers: config.workers,
            lan: config.lan,
            admin,
        },
    )?;
    let handle = server.handle();
    actix_rt::spawn(server);
    let founded = begun.founded;
    Ok(Running {
        node,
        http,
        https,
        uplink,
        founded,
        cluster,
        authority,
        server: handle,
        uplinks,
        mesh,
        ended,
    })
}

fn local(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Waits until this node leads its cluster of one, and says that its process has begun.
async fn begin(registry: &Registry, config: &Config, addresses: NodeAddresses) -> Result<Begun, StartError> {
    let mut statuses = registry.watch_status();
    let leading = statuses.wait_for(|status| status.role == consensus::Role::Leader);
    match tokio::time::timeout(LEADER_WITHIN, leading).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return Err(ProposeError::Stopped.into()),
        Err(_) => return Err(StartError::NoLeader),
    }
    let begun = consensus::bootstrap(registry, &config.founding, addresses, crate::BUILD).await?;
    if *registry.state().peers() != config.peers {
        let applied = registry.propose(Command::PeersSet(config.peers.clone())).await?;
        applied.outcome.accepted().map_err(BootstrapError::from)?;
    }
    Ok(begun)
}

fn listen(
    mesh: &Mesh,
    config: &Config,
    registry: &Registry,
    edges: &Addr<EdgesActor>,
    authority: &Authority,
    cluster: ClusterId,
) -> Result<Uplinks, StartError> {
    let identity = authority.issue(&Holder::Node(config.node), clock::unix())?;
    let state = registry.state();
    let realm = state.cluster().map(|cluster| cluster.realm.clone()).unwrap_or_default();
    let hello = NodeHello { node: config.node, build: crate::BUILD.to_owned(), realm };
    let _entered = mesh.enter();
    let context = uplink::Context { registry: registry.clone(), edges: edges.clone(), hello, cluster };
    Ok(Uplinks::listen(config.uplink.try_clone()?, identity, context)?)
}

/// Tells the edges' actor of each change of the registry.
async fn follow(registry: Registry, edges: Addr<EdgesActor>) {
    let mut states = registry.watch();
    while states.changed().await.is_ok() {
        states.borrow_and_update();
        if edges.send(RegistryChanged).await.is_err() {
            return;
        }
    }
}

impl Running {
    /// Waits until the registry ends by itself: an error is the reason with which the process must
    /// exit.
    pub async fn failed(&mut self) -> Result<(), consensus::FatalError> {
        (&mut self.ended).await.unwrap_or(Ok(()))
    }

    /// Tells clients to resume elsewhere, and serves nobody any more. What carries their connections must
    /// not end before.
    pub async fn dismiss(&self) {
        for (_, session) in self.node.sessions.all() {
            // One whose mailbox is full loses its socket without a word, and resumes all the same.
            let _ = session.try_send(Shutdown);
        }
        self.server.stop(true).await; // waits for those farewells, within its own limit
    }

    /// Stops: clients are dismissed, edges told that the node goes, the registry's last words made durable.
    pub async fn stop(self) {
        self.dismiss().await;
        self.uplinks.stop().await;
        drop(self.mesh);
        self.node.registry.stop();
        let _ = tokio::time::timeout(limits::REGISTRY_STOP_WITHIN, self.ended).await;
    }
}

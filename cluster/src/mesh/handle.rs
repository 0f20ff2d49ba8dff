//! The handle of the mesh.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use chappe_proto::id::{ClusterId, EdgeId, NodeId};
use chappe_proto::limits::{self, CERTIFICATE_TTL};
use chappe_proto::mesh::node::{Body, Hello, Lane, Parcel, WIRE, WIRE_OLDEST};
use chappe_proto::registry::{State, VERSION};
use chappe_proto::time::Unix;
use quinn::Endpoint;
use rustls::pki_types::CertificateDer;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::endpoint;
use super::frame;
use super::handler::Handler;
use super::hello::{self, REPLACED, Refusal, STOPPING};
use super::identity::{Identity, IdentityDir};
use super::incidents::Incidents;
use super::links::{Links, Table};
use super::pki;
use super::requests::Requests;
use super::tls::Credentials;
use super::uplink;
use crate::actor::sources::Sources;
use crate::clock;

/// What a node's mesh begins with.
pub struct Config {
    /// A bound socket: other nodes, edges, and nodes that join connect to it.
    pub socket: UdpSocket,
    /// This node.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its certificate, and whom it trusts.
    pub credentials: Credentials,
    /// Where other nodes were reached last: dialled while the registry names no address of them.
    pub peers: Vec<(NodeId, Vec<SocketAddr>)>,
    /// Where its certificate is kept when it has been renewed, if anywhere.
    pub dir: Option<IdentityDir>,
    /// How long the certificates last that it makes: [`chappe_proto::limits::CERTIFICATE_TTL`].
    pub certificate_ttl: Duration,
    /// How long a former authority is trusted at least: [`limits::AUTHORITY_REST`].
    pub authority_rest: Duration,
}

impl Config {
    /// Of a node's identity and where that is kept.
    #[must_use]
    pub fn of(identity: Identity, dir: IdentityDir, socket: UdpSocket) -> Self {
        let Identity { cluster, node, credentials, peers, .. } = identity;
        Self {
            socket,
            node,
            cluster,
            credentials,
            peers,
            dir: Some(dir),
            certificate_ttl: CERTIFICATE_TTL,
            authority_rest: limits::AUTHORITY_REST,
        }
    }
}

/// Something was not taken: to be sent again, if it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// There is no way to that node now.
    #[error("no link with node {0}, and none with a node that has one")]
    NoWay(NodeId),
    /// Too much waits for that node.
    #[error("too much waits for node {0}")]
    Full(NodeId),
    /// Longer than a frame may be: a bug of ours.
    #[error("the frame is longer than one may be")]
    TooLong,
}

/// The handle of a node's mesh; clones are the same.
#[derive(Clone)]
pub struct Mesh(pub(super) Arc<Inner>);

/// What the mesh's tasks share.
pub(crate) struct Inner {
    pub(crate) node: NodeId,
    pub(crate) cluster: ClusterId,
    pub(crate) endpoint: Endpoint,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) table: Table,
    pub(crate) requests: Requests,
    pub(crate) incidents: Incidents,
    pub(crate) connect: RwLock<quinn::ClientConfig>,
    pub(crate) credentials: watch::Sender<Arc<Credentials>>,
    pub(crate) peers: BTreeMap<NodeId, Vec<SocketAddr>>,
    /// Wakes the dialler of a node.
    pub(crate) kicks: Mutex<BTreeMap<NodeId, Arc<Notify>>>,
    pub(crate) dir: Option<IdentityDir>,
    pub(crate) certificate_ttl: Duration,
    pub(crate) authority_rest: Duration,
    /// The edges with uplinks here, and their certificates.
    pub(crate) uplinks: Mutex<BTreeMap<u64, (EdgeId, CertificateDer<'static>)>>,
    pub(crate) join_sources: Sources,
    running: OnceLock<Running>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) life: u64,
    /// Parcels that could not be read, and that could not be passed on.
    pub(crate) skipped: AtomicU64,
}

/// What is known once the node has its registry.
pub(crate) struct Running {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) states: watch::Receiver<Arc<State>>,
    /// None where edges are not accepted, and once the node stops: it has a handle of the mesh, which would
    /// hold itself.
    pub(crate) uplinks: Mutex<Option<uplink::Context>>,
}

impl Mesh {
    /// Binds the mesh to a socket; nothing is accepted or dialled before [`Self::run`]. Call it within the
    /// runtime that is to do the work.
    ///
    /// # Errors
    /// When the socket or the credentials cannot be used.
    pub fn bind(config: Config) -> io::Result<Self> {
        let connect = config.credentials.connect().map_err(io::Error::other)?;
        let endpoint = endpoint::bind(config.socket, &config.credentials)?;
        Ok(Self(Arc::new(Inner {
            node: config.node,
            cluster: config.cluster,
            endpoint,
            runtime: tokio::runtime::Handle::current(),
            table: Table::new(),
            requests: Requests::new(),
            incidents: Incidents::default(),
            connect: RwLock::new(connect),
            credentials: watch::Sender::new(Arc::new(config.credentials)),
            peers: config.peers.into_iter().collect(),
            kicks: Mutex::default(),
            dir: config.dir,
            certificate_ttl: config.certificate_ttl,
            authority_rest: config.authority_rest,
            uplinks: Mutex::default(),
            join_sources: Sources::new(limits::JOIN_ATTEMPTS_PER_SEC, limits::JOIN_ATTEMPTS_BURST),
            running: OnceLock::new(),
            tasks: Mutex::default(),
            life: u64::from_be_bytes(clock::random()),
            skipped: AtomicU64::new(0),
        })))
    }

    /// Begins to accept and to dial: the nodes of the registry as it changes. Edges are accepted where
    /// `uplinks` is given. The second call does nothing.
    pub fn run(
        &self,
        states: watch::Receiver<Arc<State>>,
        handler: Arc<dyn Handler>,
        uplinks: Option<uplink::Context>,
    ) {
        if self.0.running.set(Running { handler, states, uplinks: Mutex::new(uplinks) }).is_err() {
            return;
        }
        let tasks = [
            self.0.runtime.spawn(endpoint::accept(Arc::clone(&self.0))),
            self.0.runtime.spawn(super::dial::follow(Arc::clone(&self.0))),
            self.0.runtime.spawn(super::dial::gossip(Arc::clone(&self.0))),
            self.0.runtime.spawn(super::renew::keep(Arc::clone(&self.0))),
            self.0.runtime.spawn(super::retire::keep(Arc::clone(&self.0))),
        ];
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
    }

    /// Sends something to a node without waiting: over the link with it, or through a node that has one.
    /// What is sent to this node itself is given to its handler before this returns.
    ///
    /// # Errors
    /// [`Unsent`]. What was taken may be lost on its way nevertheless.
    pub fn send(&self, to: NodeId, lane: Lane, body: Body) -> Result<(), Unsent> {
        self.0.send(to, lane, body)
    }

    /// The links and their changes.
    #[must_use]
    pub fn links(&self) -> watch::Receiver<Arc<Links>> {
        self.0.table.watch()
    }

    /// When the certificate that is presented ends.
    #[must_use]
    pub fn certificate_until(&self) -> Option<Unix> {
        pki::validity(&self.0.credentials.borrow().certificate).ok().map(|(_, until)| until)
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    /// Frames that could not be read (a newer release's) or not be passed on, since the start.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.0.skipped.load(Ordering::Relaxed)
    }

    /// Presents another certificate and trusts other authorities from now on; links stay.
    ///
    /// # Errors
    /// When the credentials cannot be used; the former ones stay then.
    pub fn renew(&self, credentials: Credentials) -> io::Result<()> {
        let connect = credentials.connect().map_err(io::Error::other)?;
        let accept = credentials.accept().map_err(io::Error::other)?;
        *self.0.connect.write().unwrap_or_else(PoisonError::into_inner) = connect;
        self.0.endpoint.set_server_config(Some(accept));
        self.0.credentials.send_replace(Arc::new(credentials));
        Ok(())
    }

    /// What is presented and who is trusted, as it changes.
    #[must_use]
    pub fn credentials(&self) -> watch::Receiver<Arc<Credentials>> {
        self.0.credentials.subscribe()
    }

    /// Closes all links and waits until the other sides know.
    pub async fn stop(&self) {
        for task in self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        if let Some(running) = self.0.running() {
            running.uplinks.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        self.0.endpoint.close(STOPPING, b"the node stops");
        self.0.endpoint.wait_idle().await;
    }
}

impl Inner {
    /// What the node gave when it began; none before.
    pub(crate) fn running(&self) -> Option<&Running> {
        self.running.get()
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.running().map_or_else(Arc::default, |running| Arc::clone(&running.states.borrow()))
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            cluster: self.cluster,
            node: self.node,
            build: crate::BUILD.to_owned(),
            wire: WIRE,
            oldest: WIRE_OLDEST,
            life: self.life,
            speaks: VERSION,
            reaches: self.table.now().nodes(),
            loss: None,
        }
    }

    pub(crate) fn check(&self, hello: &Hello, certified: NodeId) -> Result<(), Refusal> {
        hello::check(hello, certified, self.cluster, &self.state())
    }

    pub(crate) fn send(&self, to: NodeId, lane: Lane, body: Body) -> Result<(), Unsent> {
        if to == self.node {
            return self.loopback(body);
        }
        let parcel = Parcel { from: self.node, to, body };
        self.pass(to, lane, frame::encode(&parcel).map_err(|_| Unsent::TooLong)?)
    }

    /// Hands a frame to the link that leads to a node.
    pub(super) fn pass(&self, to: NodeId, lane: Lane, frame: Bytes) -> Result<(), Unsent> {
        let links = self.table.now();
        let link = links.towards(to).ok_or(Unsent::NoWay(to))?;
        link.lanes.send(lane, frame).map_err(|_| Unsent::Full(to))
    }

    fn loopback(&self, body: Body) -> Result<(), Unsent> {
        let running = self.running().ok_or(Unsent::NoWay(self.node))?;
        running.handler.handle(self.node, body);
        Ok(())
    }

    /// The wake-up call of the task that dials a node.
    pub(crate) fn kick(&self, node: NodeId) -> Arc<Notify> {
        let mut kicks = self.kicks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kicks.entry(node).or_default())
    }

    /// A node with a higher id has said that it is there, in this life of its process, and without a link.
    pub(crate) fn knocked(&self, node: NodeId, life: u64) {
        let links = self.table.now();
        match links.link(node) {
            // Its knock and this side's connection have crossed.
            Some(link) if link.life == life => return,
            Some(link) => link.connection.close(REPLACED, b"the other side has begun anew"),
            None => {}
        }
        self.kick(node).notify_one();
    }
}

//! The node's end of uplinks: accepts edges, feeds them from the registry, hears how they are.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::Addr;
use chappe_proto::id::{ClusterId, EdgeId};
use chappe_proto::limits;
use chappe_proto::mesh::uplink::{ALPN, Down, EdgeHello, GOODBYE, Health, NodeHello, Up};
use chappe_proto::registry::{Command, State};
use chappe_proto::wire;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::frame::{self, FrameError};
use super::pki::{self, Holder, Issued};
use crate::actor::edges::{EdgesActor, LinkEvent, LinkSays, Numbered};
use crate::consensus::Registry;

/// The close code of a node that stops.
const STOPPING: VarInt = VarInt::from_u32(2);
/// Directives on their way to one uplink's task.
const WAY: usize = 256;
/// The registry must have taken an edge's registration within this.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);

/// Why an uplink ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("no certificate of this cluster's CA for an edge")]
    NotAnEdge,
    #[error("its certificate is of {0}, and it calls itself {1}")]
    Impostor(EdgeId, EdgeId),
    #[error("no hello in time, or not as the first frame")]
    NoHello,
    #[error("the registry does not take it: {0}")]
    Refused(String),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error("the node stops")]
    Stopping,
}

/// What an uplink's task works with.
#[derive(Clone)]
pub struct Context {
    /// What edges are fed from.
    pub registry: Registry,
    /// Who is told of them.
    pub edges: Addr<EdgesActor>,
    /// What this node says of itself.
    pub hello: NodeHello,
    /// Whose certificates are believed.
    pub cluster: ClusterId,
}

/// Accepts uplinks until it is stopped.
pub struct Uplinks {
    endpoint: Endpoint,
    accepting: JoinHandle<()>,
}

impl Uplinks {
    /// Listens on a bound socket. Call it within the runtime that is to do the work.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn listen(socket: UdpSocket, identity: Issued, context: Context) -> std::io::Result<Self> {
        let tls = Arc::new(server_tls(identity).map_err(std::io::Error::other)?);
        let crypto = QuicServerConfig::try_from(tls).map_err(std::io::Error::other)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport()));
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = Endpoint::new(quinn::EndpointConfig::default(), Some(config), socket, runtime)?;
        let accepting = tokio::spawn(accept(endpoint.clone(), context));
        Ok(Self { endpoint, accepting })
    }

    /// Closes all uplinks and waits until the edges know.
    pub async fn stop(self) {
        self.accepting.abort();
        self.endpoint.close(STOPPING, b"the node stops");
        self.endpoint.wait_idle().await;
    }
}

/// The node's certificate; nobody is let in without one of the same authority.
fn server_tls(identity: Issued) -> Result<rustls::ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(identity.roots()?);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(identity.chain(), identity.key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(limits::LINK_KEEP_ALIVE));
    transport.max_idle_timeout(limits::LINK_IDLE.try_into().ok());
    transport.max_concurrent_bidi_streams(1_u8.into());
    transport.max_concurrent_uni_streams(0_u8.into());
    transport
}

async fn accept(endpoint: Endpoint, context: Context) {
    let places = Arc::new(Semaphore::new(limits::UPLINKS_MAX));
    static LINKS: AtomicU64 = AtomicU64::new(0);
    while let Some(incoming) = endpoint.accept().await {
        // Who cannot be heard at its address takes no place.
        if !incoming.remote_address_validated() {
            let _ = incoming.retry(); // refused by quinn only where it is validated already
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (context, link) = (context.clone(), LINKS.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                run(connection, link, context).await;
            }
            drop(place);
        });
    }
}

/// Runs an uplink until it ends; `link` numbers it among this process's.
pub(crate) async fn run(connection: Connection, link: u64, context: Context) {
    let from = connection.remote_address();
    if let Err(error) = serve(connection, link, context).await {
        tracing::info!(%from, %error, "uplink ended");
    }
}

async fn serve(connection: Connection, link: u64, context: Context) -> Result<(), LinkError> {
    let edge = peer_of(&connection, &context.cluster).ok_or(LinkError::NotAnEdge)?;
    let hello = async {
        let (send, mut recv) = connection.accept_bi().await.map_err(|_| LinkError::NoHello)?;
        match frame::read::<Up>(&mut recv).await? {
            Up::Hello(hello) => Ok((send, recv, hello)),
            _ => Err(LinkError::NoHello),
        }
    };
    let (send, recv, hello) =
        tokio::time::timeout(limits::UPLINK_HELLO_WITHIN, hello).await.map_err(|_| LinkError::NoHello)??;
    if hello.edge != edge {
        return Err(LinkError::Impostor(edge, hello.edge));
    }
    register(&context.registry, &hello).await?;
    let (directives, orders) = mpsc::channel(WAY);
    let says = |event| LinkSays { link, edge: edge.clone(), event };
    let up = LinkEvent::Up { hello: Box::new(hello), directives };
    if context.edges.send(says(up)).await.is_err() {
        return Err(LinkError::Stopping);
    }
    let ended = converse(&connection, send, recv, &context, &edge, orders, &says).await;
    let goodbye = matches!(
        connection.close_reason(),
        Some(quinn::ConnectionError::ApplicationClosed(close)) if close.error_code == VarInt::from_u32(GOODBYE)
    );
    let _ = context.edges.send(says(LinkEvent::Down { goodbye })).await; // the node stops: nobody to tell
    ended
}

/// The edge that a connection's certificate names.
fn peer_of(connection: &Connection, cluster: &ClusterId) -> Option<EdgeId> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    match pki::holder(chain.first()?, cluster) {
        Ok(Holder::Edge(edge)) => Some(edge),
        _ => None,
    }
}

/// Writes what the edge offers into the registry.
async fn register(registry: &Registry, hello: &EdgeHello) -> Result<(), LinkError> {
    let refused = |why: String| LinkError::Refused(why);
    let proposed = registry.propose(Command::EdgeUp(hello.clone()));
    let applied = tokio::time::timeout(REGISTER_WITHIN, proposed)
        .await
        .map_err(|_| refused("no answer in time".to_owned()))?
        .map_err(|error| refused(error.to_string()))?;
    applied.outcome.accepted().map(drop).map_err(|refusal| refused(refusal.to_string()))
}

/// The one loop of an uplink.
async fn converse(
    connection: &Connection,
    mut send: SendStream,
    recv: RecvStream,
    context: &Context,
    edge: &EdgeId,
    mut orders: mpsc::Receiver<Numbered>,
    says: &impl Fn(LinkEvent) -> LinkSays,
) -> Result<(), LinkError> {
    let mut states = context.registry.watch();
    let mut told: Arc<State> = states.borrow_and_update().clone();
    frame::write(&mut send, &Down::Hello(context.hello.clone())).await?;
    frame::write(&mut send, &Down::Snapshot(told.edge_view(edge))).await?;
    let (frames, mut heard) = mpsc::channel(WAY);
    let _reading = Reading(tokio::spawn(read(recv, frames)));
    loop {
        tokio::select! {
            changed = states.changed() => {
                changed.map_err(|_| LinkError::Stopping)?;
                let state = states.borrow_and_update().clone();
                let changes = State::edge_changes(&told, &state, edge);
                if !changes.is_empty() {
                    let index = state.index();
                    frame::write(&mut send, &Down::Delta { index, changes }).await?;
                }
                told = state;
            }
            order = orders.recv() => {
                let Some((seq, body)) = order else { return Ok(()) }; // another uplink took over
                frame::write(&mut send, &Down::Directive { seq, body }).await?;
            }
            said = heard.recv() => {
                let Some(said) = said else { return Ok(()) };
                if let Up::Done { seq } = said? {
                    context.edges.send(says(LinkEvent::Done(seq))).await.map_err(|_| LinkError::Stopping)?;
                }
            }
            datagram = connection.read_datagram() => {
                // One that is not read, or that finds the mailbox full, the next one makes good.
                if let Ok(health) = wire::decode::<Health>(&datagram?, limits::HEALTH_MAX) {
                    let _ = context.edges.try_send(says(LinkEvent::Health(Box::new(health))));
                }
            }
        }
    }
}

/// A reading task that ends with its uplink.
struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(mut recv: RecvStream, frames: mpsc::Sender<Result<Up, FrameError>>) {
    loop {
        let said = frame::read::<Up>(&mut recv).await;
        let over = said.is_err();
        if frames.send(said).await.is_err() || over {
            return;
        }
    }
}

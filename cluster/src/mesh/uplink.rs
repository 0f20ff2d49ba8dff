//! The node's end of uplinks: accepts edges, feeds them from the registry, hears how they are.

mod asks;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use chappe_proto::id::{ClusterId, EdgeId, Index, NodeId};
use chappe_proto::limits;
use chappe_proto::mesh::node::{Body, Lane};
use chappe_proto::mesh::uplink::{
    Alternate, Certificate, Down, EdgeHello, GOODBYE, Health, Listener, NodeHello, REFUSED, REMOVED, Up,
};
use chappe_proto::registry::{Command, EdgeState, Refusal as Refused, State, Thing};
use chappe_proto::time::Mono;
use chappe_proto::turn::is_special;
use chappe_proto::wire;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::frame::{self, FrameError};
use super::handle::Inner;
use super::hello::{DONE, Refusal};
use super::pki::{self, Holder};
use crate::actor::edges::{EdgesActor, LinkEvent, LinkSays, Numbered};
use crate::clock;
use crate::consensus::Registry;
use crate::node::Node;
use crate::proposals::Proposals;
use crate::usage::Book;
pub use asks::Asked;
use asks::Pending;

/// Directives on their way to one uplink's task.
const WAY: usize = 256;
/// The registry must have taken an edge's registration within this.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);

/// An edge has its certificate made anew no more often than this.
const CERTIFY_EVERY: Duration = Duration::from_secs(1);

/// An edge that is removed must have taken its last change within this; then its uplink is cut anyway, whatever
/// it waits for.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);

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
    #[error("the registry cannot take it now: {0}")]
    NotNow(String),
    #[error(
        "clients cannot reach it by {0}: start it with addresses that they can (--listen, --relay-ip, --advertise)"
    )]
    Nowhere(IpAddr),
    #[error("edge {0} was removed from the cluster")]
    Removed(EdgeId),
    #[error("no edge {0} is known here: it was forgotten, or has never joined")]
    Unknown(EdgeId),
    #[error("another machine has taken the place of the edge {0}: its key is another one")]
    Replaced(EdgeId),
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
    /// What they offer goes into the registry by this.
    pub proposals: Proposals,
    /// Who is told of them.
    pub edges: Addr<EdgesActor>,
    /// What users have relayed.
    pub usage: Arc<Book>,
    /// This node.
    pub node: NodeId,
    /// Whose certificates are believed.
    pub cluster: ClusterId,
}

impl LinkError {
    /// The close code by which the edge knows what to make of it.
    const fn code(&self) -> VarInt {
        match self {
            Self::Removed(_) | Self::Unknown(_) | Self::Replaced(_) => VarInt::from_u32(REMOVED),
            Self::Impostor(..) | Self::Refused(_) | Self::Nowhere(_) => VarInt::from_u32(REFUSED),
            _ => DONE,
        }
    }
}

/// Runs an uplink until it ends; `link` numbers it among this process's.
pub(crate) async fn run(mesh: &Inner, connection: Connection, link: u64, context: Context) {
    let from = connection.remote_address();
    let edge = peer_of(&connection, &context.cluster).map(|(edge, _)| edge);
    if let Err(error) = serve(mesh, &connection, link, context).await {
        tracing::info!(%from, %error, "uplink ended");
        connection.close(error.code(), error.to_string().as_bytes()); // where it is open still
        if let Some(edge) = edge.filter(|_| error.code() == VarInt::from_u32(REFUSED)) {
            mesh.tell(from, None, Refusal::Edge { edge, why: error.to_string() }, true);
        }
    }
}

async fn serve(mesh: &Inner, connection: &Connection, link: u64, context: Context) -> Result<(), LinkError> {
    let (edge, key) = peer_of(connection, &context.cluster).ok_or(LinkError::NotAnEdge)?;
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
    believable(connection, &hello)?;
    register(&context, &hello, &key).await?;
    let (directives, orders) = mpsc::channel(WAY);
    let says = |event| LinkSays { link, edge: edge.clone(), event };
    let (elsewhere, alternates) = watch::channel(None);
    let (asks, asked) = mpsc::channel(limits::EDGE_ASKS);
    let peer = Peer { edge: edge.clone(), key, listeners: hello.listeners.clone() };
    let inside = is_special(connection.remote_address().ip());
    let up = LinkEvent::Up { hello: Box::new(hello), inside, directives, elsewhere, asks };
    if context.edges.send(says(up)).await.is_err() {
        return Err(LinkError::Stopping);
    }
    let removal = removed(context.registry.watch(), &peer);
    let ended = tokio::select! {
        ended = converse(mesh, connection, send, recv, &context, &peer, Ways { orders, alternates, asked }, &says) => ended,
        error = removal => Err(error),
    };
    let goodbye = matches!(
        connection.close_reason(),
        Some(quinn::ConnectionError::ApplicationClosed(close)) if close.error_code == VarInt::from_u32(GOODBYE)
    );
    let _ = context.edges.send(says(LinkEvent::Down { goodbye })).await; // the node stops: nobody to tell
    ended
}

/// Who is at the other end.
struct Peer {
    edge: EdgeId,
    /// The hash of its public key.
    key: Vec<u8>,
    /// Those of its hello: reports name them by their places.
    listeners: Vec<Listener>,
}

/// The edge that a connection's certificate names, and the hash of its key.
fn peer_of(connection: &Connection, cluster: &ClusterId) -> Option<(EdgeId, Vec<u8>)> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    let certificate = chain.first()?;
    match pki::holder(certificate, cluster) {
        Ok(Holder::Edge(edge)) => Some((edge, pki::key_hash(certificate).ok()?)),
        _ => None,
    }
}

/// Writes what the edge offers into the registry, which knows whose name that is: this node may not have heard yet.
async fn register(context: &Context, hello: &EdgeHello, key: &[u8]) -> Result<(), LinkError> {
    let offer = Command::EdgeOffer { hello: Box::new(hello.clone()), key: key.to_vec() };
    let proposed = context.proposals.propose(offer, REGISTER_WITHIN);
    let applied = proposed.await.map_err(|error| LinkError::NotNow(error.to_string()))?;
    applied.outcome.accepted().map(drop).map_err(|refusal| match refusal {
        Refused::Removed(Thing::Edge) => LinkError::Removed(hello.edge.clone()),
        Refused::Unknown(Thing::Edge) => LinkError::Unknown(hello.edge.clone()),
        Refused::OtherKey(Thing::Edge) => LinkError::Replaced(hello.edge.clone()),
        other => LinkError::Refused(other.to_string()),
    })
}

/// What an edge says of itself must be something that clients elsewhere could reach. From loopback anything may
/// be: that is a development cluster's, or a test's.
fn believable(connection: &Connection, hello: &EdgeHello) -> Result<(), LinkError> {
    if connection.remote_address().ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let relays = hello.relays.iter().map(|range| range.address);
    let mut claimed = hello.listeners.iter().map(|listener| listener.address.ip()).chain(relays);
    let nowhere = |ip: &IpAddr| {
        let ip = ip.to_canonical();
        ip.is_loopback() || ip.is_unspecified() || ip.is_multicast()
    };
    match claimed.find(nowhere) {
        None => Ok(()),
        Some(ip) => Err(LinkError::Nowhere(ip)),
    }
}

/// Why an edge is to have no uplink any more.
fn gone(state: &State, Peer { edge, key, .. }: &Peer) -> Option<LinkError> {
    match state.edge(edge) {
        None => Some(LinkError::Unknown(edge.clone())),
        Some(held) if held.state == EdgeState::Removed => Some(LinkError::Removed(edge.clone())),
        Some(held) if !held.is_of(key) => Some(LinkError::Replaced(edge.clone())),
        Some(_) => None,
    }
}

/// Ends once the edge is removed or another one in its place, and has had its time to take that. An edge that reads
/// nothing holds up every write, so this is nothing that the loop itself could watch.
async fn removed(mut states: watch::Receiver<Arc<State>>, peer: &Peer) -> LinkError {
    // It looks at the state that there is first.
    let error = states.wait_for(|state| gone(state, peer).is_some()).await.map(|state| gone(&state, peer));
    let Ok(Some(error)) = error else {
        return std::future::pending().await; // the node stops: the loop says so
    };
    tokio::time::sleep(TAKEN_WITHIN).await;
    error
}

/// The first frames.
async fn greet(
    send: &mut SendStream,
    (node, life): (NodeId, u64),
    state: &State,
    edge: &EdgeId,
) -> Result<(), FrameError> {
    let realm = state.cluster().map(|cluster| cluster.realm.clone()).unwrap_or_default();
    let hello = NodeHello { node, build: crate::BUILD.to_owned(), realm, life };
    frame::write(send, &Down::Hello(hello)).await?;
    frame::write(send, &Down::Snapshot(state.edge_view(edge))).await
}

/// What comes from this node for the edge.
struct Ways {
    orders: mpsc::Receiver<Numbered>,
    alternates: watch::Receiver<Option<Vec<Alternate>>>,
    asked: mpsc::Receiver<Asked>,
}

/// The one loop of an uplink.
#[expect(clippy::too_many_arguments, reason = "the parts of one connection, and whom they serve")]
async fn converse(
    mesh: &Inner,
    connection: &Connection,
    mut send: SendStream,
    recv: RecvStream,
    context: &Context,
    peer: &Peer,
    mut ways: Ways,
    says: &impl Fn(LinkEvent) -> LinkSays,
) -> Result<(), LinkError> {
    let edge = &peer.edge;
    let mut states = context.registry.watch();
    let mut told: Arc<State> = states.borrow_and_update().clone();
    greet(&mut send, (context.node, mesh.life), &told, edge).await?;
    let (frames, mut heard) = mpsc::channel(WAY);
    let _reading = Reading(tokio::spawn(read(recv, frames)));
    let (mut certified_at, mut pending) = (None, Pending::default());
    loop {
        tokio::select! {
            changed = states.changed() => {
                changed.map_err(|_| LinkError::Stopping)?;
                let state = states.borrow_and_update().clone();
                tell(&mut send, &mut heard, (&told, &state), peer).await?;
                told = state;
            }
            Ok(()) = ways.alternates.changed() => {
                if let Some(alternates) = { ways.alternates.borrow_and_update().clone() } {
                    frame::write(&mut send, &Down::Alternates { alternates }).await?;
                }
            }
            Some(asked) = ways.asked.recv() => {
                if let Some(frame) = pending.begin(asked) {
                    frame::write(&mut send, &frame).await?;
                }
            }
            order = ways.orders.recv() => {
                let Some((seq, body)) = order else {
                    // Another uplink took over: this edge's, or that of another one in its place.
                    return gone(&context.registry.state(), peer).map_or(Ok(()), Err);
                };
                frame::write(&mut send, &Down::Directive { seq, body }).await?;
            }
            said = heard.recv() => {
                let Some(said) = said else { return Ok(()) };
                match said? {
                    Up::Done { seq } => {
                        let done = context.edges.send(says(LinkEvent::Done(seq)));
                        done.await.map_err(|_| LinkError::Stopping)?;
                    }
                    Up::Certify { public_key } => {
                        if let Some(certificate) = certify(mesh, peer, &public_key, &mut certified_at) {
                            frame::write(&mut send, &Down::Certified { certificate }).await?;
                        }
                    }
                    Up::Probed { number, edge, found } => {
                        // One that finds the mailbox full is as one that never came.
                        let _ = context.edges.try_send(says(LinkEvent::Probed { number, edge, found }));
                    }
                    Up::Usage { seq, usage } => {
                        let by = told.edge(edge).map(|held| (edge.clone(), held.region.clone()));
                        context.usage.take(usage, by.as_ref(), |body| {
                            tell_others(mesh, context.node, &told, &body);
                        });
                        frame::write(&mut send, &Down::UsageTaken { seq }).await?;
                    }
                    Up::Health(health) => {
                        let _ = context.edges.try_send(says(reported(*health, connection, peer)));
                    }
                    Up::Answer { number, body } => pending.end(number, body),
                    Up::Hello(_) | Up::Applied { .. } | Up::Unknown => {}
                }
            }
            datagram = connection.read_datagram() => {
                // One that is not read, or that finds the mailbox full, the next one makes good.
                if let Ok(health) = wire::decode::<Health>(&datagram?, limits::HEALTH_MAX) {
                    let _ = context.edges.try_send(says(reported(health, connection, peer)));
                }
            }
        }
    }
}

/// What has changed between two states. Where the edge is gone by it that is its last word.
async fn tell(
    send: &mut SendStream,
    heard: &mut mpsc::Receiver<Result<Up, FrameError>>,
    (told, state): (&State, &State),
    peer: &Peer,
) -> Result<(), LinkError> {
    let changes = State::edge_changes(told, state, &peer.edge);
    let (index, changed) = (state.index(), !changes.is_empty());
    if changed {
        frame::write(send, &Down::Delta { index, changes }).await?;
    }
    let Some(error) = gone(state, peer) else { return Ok(()) };
    if changed {
        taken(heard, index).await;
    }
    Err(error)
}

/// Tells every other node.
fn tell_others(mesh: &Inner, own: NodeId, state: &State, body: &Body) {
    let others = Node::gateways(state).map(|gateway| gateway.node).filter(|other| *other != own);
    for other in others {
        let _ = mesh.send(other, Lane::Control, body.clone()); // it has less
    }
}

/// A report, all listeners that failed named in it.
fn reported(mut health: Health, connection: &Connection, peer: &Peer) -> LinkEvent {
    health.name_failed(&peer.listeners);
    LinkEvent::Health { health: Box::new(health), rtt: connection.rtt() }
}

/// A new certificate for the key of the present one, which the edge has shown: its name is that key's alone. Asked
/// too often, or for another key, it is told nothing.
fn certify(mesh: &Inner, peer: &Peer, key: &[u8], last: &mut Option<Mono>) -> Option<Certificate> {
    let (now, edge) = (clock::mono(), &peer.edge);
    if digest(&SHA256, key).as_ref() != peer.key {
        tracing::warn!(%edge, "it asks for a certificate of another key: it gets none");
        return None;
    }
    if last.replace(now).is_some_and(|last| now.since(last) < CERTIFY_EVERY) {
        return None;
    }
    match mesh.certify(&Holder::Edge(edge.clone()), key) {
        Ok((certificate, _)) => {
            tracing::info!(%edge, "its certificate is made anew");
            Some(Certificate(certificate))
        }
        Err(error) => {
            tracing::warn!(%edge, %error, "its certificate cannot be made anew");
            None
        }
    }
}

/// Waits until the edge has taken the feed up to here, or says nothing more.
async fn taken(heard: &mut mpsc::Receiver<Result<Up, FrameError>>, index: Index) {
    while let Some(Ok(said)) = heard.recv().await {
        if matches!(said, Up::Applied { index: applied } if applied >= index) {
            return;
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
        let said = frame::read_within::<Up>(&mut recv, limits::UPLINK_FRAME_MAX).await;
        let over = said.is_err();
        if frames.send(said).await.is_err() || over {
            return;
        }
    }
}

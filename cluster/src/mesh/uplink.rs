//! The node's end of uplinks: accepts edges, feeds them from the registry, hears how they are.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use chappe_proto::id::{ClusterId, EdgeId, Index, NodeId};
use chappe_proto::limits;
use chappe_proto::mesh::uplink::{Down, EdgeHello, GOODBYE, Health, NodeHello, Up};
use chappe_proto::registry::{Command, EdgeState, State};
use chappe_proto::wire;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::frame::{self, FrameError};
use super::hello::DONE;
use super::pki::{self, Holder};
use crate::actor::edges::{EdgesActor, LinkEvent, LinkSays, Numbered};
use crate::consensus::Registry;
use crate::proposals::Proposals;

/// Directives on their way to one uplink's task.
const WAY: usize = 256;
/// The registry must have taken an edge's registration within this.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);

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
    #[error("edge {0} was removed from the cluster")]
    Removed(EdgeId),
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
    /// This node.
    pub node: NodeId,
    /// Whose certificates are believed.
    pub cluster: ClusterId,
}

/// Runs an uplink until it ends; `link` numbers it among this process's.
pub(crate) async fn run(connection: Connection, link: u64, context: Context) {
    let from = connection.remote_address();
    if let Err(error) = serve(&connection, link, context).await {
        tracing::info!(%from, %error, "uplink ended");
        connection.close(DONE, error.to_string().as_bytes()); // where it is open still
    }
}

async fn serve(connection: &Connection, link: u64, context: Context) -> Result<(), LinkError> {
    let edge = peer_of(connection, &context.cluster).ok_or(LinkError::NotAnEdge)?;
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
    register(&context, &hello).await?;
    let (directives, orders) = mpsc::channel(WAY);
    let says = |event| LinkSays { link, edge: edge.clone(), event };
    let up = LinkEvent::Up { hello: Box::new(hello), directives };
    if context.edges.send(says(up)).await.is_err() {
        return Err(LinkError::Stopping);
    }
    let removal = removed(context.registry.watch(), &edge);
    let ended = tokio::select! {
        ended = converse(connection, send, recv, &context, &edge, orders, &says) => ended,
        () = removal => Err(LinkError::Removed(edge.clone())),
    };
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
async fn register(context: &Context, hello: &EdgeHello) -> Result<(), LinkError> {
    let refused = |why: String| LinkError::Refused(why);
    let proposed = context.proposals.propose(Command::EdgeUp(hello.clone()), REGISTER_WITHIN);
    let applied = proposed.await.map_err(|error| refused(error.to_string()))?;
    applied.outcome.accepted().map(drop).map_err(|refusal| refused(refusal.to_string()))
}

fn is_removed(state: &State, edge: &EdgeId) -> bool {
    state.edge(edge).is_none_or(|held| held.state == EdgeState::Removed)
}

/// Ends once the edge is removed, and has had its time to take that. An edge that reads nothing holds up every
/// write, so this is nothing that the loop itself could watch.
async fn removed(mut states: watch::Receiver<Arc<State>>, edge: &EdgeId) {
    // It looks at the state that there is first.
    let stops = states.wait_for(|state| is_removed(state, edge)).await.is_err();
    if stops {
        return std::future::pending().await; // the loop says so
    }
    tokio::time::sleep(TAKEN_WITHIN).await;
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
    let realm = told.cluster().map(|cluster| cluster.realm.clone()).unwrap_or_default();
    let hello = NodeHello { node: context.node, build: crate::BUILD.to_owned(), realm };
    frame::write(&mut send, &Down::Hello(hello)).await?;
    frame::write(&mut send, &Down::Snapshot(told.edge_view(edge))).await?;
    let (frames, mut heard) = mpsc::channel(WAY);
    let _reading = Reading(tokio::spawn(read(recv, frames)));
    loop {
        tokio::select! {
            changed = states.changed() => {
                changed.map_err(|_| LinkError::Stopping)?;
                let state = states.borrow_and_update().clone();
                let changes = State::edge_changes(&told, &state, edge);
                let (index, changed) = (state.index(), !changes.is_empty());
                if changed {
                    frame::write(&mut send, &Down::Delta { index, changes }).await?;
                }
                if is_removed(&state, edge) {
                    if changed {
                        taken(&mut heard, index).await;
                    }
                    return Err(LinkError::Removed(edge.clone()));
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
                    let (health, rtt) = (Box::new(health), connection.rtt());
                    let _ = context.edges.try_send(says(LinkEvent::Health { health, rtt }));
                }
            }
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
        let said = frame::read::<Up>(&mut recv).await;
        let over = said.is_err();
        if frames.send(said).await.is_err() || over {
            return;
        }
    }
}

//! One connection to one node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use chappe_proto::id::Index;
use chappe_proto::limits::{EDGE_LOST_AFTER, HEALTH_EVERY};
use chappe_proto::mesh::probe::Probe;
use chappe_proto::mesh::uplink::{Directive, Down, EdgeChange, GOODBYE, NodeHello, REFUSED, REMOVED, Up};
use chappe_proto::wire::WireError;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::learn::{learn_authorities, learn_nodes, renew, renewed};
use super::{CALM, LAZILY, LinkState, Node, Shared, frames, report, usage};
use crate::clock;
use crate::command::{Command, Unanswered};
use crate::probe;
use crate::probe::outside::Outside;

/// Frames on their way to a node: acknowledgements, of which each answers a frame that was read.
const SAYS: usize = 64;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// No UDP socket to connect from.
    #[error("no socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The node's address or name cannot be connected to.
    #[error("{0}")]
    Connect(#[from] quinn::ConnectError),
    /// The connection ended, or did not come to be (a wrong certificate, either way).
    #[error("{0}")]
    Connection(#[from] ConnectionError),
    /// The node ended the stream.
    #[error("{0}")]
    Read(#[from] quinn::ReadExactError),
    /// The node takes nothing more.
    #[error("{0}")]
    Write(#[from] quinn::WriteError),
    /// The node sent what cannot be read.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// The node did not say hello in time.
    #[error("no answer within {EDGE_LOST_AFTER:?}")]
    Silent,
    /// The node began with something else than its hello.
    #[error("the node did not say hello first")]
    Rude,
    /// Operators have removed the edge.
    #[error("{0}")]
    Removed(String),
    /// The node does not take what the edge says of itself.
    #[error("{0}")]
    Refused(String),
    /// Another node is better.
    #[error("another node is nearer, or fails less often together with the other uplink's")]
    Better,
    /// It was made by a certificate that has been renewed.
    #[error("this edge's certificate is new")]
    Renewed,
    /// The edge itself is ending.
    #[error("the edge is stopping")]
    Stopping,
    /// The edge's loop has ended.
    #[error("the edge's loop has ended")]
    Loop,
}

impl From<Unanswered> for LinkError {
    fn from(_: Unanswered) -> Self {
        Self::Loop
    }
}

/// Connects to a node, and serves the link until it breaks, is to end, or the edge stops.
pub(super) async fn run(
    shared: &Shared,
    slot: usize,
    node: &Node,
    stop: &mut watch::Receiver<bool>,
) -> LinkError {
    let local = match node.address.ip() {
        // On loopback nobody else shall see this socket.
        loopback if loopback.is_loopback() => SocketAddr::new(loopback, 0),
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = match Endpoint::client(local) {
        Ok(endpoint) => endpoint,
        Err(error) => return error.into(),
    };
    let error = tokio::select! {
        error = serve(shared, slot, node, &endpoint) => error,
        _ = stop.wait_for(|stop| *stop) => LinkError::Stopping,
    };
    let code = if matches!(error, LinkError::Stopping) { GOODBYE } else { 0 };
    endpoint.close(code.into(), error.to_string().as_bytes());
    // So that the node hears of it; it may have gone.
    let _ = timeout(HEALTH_EVERY / 4, endpoint.wait_idle()).await;
    error
}

/// Serves a link until it breaks or is to end.
async fn serve(shared: &Shared, slot: usize, node: &Node, endpoint: &Endpoint) -> LinkError {
    let client = shared.identity.borrow().client();
    let generation = shared.identity.borrow().generation;
    let connecting =
        async { Ok::<_, LinkError>(endpoint.connect_with(client, node.address, &node.name)?.await?) };
    let connection = match timeout(EDGE_LOST_AFTER, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return error,
        Err(_) => return LinkError::Silent,
    };
    let error = talk(shared, slot, (node, generation), &connection).await;
    // Its last word may come right behind the end of its stream.
    if matches!(error, LinkError::Read(_) | LinkError::Write(_)) {
        let _ = timeout(HEALTH_EVERY / 4, connection.closed()).await;
    }
    let Some(ConnectionError::ApplicationClosed(close)) = connection.close_reason() else { return error };
    let words = || String::from_utf8_lossy(&close.reason).into_owned();
    match u32::try_from(close.error_code.into_inner()) {
        Ok(REMOVED) => LinkError::Removed(words()),
        Ok(REFUSED) => LinkError::Refused(words()),
        _ => error,
    }
}

/// What goes on over a connection, from the hellos on.
async fn talk(
    shared: &Shared,
    slot: usize,
    (node, generation): (&Node, u64),
    connection: &Connection,
) -> LinkError {
    let (send, receive, hello) = match timeout(EDGE_LOST_AFTER, greet(shared, connection)).await {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => return error,
        Err(_) => return LinkError::Silent,
    };
    let (id, life) = (hello.node, hello.life);
    let Some(met) = shared.meet(slot, node, hello) else { return LinkError::Better };
    let address = node.address;
    let up = |rtt_us| shared.health.link(slot, LinkState::Up { address, node: id, rtt_us });
    let (says, said) = mpsc::channel(SAYS);
    let (takes, taken) = watch::channel(0);
    let heard = Heard { slot, life, says: &says, takes };
    tokio::select! {
        error = follow(shared, &heard, receive) => error,
        error = say(send, said) => error,
        error = report::run(shared, connection, &says, up) => error,
        error = renew(shared, &says) => error,
        error = usage::say(shared, slot, &says, taken) => error,
        error = leave(shared, slot, &met, generation) => error,
    }
}

/// Exchanges hellos. Only the node's shows that it took our certificate: the connection itself stands before the
/// node has looked at it (TLS 1.3).
async fn greet(
    shared: &Shared,
    connection: &Connection,
) -> Result<(SendStream, RecvStream, NodeHello), LinkError> {
    let (mut send, mut receive) = connection.open_bi().await?;
    let feed = *shared.applied.borrow();
    let hello = shared.health.hello((feed != Index::default()).then_some(feed));
    frames::write(&mut send, &Up::Hello(hello)).await?;
    match frames::read(&mut receive).await? {
        Down::Hello(hello) => Ok((send, receive, hello)),
        _ => Err(LinkError::Rude),
    }
}

/// Writes what is to be said.
async fn say(mut send: SendStream, mut said: mpsc::Receiver<Up>) -> LinkError {
    while let Some(frame) = said.recv().await {
        if let Err(error) = frames::write(&mut send, &frame).await {
            return error;
        }
    }
    LinkError::Loop
}

/// Where that goes which the node says.
struct Heard<'a> {
    slot: usize,
    life: u64,
    /// Answers.
    says: &'a mpsc::Sender<Up>,
    /// The number of the usage that it has taken last.
    takes: watch::Sender<u64>,
}

/// Takes what the node says.
async fn follow(shared: &Shared, heard: &Heard<'_>, mut receive: RecvStream) -> LinkError {
    loop {
        if let Err(error) = follow_one(shared, heard, &mut receive).await {
            return error;
        }
    }
}

async fn follow_one(
    shared: &Shared,
    Heard { slot, life, says, takes }: &Heard<'_>,
    receive: &mut RecvStream,
) -> Result<(), LinkError> {
    let index = match frames::read(receive).await? {
        Down::Snapshot(view) => {
            learn_nodes(shared, &view.nodes);
            learn_authorities(shared, &view.authorities);
            shared.driver.ask(|reply| Command::View(Box::new(view), reply)).await?
        }
        Down::Delta { index, changes } => {
            for change in &changes {
                match change {
                    EdgeChange::Nodes { nodes } => learn_nodes(shared, nodes),
                    EdgeChange::Authorities { authorities } => learn_authorities(shared, authorities),
                    _ => {}
                }
            }
            shared.driver.ask(|reply| Command::Changes(index, changes, reply)).await?
        }
        // Not numbered: one that is lost is asked of somebody else.
        Down::Directive { body: Directive::Probe(probe), .. } => {
            tokio::task::spawn_local(probe_outside(shared.outside.clone(), (*says).clone(), probe));
            return Ok(());
        }
        Down::Directive { seq, body } => {
            if shared.done.borrow_mut().begin(*life, seq, &body) {
                // Begun, it is done, whatever becomes of this link.
                let driver = shared.driver.clone();
                let doing = async move { driver.ask(|reply| Command::Directive(body, reply)).await };
                tokio::task::spawn_local(doing).await.map_err(|_| LinkError::Loop)??;
            }
            return says.send(Up::Done { seq }).await.map_err(|_| LinkError::Loop);
        }
        Down::Certified { certificate } => {
            renewed(shared, certificate);
            return Ok(());
        }
        Down::Alternates { alternates } => {
            let alternates = shared.alternates.borrow_mut().handle_told(*slot, alternates);
            return Ok(shared.driver.ask(|reply| Command::Alternates(alternates, reply)).await?);
        }
        Down::UsageTaken { seq } => {
            takes.send_replace(seq);
            return Ok(());
        }
        Down::Ask { number, body } => {
            let (asks, driver) = (shared.asks.clone(), shared.driver.clone());
            tokio::task::spawn_local(asks.answer(driver, (*says).clone(), number, body));
            return Ok(());
        }
        Down::Hello(_) | Down::Unknown => return Ok(()),
    };
    *shared.applied.borrow_mut() = index;
    says.send(Up::Applied { index }).await.map_err(|_| LinkError::Loop)
}

/// Until the link is to end though it works: since it was made by a former certificate, or since another node is
/// better. Only one link at a time, while the other stands.
async fn leave(shared: &Shared, slot: usize, node: &Node, generation: u64) -> LinkError {
    let mut looked_at = clock::mono();
    let lazily = super::jitter(LAZILY);
    loop {
        tokio::select! {
            () = tokio::time::sleep(lazily) => {}
            () = shared.changed.notified() => {}
        }
        let now = clock::mono();
        let why = if shared.identity.borrow().generation != generation {
            LinkError::Renewed
        } else if now.since(looked_at) >= lazily {
            looked_at = now;
            if !shared.nodes.borrow().is_beaten(now, node, &shared.others(slot), CALM) {
                continue;
            }
            LinkError::Better
        } else {
            continue;
        };
        if shared.others_stand(slot) {
            // Before the other link asks the same.
            shared.hold(slot, Some((node.clone(), false)));
            return why;
        }
    }
}

/// Probes another edge, and tells what it found, where the uplink still stands then. One too many is not made: the
/// node asks another edge when no answer comes.
async fn probe_outside(outside: Rc<Outside>, says: mpsc::Sender<Up>, probe: Probe) {
    let Some(_place) = outside.enter() else { return };
    let (number, edge) = (probe.number, probe.edge.clone());
    let found = probe::outside::run(probe).await;
    if says.send(Up::Probed { number, edge, found }).await.is_err() {
        tracing::debug!("what a probe found is not told");
    }
}

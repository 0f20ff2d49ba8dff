//! One connection to one node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use chappe_proto::limits::{EDGE_LOST_AFTER, HEALTH_EVERY};
use chappe_proto::mesh::uplink::{Down, GOODBYE, NodeHello, Up};
use chappe_proto::wire::{self, WireError};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{LinkState, Node, Shared, frames};
use crate::command::{Command, Unanswered};

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
    Connection(#[from] quinn::ConnectionError),
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

/// How a link ended.
pub(super) struct Ended {
    pub(super) error: LinkError,
    /// Whether the node had said hello.
    pub(super) worked: bool,
}

/// Connects to a node, and serves the link until it breaks or the edge stops.
pub(super) async fn run(
    shared: &Shared,
    slot: usize,
    node: &Node,
    stop: &mut watch::Receiver<bool>,
) -> Ended {
    let local = match node.address.ip() {
        // On loopback nobody else shall see this socket.
        loopback if loopback.is_loopback() => SocketAddr::new(loopback, 0),
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = match Endpoint::client(local) {
        Ok(endpoint) => endpoint,
        Err(error) => return Ended { error: error.into(), worked: false },
    };
    let mut worked = false;
    let error = tokio::select! {
        error = serve(shared, slot, node, &endpoint, &mut worked) => error,
        _ = stop.wait_for(|stop| *stop) => LinkError::Stopping,
    };
    let code = if matches!(error, LinkError::Stopping) { GOODBYE } else { 0 };
    endpoint.close(code.into(), error.to_string().as_bytes());
    // So that the node hears of it; it may have gone.
    let _ = timeout(HEALTH_EVERY / 4, endpoint.wait_idle()).await;
    Ended { error, worked }
}

/// Serves a link until it breaks.
async fn serve(
    shared: &Shared,
    slot: usize,
    node: &Node,
    endpoint: &Endpoint,
    worked: &mut bool,
) -> LinkError {
    let greeted = match timeout(EDGE_LOST_AFTER, greet(shared, node, endpoint)).await {
        Ok(greeted) => greeted,
        Err(_) => return LinkError::Silent,
    };
    let (connection, send, receive, hello) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => return error,
    };
    *worked = true;
    let NodeHello { node: id, build, realm } = hello;
    tracing::info!(address = %node.address, node = %id, build, "uplink up");
    if realm != shared.realm {
        tracing::warn!(theirs = realm, ours = shared.realm, "the node issues credentials of another realm");
    }
    shared.health.link(slot, LinkState::Up { address: node.address, node: id });
    tokio::select! {
        error = follow(shared, send, receive) => error,
        error = report(shared, &connection) => error,
    }
}

/// Connects and exchanges hellos. Only the node's hello shows that it took our certificate: the
/// connection itself stands before the node has looked at it (TLS 1.3).
async fn greet(
    shared: &Shared,
    node: &Node,
    endpoint: &Endpoint,
) -> Result<(Connection, SendStream, RecvStream, NodeHello), LinkError> {
    let connection = endpoint.connect_with(shared.tls.clone(), node.address, &node.name)?.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    let feed = *shared.applied.borrow();
    let mut hello = shared.hello.clone();
    hello.feed = (feed != Default::default()).then_some(feed);
    frames::write(&mut send, &Up::Hello(hello)).await?;
    match frames::read(&mut receive).await? {
        Down::Hello(hello) => Ok((connection, send, receive, hello)),
        _ => Err(LinkError::Rude),
    }
}

/// Takes what the node says.
async fn follow(shared: &Shared, mut send: SendStream, mut receive: RecvStream) -> LinkError {
    loop {
        if let Err(error) = follow_one(shared, &mut send, &mut receive).await {
            return error;
        }
    }
}

async fn follow_one(
    shared: &Shared,
    send: &mut SendStream,
    receive: &mut RecvStream,
) -> Result<(), LinkError> {
    let index = match frames::read(receive).await? {
        Down::Snapshot(view) => shared.driver.ask(|reply| Command::View(Box::new(view), reply)).await?,
        Down::Delta { index, changes } => {
            shared.driver.ask(|reply| Command::Changes(index, changes, reply)).await?
        }
        Down::Directive { seq, body } => {
            shared.driver.ask(|reply| Command::Directive(body, reply)).await?;
            return frames::write(send, &Up::Done { seq }).await;
        }
        Down::Hello(_) | Down::UsageTaken { .. } | Down::Alternates { .. } | Down::Unknown => return Ok(()),
    };
    *shared.applied.borrow_mut() = index;
    frames::write(send, &Up::Applied { index }).await
}

/// Says how the edge is, until the connection ends.
async fn report(shared: &Shared, connection: &Connection) -> LinkError {
    let mut every = tokio::time::interval(HEALTH_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seq = 0;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            error = connection.closed() => return error.into(),
        }
        seq += 1;
        let health = shared.health.report(seq, &shared.driver).await;
        match wire::encode(&health) {
            // A datagram that does not fit or get through is replaced by the next.
            Ok(bytes) => {
                if let Err(error) = connection.send_datagram(bytes.into()) {
                    tracing::debug!(%error, "health not sent");
                }
            }
            Err(error) => tracing::error!(%error, "health cannot be written"),
        }
    }
}

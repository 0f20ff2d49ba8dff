//! One link: from a connection whose certificate is a node's to its end.

use std::sync::Arc;

use chappe_proto::id::NodeId;
use chappe_proto::limits;
use chappe_proto::mesh::node::{Hello, Lane, Opening};
use chappe_proto::time::Mono;
use quinn::{Connection, ConnectionError, ReadError, Side};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::carry;
use super::feed;
use super::frame::{FrameError, Frames};
use super::handle::Inner;
use super::hello::{DONE, KNOCKED, REPLACED, Refusal};
use super::lanes::Lanes;
use crate::clock;

/// A link.
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    pub(crate) life: u64,
    pub(crate) since: Mono,
    pub(crate) build: String,
    pub(crate) connection: Connection,
    pub(crate) lanes: Lanes,
    /// Questions of the other side that may be answered at once.
    pub(crate) asks: Arc<Semaphore>,
    /// One snapshot comes at a time.
    pub(crate) snapshots: Arc<Semaphore>,
}

/// How a link ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// This side refused it, or the other did.
    Refused { refusal: Refusal, ours: bool },
    /// The other side has been told that this one is there, and will connect.
    Knocked,
    /// Anything else.
    Lost(String),
}

impl From<ConnectionError> for Ended {
    fn from(error: ConnectionError) -> Self {
        match &error {
            ConnectionError::ApplicationClosed(close) if close.error_code == KNOCKED => Self::Knocked,
            _ => match Refusal::of(&error) {
                Some(refusal) => Self::Refused { refusal, ours: false },
                None => Self::Lost(error.to_string()),
            },
        }
    }
}

/// Runs a link with the node that the connection's certificate names, until it ends.
pub(crate) async fn run(mesh: &Arc<Inner>, connection: Connection, peer: NodeId) -> Ended {
    let mut tasks = JoinSet::new();
    let ended = match meet(mesh, &connection, peer, &mut tasks).await {
        Ok((link, control)) => {
            let ended = live(mesh, &link, control, &mut tasks).await;
            mesh.table.down(&link);
            ended
        }
        Err(ended) => ended,
    };
    // Where the other side closed it, its reason says more than the error of a task.
    let ended = match connection.close_reason() {
        Some(error) if !matches!(ended, Ended::Refused { .. }) => error.into(),
        _ => ended,
    };
    match &ended {
        Ended::Refused { refusal, ours: true } => {
            connection.close(refusal.code(), refusal.to_string().as_bytes());
        }
        Ended::Knocked => connection.close(KNOCKED, b"I connect"),
        _ => connection.close(DONE, b""),
    }
    ended
}

type Tasks = JoinSet<Result<(), FrameError>>;

/// Says hello and hears it. The link is up then; what comes on its control lane is yet to be read.
async fn meet(
    mesh: &Arc<Inner>,
    connection: &Connection,
    peer: NodeId,
    tasks: &mut Tasks,
) -> Result<(Arc<Link>, Frames), Ended> {
    let lost = |error: FrameError| Ended::Lost(error.to_string());
    let refuse = |refusal| Ended::Refused { refusal, ours: true };
    let dialled = connection.side() == Side::Client;
    let hello = mesh.hello();
    // The side that was connected to looks at the other first.
    let lanes =
        if dialled { Some(Lanes::open(connection, &hello, tasks).await.map_err(lost)?) } else { None };
    let heard = tokio::time::timeout(limits::LINK_HELLO_WITHIN, hear(connection)).await;
    let (theirs, control) = heard.map_err(|_| refuse(Refusal::NoHello))??;
    mesh.check(&theirs, peer).map_err(refuse)?;
    if !dialled && peer > mesh.node {
        mesh.knocked(peer, theirs.life);
        return Err(Ended::Knocked);
    }
    let lanes = match lanes {
        Some(lanes) => lanes,
        None => Lanes::open(connection, &hello, tasks).await.map_err(lost)?,
    };
    connection.set_receive_window(limits::LINK_WINDOW.into());
    let link = Arc::new(Link {
        peer,
        life: theirs.life,
        since: clock::mono(),
        build: theirs.build,
        connection: connection.clone(),
        lanes,
        asks: Arc::new(Semaphore::new(limits::ASKS_AT_ONCE)),
        snapshots: Arc::new(Semaphore::new(1)),
    });
    if let Some(former) = mesh.table.up(Arc::clone(&link), theirs.reaches) {
        former.connection.close(REPLACED, b"there is a newer link");
    }
    tracing::info!(node = %peer, address = %connection.remote_address(), build = link.build, "link up");
    Ok((link, control))
}

/// The other side's hello, on the first of its streams.
async fn hear(connection: &Connection) -> Result<(Hello, Frames), Ended> {
    let mut control = Frames::new(connection.accept_uni().await?);
    match control.read::<Opening>().await {
        Ok(Some(Opening { lane: Lane::Control, hello })) => Ok((hello, control)),
        Err(FrameError::Lost(ReadError::ConnectionLost(error))) => Err(error.into()),
        _ => Err(Ended::Refused { refusal: Refusal::NoHello, ours: true }),
    }
}

/// The one loop of a link.
async fn live(mesh: &Arc<Inner>, link: &Arc<Link>, control: Frames, tasks: &mut Tasks) -> Ended {
    let connection = &link.connection;
    let (mesh_too, link_too) = (Arc::clone(mesh), Arc::clone(link));
    tasks.spawn(async move { carry::parcels(&mesh_too, &link_too, Lane::Control, control).await });
    let mut silence = Silence { heard: 0, looks: 0 };
    let mut looks = tokio::time::interval(limits::NODE_LINK_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => if silence.is_over(connection.stats().udp_rx.datagrams) {
                connection.close(DONE, b"nothing is heard");
                return Ended::Lost("nothing was heard".to_owned());
            },
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    let (mesh, link) = (Arc::clone(mesh), Arc::clone(link));
                    tasks.spawn(async move { carry::stream(&mesh, &link, stream).await });
                }
                Err(error) => return error.into(),
            },
            stream = connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    let (mesh, peer) = (Arc::clone(mesh), link.peer);
                    tasks.spawn(async move {
                        feed::serve(&mesh, peer, send, recv).await;
                        Ok(())
                    });
                }
                Err(error) => return error.into(),
            },
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Ended::Lost(error.to_string()),
                Err(panic) => return Ended::Lost(panic.to_string()),
            },
        }
    }
}

/// How long nothing has come. QUIC's own idle timeout waits for three probe timeouts at least (RFC 9000
/// section 10.1), which one slow handshake makes long; this one counts looks, so that a process that was
/// itself paused does not take that for silence.
struct Silence {
    heard: u64,
    looks: u32,
}

impl Silence {
    /// Whether the link is dead, by the datagrams that have come so far.
    fn is_over(&mut self, heard: u64) -> bool {
        self.looks = if heard == self.heard { self.looks + 1 } else { 0 };
        self.heard = heard;
        limits::NODE_LINK_LOOK * self.looks >= limits::NODE_LINK_IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_looks_without_a_datagram() {
        let mut silence = Silence { heard: 0, looks: 0 };
        let enough = limits::NODE_LINK_IDLE.as_millis() / limits::NODE_LINK_LOOK.as_millis();
        for round in 1..=3 {
            assert!(!silence.is_over(round), "one came");
            for _ in 1..enough {
                assert!(!silence.is_over(round));
            }
        }
        assert!(silence.is_over(3));
    }
}

//! The node's one QUIC socket: who connects is told apart by what it speaks.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::limits;
use chappe_proto::mesh::{join, node, uplink as edge};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Incoming};
use ring::{digest, hmac};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::handle::Inner;
use super::hello::Refusal;
use super::link::{self, Ended};
use super::pki::{self, Holder};
use super::tls::Credentials;
use crate::clock;

/// An endpoint on a bound socket.
pub(crate) fn bind(socket: UdpSocket, credentials: &Credentials) -> io::Result<Endpoint> {
    // A key made of the node's own: so the next life of its process can tell the other sides of its links at
    // once that they are dead (RFC 9000 section 10.3), and they dial anew.
    let key = [b"chappe reset", credentials.key.secret_der()].concat();
    let key = digest::digest(&digest::SHA256, &key);
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())));
    config.cid_generator(|| Box::new(RandomIds));
    let accept = credentials.accept().map_err(io::Error::other)?;
    // All links share it: as much of it as the system allows.
    let buffers = socket2::SockRef::from(&socket);
    let _ = buffers.set_recv_buffer_size(limits::MESH_SOCKET_BYTES);
    let _ = buffers.set_send_buffer_size(limits::MESH_SOCKET_BYTES);
    Endpoint::new(config, Some(accept), socket, Arc::new(quinn::TokioRuntime))
}

/// Connection ids that say nothing. quinn's own say by their form which process made them, and it is silent
/// about those of another: that of its former life.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&clock::random::<8>())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// How many of each kind there may be at once.
struct Places {
    strangers: Arc<Semaphore>,
    uplinks: Arc<Semaphore>,
    joins: Arc<Semaphore>,
}

/// Accepts connections until it is stopped.
pub(crate) async fn accept(mesh: Arc<Inner>) {
    let places = Arc::new(Places {
        strangers: Arc::new(Semaphore::new(limits::STRANGERS_MAX)),
        uplinks: Arc::new(Semaphore::new(limits::UPLINKS_MAX)),
        joins: Arc::new(Semaphore::new(limits::JOINS_AT_ONCE)),
    });
    while let Some(incoming) = mesh.endpoint.accept().await {
        let waiting = limits::STRANGERS_MAX - places.strangers.available_permits();
        if waiting >= limits::STRANGERS_UNHEARD && !incoming.remote_address_validated() {
            let _ = incoming.retry(); // refused by quinn only where it is validated already
            continue;
        }
        let Ok(place) = Arc::clone(&places.strangers).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let (mesh, places) = (Arc::clone(&mesh), Arc::clone(&places));
        tokio::spawn(async move { serve(&mesh, &places, incoming, place).await });
    }
}

async fn serve(mesh: &Arc<Inner>, places: &Places, incoming: Incoming, place: OwnedSemaphorePermit) {
    let from = incoming.remote_address();
    let connection = match tokio::time::timeout(limits::LINK_HELLO_WITHIN, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            if let Some(refusal @ Refusal::Foreign(_)) = Refusal::of(&error) {
                mesh.tell(from, None, refusal, true);
            }
            return;
        }
        Err(_) => return,
    };
    let spoken = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    match spoken.and_then(|data| data.protocol) {
        Some(protocol) if protocol == node::ALPN => {
            let Some(Holder::Node(peer)) = holder(mesh, &connection) else {
                return refuse(mesh, &connection, Refusal::Stranger);
            };
            drop(place);
            let ended = link::run(mesh, connection.clone(), peer).await;
            mesh.link_ended(&connection, peer, ended);
        }
        Some(protocol) if protocol == edge::ALPN => {
            let uplinks = Arc::clone(&places.uplinks).try_acquire_owned();
            drop(place);
            if let (Ok(_place), Some(Holder::Edge(edge))) = (uplinks, holder(mesh, &connection)) {
                uplink(mesh, connection, edge).await;
            }
        }
        Some(protocol) if protocol == join::ALPN => {
            let joins = Arc::clone(&places.joins).try_acquire_owned();
            drop(place);
            if let Ok(_place) = joins {
                super::join::serve(mesh, connection).await;
            }
        }
        _ => {}
    }
}

/// Runs an uplink until it ends.
async fn uplink(mesh: &Inner, connection: Connection, edge: EdgeId) {
    static LINKS: AtomicU64 = AtomicU64::new(0);
    let (Some(running), Some(certificate)) = (mesh.running(), certificate(&connection)) else { return };
    let context = running.uplinks.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(context) = context else { return };
    let link = LINKS.fetch_add(1, Ordering::Relaxed);
    mesh.uplinks.lock().unwrap_or_else(PoisonError::into_inner).insert(link, (edge, certificate));
    super::uplink::run(mesh, connection, link, context).await;
    mesh.uplinks.lock().unwrap_or_else(PoisonError::into_inner).remove(&link);
}

/// A connection's certificate, which TLS has verified.
fn certificate(connection: &Connection) -> Option<CertificateDer<'static>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.into_iter().next()
}

/// Whom a connection's certificate names.
fn holder(mesh: &Inner, connection: &Connection) -> Option<Holder> {
    pki::holder(&certificate(connection)?, &mesh.cluster).ok()
}

fn refuse(mesh: &Inner, connection: &Connection, refusal: Refusal) {
    connection.close(refusal.code(), refusal.to_string().as_bytes());
    mesh.tell(connection.remote_address(), None, refusal, true);
}

impl Inner {
    /// Logs a refusal and tells the node of it, once for each time that it begins.
    pub(crate) fn tell(&self, address: SocketAddr, node: Option<NodeId>, refusal: Refusal, ours: bool) {
        let Some(incident) = self.incidents.note(clock::mono(), address, node, refusal, ours) else { return };
        let who = node.map_or_else(|| "a stranger".to_owned(), |node| format!("node {node}"));
        let refusal = &incident.refusal;
        let text = match (refusal, ours) {
            (Refusal::Join { .. } | Refusal::Edge { .. }, _) => format!("refused {refusal}"),
            (_, true) => format!("refused a link with {who}: {refusal}"),
            (_, false) => format!("{who} refuses a link with this node: {refusal}"),
        };
        tracing::warn!(%address, "{text}");
        if let Some(running) = self.running() {
            running.handler.incident(incident);
        }
    }

    /// A link, or what was to become one, has ended.
    pub(crate) fn link_ended(&self, connection: &Connection, peer: NodeId, ended: Ended) {
        match ended {
            Ended::Refused { refusal, ours } => {
                self.tell(connection.remote_address(), Some(peer), refusal, ours);
            }
            Ended::Knocked => {}
            Ended::Lost(why) => tracing::info!(node = %peer, "link down: {why}"),
        }
    }
}

//! Joining: invitations, and the side that is asked.

use std::net::SocketAddr;
use std::sync::Arc;

use chappe_proto::id::{EdgeId, InvitationId, Region};
use chappe_proto::limits;
use chappe_proto::mesh::join::{EdgeWish, Join, JoinRefusal, Joined, Token};
use chappe_proto::mesh::node::WIRE_OLDEST;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{self, Command, Invitation, InvitedEdge, Joiner, Outcome, State, Thing};
use chappe_proto::time::Unix;
use chappe_proto::wire;
use quinn::Connection;
use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use ring::digest::{SHA256, digest};

use super::frame::{self, Frames};
use super::handle::{Inner, Running};
use super::hello::{DONE, Refusal};
use super::pki::{Authority, Holder, PkiError};
use crate::clock;

/// An invitation for one node, or for one edge where `edge` says so: the command that is to be committed, and the token to be given away then.
/// `addresses` are where the cluster's nodes are reached.
///
/// # Errors
/// [`PkiError`], when the registry has no sound authority yet.
pub fn invite(
    state: &State,
    addresses: Vec<SocketAddr>,
    region: Option<Region>,
    edge: Option<InvitedEdge>,
    until: Unix,
) -> Result<(Command, Token), PkiError> {
    let authority = Authority::newest(state)?.ok_or(PkiError::Malformed)?;
    let cluster = state.cluster().ok_or(PkiError::Stranger)?.id;
    let secret: [u8; 32] = clock::random();
    let id = InvitationId::from_random(clock::random());
    let command = Command::InvitationAdd { id, hash: Invitation::hash(&secret), region, edge, until };
    let authority = digest(&SHA256, authority.certificate()).as_ref().to_vec();
    Ok((command, Token { addresses, cluster, authority, invitation: id, secret: Secret(secret.to_vec()) }))
}

/// Answers a connection that asks to join.
pub(crate) async fn serve(mesh: &Inner, connection: Connection) {
    let from = connection.remote_address();
    let talk = async {
        let (mut send, recv) = connection.accept_bi().await.ok()?;
        let asked = Frames::new(recv).next(limits::JOIN_REQUEST_MAX).await.ok()??;
        let answer = match wire::decode::<Join>(&asked, limits::JOIN_REQUEST_MAX) {
            Ok(asked) => match admit(mesh, from, &asked).await {
                Ok((holder, welcome)) => {
                    tracing::info!(%from, %holder, region = %asked.region, "somebody joins");
                    welcome
                }
                Err(refusal) => {
                    tell(mesh, from, shown(&asked, &refusal), refusal.clone());
                    Joined::Refused(refusal)
                }
            },
            Err(error) => {
                // Of its own words nothing: they are a stranger's.
                let unread = "it is no join that this release can read".to_owned();
                tell(mesh, from, None, JoinRefusal::Refused(unread));
                Joined::Refused(JoinRefusal::Refused(error.to_string()))
            }
        };
        frame::write(&mut send, &answer).await.ok()?;
        send.finish().ok()?;
        send.stopped().await.ok()
    };
    let _ = tokio::time::timeout(limits::JOIN_REQUEST_WITHIN, talk).await; // who joins asks again
    connection.close(DONE, b"");
}

/// Tells operators of a refusal. One for too many attempts follows refusals that they were told of.
fn tell(mesh: &Inner, from: SocketAddr, invitation: Option<InvitationId>, refusal: JoinRefusal) {
    if !matches!(refusal, JoinRefusal::TooMany { .. }) {
        mesh.tell(from, None, Refusal::Join { invitation, refusal }, true);
    }
}

/// The invitation that a refused join has shown the secret of.
fn shown(asked: &Join, refusal: &JoinRefusal) -> Option<InvitationId> {
    match refusal {
        JoinRefusal::Invalid
        | JoinRefusal::OtherCluster { .. }
        | JoinRefusal::TooMany { .. }
        | JoinRefusal::NotNow(_) => None,
        JoinRefusal::Expired
        | JoinRefusal::Used { .. }
        | JoinRefusal::UsedByEdge { .. }
        | JoinRefusal::ForNode
        | JoinRefusal::ForEdge
        | JoinRefusal::OtherEdge { .. }
        | JoinRefusal::Nameless
        | JoinRefusal::NameTaken { .. }
        | JoinRefusal::EdgeRemoved { .. }
        | JoinRefusal::OtherRegion { .. }
        | JoinRefusal::TooOld { .. }
        | JoinRefusal::Refused(_) => Some(asked.invitation),
    }
}

async fn admit(mesh: &Inner, from: SocketAddr, asked: &Join) -> Result<(Holder, Joined), JoinRefusal> {
    mesh.join_sources.take(clock::mono(), from.ip()).map_err(|wait| JoinRefusal::TooMany {
        after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    })?;
    if asked.cluster != mesh.cluster {
        return Err(JoinRefusal::OtherCluster { cluster: mesh.cluster });
    }
    let running = mesh.running().ok_or_else(|| not_now(&"the node begins"))?;
    let applicant = digest(&SHA256, &asked.public_key);
    let (state, edge) = invited(running, asked, applicant.as_ref()).await?;
    // An edge speaks no frames of nodes and reads no entries.
    if edge.is_none() && (asked.wire < WIRE_OLDEST || asked.speaks < state.version()) {
        return Err(JoinRefusal::TooOld { build: crate::BUILD.to_owned() });
    }
    // Before the invitation is used up.
    let key = SubjectPublicKeyInfo::from_der(&asked.public_key)
        .map_err(|error| JoinRefusal::Refused(format!("its public key: {error}")))?;
    // Its hash must be that of the key in the certificate.
    if key.subject_public_key_info() != asked.public_key {
        return Err(JoinRefusal::Refused("its public key: not in DER".to_owned()));
    }
    let (invitation, region, applicant) =
        (asked.invitation, asked.region.clone(), applicant.as_ref().to_vec());
    let command = match edge.clone() {
        Some(edge) => Command::EdgeJoin { invitation, edge, region, applicant },
        None => Command::NodeJoin { invitation, region, addresses: asked.addresses.clone(), applicant },
    };
    let holder = match (running.handler.propose(command).await, edge) {
        (Ok(Outcome::Joined { node }), None) => Holder::Node(node),
        (Ok(Outcome::Done), Some(edge)) => Holder::Edge(edge),
        (Ok(Outcome::Refused(refusal)), edge) => return Err(told(refusal, edge)),
        (Ok(other), _) => return Err(JoinRefusal::Refused(format!("{other:?}"))),
        (Err(failure), _) => return Err(not_now(&failure)),
    };
    let welcome = welcome(mesh, &holder, &asked.public_key).map_err(|error| not_now(&error))?;
    Ok((holder, welcome))
}

/// What an edge that joins is to be called.
fn name(wish: &EdgeWish, invitation: &Invitation) -> Result<EdgeId, JoinRefusal> {
    let invited = invitation.edge.as_ref().and_then(|edge| edge.name.clone());
    wish.name.clone().or(invited).or_else(|| wish.host.clone()).ok_or(JoinRefusal::Nameless)
}

/// The registry once it has the invitation, which the joiner has shown the secret of; and what an edge is to be
/// called.
async fn invited(
    running: &Running,
    asked: &Join,
    applicant: &[u8],
) -> Result<(Arc<State>, Option<EdgeId>), JoinRefusal> {
    let mut states = running.states.clone();
    // It may have been made on another node a moment ago.
    let known = states.wait_for(|state| state.invitation(&asked.invitation).is_some());
    let known = tokio::time::timeout(limits::INVITATION_WITHIN, known).await;
    let state = match known {
        Ok(Ok(state)) => Arc::clone(&state),
        _ => return Err(JoinRefusal::Invalid),
    };
    let invitation = state.invitation(&asked.invitation).ok_or(JoinRefusal::Invalid)?;
    // Nothing else is told to who has not the secret.
    if !invitation.is_opened_by(&asked.secret.0) {
        return Err(JoinRefusal::Invalid);
    }
    let edge = asked.edge.as_ref().map(|wish| name(wish, invitation)).transpose()?;
    let joiner = edge.as_ref().map_or(Joiner::Node, Joiner::Edge);
    let now = state.now().max(clock::unix());
    invitation.check(now, joiner, &asked.region, applicant).map_err(|refusal| told(refusal, edge.clone()))?;
    Ok((state, edge))
}

fn not_now(why: &dyn std::fmt::Display) -> JoinRefusal {
    JoinRefusal::NotNow(why.to_string())
}

/// A refusal of the registry's, as the joiner is told; `edge` is what it was to be called.
fn told(refusal: registry::Refusal, edge: Option<EdgeId>) -> JoinRefusal {
    use registry::Refusal as R;
    match (refusal, edge) {
        (R::Expired(_), _) => JoinRefusal::Expired,
        (R::Used { node }, _) => JoinRefusal::Used { node },
        (R::UsedByEdge { edge }, _) => JoinRefusal::UsedByEdge { edge },
        (R::OtherRegion(invited), _) => JoinRefusal::OtherRegion { invited },
        (R::IsFor(Thing::Edge), _) => JoinRefusal::ForEdge,
        (R::IsFor(_), _) => JoinRefusal::ForNode,
        (R::IsForEdge(edge), _) => JoinRefusal::OtherEdge { edge },
        (R::Unknown(_), _) => JoinRefusal::Invalid,
        (R::Exists(Thing::Edge), Some(edge)) => JoinRefusal::NameTaken { edge },
        (R::Removed(Thing::Edge), Some(edge)) => JoinRefusal::EdgeRemoved { edge },
        (other, _) => JoinRefusal::Refused(other.to_string()),
    }
}

fn welcome(mesh: &Inner, holder: &Holder, public_key: &[u8]) -> Result<Joined, PkiError> {
    let (certificate, authorities) = mesh.certify(holder, public_key)?;
    let state = mesh.state();
    Ok(match holder {
        Holder::Node(node) => {
            let peers = state.nodes().filter(|(other, _)| other != node);
            let peers = peers.map(|(other, known)| (other, known.addresses.mesh.clone())).collect();
            Joined::Welcome { node: *node, certificate, authorities, peers }
        }
        Holder::Edge(edge) => Joined::Edge {
            edge: edge.clone(),
            certificate,
            authorities,
            nodes: state.nodes_at(),
            realm: state.cluster().map(|cluster| cluster.realm.clone()).unwrap_or_default(),
        },
    })
}

impl Inner {
    /// A certificate for a public key by the authority that certifies now, and all that are trusted, DER.
    pub(crate) fn certify(
        &self,
        holder: &Holder,
        public_key: &[u8],
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), PkiError> {
        let state = self.state();
        let authority = Authority::newest(&state)?.ok_or(PkiError::Malformed)?.lasting(self.certificate_ttl);
        let certificate = authority.certify(holder, public_key, clock::unix())?.to_vec();
        let all = state.authorities().all().values();
        Ok((certificate, all.map(|authority| authority.certificate.0.clone()).collect()))
    }
}

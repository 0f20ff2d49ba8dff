//! Joining: invitations, and the side that is asked.

use std::net::SocketAddr;
use std::sync::Arc;

use chappe_proto::id::{InvitationId, NodeId, Region};
use chappe_proto::limits;
use chappe_proto::mesh::join::{Join, JoinRefusal, Joined, Token};
use chappe_proto::mesh::node::WIRE_OLDEST;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{self, Command, Invitation, Outcome, State};
use chappe_proto::time::Unix;
use chappe_proto::wire;
use quinn::Connection;
use rcgen::SubjectPublicKeyInfo;
use ring::digest::{SHA256, digest};

use super::frame::{self, Frames};
use super::handle::{Inner, Running};
use super::hello::{DONE, Refusal};
use super::pki::{Authority, Holder, PkiError};
use crate::clock;

/// An invitation for one node: the command that is to be committed, and the token to be given away then.
/// `addresses` are where the cluster's nodes are reached.
///
/// # Errors
/// [`PkiError`], when the registry has no sound authority yet.
pub fn invite(
    state: &State,
    addresses: Vec<SocketAddr>,
    region: Option<Region>,
    until: Unix,
) -> Result<(Command, Token), PkiError> {
    let authority = Authority::newest(state)?.ok_or(PkiError::Malformed)?;
    let cluster = state.cluster().ok_or(PkiError::Stranger)?.id;
    let secret: [u8; 32] = clock::random();
    let id = InvitationId::from_random(clock::random());
    let command = Command::InvitationAdd { id, hash: Invitation::hash(&secret), region, until };
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
                Ok((node, welcome)) => {
                    tracing::info!(%from, %node, region = %asked.region, "a node joins");
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
        | JoinRefusal::OtherRegion { .. }
        | JoinRefusal::TooOld { .. }
        | JoinRefusal::Refused(_) => Some(asked.invitation),
    }
}

async fn admit(mesh: &Inner, from: SocketAddr, asked: &Join) -> Result<(NodeId, Joined), JoinRefusal> {
    mesh.join_sources.take(clock::mono(), from.ip()).map_err(|wait| JoinRefusal::TooMany {
        after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    })?;
    if asked.cluster != mesh.cluster {
        return Err(JoinRefusal::OtherCluster { cluster: mesh.cluster });
    }
    let running = mesh.running().ok_or_else(|| not_now(&"the node begins"))?;
    let applicant = digest(&SHA256, &asked.public_key);
    let state = invited(running, asked, applicant.as_ref()).await?;
    if asked.wire < WIRE_OLDEST || asked.speaks < state.version() {
        return Err(JoinRefusal::TooOld { build: crate::BUILD.to_owned() });
    }
    // Before the invitation is used up.
    let key = SubjectPublicKeyInfo::from_der(&asked.public_key);
    key.map_err(|error| JoinRefusal::Refused(format!("its public key: {error}")))?;
    let command = Command::NodeJoin {
        invitation: asked.invitation,
        region: asked.region.clone(),
        addresses: asked.addresses.clone(),
        applicant: applicant.as_ref().to_vec(),
    };
    let node = match running.handler.propose(command).await {
        Ok(Outcome::Joined { node }) => node,
        Ok(Outcome::Refused(refusal)) => return Err(told(refusal)),
        Ok(other) => return Err(JoinRefusal::Refused(format!("{other:?}"))),
        Err(failure) => return Err(not_now(&failure)),
    };
    Ok((node, welcome(mesh, node, &asked.public_key).map_err(|error| not_now(&error))?))
}

/// The registry once it has the invitation, which the joiner has shown the secret of.
async fn invited(running: &Running, asked: &Join, applicant: &[u8]) -> Result<Arc<State>, JoinRefusal> {
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
    invitation.check(state.now().max(clock::unix()), &asked.region, applicant).map_err(told)?;
    Ok(state)
}

fn not_now(why: &dyn std::fmt::Display) -> JoinRefusal {
    JoinRefusal::NotNow(why.to_string())
}

/// A refusal of the registry's, as the joiner is told.
fn told(refusal: registry::Refusal) -> JoinRefusal {
    match refusal {
        registry::Refusal::Expired(_) => JoinRefusal::Expired,
        registry::Refusal::Used { node } => JoinRefusal::Used { node },
        registry::Refusal::OtherRegion(invited) => JoinRefusal::OtherRegion { invited },
        registry::Refusal::Unknown(_) => JoinRefusal::Invalid,
        other => JoinRefusal::Refused(other.to_string()),
    }
}

fn welcome(mesh: &Inner, node: NodeId, public_key: &[u8]) -> Result<Joined, PkiError> {
    let (certificate, authorities) = mesh.certify(&Holder::Node(node), public_key)?;
    let state = mesh.state();
    let peers = state.nodes().filter(|(other, _)| *other != node);
    let peers = peers.map(|(other, known)| (other, known.addresses.mesh.clone())).collect();
    Ok(Joined::Welcome { node, certificate, authorities, peers })
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

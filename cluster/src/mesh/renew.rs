//! Keeps a node's identity up to date: its certificate is made anew in time, and at once when another
//! authority certifies; the registry's authorities are trusted as they come and go.
//!
//! The registry has the authorities' keys, so a node certifies itself, even where its certificate expired
//! while it was down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chappe_proto::id::NodeId;
use chappe_proto::registry::State;
use chappe_proto::time::Unix;
use rustls::pki_types::CertificateDer;

use super::handle::{Inner, Mesh};
use super::identity::IdentityDir;
use super::pki::{self, Authority, Holder, PkiError};
use super::tls::Credentials;
use crate::clock;

/// The clock is looked at this often at least: it may be set.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// What failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(30);

/// Runs until the node stops.
pub(crate) async fn keep(mesh: Arc<Inner>) {
    let Some(running) = mesh.running() else { return };
    let mut states = running.states.clone();
    let mut kept = Kept { due: None, peers: Vec::new() };
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        let wait = match kept.look(&mesh, &state).await {
            Ok(due) => due.0.saturating_sub(clock::unix().0).min(LOOK_EVERY),
            Err(error) => {
                tracing::error!(%error, "this node's certificate or its directory cannot be renewed");
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = states.changed() => if changed.is_err() { return },
        }
    }
}

/// What was done last.
struct Kept {
    /// When the certificate is to be renewed, once that has been read from it.
    due: Option<Unix>,
    peers: Vec<(NodeId, Vec<SocketAddr>)>,
}

impl Kept {
    /// Does what is to be done; when to look again at the latest.
    async fn look(&mut self, mesh: &Arc<Inner>, state: &State) -> Result<Unix, PkiError> {
        self.look_at_peers(mesh, state).await?;
        let held = Arc::clone(&mesh.credentials.borrow());
        let due = match self.due {
            Some(due) => due,
            None => pki::due(&held.certificate)?,
        };
        self.due = Some(due);
        let trusted = state.authorities().all().values().map(|authority| &authority.certificate.0[..]);
        let Some(newest) = trusted.clone().next_back() else { return Ok(due) };
        let is_known = trusted.clone().eq(held.authorities.iter().map(AsRef::as_ref))
            && held.crosses.len() + 1 == held.authorities.len();
        let is_due = clock::unix() >= due;
        if is_known && !is_due {
            return Ok(due);
        }
        let is_current = pki::is_signed_by(&held.certificate, &CertificateDer::from(newest));
        let authorities = trusted.map(|der| CertificateDer::from(der.to_vec())).collect();
        let fresh = if is_current && !is_due { Credentials::clone(&held) } else { certify(mesh, state)? };
        let fresh = Credentials { authorities, crosses: crosses(state)?, ..fresh };
        let due = pki::due(&fresh.certificate)?;
        // A full disk does not keep it from being used.
        let kept = fresh.clone();
        let saved = save(mesh, move |dir| dir.save_credentials(&kept)).await;
        let trusted = fresh.authorities.len();
        Mesh(Arc::clone(mesh)).renew(fresh).map_err(PkiError::Unusable)?;
        self.due = Some(due);
        tracing::info!(renewed = !is_current || is_due, trusted, "this node's credentials are new");
        saved.map(|()| due)
    }

    async fn look_at_peers(&mut self, mesh: &Arc<Inner>, state: &State) -> Result<(), PkiError> {
        let others = || state.nodes().filter(|(node, _)| *node != mesh.node);
        let is_same = others()
            .map(|(node, known)| (node, &known.addresses.mesh))
            .eq(self.peers.iter().map(|(node, addresses)| (*node, addresses)));
        if is_same || others().next().is_none() {
            return Ok(());
        }
        let peers: Vec<_> = others().map(|(node, known)| (node, known.addresses.mesh.clone())).collect();
        self.peers.clone_from(&peers);
        save(mesh, move |dir| dir.save_peers(&peers)).await
    }
}

/// A new key with its certificate.
fn certify(mesh: &Inner, state: &State) -> Result<Credentials, PkiError> {
    let authority = Authority::newest(state)?.ok_or(PkiError::Malformed)?.lasting(mesh.certificate_ttl);
    Ok(authority.issue(&Holder::Node(mesh.node), clock::unix())?.into())
}

/// What the older authorities say of the newest: who trusts one of them alone, since it was down when they
/// changed, believes this node nevertheless, and learns of the newest from it.
fn crosses(state: &State) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let (Some(cluster), Some(newest)) = (state.cluster(), Authority::newest(state)?) else {
        return Ok(Vec::new());
    };
    let all = state.authorities().all().values();
    let older = all.clone().take(all.len().saturating_sub(1));
    let vouch = older.map(|older| {
        Authority::of(cluster.id, &older.certificate.0, &older.key.0)?.vouch_for(&newest, clock::unix())
    });
    vouch.collect()
}

/// Writes to the identity's directory, off the runtime.
async fn save(
    mesh: &Inner,
    write: impl FnOnce(IdentityDir) -> Result<(), PkiError> + Send + 'static,
) -> Result<(), PkiError> {
    let Some(dir) = mesh.dir.clone() else { return Ok(()) };
    let written = tokio::task::spawn_blocking(move || write(dir)).await;
    written.unwrap_or_else(|panic| Err(PkiError::Unusable(std::io::Error::other(panic))))
}

//! Who a node is: `DIR/identity`, made when it founds a cluster or joins one, and kept up to date since.
//!
//! `node.pem` has its certificate and its private key, in one file so that they change together;
//! `authorities.pem` the authorities that it trusts; `peers.json` where the other nodes were reached last;
//! `node.json` its cluster, id and region, written last: without it there is no identity. A founder keeps
//! `authority.pem`, the cluster's first authority with its key, until the registry has it; a node that joins
//! keeps `joining.pem`, its key, so that it can ask again where an answer was lost.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chappe_proto::id::{ClusterId, NodeId, Region};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{Command, State};
use chappe_proto::time::Unix;
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::pki::{Authority, Holder, PkiError, pem, read, write_private};
use super::tls::Credentials;

/// A node's identity.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Where it stands.
    pub region: Region,
    /// Its certificate and key, and whom it trusts.
    pub credentials: Credentials,
    /// Where the other nodes were reached last.
    pub peers: Vec<(NodeId, Vec<SocketAddr>)>,
}

/// `node.json`.
#[derive(Serialize, Deserialize)]
struct Name {
    cluster: ClusterId,
    node: NodeId,
    region: Region,
}

/// A directory that identities are kept in.
#[derive(Debug, Clone)]
pub struct IdentityDir(PathBuf);

impl IdentityDir {
    /// That of a node's data directory.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self(data.join("identity"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn damaged(&self, name: &str) -> PkiError {
        PkiError::Damaged { path: self.path(name) }
    }

    fn text(&self, name: &str) -> Result<String, PkiError> {
        read(&self.path(name))?.ok_or_else(|| self.damaged(name))
    }

    /// The identity, if there is one.
    ///
    /// # Errors
    /// [`PkiError`]: a file can't be read, or is damaged.
    pub fn load(&self) -> Result<Option<Identity>, PkiError> {
        let Some(name) = read(&self.path("node.json"))? else { return Ok(None) };
        let Name { cluster, node, region } =
            serde_json::from_str(&name).map_err(|_| self.damaged("node.json"))?;
        let pem = self.text("node.pem")?;
        let damaged = |_| self.damaged("node.pem");
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(damaged)?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(damaged)?;
        let pem = self.text("authorities.pem")?;
        let authorities = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| self.damaged("authorities.pem"))?;
        if authorities.is_empty() {
            return Err(self.damaged("authorities.pem"));
        }
        // Only a cache: a damaged one costs nothing while another node's dialler finds this one.
        let peers = read(&self.path("peers.json"))?.and_then(|text| serde_json::from_str(&text).ok());
        let credentials = Credentials { certificate, key, authorities, crosses: Vec::new() };
        Ok(Some(Identity { cluster, node, region, credentials, peers: peers.unwrap_or_default() }))
    }

    /// Writes an identity.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save(&self, identity: &Identity) -> Result<(), PkiError> {
        self.save_peers(&identity.peers)?;
        self.save_credentials(&identity.credentials)?;
        let Identity { cluster, node, region, .. } = identity;
        self.save_json("node.json", &Name { cluster: *cluster, node: *node, region: region.clone() })
    }

    /// Writes another certificate, and other authorities.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save_credentials(&self, credentials: &Credentials) -> Result<(), PkiError> {
        // Whom it trusts first: both the former and the new authority are in it while they change.
        let authorities: String = credentials.authorities.iter().map(|der| pem("CERTIFICATE", der)).collect();
        write_private(&self.path("authorities.pem"), &authorities)?;
        let own =
            [pem("CERTIFICATE", &credentials.certificate), pem("PRIVATE KEY", credentials.key.secret_der())];
        write_private(&self.path("node.pem"), &own.concat())
    }

    /// Writes where the other nodes are reached.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn save_peers(&self, peers: &[(NodeId, Vec<SocketAddr>)]) -> Result<(), PkiError> {
        self.save_json("peers.json", &peers)
    }

    fn save_json(&self, name: &str, value: &impl Serialize) -> Result<(), PkiError> {
        let text = serde_json::to_string(value)
            .map_err(|error| PkiError::File { path: self.path(name), source: io::Error::other(error) })?;
        write_private(&self.path(name), &text)
    }

    /// Makes a cluster's first node and its authority, unless that was done. The registry is given the
    /// authority by [`Self::authority_to_add`], once it has begun as a cluster of this id.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn found(&self, cluster: ClusterId, region: Region, now: Unix) -> Result<Identity, PkiError> {
        self.found_as(cluster, NodeId(1), region, now)
    }

    /// The same with another id, for a cluster that begins with a backup.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn found_as(
        &self,
        cluster: ClusterId,
        node: NodeId,
        region: Region,
        now: Unix,
    ) -> Result<Identity, PkiError> {
        if let Some(identity) = self.load()? {
            return Ok(identity);
        }
        let authority = Authority::make(cluster, now)?;
        let kept = [pem("CERTIFICATE", authority.certificate()), pem("PRIVATE KEY", &authority.key())];
        write_private(&self.path("authority.pem"), &kept.concat())?;
        let credentials = authority.issue(&Holder::Node(node), now)?.into();
        let identity = Identity { cluster, node, region, credentials, peers: Vec::new() };
        self.save(&identity)?;
        Ok(identity)
    }

    /// What a founder has yet to propose: the registry is to have the authority that it made. Once the
    /// registry has one, the founder's copy is deleted.
    ///
    /// # Errors
    /// [`PkiError`].
    pub fn authority_to_add(&self, state: &State) -> Result<Option<Command>, PkiError> {
        let path = self.path("authority.pem");
        let Some(pem) = read(&path)? else { return Ok(None) };
        if state.authorities().newest().is_some() {
            return match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    Err(PkiError::File { path, source })
                }
                _ => Ok(None),
            };
        }
        let damaged = |_| self.damaged("authority.pem");
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(damaged)?.to_vec();
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(damaged)?;
        let key = Secret(key.secret_pkcs8_der().to_vec());
        Ok(Some(Command::AuthorityAdd { number: state.authorities().next(), certificate, key }))
    }

    /// The key with which this directory's node joins: the same at each attempt.
    pub(crate) fn joining_key(&self) -> Result<KeyPair, PkiError> {
        let path = self.path("joining.pem");
        match read(&path)? {
            Some(pem) => KeyPair::from_pem(&pem).map_err(|_| PkiError::Damaged { path }),
            None => {
                let key = KeyPair::generate()?;
                write_private(&path, &key.serialize_pem())?;
                Ok(key)
            }
        }
    }

    /// The node has joined.
    pub(crate) fn joined(&self, identity: &Identity) -> Result<(), PkiError> {
        self.save(identity)?;
        let path = self.path("joining.pem");
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(PkiError::File { path, source }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use chappe_proto::id::Index;
    use chappe_proto::registry::Entry;

    use super::*;

    const NOW: Unix = Unix::from_secs(1_800_000_000);

    fn apply(state: &mut State, command: Command) {
        let index = Index(state.index().0 + 1);
        state.apply(index, Entry { at: NOW, by: None, note: None, command }).accepted().unwrap();
    }

    #[test]
    fn a_founders_authority_goes_to_the_registry_and_off_its_disk() {
        let data = tempfile::tempdir().unwrap();
        let dir = IdentityDir::of(data.path());
        assert!(dir.load().unwrap().is_none());
        let (id, region) = (ClusterId::from_random([1; 15]), Region::new("here").unwrap());
        let made = dir.found(id, region.clone(), NOW).unwrap();
        let again = dir.found(ClusterId::from_random([2; 15]), region, NOW).unwrap();
        assert_eq!((again.cluster, again.node), (id, NodeId(1)), "it is founded once");
        assert_eq!(again.credentials.certificate, made.credentials.certificate);
        assert_eq!(again.credentials.key, made.credentials.key);
        for file in ["authority.pem", "node.pem"] {
            let mode = fs::metadata(dir.path(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }

        let mut state = State::default();
        apply(&mut state, Command::ClusterBegin { id, name: "n".into(), realm: "r".into() });
        // Cut short any number of times.
        let command = dir.authority_to_add(&state).unwrap().unwrap();
        assert_eq!(dir.authority_to_add(&state).unwrap(), Some(command.clone()));
        apply(&mut state, command);
        assert_eq!(dir.authority_to_add(&state).unwrap(), None);
        assert!(!dir.path("authority.pem").exists());
        let authority = Authority::newest(&state).unwrap().unwrap();
        assert_eq!(made.credentials.authorities, vec![authority.certificate().clone()]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let data = tempfile::tempdir().unwrap();
        let dir = IdentityDir::of(data.path());
        dir.found(ClusterId::from_random([1; 15]), Region::new("r").unwrap(), NOW).unwrap();
        for name in ["node.pem", "authorities.pem", "node.json"] {
            let kept = fs::read(dir.path(name)).unwrap();
            fs::write(dir.path(name), b"{").unwrap();
            let error = dir.load().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            fs::write(dir.path(name), kept).unwrap();
        }
        fs::write(dir.path("peers.json"), b"{").unwrap();
        assert!(dir.load().unwrap().unwrap().peers.is_empty(), "but for the cache");
    }
}

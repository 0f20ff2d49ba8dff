//! The files by which an edge is known to its cluster, as `chappe cluster edge` writes them: an edge's
//! private key never leaves its directory.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use chappe_admin::control::EdgeIdentity;
use chappe_cluster::mesh::pki::server_name;
use chappe_edge::{Node, Source, Tls, Uplink};
use chappe_proto::id::{ClusterId, EdgeId};
use data_encoding::BASE64;
use rcgen::{KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::{Api, segment};
use crate::files::write_private;

/// `edge.json`: who the edge is, and where the nodes are that it reports to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The edge's name, which is in its certificate.
    pub(crate) edge: EdgeId,
    cluster: ClusterId,
    /// The realm of the long-term credential mechanism, which is the cluster's.
    pub(crate) realm: String,
    /// Best first.
    nodes: Vec<SocketAddr>,
}

impl Identity {
    /// Makes a key, has the cluster certify it, and writes the files.
    pub(crate) fn enrol(api: &mut Api, edge: &EdgeId, dir: &Path) -> Result<Self> {
        let at = dir.join("edge.json");
        if at.exists() {
            bail!("{} is there already: give another directory, or remove this one", at.display());
        }
        let key = KeyPair::generate()?;
        let body = json!({ "public_key": BASE64.encode(&key.subject_public_key_info()) });
        let path = format!("/edges/{}/certificate", segment(&edge.to_string()));
        let made: EdgeIdentity = serde_json::from_value(api.call("POST", &path, &body)?)?;
        let EdgeIdentity { cluster, certificate, authorities, nodes, realm } = made;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .with_context(|| format!("{} cannot be made", dir.display()))?;
        write_private(&dir.join("key.pem"), &key.serialize_pem())?;
        write_private(&dir.join("certificate.pem"), &certificate)?;
        write_private(&dir.join("authorities.pem"), &authorities)?;
        let identity = Self { edge: edge.clone(), cluster, realm, nodes };
        // The last one: with it the others are complete.
        write_private(&at, &(serde_json::to_string_pretty(&identity)? + "\n"))?;
        Ok(identity)
    }

    /// Reads the files.
    pub(super) fn load(dir: &Path) -> Result<(Self, Source)> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).with_context(|| {
                format!(
                    "{} cannot be read: `chappe cluster edge NAME DIRECTORY` makes these files",
                    path.display()
                )
            })
        };
        let identity: Self = serde_json::from_slice(&read("edge.json")?)
            .with_context(|| format!("{} is not what it should be", dir.join("edge.json").display()))?;
        if identity.nodes.is_empty() {
            bail!("{} names no node", dir.join("edge.json").display());
        }
        let tls = Tls::from_pem(&read("certificate.pem")?, &read("key.pem")?, &read("authorities.pem")?)?;
        let name = server_name(&identity.cluster, None)?.to_str().into_owned();
        let nodes = identity.nodes.iter().map(|address| Node { address: *address, name: name.clone() });
        let uplink = Uplink { nodes: nodes.collect(), tls };
        Ok((identity, Source::Uplink(uplink)))
    }

    /// How many nodes it knows.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_what_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let told = |dir: &Path| format!("{:#}", Identity::load(dir).unwrap_err());
        assert!(told(dir.path()).contains("chappe cluster edge"), "{}", told(dir.path()));
        let identity =
            json!({ "edge": "e", "cluster": ClusterId::from_random([1; 15]), "realm": "r", "nodes": [] });
        fs::write(dir.path().join("edge.json"), identity.to_string()).unwrap();
        assert!(told(dir.path()).contains("names no node"), "{}", told(dir.path()));
    }
}

//! The directory of an edge: `key.pem`, its private key, which never leaves it; `certificate.pem` and
//! `authorities.pem`, which are renewed; `nodes.json`, where the nodes were last; and `edge.json`, who the edge is,
//! written last: without it there is no identity.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use chappe_admin::control::EdgeIdentity;
use chappe_cluster::clock;
use chappe_cluster::mesh::pki::{self, server_name};
use chappe_edge::{Keep, Node, Tls, Uplink};
use chappe_proto::id::{ClusterId, EdgeId, Region};
use chappe_proto::mesh::uplink::NodeAt;
use data_encoding::BASE64;
use rcgen::{KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::{Api, segment};
use crate::files::write_private;

/// `edge.json`: who the edge is, and where the nodes are that it reports to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The edge's name, which is in its certificate.
    pub(crate) edge: EdgeId,
    pub(super) cluster: ClusterId,
    /// The realm of the long-term credential mechanism, which is the cluster's.
    pub(crate) realm: String,
    /// Those of its join, best first.
    pub(super) nodes: Vec<SocketAddr>,
    /// Where it stands, as it said when it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<Region>,
}

/// What an edge's directory is given as the edge learns it.
#[derive(Debug)]
struct Files(PathBuf);

impl Files {
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        write_private(&self.0.join(name), text).map_err(|error| io::Error::other(format!("{error:#}")))
    }
}

impl Keep for Files {
    fn certificate(&self, certificate: &CertificateDer<'_>) -> io::Result<()> {
        self.write("certificate.pem", &pki::pem("CERTIFICATE", certificate))
    }

    fn authorities(&self, authorities: &[CertificateDer<'_>]) -> io::Result<()> {
        let text: String = authorities.iter().map(|der| pki::pem("CERTIFICATE", der)).collect();
        self.write("authorities.pem", &text)
    }

    fn nodes(&self, nodes: &[NodeAt]) -> io::Result<()> {
        self.write("nodes.json", &serde_json::to_string_pretty(nodes).map_err(io::Error::other)?)
    }
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
        let identity = Self { edge: edge.clone(), cluster, realm, nodes, region: None };
        identity.save(dir)?;
        Ok(identity)
    }

    /// Who it is: the last file, with which the others are complete.
    fn save(&self, dir: &Path) -> Result<()> {
        write_private(&dir.join("edge.json"), &(serde_json::to_string_pretty(self)? + "\n"))
    }

    /// Writes what came of a join, beside the key that is there.
    pub(super) fn keep(
        &self,
        dir: &Path,
        certificate: &CertificateDer<'_>,
        authorities: &[CertificateDer<'_>],
        nodes: &[NodeAt],
    ) -> Result<()> {
        let files = Files(dir.to_owned());
        files.authorities(authorities)?;
        files.certificate(certificate)?;
        files.nodes(nodes)?;
        self.save(dir)
    }

    /// Who the edge of a directory is; none where there is no identity yet.
    pub(super) fn of(dir: &Path) -> Result<Option<Self>> {
        let at = dir.join("edge.json");
        match fs::read(&at) {
            Ok(text) => {
                let read = serde_json::from_slice(&text);
                read.map(Some).with_context(|| format!("{} is not what it should be", at.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", at.display())),
        }
    }

    /// Whether its certificate has ended by this machine's clock.
    pub(super) fn has_ended(dir: &Path) -> Result<bool> {
        let path = dir.join("certificate.pem");
        let text = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let tls = CertificateDer::from_pem_slice(&text).with_context(|| path.display().to_string())?;
        Ok(pki::validity(&tls)?.1 <= clock::unix())
    }

    /// Reads the files of an identity.
    pub(super) fn uplink(&self, dir: &Path) -> Result<Uplink> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).with_context(|| {
                format!(
                    "{} cannot be read: join anew, with a token of `chappe cluster invite --edge {}`, or have the \
                     files made by `chappe cluster edge identity`",
                    path.display(),
                    self.edge
                )
            })
        };
        let tls = Tls::from_pem(&read("certificate.pem")?, &read("key.pem")?, &read("authorities.pem")?)?;
        let name = server_name(&self.cluster, None)?.to_str().into_owned();
        // Only what it learnt: a damaged one costs nothing while a node of the join is there.
        let learnt: Vec<NodeAt> =
            read("nodes.json").ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let at = |node: &NodeAt, address: &SocketAddr| Node {
            id: Some(node.node),
            region: Some(node.region.clone()),
            ..Node::at(*address, name.clone())
        };
        let mut nodes: Vec<Node> =
            learnt.iter().flat_map(|node| node.addresses.iter().map(|address| at(node, address))).collect();
        for address in &self.nodes {
            if !nodes.iter().any(|node| node.address == *address) {
                nodes.push(Node::at(*address, name.clone()));
            }
        }
        if nodes.is_empty() {
            bail!("{} names no node", dir.join("edge.json").display());
        }
        Ok(Uplink { nodes, tls, keep: Some(Arc::new(Files(dir.to_owned()))), process: None })
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
        assert!(Identity::of(dir.path()).unwrap().is_none());
        let identity =
            json!({ "edge": "e", "cluster": ClusterId::from_random([1; 15]), "realm": "r", "nodes": [] });
        fs::write(dir.path().join("edge.json"), identity.to_string()).unwrap();
        let identity = Identity::of(dir.path()).unwrap().unwrap();
        let told = format!("{:#}", identity.uplink(dir.path()).unwrap_err());
        assert!(told.contains("certificate.pem") && told.contains("invite --edge e"), "{told}");
        fs::write(dir.path().join("edge.json"), "{").unwrap();
        assert!(format!("{:#}", Identity::of(dir.path()).unwrap_err()).contains("edge.json is not"));
    }

    #[test]
    fn what_is_learnt_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = ClusterId::from_random([1; 15]);
        let now = clock::unix();
        let authority = pki::Authority::make(cluster, now).unwrap();
        let edge = EdgeId::new("e").unwrap();
        let issued = authority.issue(&pki::Holder::Edge(edge.clone()), now).unwrap();
        fs::write(dir.path().join("key.pem"), pki::pem("PRIVATE KEY", issued.key.secret_der())).unwrap();
        let first: SocketAddr = "192.0.2.1:7900".parse().unwrap();
        let identity = Identity { edge, cluster, realm: "r".into(), nodes: vec![first], region: None };
        identity.keep(dir.path(), &issued.certificate, &[issued.authority], &[]).unwrap();
        assert!(!Identity::has_ended(dir.path()).unwrap());
        let addresses = |dir: &Path| {
            let uplink = Identity::of(dir).unwrap().unwrap().uplink(dir).unwrap();
            uplink.nodes.iter().map(|node| node.address).collect::<Vec<_>>()
        };
        assert_eq!(addresses(dir.path()), [first]);
        let second: SocketAddr = "192.0.2.2:7900".parse().unwrap();
        let learnt = NodeAt {
            node: chappe_proto::id::NodeId(2),
            region: Region::new("eu").unwrap(),
            addresses: vec![second],
        };
        Files(dir.path().to_owned()).nodes(&[learnt]).unwrap();
        assert_eq!(addresses(dir.path()), [second, first], "those of its join may be gone");
    }
}

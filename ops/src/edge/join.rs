//! How an edge comes into its cluster: by a token that is good once, with a key that never leaves its directory.

use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::mesh::{JoinedEdge, join_edge};
use chappe_proto::id::{EdgeId, Region};
use chappe_proto::mesh::join::{EdgeWish, Token};
use rcgen::{KeyPair, PublicKeyData};

use super::identity::Identity;
use crate::files::write_private;
use crate::settings::FIRST_START;

/// Where the nodes' QUIC endpoints are unless said otherwise.
const MESH_PORT: u16 = 7900;
/// The nodes of the token are asked for so long.
const WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[group(skip)] // its name would be another one's too
pub(super) struct Options {
    /// Join a cluster by the token that `chappe cluster invite --edge` prints; `@NODE` behind it names further
    /// nodes to ask. Other users of this machine see it: --join-file and CHAPPE_JOIN are better.
    #[arg(
        long,
        value_name = "TOKEN[@NODE]",
        env = "CHAPPE_JOIN",
        help_heading = FIRST_START,
        hide_env_values = true,
        conflicts_with = "join_file",
        requires = "data"
    )]
    join: Option<String>,
    /// Join a cluster by the token in this file.
    #[arg(
        long,
        value_name = "FILE",
        env = "CHAPPE_JOIN_FILE",
        help_heading = FIRST_START,
        requires = "data"
    )]
    join_file: Option<PathBuf>,
    /// With a token: the edge's name. The token's, or the machine's, where it is left out.
    #[arg(long, value_name = "NAME", env = "CHAPPE_NAME", help_heading = FIRST_START)]
    name: Option<EdgeId>,
}

impl Options {
    /// The token, where there is one.
    pub(super) fn token(&self) -> Result<Option<Token>> {
        let text = match (&self.join, &self.join_file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => {
                fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
            }
            (None, None) => return Ok(None),
        };
        parse(&text).map(Some)
    }

    /// Makes a key in `dir`, joins, and keeps what came of it there.
    pub(super) async fn join(&self, token: &Token, region: Region, dir: &Path) -> Result<Identity> {
        let key = key(dir)?;
        let wish = EdgeWish { name: self.name.clone(), host: host() };
        let public_key = key.subject_public_key_info();
        let JoinedEdge { cluster, edge, certificate, authorities, nodes, realm } =
            join_edge(token, &region, wish, public_key, WITHIN).await?;
        let addresses = nodes.iter().flat_map(|node| node.addresses.iter().copied()).collect();
        let identity = Identity { edge, cluster, realm, nodes: addresses, region: Some(region) };
        identity.keep(dir, &certificate, &authorities, &nodes)?;
        Ok(identity)
    }
}

/// A token, and the nodes behind it: `TOKEN`, or `TOKEN@HOST[:PORT],…`.
fn parse(text: &str) -> Result<Token> {
    let (token, nodes) = match text.trim().split_once('@') {
        None => (text, None),
        Some((token, nodes)) => (token, Some(nodes)),
    };
    let mut token: Token = token.parse()?;
    let mut addresses = Vec::new();
    for node in nodes.into_iter().flat_map(|nodes| nodes.split(',')) {
        addresses.extend(resolve(node.trim())?);
    }
    // The operator knows best; the token's own come next.
    addresses.retain(|address| !token.addresses.contains(address));
    token.addresses.splice(0..0, addresses);
    Ok(token)
}

fn resolve(node: &str) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = node.parse() {
        return Ok(vec![address]);
    }
    let found = if let Ok(ip) = node.parse() {
        vec![SocketAddr::new(ip, MESH_PORT)]
    } else if let Ok(found) = node.to_socket_addrs() {
        found.collect()
    } else {
        (node, MESH_PORT).to_socket_addrs().map(Iterator::collect).unwrap_or_default()
    };
    if found.is_empty() {
        bail!("{node:?} behind the token is no node: HOST, HOST:PORT or IP:PORT, where its --mesh is");
    }
    Ok(found)
}

/// The edge's key: the same at each attempt, should an answer be lost.
fn key(dir: &Path) -> Result<KeyPair> {
    let path = dir.join("key.pem");
    match fs::read_to_string(&path) {
        Ok(pem) => {
            KeyPair::from_pem(&pem).with_context(|| format!("{} holds no private key", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::generate()?;
            write_private(&path, &key.serialize_pem())?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// The machine's name, where it may name an edge.
fn host() -> Option<EdgeId> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    EdgeId::new(name.trim()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

    use chappe_proto::id::{ClusterId, InvitationId};
    use chappe_proto::mesh::uplink::Secret;

    use super::*;

    #[test]
    fn a_token_may_name_further_nodes() {
        let own: SocketAddr = "192.0.2.1:7900".parse().unwrap();
        let token = Token {
            addresses: vec![own],
            cluster: ClusterId::from_random([1; 15]),
            authority: vec![2; 32],
            invitation: InvitationId::from_random([3; 15]),
            secret: Secret(vec![4; 32]),
        };
        let read = |behind: &str| parse(&format!(" {token}{behind}\n")).map(|token| token.addresses);
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(read("").unwrap(), [own]);
        assert_eq!(read("@192.0.2.1:7900").unwrap(), [own]);
        let more = read("@198.51.100.1:1, 198.51.100.2,[2001:db8::1]:2,2001:db8::2").unwrap();
        let expected = [
            at("198.51.100.1:1"),
            at("198.51.100.2:7900"),
            at("[2001:db8::1]:2"),
            at("[2001:db8::2]:7900"),
            own,
        ];
        assert_eq!(more, expected);
        assert!(read("@").unwrap_err().to_string().contains("HOST:PORT"));
        assert!(parse("x@192.0.2.1").unwrap_err().to_string().contains("begins with"));
    }

    #[test]
    fn the_key_is_the_same_at_each_attempt() {
        let dir = tempfile::tempdir().unwrap();
        let first = key(dir.path()).unwrap().serialize_der();
        assert_eq!(key(dir.path()).unwrap().serialize_der(), first);
        fs::write(dir.path().join("key.pem"), "x").unwrap();
        assert!(key(dir.path()).unwrap_err().to_string().contains("no private key"));
    }
}

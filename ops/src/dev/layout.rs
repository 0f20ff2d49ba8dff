//! What `chappe dev` runs: how many nodes and edges, in which pretend regions, and the ports that must stay
//! what they were for nodes to find each other again.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_proto::id::{EdgeId, Region};
use serde::{Deserialize, Serialize};

use crate::files::{self, Dir};

/// Nodes and edges unless said otherwise.
const NODES: u8 = 3;
const EDGES: u8 = 2;
/// Below the ports that systems hand out by themselves (from 32768 on Linux), so that nobody has them by
/// accident when the nodes come back.
const MESH_PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many of them are tried.
const TRIES: usize = 100;
/// Where they pretend to stand.
const REGIONS: [&str; 2] = ["east", "west"];

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// Where nodes reach each other, by the nodes' numbers.
    pub(super) mesh: Vec<SocketAddr>,
    /// How many edges.
    pub(super) edges: u8,
}

/// The region of the nth node or edge, counted from 0.
pub(super) fn region(nth: usize) -> Result<Region> {
    Ok(Region::new(REGIONS[nth % REGIONS.len()])?)
}

/// The name of the nth edge, counted from 0.
pub(super) fn edge(nth: usize) -> Result<EdgeId> {
    Ok(match nth {
        0 => EdgeId::new("dev-edge")?,
        nth => EdgeId::new(&format!("dev-edge-{}", nth + 1))?,
    })
}

impl Layout {
    /// What the directory has run, or what is asked for; written down, so that the next start finds it.
    pub(super) fn of(dir: &Dir, nodes: Option<u8>, edges: Option<u8>) -> Result<Self> {
        let path = dir.join("dev.json");
        let held: Option<Self> = match fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged: remove the directory to begin anew", path.display())
            })?),
            Err(_) if dir.join("registry").exists() => bail!(
                "{} was made by a release that ran one node: remove it to begin anew, or give another by --data",
                dir.join("").display()
            ),
            Err(_) => None,
        };
        let mut layout = held.clone().unwrap_or(Self { mesh: Vec::new(), edges: EDGES });
        layout.edges = edges.unwrap_or(layout.edges);
        let wanted = usize::from(nodes.unwrap_or(if held.is_some() { 0 } else { NODES }));
        if wanted > 0 && wanted < layout.mesh.len() {
            bail!(
                "{} holds a cluster of {} nodes, which fewer cannot carry on: leave --nodes out, or remove the \
                 directory to begin anew",
                dir.join("").display(),
                layout.mesh.len()
            );
        }
        while layout.mesh.len() < wanted {
            layout.mesh.push(free(&layout.mesh)?);
        }
        if held.as_ref() != Some(&layout) {
            files::write_private(&path, &serde_json::to_string(&layout)?)?;
        }
        Ok(layout)
    }
}

/// A UDP port of loopback that nobody has.
fn free(taken: &[SocketAddr]) -> Result<SocketAddr> {
    let span = MESH_PORTS.end - MESH_PORTS.start;
    for _ in 0..TRIES {
        let port = MESH_PORTS.start + u16::from_be_bytes(clock::random()) % span;
        let at = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        if !taken.contains(&at) && UdpSocket::bind(at).is_ok() {
            return Ok(at);
        }
    }
    bail!("no free UDP port on loopback between {} and {}", MESH_PORTS.start, MESH_PORTS.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_nodes_and_may_get_more() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::take(&tmp.path().join("data"), "").unwrap();
        let first = Layout::of(&dir, Some(2), None).unwrap();
        assert_eq!((first.mesh.len(), first.edges), (2, 2));
        assert_eq!(Layout::of(&dir, None, None).unwrap(), first);
        let grown = Layout::of(&dir, Some(3), Some(1)).unwrap();
        assert_eq!((&grown.mesh[..2], grown.mesh.len(), grown.edges), (&first.mesh[..], 3, 1));
        let told = Layout::of(&dir, Some(1), None).unwrap_err().to_string();
        assert!(told.contains("a cluster of 3 nodes"), "{told}");
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::take(&tmp.path().join("data"), "").unwrap();
        dir.subdirectory("registry").unwrap();
        let told = Layout::of(&dir, None, None).unwrap_err().to_string();
        assert!(told.contains("one node"), "{told}");
        fs::write(dir.join("dev.json"), "{").unwrap();
        let told = Layout::of(&dir, None, None).unwrap_err().to_string();
        assert!(told.contains("damaged"), "{told}");
    }
}

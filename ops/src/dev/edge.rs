//! The edges of `chappe dev`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_cluster::mesh::pki::{Authority, Holder, key_hash, server_name};
use chappe_cluster::start::Running;
use chappe_edge::{Edge, ListenAt, Source, StartError, Tls, Uplink};
use chappe_proto::id::EdgeId;
use chappe_proto::registry::Command;
use chappe_proto::turn::{Quotas, RelayAddress, Transport};

use super::https::Https;
use super::layout::{self, Layout};
use super::{Args, REALM};
use crate::Process;

/// The edges must have registered within this of their start.
const EDGE_WITHIN: Duration = Duration::from_secs(10);
/// Allocations of a development edge at most.
const CAPACITY: u32 = 4096;

/// Starts the nth edge, counted from 0.
pub(super) async fn start(
    args: &Args,
    layout: &Layout,
    nth: usize,
    address: IpAddr,
    https: Option<&Https>,
    nodes: &[Running],
    process: &Process,
) -> Result<Edge> {
    // The others' ports are the next ones, or free ones where somebody has those.
    let port = if args.turn == 0 { 0 } else { args.turn.saturating_add(u16::try_from(nth)?) };
    let plain = |port| {
        let at = SocketAddr::new(address, port);
        vec![ListenAt::new(Transport::Udp, at), ListenAt::new(Transport::Tcp, at)]
    };
    let mut listeners = plain(port);
    if let Some(https) = https.filter(|_| nth == 0) {
        listeners.push(https.listener()?);
    }
    match Edge::start(config(args, layout, nth, address, listeners, nodes, process).await?) {
        Err(StartError::Listener { .. }) if nth > 0 && port > 0 => {
            Ok(Edge::start(config(args, layout, nth, address, plain(0), nodes, process).await?)?)
        }
        Err(error @ StartError::Listener { transport: Transport::Tls, .. }) => {
            bail!("{error}: --https PORT (0 takes a free one)")
        }
        Err(error @ StartError::Listener { .. }) => bail!("{error}: --turn PORT (0 takes a free one)"),
        other => Ok(other?),
    }
}

async fn config(
    args: &Args,
    layout: &Layout,
    nth: usize,
    address: IpAddr,
    mut listeners: Vec<ListenAt>,
    nodes: &[Running],
    process: &Process,
) -> Result<chappe_edge::Config> {
    for listener in &mut listeners {
        listener.hostname.clone_from(&args.hostname);
    }
    let id = layout::edge(nth)?;
    let (first, last) = args.relay_ports(nth, layout.edges)?;
    Ok(chappe_edge::Config {
        build: env!("CARGO_PKG_VERSION").to_owned(),
        region: layout::region(nth)?,
        coordinates: None,
        listeners,
        relays: vec![RelayAddress { bind: address, advertised: address, first, last }],
        realm: REALM.to_owned(),
        classic: false,
        quotas: Quotas { allocations: CAPACITY, ..Quotas::default() },
        source: Source::Uplink(Uplink {
            process: Some(Arc::new(process.clone())),
            ..uplink(nth, &id, nodes).await?
        }),
        id,
    })
}

/// Its certificate, for a key that it enrols by, and the nodes: those of its region first.
async fn uplink(nth: usize, id: &EdgeId, nodes: &[Running]) -> Result<Uplink> {
    let first = nodes.first().context("no node")?;
    let authority = Authority::newest(&first.node.registry.state())?.context("no authority")?;
    let issued = authority.issue(&Holder::Edge(id.clone()), clock::unix())?;
    let (key, region) = (key_hash(&issued.certificate)?, layout::region(nth)?);
    let enrol = Command::EdgeEnrol { edge: id.clone(), region, key };
    first.node.proposals.propose(enrol, EDGE_WITHIN).await?.outcome.accepted()?;
    let tls = Tls { certificates: issued.chain(), roots: vec![issued.authority], key: issued.key };
    let name = server_name(&first.cluster, None)?.to_str().into_owned();
    let region = layout::region(nth)?;
    let mut all = Vec::new();
    for (nth, node) in nodes.iter().enumerate() {
        let far = layout::region(nth)? != region;
        all.push((far, chappe_edge::Node::at(node.mesh, name.clone())));
    }
    all.sort_by_key(|(far, _)| *far);
    Ok(Uplink { nodes: all.into_iter().map(|(_, node)| node).collect(), tls, keep: None, process: None })
}

/// Until every node knows every edge.
pub(super) async fn wait(nodes: &[Running], layout: &Layout) -> Result<()> {
    let all = usize::from(layout.edges);
    let there =
        |node: &Running| node.node.world().edges.edges().iter().filter(|edge| edge.available).count() >= all;
    let up = async {
        while !nodes.iter().all(there) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(EDGE_WITHIN, up).await.is_err() {
        bail!("an edge did not register within {} s; --log debug tells why", EDGE_WITHIN.as_secs());
    }
    Ok(())
}

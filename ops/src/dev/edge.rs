//! The edge of `chappe dev`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_cluster::mesh::pki::{Authority, Holder, server_name};
use chappe_cluster::start::Running;
use chappe_edge::{Edge, ListenAt, Source, StartError, Tls, Uplink};
use chappe_proto::id::{EdgeId, Region};
use chappe_proto::turn::{Quotas, RelayAddress, Transport};

use super::Args;
use super::https::Https;

/// The edge must have registered within this of its start.
const EDGE_WITHIN: Duration = Duration::from_secs(10);
/// Allocations of the development edge at most.
const CAPACITY: u32 = 4096;

pub(super) fn start(args: &Args, address: IpAddr, https: Option<&Https>, node: &Running) -> Result<Edge> {
    let id = EdgeId::new("dev-edge")?;
    let authority =
        Authority::newest(&node.node.registry.state())?.context("the cluster has no authority")?;
    let identity = authority.issue(&Holder::Edge(id.clone()), clock::unix())?;
    let tls = Tls { certificates: identity.chain(), roots: vec![identity.authority], key: identity.key };
    let name = server_name(&node.cluster, None)?.to_str().into_owned();
    let at = SocketAddr::new(address, args.turn);
    let mut listeners = vec![ListenAt::new(Transport::Udp, at), ListenAt::new(Transport::Tcp, at)];
    if let Some(https) = https {
        listeners.push(https.listener()?);
    }
    for listener in &mut listeners {
        listener.hostname.clone_from(&args.hostname);
    }
    let config = chappe_edge::Config {
        id,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        region: Region::new("here")?,
        coordinates: None,
        listeners,
        relays: vec![RelayAddress {
            bind: address,
            advertised: address,
            first: args.relay_min_port,
            last: args.relay_max_port,
        }],
        realm: "chappe".to_owned(),
        classic: false,
        quotas: Quotas { allocations: CAPACITY, ..Quotas::default() },
        source: Source::Uplink(Uplink { nodes: vec![chappe_edge::Node { address: node.mesh, name }], tls }),
    };
    Edge::start(config).map_err(|error| match error {
        StartError::Listener { transport: Transport::Tls, .. } => {
            anyhow::anyhow!("{error}: --https PORT (0 takes a free one)")
        }
        StartError::Listener { .. } => {
            anyhow::anyhow!("{error}: --turn PORT (0 takes a free one)")
        }
        error => error.into(),
    })
}

/// Until it has registered.
pub(super) async fn wait(node: &Running) -> Result<()> {
    let up = async {
        while !node.node.world().edges.iter().any(|edge| edge.available) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(EDGE_WITHIN, up).await.is_err() {
        bail!("the edge did not register within {} s; --log debug tells why", EDGE_WITHIN.as_secs());
    }
    Ok(())
}

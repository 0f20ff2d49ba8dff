//! The whole cluster in one process.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use chappe_cluster::start::Running;
use chappe_edge::Edge;
use chappe_proto::id::AppId;
use chappe_proto::mesh::uplink::Listener;
use chappe_proto::select::ice::turn_url;
use chappe_proto::turn::Transport;
use futures_util::future::{join_all, select_all};

use super::banner::{self, Shown, ShownEdge, ShownNode};
use super::https::Https;
use super::lan::Lan;
use super::layout::{self, Layout};
use super::{APP, Args, edge, node, owner};
use crate::Process;
use crate::files::Dir;
use crate::{keys, signals};

pub(super) async fn serve(args: &Args, dir: &Dir, layout: &Layout, process: &Process) -> Result<()> {
    let lan = if args.lan { Some(Lan::find(args.lan_ip)?) } else { None };
    let address =
        lan.as_ref().map_or(args.bind.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), |lan| lan.address);
    let https = Https::open(args, dir, address, lan.as_ref())?;
    let plan = node::Plan { args, dir, layout, address, lan: lan.as_ref(), https: https.as_ref(), process };
    let mut nodes = plan.start().await?;
    let first = nodes.first().context("no node")?;
    let mut edges = Vec::new();
    for nth in 0..usize::from(layout.edges) {
        edges.push(edge::start(args, layout, nth, address, https.as_ref(), &nodes, process).await?);
    }
    edge::wait(&nodes, layout).await?;
    keys::keep(dir, first, &AppId::new(APP)?)?;
    // Before the banner: whoever has read it may stop us.
    let stop = signals::stop()?;
    let shown = shown(&nodes, &edges)?;
    let owner = owner::link(dir, &shown, https.as_ref()).await;
    banner::print(&shown, dir, https.as_ref(), owner.as_deref());

    let stopped = {
        let failed = select_all(nodes.iter_mut().map(|node| Box::pin(node.failed())));
        tokio::select! {
            () = stop => Ok(()),
            (failed, ..) = failed => match failed {
                Ok(()) => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    };
    banner::stopping();
    // What clients are told goes through the edge, where it shares its port.
    join_all(nodes.iter().map(Running::dismiss)).await;
    // Their uplinks say goodbye while the nodes still listen.
    let _ = tokio::task::spawn_blocking(move || edges.into_iter().for_each(Edge::stop)).await;
    join_all(nodes.into_iter().map(Running::stop)).await;
    stopped
}

fn shown(nodes: &[Running], edges: &[Edge]) -> Result<Shown> {
    let mut shown = Shown {
        nodes: Vec::new(),
        edges: Vec::new(),
        founded: nodes.first().is_some_and(|node| node.founded),
    };
    for (nth, node) in nodes.iter().enumerate() {
        let id = node.node.id;
        shown.nodes.push(ShownNode {
            node: id,
            region: layout::region(nth)?,
            http: node.http.clone(),
            leads: node.node.registry.status().leader == Some(id),
            pid: None,
        });
    }
    for (nth, edge) in edges.iter().enumerate() {
        let url = |(listener, bound): (&Listener, &std::net::SocketAddr)| {
            let note = if listener.transport == Transport::Tls { "  beside HTTPS" } else { "" };
            (turn_url(&Listener { address: *bound, ..listener.clone() }), note)
        };
        let urls = edge.listeners().iter().map(|(listener, bound)| url((listener, bound)));
        shown.edges.push(ShownEdge { region: layout::region(nth)?, urls: urls.collect(), pid: None });
    }
    Ok(shown)
}

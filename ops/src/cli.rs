//! The command line.

use clap::{Parser, Subcommand};

use crate::{admin, bench, cluster, dev, edge, log, node, token, turn};

/// A WebRTC signaling cluster with edge relays, in one binary.
#[derive(Debug, Parser)]
#[command(name = "chappe", version, propagate_version = true)]
pub(crate) struct Cli {
    /// What to log, as in `info` or `warn,chappe_edge=debug`; `CHAPPE_LOG` says the same.
    #[arg(long, global = true, env = "CHAPPE_LOG", value_name = "FILTER", default_value = log::FILTER)]
    pub(crate) log: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: nodes, edges and the call page.
    Dev(Box<dev::Args>),
    /// Run a node of a cluster.
    Node(Box<node::Args>),
    /// See a cluster and decide about its members.
    Cluster(Box<cluster::Args>),
    /// Decide who may operate a cluster.
    Admin(admin::Args),
    /// Run a relay of a cluster, or by itself.
    Edge(Box<edge::Args>),
    /// Measure what a relayed packet and a signal cost.
    Bench(bench::Args),
    /// Make a token for a room, as an app's server would.
    Token(token::Args),
    /// Relays: try one, and what else their operators need.
    Turn(turn::Args),
}

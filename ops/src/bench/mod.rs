//! `chappe bench`: what a relayed packet and a signal cost, side by side with others in one run.
//! BENCH.md says how to read the figures.

mod child;
mod console;
mod edges;
mod failover;
mod figures;
mod files;
mod forwarder;
mod process;
mod relay;
mod report;
mod select;
mod signal;

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Relayed packets, Binding requests, allocations: against a bare forwarder and coturn.
    Relay(relay::Args),
    /// Signals between two peers of a room: against a bare WebSocket relay.
    Signal(signal::Args),
    /// Nodes of a cluster killed, stopped and cut off under load.
    Failover(failover::Args),
    /// Edges of a fleet killed, cut off, firewalled and overloaded under calls; and people kicked.
    EdgeFailover(edges::Args),
    /// What it costs to look, at thousands of rooms and people.
    Console(console::Args),
    /// How far from the nearest the edges are that clients are given: a simulation.
    Select(select::Args),
    /// The bare UDP forwarder, as a process of its own.
    #[command(hide = true)]
    Forwarder,
    /// The bare WebSocket relay, as a process of its own.
    #[command(hide = true)]
    WebsocketRelay,
    /// People of rooms, as a process of their own.
    #[command(hide = true)]
    Crowd(console::crowd::Args),
    /// A node by itself, without limits on the rate of frames.
    #[command(hide = true)]
    Node(signal::node::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Relay(args) => relay::run(args),
        What::Signal(args) => signal::run(args),
        What::Failover(args) => failover::run(args),
        What::EdgeFailover(args) => edges::run(args),
        What::Console(args) => console::run(args),
        What::Select(args) => select::run(args),
        What::Forwarder => forwarder::run(),
        What::WebsocketRelay => signal::floor::run(),
        What::Crowd(args) => console::crowd::run(args),
        What::Node(args) => signal::node::run(args),
    }
}

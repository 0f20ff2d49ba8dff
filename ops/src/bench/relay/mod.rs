//! `chappe bench relay`: what a relay costs.

mod case;
mod client;
mod exchange;
mod server;
mod storm;

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use super::figures::Spread;
use super::process;
use super::report::{Report, Row, progress};
use case::{CASES, Case, Round};
use server::Server;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which servers to start: floor, edge, coturn. Coturn is left out where it is not installed.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["floor", "edge", "coturn"],
          value_parser = ["floor", "edge", "coturn", "none"])]
    servers: Vec<String>,
    /// A running TURN server to measure as well. Its peers are on loopback, unless --host says otherwise.
    #[arg(long, value_name = "IP:PORT")]
    server: Option<SocketAddr>,
    /// Its shared secret, of TURN REST credentials.
    #[arg(long, value_name = "SECRET", requires = "server", conflicts_with = "username")]
    secret: Option<String>,
    /// A user of it.
    #[arg(long, value_name = "NAME", requires_all = ["server", "password"])]
    username: Option<String>,
    /// The user's password.
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Its process, where it runs on this machine: without it nothing but its speed is known.
    #[arg(long, value_name = "PID", requires = "server")]
    pid: Option<u32>,
    /// The address of this host that clients and peers use.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    host: std::net::IpAddr,
    /// What to measure; everything where it is not given.
    #[arg(long, value_name = "CASE", value_delimiter = ',', value_parser = case::names())]
    case: Vec<String>,
    /// Rounds of each measurement; one more goes before them and is dropped.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Packets of a round.
    #[arg(long, value_name = "NUMBER", default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(8..=10_000_000))]
    packets: u64,
    /// Clients that send at a time; a quarter of them where each sends a burst.
    #[arg(long, value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    flows: u16,
    /// New allocations of a round.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    allocations: u16,
    /// Idle allocations whose memory is measured.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=15_000))]
    idle: u16,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    process::raise_file_limit();
    let processors = process::processors();
    let servers = server::start(args, processors.map(|(first, _)| first))?;
    if servers.is_empty() {
        bail!("nothing to measure: --servers none needs --server IP:PORT");
    }
    match processors {
        Some((first, second)) => {
            process::pin(second)?;
            progress(&format!("servers on processor {first}, load on processor {second}"));
        }
        None => progress("one processor only: servers and load take turns on it"),
    }
    let mut report = Report::default();
    let chosen = |case: &&Case| args.case.is_empty() || args.case.iter().any(|name| *name == case.name);
    for case in CASES.iter().filter(chosen) {
        measure(args, case, &servers, &mut report).with_context(|| case.name.to_owned())?;
    }
    report.print(args.json)
}

/// Measures one case: round after round, each of all servers in turn.
fn measure(args: &Args, case: &Case, servers: &[Server], report: &mut Report) -> Result<()> {
    let mut measured = Vec::new();
    for server in servers.iter().filter(|server| case.is_for(server)) {
        let prepared = case.prepare(args, server).with_context(|| server.name.clone())?;
        measured.push((server, prepared, Vec::new()));
    }
    for _ in 0..=if case.is_once() { 0 } else { args.rounds } {
        for (server, prepared, rounds) in &mut measured {
            rounds.push(prepared.round(args, server).with_context(|| server.name.clone())?);
        }
    }
    for (server, prepared, rounds) in measured {
        let costs: Vec<f64> = rounds.iter().map(|round: &Round| round.cost).collect();
        let Some(spread) = Spread::of(&costs) else { continue };
        let note = Round::note(&rounds);
        report.add(Row {
            case: case.title(),
            unit: case.unit(server),
            server: server.name.clone(),
            spread,
            note,
        });
        prepared.end();
    }
    Ok(())
}

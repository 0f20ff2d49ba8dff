//! `chappe bench failover`: processes of a cluster are killed, stopped and cut off under load, and the
//! clients' logs tell what it cost.

mod checker;
mod client;
mod cluster;
mod fault;
mod load;
mod log;
mod net;
mod report;
mod roles;
mod round;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::cluster::{Cluster, Wish};
use self::fault::Fault;
use self::report::Cell;
use self::roles::Role;
use self::round::{Size, Strike};
use super::files::Files;
use super::process;
use super::report::progress;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds of each cell.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Cells to run: FAULT, or FAULT:ROLE (kill, restart, stop, hole; owner, gateway, leader, owner+gateway,
    /// owner+leader, two); quorum (the leader is killed, then another of three voters); upgrade (each node is
    /// drained, ended and started again).
    #[arg(long, value_name = "CELL", value_delimiter = ',')]
    only: Vec<String>,
    /// Rooms of two clients each. Fewer than 300 void the run: it is judged, and its figures count nothing.
    #[arg(long, value_name = "NUMBER", default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=3000))]
    rooms: u16,
    /// Signals a second, all of them through the victim. Fewer than 2,000 that arrive void the run.
    #[arg(long, value_name = "NUMBER", default_value_t = 2400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Joins asked for right after each fault.
    #[arg(long, value_name = "NUMBER", default_value_t = 40)]
    joins: u32,
    /// Bytes of a signal's payload.
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u16).range(16..=8192))]
    size: u16,
    /// How long SIGSTOP lasts, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    stop: u64,
    /// Nodes of the cluster.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Regions that they stand in.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    regions: u8,
    /// The round-trip time between regions, in milliseconds; from 50 on with the timers for it (wan).
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    delay: u64,
    /// Keep the clients' logs and those of the nodes there.
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
    /// Judge that log, and run nothing.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The cells that are asked for, with their names.
    fn cells(&self) -> Result<Vec<(String, Strike)>> {
        let each = Fault::EACH.iter().flat_map(|(fault_name, fault)| {
            Role::EACH.iter().map(move |(role_name, role)| {
                (*fault_name, format!("{fault_name}:{role_name}"), Strike { fault: *fault, role: *role })
            })
        });
        let more = [("quorum", Fault::Kill, Role::Quorum), ("upgrade", Fault::Upgrade, Role::All)];
        let more = more.map(|(name, fault, role)| (name, name.to_owned(), Strike { fault, role }));
        let all: Vec<_> = each.chain(more).collect();
        for only in &self.only {
            if !all.iter().any(|(fault, cell, _)| only == fault || only == cell) {
                let known: Vec<_> = all.iter().map(|(_, cell, _)| cell.as_str()).collect();
                bail!("--only {only}: there is no such cell; there are {}", known.join(", "));
            }
        }
        let wanted = |fault: &str, cell: &str| {
            self.only.is_empty() || self.only.iter().any(|only| only == fault || only == cell)
        };
        Ok(all
            .into_iter()
            .filter(|(fault, cell, _)| wanted(fault, cell))
            .map(|(_, cell, strike)| (cell, strike))
            .collect())
    }

    fn wish(&self, cells: &[(String, Strike)]) -> Wish {
        Wish {
            nodes: self.nodes.into(),
            regions: self.regions.into(),
            net: cells.iter().any(|(_, strike)| strike.fault == Fault::Hole),
            delay: Duration::from_millis(self.delay) / 2,
            profile: if self.delay >= 50 { "wan" } else { "lan" },
            logs: self.keep.clone(),
        }
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.check {
        let verdict = checker::check(&log::read(file)?)?;
        return conclude(
            &[Cell::of(file.display().to_string(), &[verdict], args.rooms.into(), true)],
            args.json,
        );
    }
    process::raise_file_limit();
    let cells = args.cells()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let judged = tokio::task::LocalSet::new().block_on(&runtime, async {
        let files = Files::new()?;
        let mut cluster = Cluster::start(&args.wish(&cells)).await.context("the cluster")?;
        let mut judged = Vec::new();
        for (name, strike) in cells {
            judged.push(cell(args, &mut cluster, &files, name, strike).await?);
        }
        anyhow::Ok(judged)
    })?;
    conclude(&judged, args.json)
}

async fn cell(
    args: &Args,
    cluster: &mut Cluster,
    files: &Files,
    name: String,
    strike: Strike,
) -> Result<Cell> {
    let size = Size {
        rooms: args.rooms.into(),
        rate: args.rate,
        joins: args.joins,
        payload: args.size,
        stopped: Duration::from_secs(args.stop),
    };
    let mut verdicts = Vec::new();
    for round in 0..args.rounds as usize {
        let file = match &args.keep {
            Some(directory) => directory.join(format!("{}-{round}.jsonl", name.replace(':', "-"))),
            None => files.join("round.jsonl"),
        };
        let about = || format!("{name}, round {}", round + 1);
        let verdict = round::run(cluster, strike, &size, round, &file).await.with_context(about)?;
        let so_far = Cell::of(about(), std::slice::from_ref(&verdict), size.rooms, strike.role.is_passed());
        progress(&so_far.line());
        verdicts.push(verdict);
    }
    Ok(Cell::of(name, &verdicts, size.rooms, strike.role.is_passed()))
}

/// Prints the figures. What was lost or doubled fails the run.
fn conclude(cells: &[Cell], json: bool) -> Result<()> {
    report::print(cells, json)?;
    let bad: Vec<_> =
        cells.iter().filter(|cell| !cell.faults.is_empty()).map(|cell| cell.cell.as_str()).collect();
    if !bad.is_empty() {
        bail!("something was lost, doubled or thrown out: {}", bad.join(", "));
    }
    Ok(())
}

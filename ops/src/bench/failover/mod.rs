//! `chappe bench failover`: processes of a cluster are killed, stopped and cut off under load, and the
//! clients' logs tell what it cost.

mod book;
mod checker;
pub(super) mod client;
pub(super) mod cluster;
mod fault;
mod laps;
mod load;
mod log;
mod net;
mod open;
pub(super) mod report;
mod roles;
mod round;
mod series;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use chappe_cluster::clock;

use self::book::{Book, Conditions, End, Round};
use self::cluster::Wish;
use self::fault::Fault;
use self::report::Cell;
use self::roles::Role;
use self::round::{Size, Strike};
use self::series::{Order, Target};
use super::process;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds of each cell, those in --append's file among them. Cells take turns.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Begin no round that would end later than so many minutes from now.
    #[arg(long, value_name = "NUMBER")]
    minutes: Option<u64>,
    /// Add each round with all its gaps to that file once it is judged, and sum up all that the file holds. It is
    /// made if there is none; the same command again goes on where another ended; several may run at once.
    #[arg(long, value_name = "FILE")]
    append: Option<PathBuf>,
    /// Sum up the rounds in those files together, and run nothing.
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with_all = ["append", "check"])]
    sum: Vec<PathBuf>,
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
    /// How long a black hole lasts at least, in seconds; up to 12 while there is a gap that is not closed.
    #[arg(long, value_name = "SECONDS", default_value_t = fault::HOLE.as_secs())]
    hole: u64,
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

    fn wish(&self, net: bool) -> Wish {
        Wish {
            nodes: self.nodes.into(),
            regions: self.regions.into(),
            net,
            delay: Duration::from_millis(self.delay) / 2,
            profile: if self.delay >= 50 { "wan" } else { "lan" },
            logs: self.keep.clone(),
        }
    }

    fn size(&self) -> Size {
        Size {
            rooms: self.rooms.into(),
            rate: self.rate,
            joins: self.joins,
            payload: self.size,
            stop: Duration::from_secs(self.stop),
            hole: Duration::from_secs(self.hole),
        }
    }

    fn conditions(&self, Strike { fault, role }: Strike, net: bool, build: &str) -> Conditions {
        Conditions {
            build: build.to_owned(),
            nodes: self.nodes,
            regions: self.regions,
            delay: self.delay,
            net: net || self.delay > 0,
            rooms: self.rooms,
            rate: self.rate,
            size: self.size,
            joins: self.joins,
            lasts: fault.lasts(role, self.size().stop, self.size().hole).0.as_secs(),
            through: role.is_passed(),
            debug: cfg!(debug_assertions),
        }
    }

    fn order(&self) -> Result<Order> {
        let cells = self.cells()?;
        let net = cells.iter().any(|(_, strike)| strike.fault == Fault::Hole);
        let build = book::build()?;
        let target =
            |(cell, strike)| Target { cell, strike, conditions: self.conditions(strike, net, &build) };
        Ok(Order {
            targets: cells.into_iter().map(target).collect(),
            rounds: self.rounds as usize,
            until: self.minutes.map(|minutes| clock::mono() + Duration::from_secs(minutes * 60)),
            size: self.size(),
            wish: self.wish(net),
            keep: self.keep.clone(),
        })
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.check {
        let verdict = checker::check(&log::read(file)?)?;
        let cell = file.display().to_string();
        let strike = Strike { fault: Fault::Kill, role: Role::Owner };
        let (conditions, end) = (args.conditions(strike, false, ""), End::Judged(verdict));
        let round = Round { cell: cell.clone(), at: 0, conditions, took: Vec::new(), end };
        return conclude(&[Cell::of(&cell, [&round])], args.json);
    }
    if let Some((first, more)) = args.sum.split_first() {
        let mut book = Book::read(first)?;
        for file in more {
            book.extend(Book::read(file)?)?;
        }
        return conclude(&cells(&book, &[]), args.json);
    }
    process::raise_file_limit();
    let order = args.order()?;
    let mut book = args.append.as_deref().map_or_else(|| Ok(Book::default()), Book::open)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ran = tokio::task::LocalSet::new().block_on(&runtime, series::run(&order, &mut book));
    // What there is is told, however it ended.
    let concluded = conclude(&cells(&book, &order.targets), args.json);
    ran.and(concluded)
}

/// Sums up a book, cell by cell: those of the run in their order, then others that it holds.
fn cells(book: &Book, targets: &[Target]) -> Vec<Cell> {
    let names = targets.iter().map(|target| &target.cell);
    let mut cells: Vec<Cell> = Vec::new();
    for name in names.chain(book.rounds().iter().map(|round| &round.cell)) {
        if cells.iter().all(|cell| cell.cell != *name) && book.of(name).next().is_some() {
            cells.push(Cell::of(name, book.of(name)));
        }
    }
    cells
}

/// Prints the figures. What was lost or doubled fails the run.
fn conclude(cells: &[Cell], json: bool) -> Result<()> {
    report::print(cells, json)?;
    let bad: Vec<_> = cells.iter().filter(|cell| cell.is_bad()).map(|cell| cell.cell.as_str()).collect();
    if !bad.is_empty() {
        bail!("something was lost, doubled or thrown out, or a round failed: {}", bad.join(", "));
    }
    Ok(())
}

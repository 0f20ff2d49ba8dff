//! `chappe bench edge-failover`: edges of a fleet are killed, cut off, firewalled, drained and filled up under calls, and
//! people are kicked; the calls' packets tell what it cost.
#![allow(clippy::print_stdout)]

mod allocation;
mod calls;
mod client;
mod fill;
mod fleet;
mod frame;
mod join;
mod kick;
mod path;
mod record;
mod round;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use self::fleet::Fleet;
use self::round::{Fault, Found, Round};
use super::failover::report::Gaps;
use super::process;
use super::report::{aligned, progress};

/// What a figure must not exceed, by the beginning of its row.
const REACH: [(&str, Duration); 3] = [
    ("an edge killed", Duration::from_secs(8)),
    ("an edge firewalled", Duration::from_secs(8)),
    ("kicked", Duration::from_secs(1)),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds of each fault.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Calls of two people each.
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=50))]
    calls: u32,
    /// Faults to run: killed, firewalled, cut-off, drained, overloaded, kicked.
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    only: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A line of the table.
#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    rounds: u32,
    #[serde(flatten)]
    gaps: Gaps,
    /// In milliseconds, where there is a figure to reach.
    reach: Option<u64>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let faults = faults(&args.only)?;
    process::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = tokio::task::LocalSet::new().block_on(&runtime, rounds(args, &faults))?;
    let rows = rows(&found, args.rounds);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print(&rows);
    }
    conclude(&rows, &found)
}

/// The faults that are asked for.
fn faults(only: &[String]) -> Result<Vec<(&'static str, Fault)>> {
    if let Some(unknown) = only.iter().find(|name| Fault::ALL.iter().all(|(known, _)| known != name)) {
        let known: Vec<_> = Fault::ALL.iter().map(|(name, _)| *name).collect();
        bail!("--only {unknown}: there is no such fault; there are {}", known.join(", "));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    Ok(Fault::ALL.into_iter().filter(|(name, _)| wanted(name)).collect())
}

/// Round after round, the faults in turn.
async fn rounds(args: &Args, faults: &[(&'static str, Fault)]) -> Result<Found> {
    progress("three nodes and four edges start");
    let mut fleet = Fleet::start().await?;
    let (mut all, mut number) = (Found::default(), 0);
    for round in 1..=args.rounds {
        for (name, fault) in faults {
            let run = Round { fleet: &mut fleet, calls: args.calls, number }.run(*fault);
            let found = run.await.with_context(|| format!("round {round}, {name}"))?;
            number += 1;
            for (row, gaps) in found.gaps {
                let shown = Gaps::of(&gaps).map(|gaps| gaps.text()).unwrap_or_default();
                progress(&format!("round {round}, {row}: {shown} ms"));
                all.gaps.entry(row).or_default().extend(gaps);
            }
            for wrong in found.wrong {
                progress(&format!("round {round}, {name}: {wrong}"));
                all.wrong.push(format!("{name}: {wrong}"));
            }
        }
    }
    Ok(all)
}

fn rows(found: &Found, rounds: u32) -> Vec<Row> {
    let reach = |what: &str| REACH.iter().find(|(row, _)| what.starts_with(row)).map(|(_, reach)| *reach);
    let row = |(what, gaps): (&&'static str, &Vec<Option<Duration>>)| {
        let reach = reach(what).and_then(|reach| u64::try_from(reach.as_millis()).ok());
        Some(Row { what, rounds, gaps: Gaps::of(gaps)?, reach })
    };
    found.gaps.iter().filter_map(row).collect()
}

fn print(rows: &[Row]) {
    let head = ["what", "rounds", "of", "p50 / p99 / max", "to reach"].map(str::to_owned);
    let lines = rows.iter().map(|row| {
        let reach = row.reach.map_or("-".to_owned(), |reach| reach.to_string());
        [row.what.to_owned(), row.rounds.to_string(), row.gaps.count.to_string(), row.gaps.text(), reach]
    });
    println!(
        "milliseconds: the longest silence of each way of a call that the edge carried, unless said otherwise"
    );
    print!("{}", aligned(&[vec![head], lines.collect()].concat()));
}

/// What must not be, and figures that are not reached, fail the run.
fn conclude(rows: &[Row], found: &Found) -> Result<()> {
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    for what in &found.wrong {
        *wrong.entry(what.clone()).or_default() += 1;
    }
    let over = |row: &&Row| {
        let reach = row.reach.and_then(|reach| u32::try_from(reach).ok()).map(f64::from);
        row.gaps.never > 0 || reach.is_some_and(|reach| row.gaps.max.is_none_or(|max| max > reach))
    };
    let mut words: Vec<String> =
        wrong.into_iter().map(|(what, count)| format!("{count} times {what}")).collect();
    words.extend(rows.iter().filter(over).map(|row| format!("not reached: {}", row.what)));
    if words.is_empty() { Ok(()) } else { bail!("{}", words.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_not_reached_fails_the_run() {
        let of = |what, ms: &[Option<u64>]| {
            let gaps = ms.iter().map(|ms| ms.map(Duration::from_millis)).collect();
            Found { gaps: BTreeMap::from([(what, gaps)]), wrong: Vec::new() }
        };
        let ends = |found: &Found| conclude(&rows(found, 1), found).map_err(|error| error.to_string());
        assert_eq!(ends(&of("an edge killed", &[Some(7999)])), Ok(()));
        assert!(ends(&of("an edge killed", &[Some(8001)])).unwrap_err().contains("an edge killed"));
        assert!(ends(&of("an edge cut off", &[None])).is_err(), "it never ended");
        let mut found = of("kicked: dead on every edge", &[Some(900)]);
        assert_eq!(ends(&found), Ok(()));
        found.wrong.push("restarts".to_owned());
        assert_eq!(ends(&found), Err("1 times restarts".to_owned()));
        assert!(faults(&["killed".to_owned()]).is_ok_and(|faults| faults.len() == 1));
        assert!(faults(&["nothing".to_owned()]).is_err());
    }
}

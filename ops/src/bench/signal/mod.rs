//! `chappe bench signal`: what a signal costs, how long it takes, and what an idle session holds.

pub(super) mod floor;
mod load;
pub(super) mod node;
mod peer;
mod server;

use anyhow::{Context, Result, bail};

use super::figures::Spread;
use super::process;
use super::report::{Report, Row, progress};
use load::Pairs;
use server::Server;

/// What is known of the best rival, for the reader: it is not measured here.
const COLLIDER: &str =
    "for comparison, measured elsewhere: Collider costs 1.9 x the floor, without acknowledgements";

/// Signals that the browser SDK acknowledges by one frame, when they come faster than every 20 ms.
const SDK_ACKS: u64 = 16;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which servers to start: floor, node.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_values = ["floor", "node"],
          value_parser = ["floor", "node", "none"])]
    servers: Vec<String>,
    /// A running server of the native protocol to measure as well, with anonymous joins.
    #[arg(long, value_name = "ws://HOST:PORT/v1/signal")]
    url: Option<String>,
    /// Its process, where it runs on this machine: without it nothing but its speed is known.
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Option<u32>,
    /// What to measure; everything where it is not given.
    #[arg(long, value_name = "CASE", value_delimiter = ',', value_parser = ["cost", "latency", "idle"])]
    case: Vec<String>,
    /// Rounds of each measurement; one more goes before them and is dropped.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Pairs of peers, each in a room of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pairs: u16,
    /// Signals of a pair that are on their way at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(16..=64))]
    window: u16,
    /// Signals of a round.
    #[arg(long, value_name = "NUMBER", default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    signals: u64,
    /// Bytes of a signal's payload.
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u16).range(32..=8192))]
    size: u16,
    /// Signals a second while latency is measured.
    #[arg(long, value_name = "NUMBER", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// Seconds of a round of latency.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Idle sessions whose memory is measured, two in a room.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000, value_parser = clap::value_parser!(u16).range(2..=9000))]
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
        bail!("nothing to measure: --servers none needs --url");
    }
    if let Some((first, second)) = processors {
        process::pin(second)?;
        progress(&format!("servers on processor {first}, load on processor {second}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let chosen = |name: &str| args.case.is_empty() || args.case.iter().any(|case| case == name);
        // First: later memory would be taken from what a server has freed.
        if chosen("idle") {
            idle(args, &servers, &mut report).await.context("idle")?;
        }
        if chosen("cost") {
            cost(args, &servers, &mut report).await.context("cost")?;
        }
        if chosen("latency") {
            latency(args, &servers, &mut report).await.context("latency")?;
        }
        anyhow::Ok(())
    })?;
    report.print(args.json)
}

fn row(case: String, unit: &'static str, server: &Server, rounds: &[f64], note: String) -> Option<Row> {
    Some(Row { case, unit, server: server.name.clone(), spread: Spread::of(rounds)?, note })
}

/// Processor time of the server for each signal, while as many are on their way as the windows let.
async fn cost(args: &Args, servers: &[Server], report: &mut Report) -> Result<()> {
    progress(COLLIDER);
    let mut measured = Vec::new();
    for (case, ack_every) in [("", SDK_ACKS), (", acknowledged each", 1)] {
        for server in servers.iter().filter(|server| ack_every > 1 || server.is_native()) {
            let case = format!("signal, {} B{case}", args.size);
            let pairs = Pairs::open(args, server, ack_every).await?;
            measured.push((case, server, pairs, Vec::new(), String::new()));
        }
    }
    for _ in 0..=args.rounds {
        for (_, server, pairs, rounds, note) in &mut measured {
            let round = pairs.saturate(args.signals).await.with_context(|| server.name.clone())?;
            rounds.push(round.cost);
            *note = round.note();
        }
    }
    for (case, server, _, rounds, note) in measured {
        let unit = if server.process.is_some() { "us" } else { "us (time)" };
        report.extend(row(case, unit, server, &rounds, note));
    }
    Ok(())
}

/// How long a signal takes, when so many a second are sent.
async fn latency(args: &Args, servers: &[Server], report: &mut Report) -> Result<()> {
    let mut measured = Vec::new();
    for server in servers {
        measured.push((server, Pairs::open(args, server, 1).await?, Vec::new(), Vec::new()));
    }
    for _ in 0..=args.rounds {
        for (server, pairs, medians, tails) in &mut measured {
            let times = pairs.pace(args.rate, args.seconds).await.with_context(|| server.name.clone())?;
            medians.push(micros(times.value_at_quantile(0.5)));
            tails.push(micros(times.value_at_quantile(0.99)));
        }
    }
    for (name, tail) in [("p50", false), ("p99", true)] {
        for (server, _, medians, tails) in &measured {
            let case = format!("latency at {}/s, {name}", args.rate);
            let rounds = if tail { tails } else { medians };
            report.extend(row(case, "us", server, rounds, String::new()));
        }
    }
    Ok(())
}

/// Memory of the server for each session that does nothing.
async fn idle(args: &Args, servers: &[Server], report: &mut Report) -> Result<()> {
    for server in servers {
        let Some(process) = server.process else { continue };
        let _warm = load::crowd(server, 64).await?;
        let before = process.memory()?;
        let crowd = load::crowd(server, args.idle).await.with_context(|| server.name.clone())?;
        let grown = process.memory()?.saturating_sub(before);
        drop(crowd);
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let each = grown as f64 / f64::from(args.idle);
        report.extend(row("idle session".to_owned(), "B", server, &[each], String::new()));
    }
    Ok(())
}

/// Of nanoseconds.
fn micros(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64() * 1e6
}

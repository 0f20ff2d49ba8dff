//! `chappe bench console`: what it costs to look, at a cluster with thousands of rooms and people.

pub(super) mod crowd;
mod web;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use serde_json::Value;

use self::web::{Readers, Site};
use super::child::Child;
use super::failover::cluster::{Cluster, Wish};
use super::figures::Spread;
use super::process::{self, Process};
use super::report::{Report, Row, progress};

/// Sockets that one process of clients holds: with what else it has open, fewer than systems let a process have that
/// nobody has told otherwise.
const SOCKETS: u32 = 18_000;
/// Sessions of a node in such a system: each has two files, and the node keeps some.
const SESSIONS: u32 = 8_900;
/// The nodes' region, and that of all who join.
const REGION: &str = "r0";
/// Streams settle before their cost is measured.
const SETTLED: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rooms.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    rooms: u32,
    /// People in each.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1000))]
    peers: u32,
    /// Nodes; as many as it takes, where it is not said.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
    /// People who leave and come back, a second.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    churn: u32,
    /// Signals a second, over all rooms; the first room has 50 more.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    signals: u32,
    /// How many look at a page at once, beside nobody; up to 10.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_values_t = [1, 10], value_parser = clap::value_parser!(u16).range(1..=10))]
    readers: Vec<u16>,
    /// Seconds of a round.
    #[arg(long, value_name = "SECONDS", default_value_t = 6, value_parser = clap::value_parser!(u64).range(2..=60))]
    seconds: u64,
    /// Rounds of each measurement; one more goes before them and is dropped.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Run that program too while everybody is there, with the console's address, the file of a token for it, an app and
    /// the name of its busiest room: `ops/console` gives one that drives a browser.
    #[arg(long, value_name = "FILE")]
    browser: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is looked at.
struct Stage {
    cluster: Cluster,
    nodes: Vec<Process>,
    site: Site,
    app: String,
    /// They leave when this is dropped.
    _crowd: Vec<Child>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    process::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let stage = Stage::set(args).await?;
        stage.pages(args, &mut report).await?;
        stage.streams(args, &mut report).await?;
        if let Some(program) = &args.browser {
            stage.browse(program).await?;
        }
        stage.all_there(args).await
    })?;
    report.print(args.json)
}

impl Stage {
    async fn set(args: &Args) -> Result<Self> {
        let people = args.rooms.checked_mul(args.peers).context("so many people are too many")?;
        let nodes = args.nodes.map_or_else(|| people.div_ceil(SESSIONS).max(1), u32::from);
        if people.div_ceil(nodes) > SESSIONS {
            bail!("{people} people need more nodes: each holds {SESSIONS} at most");
        }
        progress(&format!("{nodes} nodes, {} rooms of {} people", args.rooms, args.peers));
        let wish = Wish {
            nodes: usize::try_from(nodes)?,
            regions: 1,
            net: false,
            delay: Duration::ZERO,
            profile: "lan",
            logs: None,
        };
        let cluster = Cluster::start(&wish).await?;
        let (token, began) = (cluster.file("room-token"), clock::mono());
        fs::write(&token, cluster.token(REGION, &["join", "create"])?)?;
        let urls: Vec<String> = cluster.ids().map(|id| cluster.signals(id)).collect::<Result<_>>()?;
        let crowds = people.div_ceil(SOCKETS);
        let each = args.rooms.div_ceil(crowds);
        let part =
            |number: u32, whole: u32| (whole * (number + 1) / crowds - whole * number / crowds).to_string();
        let mut crowd = Vec::new();
        for number in 0..crowds {
            let first = number * each;
            let rooms = each.min(args.rooms - first);
            let words = [
                ("--urls", urls.join(",")),
                ("--token-file", token.to_str().context("a path that is no text")?.to_owned()),
                ("--first", first.to_string()),
                ("--rooms", rooms.to_string()),
                ("--peers", args.peers.to_string()),
                ("--churn", part(number, args.churn)),
                ("--signals", part(number, args.signals)),
            ];
            let words: Vec<&str> = ["bench", "crowd"]
                .into_iter()
                .chain(words.iter().flat_map(|(name, word)| [*name, word]))
                .collect();
            let child = Child::start_self(&words, None)?;
            crowd.push((child, rooms * args.peers));
        }
        for (child, people) in &crowd {
            while child.wait_for(|line| line.strip_prefix("Here ")?.parse::<u32>().ok())? < *people {}
        }
        progress(&format!("all are there after {:.0} s", clock::mono().since(began).as_secs_f64()));
        let pids = cluster.ids().map(|id| cluster.pid(id)).collect::<Result<Vec<_>>>()?;
        let (at, token) = cluster.console()?;
        Ok(Self {
            nodes: pids.into_iter().map(Process).collect(),
            site: Site { at, token },
            app: cluster.app()?.to_string(),
            cluster,
            _crowd: crowd.into_iter().map(|(child, _)| child).collect(),
        })
    }

    /// Processor time of all nodes so far.
    fn cpu(&self) -> Result<Duration> {
        self.nodes.iter().map(|node| node.cpu()).sum()
    }

    /// Nobody was lost but those who are just on their way.
    async fn all_there(&self, args: &Args) -> Result<()> {
        let status = self.cluster.ask(1, "GET", "/cluster", Value::Null).await?;
        let members = status["members"].as_array().context("a cluster without members")?;
        let count = |name| members.iter().filter_map(|member| member["own"][name].as_u64()).sum::<u64>();
        let (sessions, rooms) = (count("sessions"), count("rooms"));
        progress(&format!("{sessions} people in {rooms} rooms"));
        let people = u64::from(args.rooms * args.peers);
        if sessions + u64::from(args.churn) + people / 100 < people || rooms < u64::from(args.rooms) {
            bail!("of {people} people in {} rooms there are {sessions} in {rooms}", args.rooms);
        }
        Ok(())
    }

    /// What operators look at: a name for it, and where it is.
    async fn places(&self, args: &Args) -> Result<Vec<(&'static str, String)>> {
        let busy = format!("/admin/apps/{}/rooms/{}", self.app, crowd::room(0));
        let seen = self.site.get(&busy).await?.text;
        let peer = seen.split_once("<tr id=\"p_").and_then(|(_, rest)| rest.split_once('"'));
        let (peer, _) = peer.context("nobody is in the first room")?;
        let middle = crowd::room(args.rooms / 2);
        Ok(vec![
            ("overview", "/admin".to_owned()),
            ("rooms", "/admin/rooms".to_owned()),
            ("rooms, from the middle", format!("/admin/rooms?after={}%2F{middle}", self.app)),
            ("rooms with a text", format!("/admin/rooms?q={}", middle.trim_start_matches("room-"))),
            ("rooms with no such text", "/admin/rooms?q=nowhere".to_owned()),
            ("rooms of a node", "/admin/rooms?node=1".to_owned()),
            ("200 rooms by the API", "/admin/api/v1/rooms?limit=200".to_owned()),
            ("room", busy.clone()),
            ("person", format!("{busy}/peers/p_{peer}")),
            ("search", format!("/admin/search?q={middle}")),
            ("search in vain", "/admin/search?q=nowhere".to_owned()),
        ])
    }

    /// What one page takes, and what it costs all nodes beyond what they do anyway.
    async fn pages(&self, args: &Args, report: &mut Report) -> Result<()> {
        let places = self.places(args).await?;
        let mut measured: Vec<(Vec<f64>, Vec<f64>, usize)> = vec![Default::default(); places.len()];
        for _ in 0..=args.rounds {
            let usual = self.rate(Duration::from_secs(args.seconds) / 3).await?;
            for ((_, path), (times, costs, size)) in places.iter().zip(&mut measured) {
                let (began, before) = (clock::mono(), self.cpu()?);
                let mut took = Vec::new();
                for _ in 0..GETS {
                    let got = self.site.get(path).await?;
                    *size = got.text.len();
                    took.push(got.took.as_secs_f64() * 1e3);
                }
                took.sort_by(f64::total_cmp);
                times.push(took[took.len() / 2]);
                let (used, passed) = (self.cpu()?.saturating_sub(before), clock::mono().since(began));
                let more = used.as_secs_f64() * 1e3 - usual * passed.as_secs_f64();
                costs.push(more.max(0.0) / f64::from(GETS));
            }
        }
        for ((name, _), (times, costs, size)) in places.into_iter().zip(measured) {
            let note = format!("{:.1} kB", kilo(size as u64));
            report.extend(row(&format!("{name}: until it is there"), "ms", "", &times, note));
            report.extend(row(&format!("{name}: processor"), "ms", "", &costs, String::new()));
        }
        Ok(())
    }

    /// Milliseconds of the nodes' processors a second, over so long.
    async fn rate(&self, over: Duration) -> Result<f64> {
        let (began, before) = (clock::mono(), self.cpu()?);
        tokio::time::sleep(over).await;
        let (used, passed) = (self.cpu()?.saturating_sub(before), clock::mono().since(began));
        Ok(used.as_secs_f64() * 1e3 / passed.as_secs_f64())
    }

    /// What it costs that somebody looks, for as long as they do.
    async fn streams(&self, args: &Args, report: &mut Report) -> Result<()> {
        let over = Duration::from_secs(args.seconds);
        let busy = format!("apps/{}/rooms/{}", self.app, crowd::room(0));
        for (name, path) in [
            ("overview", "/admin".to_owned()),
            ("rooms", "/admin/rooms".to_owned()),
            ("rooms with a text", "/admin/rooms?q=nowhere".to_owned()),
            ("room", format!("/admin/{busy}")),
            ("signals of a busy room", format!("/admin/api/v1/{busy}/signals/events")),
        ] {
            let counts: Vec<u16> = [0].into_iter().chain(args.readers.iter().copied()).collect();
            let mut measured = vec![(Vec::new(), String::new()); counts.len()];
            for _ in 0..=args.rounds {
                for (count, (rates, note)) in counts.iter().zip(&mut measured) {
                    let readers = Readers::open(&self.site, &path, usize::from(*count)).await?;
                    tokio::time::sleep(SETTLED).await;
                    let before = (readers.came.events.get(), readers.came.bytes.get());
                    rates.push(self.rate(over).await?);
                    let came = (readers.came.events.get() - before.0, readers.came.bytes.get() - before.1);
                    if *count > 0 {
                        let each = f64::from(*count) * over.as_secs_f64();
                        let (events, bytes) = (count_of(came.0) / each, kilo(came.1) / each);
                        let ended = readers.came.ended.get();
                        let back = if ended > 0 { format!("; {ended} began again") } else { String::new() };
                        *note = format!("each gets {events:.1} events, {bytes:.1} kB a second{back}");
                    }
                }
            }
            for (count, (rates, note)) in counts.into_iter().zip(measured) {
                let readers = match count {
                    0 => "nobody".to_owned(),
                    1 => "1 reader".to_owned(),
                    more => format!("{more} readers"),
                };
                report.extend(row(&format!("{name}, open"), "ms/s", &readers, &rates, note));
            }
        }
        Ok(())
    }

    /// Lets a browser look.
    async fn browse(&self, program: &PathBuf) -> Result<()> {
        let file = self.cluster.file("console-token");
        fs::write(&file, &self.site.token)?;
        let mut command = Command::new(program);
        command.arg(format!("http://{}", self.site.at)).arg(file).args([&self.app, &crowd::room(0)]);
        command.stdin(Stdio::null()).stdout(std::io::stderr());
        let run = tokio::task::spawn_blocking(move || command.status());
        let status = run.await?.with_context(|| format!("{} does not start", program.display()))?;
        if status.success() { Ok(()) } else { bail!("{} failed", program.display()) }
    }
}

/// A page is got so often in a round.
const GETS: u32 = 20;

fn row(case: &str, unit: &'static str, server: &str, rounds: &[f64], note: String) -> Option<Row> {
    Some(Row { case: case.to_owned(), unit, server: server.to_owned(), spread: Spread::of(rounds)?, note })
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count_of(many: u64) -> f64 {
    many as f64
}

fn kilo(bytes: u64) -> f64 {
    count_of(bytes) / 1000.0
}

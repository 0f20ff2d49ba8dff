//! `chappe turn check`: a STUN or TURN server, tried as a browser would use it, with the reason of each
//! failure and its likely fix.
//!
//! `run` goes through `steps` for one address of one `url`; `fault` is what can go wrong and
//! `diagnose` what to do about it; `print` writes the `report`. `talk` is the client machine over a
//! `link`.
#![allow(clippy::print_stdout)]

mod certificate;
mod diagnose;
mod dtls;
mod fault;
mod ice_servers;
mod input;
mod link;
mod print;
mod progress;
mod report;
mod resolve;
mod run;
mod steps;
mod talk;
mod tls;
mod url;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::ice_servers::Target;
use self::print::Colour;
use self::progress::{Progress, Shown};
use self::report::{Document, Report};
use self::run::{ALLOCATING, Options};
use self::url::Url;
use crate::exit::Exit;

/// The form of `--json`.
const VERSION: u32 = 1;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 nothing failed, 1 something failed, 2 the command line is wrong.

Examples:
  chappe turn check turn:turn.example.org --secret-file secret
  chappe turn check turns:turn.example.org:443 --user alice --password-file password
  pbpaste | chappe turn check --ice-servers -")]
pub(crate) struct Args {
    /// Servers, as an app gives them to browsers: `turn:HOST[:PORT][?transport=udp|tcp]`, `turns:…`
    /// (TLS), `stun:…`.
    #[arg(value_name = "URL", required_unless_present = "ice_servers")]
    urls: Vec<Url>,
    /// More servers, with their credentials, in JSON: an app's `iceServers` or whole
    /// `RTCConfiguration`; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    ice_servers: Option<PathBuf>,
    /// The user name; with --secret-file the name in the user name that is made.
    #[arg(short, long, value_name = "NAME", env = "CHAPPE_TURN_USER")]
    user: Option<String>,
    /// The file that holds the user's password; `-` reads standard input. `CHAPPE_TURN_PASSWORD` holds
    /// the password itself.
    #[arg(short, long, value_name = "FILE", conflicts_with = "secret_file")]
    password_file: Option<PathBuf>,
    /// The file that holds the server's shared secret, of which a time-limited credential is made
    /// (Chappe's --secret-file, coturn's static-auth-secret); `-` reads standard input.
    #[arg(short, long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Certificates of CAs (PEM) that are trusted besides those that browsers trust.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Go on although the certificate is not trusted.
    #[arg(long)]
    insecure: bool,
    /// Print a report for programs.
    #[arg(long)]
    json: bool,
    /// How many seconds an answer is waited for.
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let targets = input::targets(args).map_err(Exit::Usage)?;
    let own = input::authorities(args).map_err(Exit::Usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (progress, shown) = Progress::begin();
        let options = Options {
            wait: Duration::from_secs(args.timeout),
            insecure: args.insecure,
            trust: tls::trust(own).context("--ca").map_err(Exit::Usage)?,
            allocating: Semaphore::new(ALLOCATING),
            progress,
        };
        let reports = all(targets, Arc::new(options), &shown, args.json).await?;
        drop(shown);
        let ok = reports.iter().all(|report| report.ok);
        if args.json {
            let document = Document { version: VERSION, ok, checks: &reports };
            println!("{}", serde_json::to_string_pretty(&document)?);
        } else {
            println!("{}", print::summary(&reports, colour()));
        }
        if ok { Ok(()) } else { Err(Exit::Told.into()) }
    })
}

fn colour() -> Colour {
    Colour(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
}

/// Checks all of them at once, and prints each report as soon as those before it are printed.
async fn all(targets: Vec<Target>, options: Arc<Options>, shown: &Shown, json: bool) -> Result<Vec<Report>> {
    let mut running: Vec<_> =
        targets.into_iter().map(|target| tokio::spawn(one(Arc::new(target), options.clone()))).collect();
    let mut reports = Vec::new();
    for check in &mut running {
        let report = check.await?;
        if !json {
            shown.erase();
            println!("{}", print::report(&report, colour()));
        }
        reports.push(report);
    }
    Ok(reports)
}

/// Checks every address of one URL.
async fn one(target: Arc<Target>, options: Arc<Options>) -> Report {
    options.progress.say(&target.url, "looking up its name");
    let (name, addresses) = resolve::resolve(&target, options.wait).await;
    let mut checks = JoinSet::new();
    for (at, server) in addresses.into_iter().enumerate() {
        let check = run::check(target.clone(), server, options.clone());
        checks.spawn(async move { (at, check.await) });
    }
    let mut of_addresses = checks.join_all().await;
    of_addresses.sort_by_key(|(at, _)| *at);
    let of_addresses = of_addresses.into_iter().flat_map(|(_, sections)| sections);
    let sections: Vec<_> = name.into_iter().chain(of_addresses).collect();
    let username = target.credentials.as_ref().map(|credentials| credentials.username.clone());
    let ok = sections.iter().all(report::Section::is_ok);
    Report { url: target.url.to_string(), username, ok, sections }
}

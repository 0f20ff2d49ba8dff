//! `chappe`: a WebRTC signaling cluster with edge relays, in one binary.

mod acme;
mod admin;
mod api;
mod bench;
mod bind;
mod cli;
mod cluster;
mod credentials;
mod dev;
mod edge;
mod exit;
mod files;
mod keys;
mod log;
mod node;
mod parent;
mod settings;
mod signals;
mod table;
mod token;
mod turn;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::logs::Logs;
use chappe_proto::logs::{Level, LogPage, Wanted};
use chappe_proto::settings::Setting;
use clap::{CommandFactory, FromArgMatches};

/// What operators are told of this process.
#[derive(Debug, Clone)]
struct Process {
    /// Its options.
    settings: Vec<Setting>,
    /// What it logged.
    logs: Arc<Logs>,
}

impl chappe_edge::Process for Process {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn logs(&self, wanted: &Wanted) -> LogPage {
        self.logs.page(wanted)
    }

    fn log_level(&self, level: Option<Level>, within: Duration) {
        self.logs.set_level(level, within);
    }
}

fn main() -> ExitCode {
    let mut command = cli::Cli::command();
    command.build();
    let matches = command.clone().get_matches();
    let cli = cli::Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let process = Process { settings: settings::of(&command, &matches), logs: log::init(&cli.log) };
    raise_file_limit();
    if let Err(error) = parent::die_with() {
        return exit::with(&error);
    }
    let result = match cli.command {
        cli::Command::Dev(args) => dev::run(&args, &cli.log, &process),
        cli::Command::Cluster(args) => cluster::run(&args),
        cli::Command::Admin(args) => admin::run(&args),
        cli::Command::Edge(args) => edge::run(&args, &process),
        cli::Command::Bench(args) => bench::run(&args),
        cli::Command::Node(args) => node::run(&args, &process),
        cli::Command::Token(args) => token::run(&args),
        cli::Command::Turn(args) => turn::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with(&error),
    }
}

/// Each client takes a file descriptor or two, and what a shell allows is often a thousand.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

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
mod signals;
mod table;
mod token;
mod turn;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    log::init(cli.log.as_deref());
    raise_file_limit();
    if let Err(error) = parent::die_with() {
        return exit::with(&error);
    }
    let result = match cli.command {
        cli::Command::Dev(args) => dev::run(&args, cli.log.as_deref()),
        cli::Command::Cluster(args) => cluster::run(&args),
        cli::Command::Admin(args) => admin::run(&args),
        cli::Command::Edge(args) => edge::run(&args),
        cli::Command::Bench(args) => bench::run(&args),
        cli::Command::Node(args) => node::run(&args),
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

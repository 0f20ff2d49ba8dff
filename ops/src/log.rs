//! What the terminal is told besides a command's own output: everything here goes to standard error.
#![allow(clippy::print_stderr)]

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Unless told otherwise: warnings and worse. What raft warns of is its everyday.
const FILTER: &str = "warn,raft=error";

/// Starts logging.
pub(crate) fn init(filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or(FILTER)).unwrap_or_else(|error| {
        eprintln!("chappe: --log: {error}; logging warnings");
        EnvFilter::new(FILTER)
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Says why a command failed.
pub(crate) fn fail(error: &anyhow::Error) {
    eprintln!("chappe: {error:#}");
}

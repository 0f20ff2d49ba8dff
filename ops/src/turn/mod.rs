//! `chappe turn`: what an operator of relays needs besides the relay.

pub(crate) mod key;

use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the key of a long-term user, as `turnadmin -k` does.
    Key(key::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Key(args) => key::run(args),
    }
}

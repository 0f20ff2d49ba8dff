//! `chappe turn`: what an operator of relays needs besides the relay.

mod check;
mod credential;
mod import;
pub(crate) mod key;

use anyhow::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Try a STUN or TURN server, step by step, and say what is wrong with it.
    Check(Box<check::Args>),
    /// Print the key of a long-term user, as `turnadmin -k` does.
    Key(key::Args),
    /// Take users, secrets, origins and peers over from coturn.
    Import(import::Args),
    /// Issue credentials to whoever joins no room, list and revoke them.
    Credential(credential::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Key(args) => key::run(args),
        Command::Import(args) => import::run(args),
        Command::Credential(args) => credential::run(args),
    }
}

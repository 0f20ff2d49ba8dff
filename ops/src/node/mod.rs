//! `chappe node`: one node of a cluster, as a process of its own.
#![allow(clippy::print_stdout)]

mod options;
pub(crate) mod start;
mod stop;

use std::io::Write;

use anyhow::Result;
use chappe_cluster::start::{Failed, LifeError, Running, StartError};
use chappe_proto::registry::Refusal;

use self::options::Begin;
use crate::Process;
use crate::exit::Exit;
use crate::files::Dir;
use crate::keys;
use crate::signals::Signals;

pub(crate) use self::options::Args;

pub(crate) fn run(args: &Args, process: &Process) -> Result<()> {
    actix_rt::System::new().block_on(serve(args, process))
}

async fn serve(args: &Args, process: &Process) -> Result<()> {
    let dir = Dir::take(&args.data, "--data OTHER-DIRECTORY")?;
    let begin = args.begin(start::is_known(&dir))?;
    // Whatever comes from here on ends in order.
    let mut signals = Signals::new()?;
    let (mut node, acme) = tokio::select! {
        node = start::node(args, &dir, &begin, process) => node.map_err(told)?,
        () = signals.next() => return Ok(()),
    };
    keys::keep(&dir, &node, &args.app)?;
    print(args, &node, &begin);
    let ended = tokio::select! {
        () = signals.next() => {
            stop::in_order(node, &mut signals, args.drain_within()).await;
            Ok(())
        }
        failed = node.failed() => match failed {
            Ok(()) => Ok(()),
            Err(error) => Err(told(error.into())),
        },
    };
    drop(acme);
    ended
}

/// An error with the exit code by which whoever starts nodes knows that this one is not to be started again.
fn told(error: anyhow::Error) -> anyhow::Error {
    let life = match (error.downcast_ref::<StartError>(), error.downcast_ref::<Failed>()) {
        (Some(StartError::Life(life)), _) | (_, Some(Failed::Life(life))) => life,
        _ => return error,
    };
    match life {
        LifeError::Removed(_) | LifeError::Refused(Refusal::Removed(_) | Refusal::Unknown(_)) => {
            Exit::Removed(error).into()
        }
        _ => error,
    }
}

/// Who it is and where it is reached.
fn print(args: &Args, node: &Running, begin: &Begin) {
    let state = node.node.registry.state();
    let name = state.cluster().map(|cluster| cluster.name.clone()).unwrap_or_default();
    let how = match begin {
        Begin::Found { .. } => " (founded)",
        Begin::Join { .. } => " (joined)",
        Begin::Again => "",
    };
    println!("node {} of {name} ({}){how}", node.node.id, node.cluster);
    for address in &node.http {
        println!("http   {address}");
    }
    for address in &node.https {
        println!("https  {address}");
    }
    println!("mesh   {}", node.mesh);
    println!("data   {}", args.data.display());
    println!(
        "Ctrl-C or SIGTERM drains it, within {} s; a second one stops it.",
        args.drain_within().as_secs()
    );
    let _ = std::io::stdout().flush(); // a closed pipe is no reason to stop
}

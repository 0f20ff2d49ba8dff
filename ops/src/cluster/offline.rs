//! `chappe cluster recover`: on the data directory of a node that does not run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use chappe_cluster::consensus::{Survivor, inspect, recover};
use chappe_proto::id::NodeId;
use serde_json::json;

use crate::files::Dir;

/// What is done without a node.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The quorum is lost for good: let a node that is left go on alone.
    Recover(Recover),
}

#[derive(Debug, clap::Args)]
pub(super) struct Recover {
    /// The data directory of a node that is left.
    #[arg(long, value_name = "DIRECTORY")]
    data: PathBuf,
    /// Do it: without this it is only said what would be lost.
    #[arg(long)]
    yes: bool,
    /// Go on although the disk, too, has lost something that was acknowledged.
    #[arg(long)]
    accept_loss: bool,
}

/// The directory of a node that does not run, for as long as this goes on.
fn take(path: &Path) -> Result<Dir> {
    Dir::take(path, "--data OTHER-DIRECTORY")
}

pub(super) fn run(verb: &Verb, json: bool) -> Result<()> {
    match verb {
        Verb::Recover(args) => rescue(args, json),
    }
}

/// What is left, and what is lost.
fn told(left: &Survivor) -> String {
    let names = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ");
    let lost: Vec<_> = left.voters.iter().copied().filter(|voter| *voter != left.member).collect();
    let mut text = format!("This is node {}, which knows the voters {}.\n", left.member, names(&left.voters));
    let _ = writeln!(
        text,
        "Its log ends at entry {} of term {}; entries up to {} are known to be committed.",
        left.last, left.last_term, left.committed
    );
    text +=
        "Of several nodes that are left, recover the one whose log ends in the highest term, then entry.\n\n";
    let _ = writeln!(
        text,
        "It becomes the only voter. Voters {} are removed: they must never come back as who",
        names(&lost)
    );
    text += "they were, and join anew with empty directories. All other nodes stay.\n\
             Lost is what the others acknowledged and this one has not got: the last moments before they went.\n";
    text
}

fn rescue(args: &Recover, json: bool) -> Result<()> {
    if !args.data.join("registry").is_dir() {
        bail!("{} holds no registry: give the data directory of a voter or a stand-by", args.data.display());
    }
    let dir = take(&args.data)?;
    let registry = dir.join("registry");
    let left = if args.yes { recover(&registry, args.accept_loss)? } else { inspect(&registry)? };
    if json {
        let Survivor { member, voters, last, last_term, committed, .. } = &left;
        let all = json!({
            "node": member, "voters": voters, "last": last, "last_term": last_term,
            "committed": committed, "recovered": args.yes,
        });
        println!("{all}");
        return Ok(());
    }
    print!("{}", told(&left));
    if args.yes {
        println!("\nDone. Start it: chappe node --data {} …", args.data.display());
    } else {
        println!("\nNothing has been done. Once you are sure that the others never come back, say --yes.");
    }
    Ok(())
}

//! `chappe cluster restore` and `recover`: on the data directory of a node that does not run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use chappe_cluster::clock;
use chappe_cluster::consensus::backup::{self, BackupInfo, Restored};
use chappe_cluster::consensus::{Survivor, inspect, recover};
use chappe_cluster::mesh::identity::IdentityDir;
use chappe_proto::id::{ClusterId, NodeId, Region};
use serde_json::json;

use crate::files::Dir;

/// What is done without a node.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Begin a new cluster with what a backup holds, in the directory of its first node.
    Restore(Restore),
    /// The quorum is lost for good: let a node that is left go on alone.
    Recover(Recover),
}

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// What `chappe cluster backup` wrote.
    file: PathBuf,
    /// The data directory of the new node, which must hold none yet.
    #[arg(long, value_name = "DIRECTORY")]
    data: PathBuf,
    /// Where the new node stands.
    #[arg(long, value_name = "NAME")]
    region: Region,
    /// Take the backup of this cluster alone (its id, c_…).
    #[arg(long, value_name = "ID")]
    of: Option<ClusterId>,
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

/// A time as operators write it: the registry's are in UTC.
fn ago(info: &BackupInfo) -> String {
    chappe_admin::health::span(clock::unix().0.saturating_sub(info.at.0))
}

pub(super) fn run(verb: &Verb, json: bool) -> Result<()> {
    match verb {
        Verb::Restore(args) => restore(args, json),
        Verb::Recover(args) => rescue(args, json),
    }
}

fn restore(args: &Restore, json: bool) -> Result<()> {
    let (info, _) = match backup::read(&args.file) {
        Ok(read) => read,
        Err(error) => bail!("{} cannot be restored: {error}", args.file.display()),
    };
    let dir = take(&args.data)?;
    if IdentityDir::of(&args.data).load()?.is_some() {
        bail!("{} holds a node already: give a directory that does not", args.data.display());
    }
    let Restored { cluster, member, .. } = backup::restore(&args.file, &dir.join("registry"), args.of)?;
    crate::files::write_private(&dir.join(crate::node::start::RESTORED), "")?;
    IdentityDir::of(&args.data).found_as(cluster, member, args.region.clone(), clock::unix())?;
    if json {
        println!(
            "{}",
            json!({ "cluster": cluster, "node": member, "from": info.cluster, "index": info.index })
        );
        return Ok(());
    }
    println!("{} is node {member} of the new cluster {cluster}, which begins with", args.data.display());
    println!("what {} ({}) had {} ago, at entry {}.\n", info.name, info.cluster, ago(&info), info.index);
    println!("  Stop whatever is left of the former cluster: it must not serve beside this one.");
    println!("  Start this node: chappe node --data {} …", args.data.display());
    println!("  Have the other nodes join anew (`chappe cluster invite`), with empty directories,");
    println!("  and the edges (`chappe cluster invite --edge`).\n");
    println!("What was changed after the backup is gone: who was banned since then may return.");
    Ok(())
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
    if left.voters == [left.member] {
        bail!("node {} is the only voter of its cluster: there is nothing to recover", left.member);
    }
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

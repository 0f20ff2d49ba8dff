//! `chappe cluster`: what operators see and decide of a cluster, by the admin API of any of its nodes.
#![allow(clippy::print_stdout)]

mod allocations;
mod apps;
mod drain;
mod edge;
mod offline;
mod show;
mod usage;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use chappe_admin::control::{Event, Invitation};
use chappe_admin::health::span;
use chappe_cluster::clock;
use chappe_proto::id::{AppId, EdgeId, NodeId, Region};
use serde_json::{Value, json};

use crate::api::{Api, At, segment};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    at: At,
    /// Answer in JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    #[command(flatten)]
    Asked(Asked),
    #[command(flatten)]
    Offline(offline::Verb),
}

/// What a node is asked.
#[derive(Debug, clap::Subcommand)]
enum Asked {
    /// Whether the cluster is well, who leads, and its members.
    Status,
    /// The members with all that is known of each: addresses, links, leases, edges.
    Members,
    /// What happened to the cluster lately, as the node that is asked saw it.
    Events,
    /// Let a new node join, once, or a new edge: prints the token for `chappe node --join` or `chappe edge --join`.
    Invite(Invite),
    /// Move everything off a node, and watch until it is empty.
    Drain {
        /// Its number.
        node: u64,
        /// Do not watch.
        #[arg(long)]
        no_wait: bool,
    },
    /// Let a node take rooms again.
    Resume {
        /// Its number.
        node: u64,
    },
    /// Let a node go for good: it drains first, where it is up. Watches until it is gone.
    Remove {
        /// Its number.
        node: u64,
        /// Do not watch.
        #[arg(long)]
        no_wait: bool,
    },
    /// Give a node a larger or smaller part of the rooms.
    Weight {
        /// Its number.
        node: u64,
        /// Its part, relative to others' (1 at first); 0 is a witness, which runs no rooms.
        weight: u16,
    },
    /// Let another voter lead.
    Transfer {
        /// Its number; the one that is furthest where it is left out.
        node: Option<u64>,
    },
    /// Set the timers: `lan`, or `wan` where members are over 50 ms apart.
    Profile {
        /// Which.
        #[arg(value_parser = ["lan", "wan"])]
        profile: String,
    },
    /// Set how many voters are wanted: 3 survive the loss of one, 5 that of two.
    Voters {
        /// How many.
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(["3", "5"]))]
        wanted: String,
    },
    /// Begin a new certificate authority; the old one goes once nobody holds a certificate of it.
    Rotate,
    /// The edges: where they stand, whether they are heard, how loaded they are.
    Edges,
    /// See, drain, weigh, remove an edge.
    #[command(subcommand)]
    Edge(edge::Verb),
    /// The apps: who may join, how long their TURN credentials last.
    Apps,
    /// Set how long the TURN credentials of an app last that sessions are given from then on.
    CredentialTtl {
        /// The app.
        app: AppId,
        /// 4 to 86400; sessions are given a fresh one when three quarters of that have passed.
        seconds: u64,
    },
    /// Show where regions and networks are and which edges are for whom, or replace all of it.
    Selection {
        /// A file with what it shall be, in JSON as it is shown.
        file: Option<PathBuf>,
    },
    /// What edges relayed: for all apps, for the rooms of an app, or for the sessions of a room.
    Usage(usage::Of),
    /// What edges relay now, and for whom.
    Allocations(allocations::Of),
    /// Write the whole registry into a file. It holds secrets.
    Backup {
        /// The file, which must not be there yet.
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Invite {
    /// The token is for an edge: a new one, or the one of this name, which it puts in the place of one that is there.
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    edge: Option<Option<EdgeId>>,
    /// The region in which the node or edge must stand; any where it is left out.
    #[arg(long)]
    region: Option<Region>,
    /// How long the token is good, in minutes.
    #[arg(long = "for", value_name = "MINUTES", default_value_t = 60)]
    minutes: u64,
    /// Withdraw this invitation instead (its id, as `--json status` has it).
    #[arg(long, value_name = "ID", conflicts_with_all = ["region", "minutes", "edge"])]
    withdraw: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.verb {
        Verb::Asked(asked) => ask(&mut args.at.open()?, asked, args.json),
        Verb::Offline(verb) => offline::run(verb, args.json),
    }
}

fn ask(api: &mut Api, asked: &Asked, json: bool) -> Result<()> {
    let said = |words: &str| if json { "{}".to_owned() } else { words.to_owned() };
    let text = match asked {
        Asked::Status => return show::status(api, json),
        Asked::Members => return show::members(api, json),
        Asked::Events => return events(api, json),
        Asked::Invite(invite) => return self::invite(api, invite, json),
        Asked::Backup { file } => return backup(api, file, json),
        Asked::Drain { node, no_wait } => return drain::drain(api, NodeId(*node), *no_wait, json),
        Asked::Remove { node, no_wait } => return drain::remove(api, NodeId(*node), *no_wait, json),
        Asked::Edges => return edge::list(api, json),
        Asked::Usage(of) => return usage::run(api, of, json),
        Asked::Allocations(of) => return allocations::run(api, of, json),
        Asked::Apps => return apps::list(api, json),
        Asked::CredentialTtl { app, seconds } => {
            apps::set_credential_ttl(api, app, *seconds)?;
            said(&format!(
                "TURN credentials of the app {app} last {seconds} s, in sessions that begin from now on"
            ))
        }
        Asked::Edge(verb) => return edge::run(api, verb, json),
        Asked::Resume { node } => {
            api.call("POST", &format!("/nodes/{node}/resume"), &Value::Null)?;
            said(&format!("node {node} takes rooms again"))
        }
        Asked::Weight { node, weight } => {
            api.call("PUT", &format!("/nodes/{node}/weight"), &json!({ "weight": weight }))?;
            said(&format!("node {node} has weight {weight}"))
        }
        Asked::Transfer { node } => {
            let answer = api.call("POST", "/cluster/transfer", &json!({ "to": node }))?;
            if json { answer.to_string() } else { format!("node {} leads", answer["leader"]) }
        }
        Asked::Profile { profile } => {
            api.call("PUT", "/cluster/profile", &json!({ "profile": profile }))?;
            said(&format!("the timers are those of {profile}"))
        }
        Asked::Voters { wanted } => {
            let wanted: u8 = wanted.parse()?;
            api.call("PUT", "/cluster/voters", &json!({ "voters": wanted }))?;
            said(&format!("{wanted} voters are wanted; nodes are promoted as they catch up"))
        }
        Asked::Selection { file: None } => {
            serde_json::to_string_pretty(&api.call("GET", "/selection", &Value::Null)?)?
        }
        Asked::Selection { file: Some(file) } => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            let policy: Value =
                serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
            api.call("PUT", "/selection", &policy)?;
            said("the selection is as that file says; sessions follow as they are offered edges again")
        }
        Asked::Rotate => {
            let answer = api.call("POST", "/cluster/authority/rotate", &Value::Null)?;
            if json {
                answer.to_string()
            } else {
                format!(
                    "authority {} issues from now on; the one before goes when everybody has a certificate of it",
                    answer["authority"]
                )
            }
        }
    };
    println!("{text}");
    Ok(())
}

fn events(api: &mut Api, json: bool) -> Result<()> {
    let answer = api.list("/cluster/events")?;
    if json {
        println!("{answer}");
        return Ok(());
    }
    let events: Vec<Event> = serde_json::from_value(answer)?;
    if events.is_empty() {
        println!("nothing since that node has started");
    }
    for Event { at, node, text } in events {
        let ago = span(clock::unix().0.saturating_sub(at.0));
        let whom = node.map_or_else(String::new, |node| format!("node {node}: "));
        println!("{ago} ago  {whom}{text}");
    }
    Ok(())
}

fn invite(api: &mut Api, invite: &Invite, json: bool) -> Result<()> {
    if let Some(id) = &invite.withdraw {
        api.call("DELETE", &format!("/cluster/invitations/{}", segment(id)), &Value::Null)?;
        println!("{}", if json { "{}".to_owned() } else { format!("invitation {id} is withdrawn") });
        return Ok(());
    }
    let mut wish = json!({ "ttl_secs": invite.minutes.saturating_mul(60) });
    if let Some(region) = &invite.region {
        wish["region"] = region.to_string().into();
    }
    if let Some(name) = &invite.edge {
        wish["edge"] = name.as_ref().map_or_else(|| json!({}), |name| json!({ "name": name }));
    }
    let answer = api.call("POST", "/cluster/invitations", &wish)?;
    if json {
        println!("{answer}");
        return Ok(());
    }
    let made: Invitation = serde_json::from_value(answer)?;
    let left = made.until.0.saturating_sub(clock::unix().0);
    let region = invite.region.as_ref().map_or("REGION", |region| region.as_str());
    println!("{}\n", made.token);
    println!(
        "It lets one {} in, within {}, and is not shown again. On the new machine:\n",
        if invite.edge.is_some() { "edge" } else { "node" },
        span(left + Duration::from_secs(1))
    );
    if invite.edge.is_some() {
        println!("  chappe edge --data DIRECTORY --join-file TOKEN-FILE --region {region} --listen IP:3478");
        return Ok(());
    }
    println!(
        "  chappe node --data DIRECTORY --join-file TOKEN-FILE --region {region} --mesh IP:PORT --http IP:PORT"
    );
    Ok(())
}

fn backup(api: &mut Api, path: &Path, json: bool) -> Result<()> {
    let there =
        || format!("{} cannot be made: give the name of a file that is not there yet", path.display());
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path).with_context(there)?;
    let written = api.download("/cluster/backup", &file).and_then(|len| {
        file.sync_all()?;
        Ok(len)
    });
    match written {
        Ok(len) if json => println!("{}", json!({ "file": path, "bytes": len })),
        Ok(len) => println!(
            "{len} bytes in {}. It holds the cluster's secrets: keep it where only operators read",
            path.display()
        ),
        Err(error) => {
            // Half a backup is none.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
    }
    Ok(())
}

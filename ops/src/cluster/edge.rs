//! `chappe cluster edges` and `chappe cluster edge`: what operators see and decide of edges.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use chappe_admin::control::EdgeReport;
use chappe_admin::health::span;
use chappe_cluster::clock;
use chappe_proto::id::EdgeId;
use chappe_proto::registry::EdgeState;
use chappe_proto::time::Unix;
use serde_json::{Value, json};

use crate::api::{Api, segment};
use crate::edge::identity::Identity;
use crate::table::Table;

/// What is done with one edge.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// All that is known of an edge: addresses, relay ports, who hears it, its last report.
    Show {
        /// Its name.
        name: EdgeId,
    },
    /// Let an edge take no new allocations; those that are there go on.
    Drain {
        /// Its name.
        name: EdgeId,
    },
    /// Let an edge take allocations again, one that was removed too.
    Resume {
        /// Its name.
        name: EdgeId,
    },
    /// Give an edge a larger or smaller part of the sessions near it.
    Weight {
        /// Its name.
        name: EdgeId,
        /// Its part, relative to others' (100 at first).
        weight: u16,
    },
    /// End an edge for good: its uplinks are cut, its process ends, and it is refused from now on. Drain it first:
    /// its calls end.
    Remove {
        /// Its name.
        name: EdgeId,
    },
    /// Free the name of a removed edge for another one. The removed one's key and certificate stay good for nothing: a
    /// new token lets an edge join by that name.
    Forget {
        /// Its name.
        name: EdgeId,
    },
    /// Write the files of an edge, for `chappe edge --data` on a machine that reaches no node to join by: a key made
    /// here, and its certificate.
    Identity {
        /// Its name. One that is there is put in its place, and the former one's key is good for nothing then.
        name: EdgeId,
        /// Where its key, its certificate and the nodes' addresses are written.
        dir: PathBuf,
    },
}

pub(super) fn run(api: &mut Api, verb: &Verb, json: bool) -> Result<()> {
    let at = |name: &EdgeId, what: &str| format!("/edges/{}{what}", segment(name.as_str()));
    let (method, path, body, said) = match verb {
        Verb::Show { name } => return show(api, name, json),
        Verb::Identity { name, dir } => {
            let nodes = Identity::enrol(api, name, dir)?.nodes();
            let said = format!(
                "the edge {name} may report to {nodes} nodes: chappe edge --data {} --region REGION --listen IP:3478",
                dir.display()
            );
            println!("{}", if json { "{}".to_owned() } else { said });
            return Ok(());
        }
        Verb::Drain { name } => {
            let said =
                format!("the edge {name} takes no new allocations; `edge resume {name}` calls that off");
            ("POST", at(name, "/drain"), Value::Null, said)
        }
        Verb::Resume { name } => {
            ("POST", at(name, "/resume"), Value::Null, format!("the edge {name} takes allocations again"))
        }
        Verb::Weight { name, weight } => {
            let body = json!({ "weight": weight });
            ("PUT", at(name, "/weight"), body, format!("the edge {name} has weight {weight}"))
        }
        Verb::Remove { name } => {
            let said = format!("the edge {name} is removed, and refused from now on");
            ("DELETE", at(name, ""), Value::Null, said)
        }
        Verb::Forget { name } => {
            ("POST", at(name, "/forget"), Value::Null, format!("the name {name} is free for another edge"))
        }
    };
    api.call(method, &path, &body)?;
    println!("{}", if json { "{}".to_owned() } else { said });
    Ok(())
}

/// All edges in a line each.
pub(super) fn list(api: &mut Api, json: bool) -> Result<()> {
    let answer = api.list("/edges")?;
    if json {
        println!("{answer}");
        return Ok(());
    }
    let edges: Vec<EdgeReport> = serde_json::from_value(answer)?;
    if edges.is_empty() {
        println!("no edge yet: `chappe cluster invite --edge` prints a token for one");
        return Ok(());
    }
    let mut table =
        Table::new(&["edge", "region", "state", "weight", "build", "allocations", "heard", "reached by"]);
    for edge in &edges {
        table.row(row(edge));
    }
    print!("{table}");
    for edge in edges.iter().filter(|edge| edge.state != EdgeState::Removed) {
        for advice in &edge.advice {
            println!("{}: {advice}", edge.edge);
        }
    }
    Ok(())
}

fn state(edge: &EdgeReport) -> &'static str {
    match (edge.state, edge.alive) {
        (EdgeState::Removed, _) => "removed",
        (_, false) if edge.build.is_empty() => "joined",
        (_, false) => "lost",
        (EdgeState::Draining, true) => "draining",
        (EdgeState::Admitted, true) => edge.condition.as_ref().map_or("up", |is| is.state.name()),
    }
}

fn heard(edge: &EdgeReport) -> String {
    match edge.heard_ms {
        None => "never".to_owned(),
        Some(ms) if edge.alive && ms < 3000 => "now".to_owned(),
        Some(ms) => format!("{} ago", span(Duration::from_millis(ms))),
    }
}

fn row(edge: &EdgeReport) -> Vec<String> {
    let allocations = edge
        .health
        .as_ref()
        .map_or_else(|| "?".to_owned(), |health| format!("{} of {}", health.allocations, edge.capacity));
    let reached = edge.listeners.first();
    vec![
        edge.edge.to_string(),
        edge.region.to_string(),
        state(edge).to_owned(),
        edge.weight.to_string(),
        if edge.build.is_empty() { "?".to_owned() } else { edge.build.clone() },
        allocations,
        heard(edge),
        reached.map_or_else(|| "?".to_owned(), |listener| listener.address.to_string()),
    ]
}

fn show(api: &mut Api, name: &EdgeId, json: bool) -> Result<()> {
    let answer = api.call("GET", &format!("/edges/{}", segment(name.as_str())), &Value::Null)?;
    if json {
        println!("{answer}");
        return Ok(());
    }
    print!("{}", detail(&serde_json::from_value(answer)?, clock::unix()));
    Ok(())
}

fn detail(edge: &EdgeReport, now: Unix) -> String {
    let age = span(now.0.saturating_sub(edge.since.0));
    let mut text =
        format!("edge {} in {}: {}, weight {}\n", edge.edge, edge.region, state(edge), edge.weight);
    let _ = writeln!(text, "  seen     first {age} ago, last {}; build {}", heard(edge), edge.build);
    if let Some((latitude, longitude)) = edge.coordinates {
        let _ = writeln!(text, "  at       {latitude}, {longitude}");
    }
    for listener in &edge.listeners {
        let host = listener.hostname.as_ref().map_or_else(String::new, |host| format!(" ({host})"));
        let _ = writeln!(text, "  listens  {} {}{host}", listener.transport.name(), listener.address);
    }
    for relay in &edge.relays {
        let _ = writeln!(text, "  relays   {} UDP {} to {}", relay.address, relay.first, relay.last);
    }
    let nodes: Vec<_> = edge.nodes.iter().map(ToString::to_string).collect();
    let nodes = if nodes.is_empty() { "none".to_owned() } else { nodes.join(", ") };
    let _ = writeln!(text, "  reports  to nodes {nodes}");
    if let Some(ms) = edge.uplink_ms {
        let _ = writeln!(text, "  uplink   {ms:.1} ms to the node that was asked");
    }
    for advice in &edge.advice {
        let _ = writeln!(text, "  WHY      {advice}");
    }
    if let Some(health) = &edge.health {
        let (sent, received) = (health.sent, health.received);
        let _ = writeln!(
            text,
            "  has      {} of {} allocations; relayed {} bytes out, {} in",
            health.allocations, edge.capacity, sent.bytes, received.bytes
        );
        let _ = writeln!(
            text,
            "  uses     {} MiB of memory, {} of {} files; the last second's longest turn took {:.1} ms",
            health.rss >> 20,
            health.files,
            health.files_limit,
            f64::from(health.loop_lag_us) / 1000.0
        );
        for (cause, packets) in &health.drops {
            let _ = writeln!(text, "  dropped  {packets} packets: {cause}");
        }
        for (limit, times) in &health.limits {
            let _ = writeln!(text, "  limit    {limit} met {times} times");
        }
    }
    text
}

//! The cluster and its members, as people read them.

use anyhow::Result;
use chappe_admin::ClusterReport;
use chappe_admin::control::{Link, Member, MemberOwn};
use chappe_admin::health::span;
use chappe_cluster::clock;
use chappe_proto::registry::NodeState;
use chappe_proto::time::Unix;
use serde_json::Value;
use std::time::Duration;

use crate::api::Api;
use crate::table::Table;

/// The cluster, asked for now.
pub(super) fn report(api: &mut Api) -> Result<ClusterReport> {
    Ok(serde_json::from_value(api.call("GET", "/cluster", &Value::Null)?)?)
}

/// Whether it is well, who leads, its members in a line each.
pub(super) fn status(api: &mut Api, json: bool) -> Result<()> {
    if json {
        println!("{}", api.call("GET", "/cluster", &Value::Null)?);
        return Ok(());
    }
    print!("{}", summary(&report(api)?, clock::unix()));
    Ok(())
}

/// Everything that is known of each member.
pub(super) fn members(api: &mut Api, json: bool) -> Result<()> {
    if json {
        println!("{}", api.list("/nodes")?);
        return Ok(());
    }
    let report = report(api)?;
    for (nth, member) in report.status.members.iter().enumerate() {
        print!("{}{}", if nth == 0 { "" } else { "\n" }, detail(member, clock::unix()));
    }
    Ok(())
}

fn summary(report: &ClusterReport, now: Unix) -> String {
    let status = &report.status;
    let mut text = format!(
        "cluster  {} ({}), version {}, timers: {}\n",
        status.name, status.id, status.version, status.profile
    );
    let leader = status.leader.map_or_else(|| "nobody leads".to_owned(), |node| format!("node {node} leads"));
    text += &format!(
        "registry {leader}, term {}, entry {} committed; {} of {} voters\n",
        status.term,
        status.committed,
        status.voters().count(),
        status.voters_wanted
    );
    for (nth, problem) in report.health.problems.iter().enumerate() {
        text += &format!("{:9}{problem}\n", if nth == 0 { "PROBLEM" } else { "" });
    }
    if report.health.is_fine() {
        text += "health   healthy\n";
    }
    for (nth, hint) in report.health.hints.iter().enumerate() {
        text += &format!("{:9}{hint}\n", if nth == 0 { "note" } else { "" });
    }
    let mut table = Table::new(&[
        "node", "region", "role", "state", "build", "shards", "rooms", "sessions", "lease", "heard", "behind",
    ]);
    for member in &status.members {
        table.row(row(member, now));
    }
    text += &format!("\n{table}");
    for invitation in &status.invitations {
        let left = span(invitation.until.0.saturating_sub(now.0));
        let whom = match &invitation.edge {
            None => "a node".to_owned(),
            Some(edge) => edge.name.as_ref().map_or("an edge".to_owned(), |name| format!("the edge {name}")),
        };
        let place = invitation.region.as_ref().map_or_else(String::new, |region| format!(" in {region}"));
        text += &format!("\ninvitation {} of {whom}{place}, for another {left}", invitation.id);
    }
    if !status.invitations.is_empty() {
        text.push('\n');
    }
    text
}

fn unknown<T>(value: Option<T>, told: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "?".to_owned(), told)
}

fn state(member: &Member, now: Unix) -> String {
    let word = match member.state {
        _ if member.leaving => "leaving",
        NodeState::Up if !member.reachable => "silent",
        NodeState::Up if member.draining => "draining",
        NodeState::Up => "up",
        NodeState::Down => "down",
    };
    format!("{word} {}", span(Duration::from_secs(now.secs().saturating_sub(member.since.secs()))))
}

fn row(member: &Member, now: Unix) -> Vec<String> {
    let own = member.own.as_ref();
    vec![
        member.node.to_string(),
        member.region.to_string(),
        member.role.name().to_owned(),
        state(member, now),
        member.build.clone(),
        member.shards.to_string(),
        unknown(own, |own| own.rooms.to_string()),
        unknown(own, |own| own.sessions.to_string()),
        unknown(own, |own| if own.lease { "yes" } else { "NO" }.to_owned()),
        member.heard_ms.map_or("never".to_owned(), |ms| match ms {
            0 => "now".to_owned(),
            ms => format!("{} ago", span(Duration::from_millis(ms))),
        }),
        unknown(member.lag, |lag| if lag == 0 { "-".to_owned() } else { format!("{lag} entries") }),
    ]
}

fn detail(member: &Member, now: Unix) -> String {
    let list = |all: Vec<String>| if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    let mut text = format!(
        "node {} in {}: {}, {}, build {}, generation {}\n",
        member.node,
        member.region,
        member.role.name(),
        state(member, now),
        member.build,
        member.generation
    );
    text += &format!("  shards   {}, weight {}\n", member.shards, member.weight);
    text += &format!("  mesh     {}\n", list(member.mesh.iter().map(ToString::to_string).collect()));
    text += &format!("  clients  {}\n", list(member.public.clone()));
    if let Some(own) = &member.own {
        text += &said(own, now);
    } else {
        text += "  it does not answer, so there is no more to tell\n";
    }
    text
}

/// What a node said itself.
fn said(own: &MemberOwn, now: Unix) -> String {
    let list = |all: Vec<String>| if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    let link = |link: &Link| match (link.via, link.rtt_ms) {
        (Some(via), _) => format!("{} by way of {via}", link.to),
        (None, Some(rtt)) => format!("{} ({rtt:.1} ms)", link.to),
        (None, None) => link.to.to_string(),
    };
    let foreign = if own.foreign > 0 { format!(", {} of them foreign", own.foreign) } else { String::new() };
    let mut text = format!("  serves   {} rooms, {} sessions{foreign}\n", own.rooms, own.sessions);
    text += &format!(
        "  lease    {}, entry {} applied{}\n",
        if own.lease { "held" } else { "NOT held: its rooms admit nobody" },
        own.applied,
        if own.disk_low { ", less than 64 MB of free disk" } else { "" }
    );
    text += &format!("  links    {}\n", list(own.links.iter().map(link).collect()));
    text += &format!("  edges    {}\n", list(own.edges.iter().map(ToString::to_string).collect()));
    if let Some(until) = own.certificate_until {
        text += &format!("  certificate for another {}\n", span(until.0.saturating_sub(now.0)));
    }
    text
}

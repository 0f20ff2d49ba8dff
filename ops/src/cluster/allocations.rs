//! `chappe cluster allocations`: what relays now.

use std::time::Duration;

use anyhow::Result;
use chappe_admin::health::span;
use chappe_admin::turn::Allocation;
use chappe_proto::id::{EdgeId, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, segment};
use crate::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Of {
    /// On this edge alone.
    #[arg(long)]
    edge: Option<EdgeId>,
    /// Of this session or issued credential.
    #[arg(long)]
    session: Option<SessionId>,
    /// Of this user, who is no session.
    #[arg(long)]
    user: Option<String>,
}

impl Of {
    fn query(&self) -> String {
        let own = [
            ("edge", self.edge.as_ref().map(ToString::to_string)),
            ("session", self.session.map(|session| session.to_string())),
            ("user", self.user.clone()),
        ];
        own.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", segment(&value?)))).collect()
    }
}

/// A page of the list.
#[derive(Deserialize)]
struct Page {
    allocations: Vec<Allocation>,
    missing: Vec<EdgeId>,
    next: Option<String>,
}

pub(super) fn run(api: &mut Api, of: &Of, json: bool) -> Result<()> {
    let (mut all, mut missing, mut next) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let cursor = next.take().map_or_else(String::new, |next| format!("&cursor={next}"));
        let path = format!("/turn/allocations?limit=256{}{cursor}", of.query());
        let page: Page = serde_json::from_value(api.call("GET", &path, &Value::Null)?)?;
        all.extend(page.allocations);
        missing.extend(page.missing);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    if json {
        println!("{}", json!({ "allocations": all, "missing": missing }));
        return Ok(());
    }
    print!("{}", table(&all));
    for edge in missing {
        println!("the edge {edge} does not answer: its own are not told");
    }
    Ok(())
}

fn table(all: &[Allocation]) -> Table {
    let head = ["edge", "whose", "client", "by", "relayed", "left", "bytes to peers", "bytes from peers"];
    let mut table = Table::new(&head);
    for held in all {
        let session = held.session.map(|session| session.to_string());
        let whose = held.label.clone().or(session).or_else(|| held.user.clone()).unwrap_or_default();
        table.row(vec![
            held.edge.to_string(),
            whose,
            held.client.clone(),
            held.transport.clone(),
            held.relayed.join(" "),
            span(Duration::from_millis(held.left_ms)),
            held.sent.bytes.to_string(),
            held.received.bytes.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_goes_into_the_query() {
        let edge = EdgeId::new("edge-a").ok();
        let of = Of { edge, session: None, user: Some("a b&c".to_owned()) };
        assert_eq!(of.query(), "&edge=edge-a&user=a%20b%26c");
    }
}

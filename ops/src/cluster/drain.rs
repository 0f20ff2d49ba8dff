//! `chappe cluster drain`: the order, and how far it is.

use std::time::Duration;

use anyhow::{Result, bail};
use chappe_admin::control::{Member, MemberOwn};
use chappe_proto::id::NodeId;
use chappe_proto::registry::NodeState;
use serde_json::{Value, json};

use super::show;
use crate::api::Api;

/// No event tells a client of a drain's progress: it asks this often.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A node that is asked about its cluster may be away for so many questions, as when it is the one
/// that is stopped.
const SILENT_MAX: u32 = 10;

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    shards: u32,
    rooms: u32,
    native: u32,
    foreign: u32,
}

impl Left {
    fn of(member: &Member) -> Option<Self> {
        let MemberOwn { rooms, sessions, foreign, .. } = *member.own.as_ref()?;
        Some(Self { shards: member.shards, rooms, native: sessions.saturating_sub(foreign), foreign })
    }

    const fn is_empty(self) -> bool {
        self.shards == 0 && self.rooms == 0 && self.native == 0 && self.foreign == 0
    }

    fn words(self) -> String {
        let foreign = match self.foreign {
            0 => String::new(),
            n => format!(", {n} foreign sessions that cannot resume"),
        };
        format!("{} shards, {} rooms, {} sessions left{foreign}", self.shards, self.rooms, self.native)
    }
}

pub(super) fn run(api: &mut Api, node: NodeId, no_wait: bool, json: bool) -> Result<()> {
    api.call("POST", &format!("/nodes/{node}/drain"), &Value::Null)?;
    if no_wait {
        println!("{}", if json { "{}".to_owned() } else { format!("node {node} drains") });
        return Ok(());
    }
    if !json {
        println!("node {node} drains; Ctrl-C stops this watch and not the drain, which");
        println!("`chappe cluster resume {node}` calls off");
    }
    watch(api, node, json)
}

/// Says each change until nothing is left.
fn watch(api: &mut Api, node: NodeId, json: bool) -> Result<()> {
    let mut told = None;
    let mut silent = 0;
    loop {
        match show::report(api) {
            Ok(report) => {
                silent = 0;
                let Some(member) = report.status.member(node) else { bail!("node {node} was removed") };
                if member.state == NodeState::Up && !member.draining {
                    bail!("node {node} was resumed: it drains no more");
                }
                if member.state == NodeState::Down && member.shards == 0 {
                    say(json, node, None);
                    return Ok(());
                }
                if let Some(left) = Left::of(member) {
                    if left.is_empty() {
                        say(json, node, None);
                        return Ok(());
                    }
                    if told != Some(left) {
                        told = Some(left);
                        say(json, node, Some(left));
                    }
                }
            }
            Err(error) if silent >= SILENT_MAX => {
                return Err(error.context(format!("the drain of node {node} goes on, unwatched")));
            }
            Err(_) => silent += 1,
        }
        std::thread::park_timeout(ASK_EVERY);
    }
}

fn say(json: bool, node: NodeId, left: Option<Left>) {
    match left {
        Some(left) if json => {
            let Left { shards, rooms, native, foreign } = left;
            println!(
                "{}",
                json!({ "node": node, "shards": shards, "rooms": rooms, "sessions": native, "foreign": foreign })
            );
        }
        Some(left) => println!("  {}", left.words()),
        None if json => println!("{}", json!({ "node": node, "drained": true })),
        None => println!("node {node} is empty: stop it when you like"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_with_foreign_sessions_apart() {
        let left = Left { shards: 3, rooms: 1, native: 2, foreign: 4 };
        assert_eq!(left.words(), "3 shards, 1 rooms, 2 sessions left, 4 foreign sessions that cannot resume");
        assert!(!left.is_empty());
        assert!(Left { shards: 0, rooms: 0, native: 0, foreign: 0 }.is_empty());
    }
}

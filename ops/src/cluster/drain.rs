//! `chappe cluster drain` and `remove`: the order, and how far it is.

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

pub(super) fn drain(api: &mut Api, node: NodeId, no_wait: bool, json: bool) -> Result<()> {
    api.call("POST", &format!("/nodes/{node}/drain"), &Value::Null)?;
    begun(node, "drains", no_wait, json);
    if no_wait {
        return Ok(());
    }
    watch(api, node, json, |member| {
        let Some(member) = member else { bail!("node {node} was removed") };
        if member.state == NodeState::Up && !member.draining {
            bail!("node {node} was resumed: it drains no more");
        }
        let down = member.state == NodeState::Down && member.shards == 0;
        if !down && !Left::of(member).is_some_and(Left::is_empty) {
            return Ok(false);
        }
        match json {
            true => println!("{}", json!({ "node": node, "drained": true })),
            false => println!("node {node} is empty: stop it when you like"),
        }
        Ok(true)
    })
}

pub(super) fn remove(api: &mut Api, node: NodeId, no_wait: bool, json: bool) -> Result<()> {
    api.call("DELETE", &format!("/nodes/{node}"), &Value::Null)?;
    begun(node, "leaves", no_wait, json);
    if no_wait {
        return Ok(());
    }
    watch(api, node, json, |member| match member {
        Some(member) if !member.leaving => bail!("node {node} was resumed: it stays"),
        Some(_) => Ok(false),
        None if json => {
            println!("{}", json!({ "node": node, "removed": true }));
            Ok(true)
        }
        None => {
            println!("node {node} is removed. Its data directory is of no more use: that machine joins anew");
            Ok(true)
        }
    })
}

fn begun(node: NodeId, does: &str, no_wait: bool, json: bool) {
    match (json, no_wait) {
        (true, true) => println!("{{}}"),
        (true, false) => {}
        (false, true) => println!("node {node} {does}; `chappe cluster resume {node}` calls it off"),
        (false, false) => {
            println!(
                "node {node} {does}; Ctrl-C ends this watch, `chappe cluster resume {node}` calls it off"
            );
        }
    }
}

/// Says each change until it is done.
fn watch(
    api: &mut Api,
    node: NodeId,
    json: bool,
    mut done: impl FnMut(Option<&Member>) -> Result<bool>,
) -> Result<()> {
    let mut told = None;
    let mut silent = 0;
    loop {
        match show::report(api) {
            Ok(report) => {
                silent = 0;
                let member = report.status.member(node);
                if done(member)? {
                    return Ok(());
                }
                let left = member.and_then(Left::of);
                if let Some(left) = left.filter(|_| left != told) {
                    told = Some(left);
                    say(json, node, left);
                }
            }
            Err(error) if silent >= SILENT_MAX => {
                return Err(error.context(format!("what node {node} was told goes on, unwatched")));
            }
            Err(_) => silent += 1,
        }
        std::thread::park_timeout(ASK_EVERY);
    }
}

fn say(json: bool, node: NodeId, left: Left) {
    if json {
        let Left { shards, rooms, native, foreign } = left;
        let all =
            json!({ "node": node, "shards": shards, "rooms": rooms, "sessions": native, "foreign": foreign });
        println!("{all}");
    } else {
        println!("  {}", left.words());
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

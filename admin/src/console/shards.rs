//! Who owns which shard, and which node runs a room.

use askama::Template;
use chappe_proto::id::{AppId, NodeId, RoomKey, RoomName};
use serde::Deserialize;

use super::frame::Frame;
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::control::Fault;

/// Shards in a row of the drawing.
const ROW: usize = 128;
/// Colours that there are for nodes; beyond them they come again.
const COLOURS: u64 = 8;

/// A run of shards in one row, of one owner.
struct Run {
    x: usize,
    y: usize,
    width: usize,
    colour: String,
}

/// An owner, and how much it has.
struct Share {
    node: Option<NodeId>,
    shards: usize,
    colour: String,
}

/// The shards.
#[derive(Template)]
#[template(path = "shards.html", blocks = ["live"])]
pub(crate) struct Shards {
    frame: Frame,
    runs: Vec<Run>,
    shares: Vec<Share>,
    ask: Ask,
    anchor: Option<(u16, Option<NodeId>)>,
    odd: bool,
}

/// Which room's shard is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Ask {
    #[serde(default)]
    app: String,
    #[serde(default)]
    room: String,
}

fn colour(owner: Option<NodeId>) -> String {
    owner.map_or_else(|| "none".to_owned(), |node| format!("c{}", node.0 % COLOURS))
}

fn runs(owners: &[Option<NodeId>]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (y, row) in owners.chunks(ROW).enumerate() {
        let mut x = 0;
        for same in row.chunk_by(PartialEq::eq) {
            let colour = colour(same.first().copied().flatten());
            runs.push(Run { x, y, width: same.len(), colour });
            x += same.len();
        }
    }
    runs
}

fn shares(owners: &[Option<NodeId>]) -> Vec<Share> {
    let mut sorted = owners.to_vec();
    sorted.sort_unstable();
    let share = |same: &[Option<NodeId>]| {
        let node = same.first().copied().flatten();
        Share { node, shards: same.len(), colour: colour(node) }
    };
    sorted.chunk_by(PartialEq::eq).map(share).collect()
}

impl View for Shards {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let owners = mount.cluster.shards().await;
        let key = AppId::new(&ask.app).ok().zip(RoomName::new(&ask.room).ok());
        let odd = key.is_none() && !(ask.app.is_empty() && ask.room.is_empty());
        let anchor = key.map(|(app, room)| {
            let shard = RoomKey { app, room }.anchor();
            (shard.0, owners.get(usize::from(shard.0)).copied().flatten())
        });
        let frame = Frame::of(visitor, "/admin/nodes", "Shards");
        Ok(Self { frame, runs: runs(&owners), shares: shares(&owners), ask, anchor, odd })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_fill_each_row_and_shares_the_whole() {
        let owners: Vec<_> =
            (0..300_u64).map(|shard| (shard >= 10).then_some(NodeId(1 + shard / 200))).collect();
        let runs = runs(&owners);
        assert_eq!(runs.iter().map(|run| run.width).sum::<usize>(), 300);
        assert!(runs.iter().all(|run| run.x + run.width <= ROW && run.y <= 2));
        let shares: Vec<_> = shares(&owners).iter().map(|share| (share.node, share.shards)).collect();
        assert_eq!(shares, [(None, 10), (Some(NodeId(1)), 190), (Some(NodeId(2)), 100)]);
    }
}

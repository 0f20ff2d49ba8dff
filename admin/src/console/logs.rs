//! What nodes log, live. Its lines come by the API's own events.

use askama::Template;
use chappe_proto::id::NodeId;
use serde::Deserialize;

use super::frame::Frame;
use super::view::View;
use super::visitor::Visitor;
use crate::Mount;
use crate::control::{Fault, Member};

/// The log of a node.
#[derive(Template)]
#[template(path = "logs.html", blocks = ["live"])]
pub(crate) struct Logs {
    frame: Frame,
    acts: bool,
    members: Vec<Member>,
    node: NodeId,
}

/// Whose, as a link asks: the node that answers, unless it says so.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    node: Option<u64>,
}

impl View for Logs {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let status = mount.cluster.status().await;
        let node = ask.node.map_or(status.node, NodeId);
        if status.member(node).is_none() {
            return Err(Fault::NotThere("node"));
        }
        let frame = Frame::of(visitor, "/admin/logs", "Logs");
        Ok(Self { frame, acts: visitor.acts, members: status.members, node })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

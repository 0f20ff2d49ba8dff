//! The nodes: Raft, shards, who reaches whom; and one of them.

use askama::Template;
use chappe_proto::id::NodeId;
use chappe_proto::registry::NodeState;
use chappe_proto::settings::Setting;

use super::frame::Frame;
use super::matrix::{self, Matrix};
use super::view::{Nothing, View};
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::control::{ClusterStatus, Event, Fault, Member, MemberRole};
use crate::health::Health;
use crate::operation::Process;

const SECTION: &str = "/admin/nodes";

/// How a node is, as a badge: its class and its word.
fn badge(member: &Member) -> (&'static str, &'static str) {
    match member.state {
        NodeState::Up if member.leaving => ("warn", "leaving"),
        NodeState::Up if member.draining => ("warn", "draining"),
        NodeState::Up if !member.reachable => ("bad", "not reached"),
        NodeState::Up if member.own.as_ref().is_some_and(|own| !own.lease) => ("warn", "no lease"),
        NodeState::Up => ("good", "up"),
        _ => ("bad", "down"),
    }
}

/// What a node is to the registry, as a badge.
const fn role_class(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Leader => "info",
        MemberRole::Voter | MemberRole::StandBy | MemberRole::Follower => "",
    }
}

/// All nodes.
#[derive(Template)]
#[template(path = "nodes.html", blocks = ["live"])]
pub(crate) struct Nodes {
    frame: Frame,
    owns: bool,
    status: ClusterStatus,
    health: Health,
    events: Vec<Event>,
}

impl Nodes {
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn badge(&self, member: &Member) -> (&'static str, &'static str) {
        badge(member)
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn role_class(&self, member: &Member) -> &'static str {
        role_class(member.role)
    }

    fn matrix(&self) -> Matrix {
        matrix::of_nodes(&self.status)
    }
}

impl View for Nodes {
    type Place = ();
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        let status = mount.cluster.status().await;
        let mut events = mount.cluster.events().await;
        events.reverse();
        events.truncate(50);
        let health = Health::of(&status);
        let frame = Frame::of(visitor, SECTION, "Nodes and shards");
        Ok(Self { frame, owns: visitor.owns, status, health, events })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

/// One node.
#[derive(Template)]
#[template(path = "node.html", blocks = ["live"])]
pub(crate) struct Node {
    frame: Frame,
    acts: bool,
    owns: bool,
    member: Member,
    leads: bool,
    /// Its options, where it tells them.
    settings: Vec<Setting>,
}

impl Node {
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn badge(&self, member: &Member) -> (&'static str, &'static str) {
        badge(member)
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn role_class(&self, member: &Member) -> &'static str {
        role_class(member.role)
    }
}

impl View for Node {
    type Place = String;
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, node: String, _: Nothing) -> Result<Self, Fault> {
        let id: NodeId = node.parse().map(NodeId).map_err(|_| Fault::NotThere("node"))?;
        let status = mount.cluster.status().await;
        let member = status.member(id).cloned().ok_or(Fault::NotThere("node"))?;
        let frame = Frame::of(visitor, SECTION, format!("Node {id}"));
        let leads = status.leader == Some(id);
        let settings = mount.cluster.settings(Process::Node(id)).await.unwrap_or_default();
        Ok(Self { frame, acts: visitor.acts, owns: visitor.owns, member, leads, settings })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

//! What the cluster, its nodes and its edges run with, and where they differ.

use std::time::Duration;

use askama::Template;

use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use crate::Mount;
use crate::api::configuration::{Agreed, Diff, Difference, HeldValue, agreed_of, diff_of};
use crate::control::Fault;

/// Where nodes differ, and where edges do.
#[derive(Template)]
#[template(path = "configuration.html", blocks = ["live"])]
pub(crate) struct Configuration {
    frame: Frame,
    diff: Diff,
    agreed: Vec<Agreed>,
}

impl Configuration {
    /// Options in which nodes differ, and should not.
    fn wrong(&self) -> Vec<&Difference> {
        self.those(|one| one.differs && !one.expected)
    }

    /// Options in which they differ as they should.
    fn own(&self) -> Vec<&Difference> {
        self.those(|one| one.differs && one.expected)
    }

    /// Options that are the same everywhere, and not the default.
    fn set(&self) -> Vec<&Difference> {
        self.those(|one| !one.differs)
    }

    fn those(&self, meant: impl Fn(&Difference) -> bool) -> Vec<&Difference> {
        self.diff.settings.iter().filter(|one| meant(one)).collect()
    }

    /// Options in which edges differ, those in front in which they should not; and those that are not the default.
    fn of_edges(&self) -> Vec<&Difference> {
        let mut all: Vec<_> = self.diff.edges.settings.iter().collect();
        all.sort_by_key(|one| (one.expected, !one.differs));
        all
    }

    /// Who has a value, where all have it that answered.
    fn everywhere(&self, held: &HeldValue) -> Option<&'static str> {
        let Diff { nodes, edges, .. } = &self.diff;
        match held.edges.len() {
            0 => (held.nodes.len() == nodes.len()).then_some("all nodes"),
            some => (some == edges.edges.len()).then_some("all edges"),
        }
    }
}

impl View for Configuration {
    type Place = ();
    type Ask = Nothing;

    /// Options change with a process's start alone, and every node and edge is asked.
    const EVERY: Duration = Duration::from_secs(10);

    async fn load(mount: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        let (diff, agreed) = (diff_of(&*mount.cluster).await, agreed_of(&*mount.cluster).await?);
        Ok(Self { frame: Frame::of(visitor, "/admin/configuration", "Configuration"), diff, agreed })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }

    fn shared(_: &Nothing) -> Option<String> {
        Some(String::new())
    }
}

//! What the cluster and its nodes run with, and where nodes differ.

use std::time::Duration;

use askama::Template;

use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use crate::Mount;
use crate::api::configuration::{Agreed, Diff, Difference, HeldValue, agreed_of, diff_of};
use crate::control::Fault;

/// Where nodes differ.
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

    /// Whether all nodes that answered have a value.
    fn is_everywhere(&self, held: &HeldValue) -> bool {
        held.nodes.len() == self.diff.nodes.len()
    }
}

impl View for Configuration {
    type Place = ();
    type Ask = Nothing;

    /// Options change with a node's start alone, and every node is asked.
    const EVERY: Duration = Duration::from_secs(10);

    async fn load(mount: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        let (diff, agreed) = (diff_of(&*mount.cluster).await, agreed_of(&*mount.cluster).await?);
        Ok(Self { frame: Frame::of(visitor, "/admin/configuration", "Configuration"), diff, agreed })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

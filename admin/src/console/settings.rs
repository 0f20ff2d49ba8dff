//! What operators decide of the whole cluster.

use std::fmt::Write as _;

use askama::Template;
use chappe_proto::mesh::uplink::PeerPolicy;
use chappe_proto::registry::access::Role;
use chappe_proto::registry::profile::ProfileName;

use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use super::words;
use crate::api::costs::PriceList;
use crate::api::provider::ShownProvider;
use crate::control::{ClusterStatus, Fault};
use crate::{Mount, Unavailable};

/// The settings.
#[derive(Template)]
#[template(path = "settings.html", blocks = ["live"])]
pub(crate) struct Settings {
    frame: Frame,
    acts: bool,
    owns: bool,
    status: ClusterStatus,
    peers: PeerPolicy,
    origins: String,
    selection: String,
    prices: PriceList,
    /// The identity provider, for owners.
    provider: Option<ShownProvider>,
}

impl From<Unavailable> for Fault {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable("the registry cannot be asked right now; try again".to_owned())
    }
}

impl Settings {
    fn gives_everybody(&self, role: Role) -> bool {
        self.provider.as_ref().is_some_and(|held| held.everybody == Some(role))
    }

    fn spread_over_regions(&self) -> bool {
        self.status.profile == ProfileName::Wan
    }
}

/// A line for each region that has a price of its own.
fn regions(prices: &PriceList) -> String {
    lines(&prices.regions.iter().map(|(region, price)| format!("{region} {price}")).collect::<Vec<_>>())
}

fn lines<T: ToString>(all: &[T]) -> String {
    all.iter().fold(String::new(), |mut text, one| {
        let _ = writeln!(text, "{}", one.to_string());
        text
    })
}

impl View for Settings {
    type Place = ();
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        let status = mount.cluster.status().await;
        let (peers, selection) = (mount.cluster.turn_peers().await?, mount.cluster.selection().await?);
        let origins = mount.cluster.turn_origins().await?;
        let pretty = |told: Result<String, serde_json::Error>| told.unwrap_or_default();
        Ok(Self {
            frame: Frame::of(visitor, "/admin/settings", "Settings"),
            acts: visitor.acts,
            owns: visitor.owns,
            status,
            peers,
            origins: pretty(serde_json::to_string_pretty(&origins)),
            selection: pretty(serde_json::to_string_pretty(&selection)),
            prices: PriceList::from(&mount.cluster.prices().await?),
            provider: visitor
                .owns
                .then(|| mount.cluster.access())
                .and_then(|access| access.provider().map(|held| ShownProvider::of(held))),
        })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

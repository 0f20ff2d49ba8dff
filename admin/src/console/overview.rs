//! The first page: is the cluster well, who is on it, what do relays carry and cost.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use chappe_proto::id::Region;
use chappe_proto::registry::PRICED_BYTES;
use chappe_proto::select::condition::State;
use serde::Deserialize;

use super::costs::{self, CostLine};
use super::frame::Frame;
use super::plots::{Plots, plots};
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::api::costs::{By, report};
use crate::api::history::regions;
use crate::api::usage::UsageReport;
use crate::control::{ClusterStatus, EdgeReport, Fault};
use crate::health::Health;

/// Rooms, edges and apps of which the first page shows what they relayed.
const SHOWN: usize = 5;

/// How far back plots go, and of where.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    hours: Option<u64>,
    region: String,
}

impl Ask {
    /// One of the spans that are offered.
    fn hours(&self) -> u64 {
        self.hours.filter(|hours| Overview::SPANS.contains(hours)).unwrap_or(1)
    }
}

/// The first page.
#[derive(Template)]
#[template(path = "overview.html", blocks = ["live"])]
pub(crate) struct Overview {
    frame: Frame,
    status: ClusterStatus,
    health: Health,
    /// With somebody in them. A room that runs away from its anchor's node is one, though two nodes have to do with it.
    rooms: u64,
    edges: Vec<EdgeReport>,
    relayed: UsageReport,
    /// Who relayed most, by rooms, edges and apps.
    dearest: [(By, &'static str, Vec<CostLine>); 3],
    hours: u64,
    regions: BTreeSet<Region>,
    /// The one that plots are of; none for all.
    region: Option<Region>,
    plots: Arc<Plots>,
}

impl Overview {
    /// Hours that plots can go back: what is kept fine, coarser, and coarsest.
    pub(super) const SPANS: [u64; 3] = [1, 6, 48];

    fn sessions(&self) -> String {
        let own = self.status.members.iter().filter_map(|member| member.own.as_ref());
        words::count(own.map(|own| u64::from(own.sessions)).sum::<u64>())
    }

    fn allocations(&self) -> String {
        let all = self.edges.iter().filter_map(|edge| edge.health.as_ref());
        words::count(all.map(|health| u64::from(health.allocations)).sum::<u64>())
    }

    fn relayed_bytes(&self) -> String {
        words::bytes(self.relayed.relayed.bytes())
    }

    fn cost(&self) -> Option<(String, String)> {
        costs::cost(&self.relayed.relayed, &self.relayed)
    }

    /// The address of other plots.
    fn path(&self, hours: &u64, region: Option<&Region>) -> String {
        let region = region.map_or("", |region| region.as_str());
        words::address("/admin", &[("hours", &hours.to_string()), ("region", region)])
    }

    fn is_of(&self, region: &Region) -> bool {
        self.region.as_ref() == Some(region)
    }

    /// Edges that take new clients, of those that are there.
    fn edges_well(&self) -> String {
        let well = |edge: &&EdgeReport| {
            edge.condition.as_ref().is_some_and(|condition| condition.state == State::Up)
        };
        format!("{} of {}", self.edges.iter().filter(well).count(), self.edges.len())
    }

    fn nodes_up(&self) -> String {
        let up = self.status.members.iter().filter(|member| member.reachable);
        format!("{} of {}", up.count(), self.status.members.len())
    }

    fn leader(&self) -> String {
        self.status.leader.map_or_else(|| "none".to_owned(), |leader| format!("node {leader}"))
    }

    /// What is wrong with edges, each with the fix.
    fn advice(&self) -> Vec<String> {
        let told = |edge: &EdgeReport| {
            let name = edge.edge.clone();
            edge.advice.clone().into_iter().map(move |words| format!("{name}: {words}"))
        };
        self.edges.iter().flat_map(told).collect()
    }
}

impl View for Overview {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let (status, edges) = (mount.cluster.status().await, mount.cluster.edges().await);
        let relayed = report(mount, By::Apps).await;
        let (by_room, by_edge) = (report(mount, By::Rooms).await, report(mount, By::Edges).await);
        let top = |by, name, report| (by, name, costs::dearest(by, report, SHOWN));
        let dearest = [
            top(By::Rooms, "Room", &by_room),
            top(By::Edges, "Edge", &by_edge),
            top(By::Apps, "App", &relayed),
        ];
        let counts = mount.cluster.room_counts().await.into_iter();
        let (hours, regions) = (ask.hours(), regions(&status, &edges));
        let region = regions.iter().find(|region| region.as_str() == ask.region).cloned();
        Ok(Self {
            frame: Frame::of(visitor, "/admin", "Overview"),
            health: Health::of(&status),
            rooms: counts.map(|count| u64::from(count.rooms)).sum(),
            plots: plots(mount, hours, region.clone()).await,
            status,
            edges,
            relayed,
            dearest,
            hours,
            regions,
            region,
        })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }

    fn shared(ask: &Ask) -> Option<String> {
        Some(format!("{} {}", ask.hours(), ask.region))
    }
}

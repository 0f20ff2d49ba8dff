//! The first page: is the cluster well, who is on it, what do relays carry.

use std::time::Duration;

use askama::Template;
use chappe_proto::select::condition::State;
use chappe_proto::time::Unix;
use chappe_proto::usage::UsageOf;
use serde::Deserialize;

use super::frame::Frame;
use super::plot::{self, Line, class_of};
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::api::usage::UsageReport;
use crate::control::{ClusterStatus, EdgeReport, Fault, Member};
use crate::health::Health;

/// Apps of which the first page shows what they relayed.
const APPS_SHOWN: usize = 8;

/// Lines of one plot at most: more cannot be told apart.
const LINES_MAX: usize = 6;
/// Points by which lines are ranked: a quarter of the plot.
const RECENT: usize = 30;
/// Points of a line.
const POINTS: u64 = 120;

/// How far back plots go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    hours: Option<u64>,
}

impl Ask {
    /// One of the spans that are offered.
    fn hours(&self) -> u64 {
        self.hours.filter(|hours| Overview::SPANS.contains(hours)).unwrap_or(1)
    }
}

/// A figure over time.
pub(super) struct Figure {
    title: &'static str,
    /// The drawing; none where nothing was counted yet.
    svg: Option<String>,
    /// Names of its lines, each with the class that has its colour; one alone needs none.
    legend: Vec<(&'static str, String)>,
}

/// The first page.
#[derive(Template)]
#[template(path = "overview.html", blocks = ["live"])]
pub(crate) struct Overview {
    frame: Frame,
    status: ClusterStatus,
    health: Health,
    edges: Vec<EdgeReport>,
    relayed: UsageReport,
    apps: Vec<(String, u64)>,
    hours: u64,
    figures: Vec<Figure>,
}

/// A figure of one name, or of all that begin with `prefix`.
async fn figure(
    mount: &Mount,
    title: &'static str,
    name: &str,
    hours: u64,
    words: fn(f64) -> String,
) -> Figure {
    let now = mount.cluster.clock();
    let since = Unix(now.0.saturating_sub(Duration::from_secs(hours * 3600)));
    let step = (hours * 3600 / POINTS).max(10);
    let names = match name.strip_suffix('*') {
        None => vec![name.to_owned()],
        Some(prefix) => {
            let all = mount.cluster.figures().await.into_iter();
            all.filter(|name| name.starts_with(prefix)).collect()
        }
    };
    let mut lines = Vec::new();
    for full in names {
        let held = mount.cluster.points(full.clone(), since, step).await.unwrap_or_default();
        let mut points = Vec::with_capacity(held.len());
        let mut last: Option<u64> = None;
        for point in held {
            if last.is_some_and(|last| point.at > last + 3 * step) {
                points.push((Unix::from_secs(point.at), None)); // nothing was sampled in between
            }
            last = Some(point.at);
            points.push((Unix::from_secs(point.at), Some(point.mean)));
        }
        let short = name.strip_suffix('*').and_then(|prefix| full.strip_prefix(prefix)).unwrap_or(&full);
        lines.push(Line { name: short.to_owned(), points });
    }
    // Those that matter most of late; more than these cannot be told apart.
    let recent =
        |line: &Line| -> f64 { line.points.iter().rev().take(RECENT).filter_map(|(_, value)| *value).sum() };
    lines.sort_by(|a, b| recent(b).total_cmp(&recent(a)));
    lines.truncate(LINES_MAX);
    let svg = plot::draw(&lines, (since, now), words);
    let many = lines.len();
    let named = lines.into_iter().enumerate().map(|(nth, line)| (class_of(nth, many), line.name));
    Figure { title, svg, legend: if many > 1 { named.collect() } else { Vec::new() } }
}

fn whole(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn bits(bytes: f64) -> String {
    words::rate(bytes * 8.0)
}

impl Overview {
    /// Hours that plots can go back: what is kept fine, coarser, and coarsest.
    pub(super) const SPANS: [u64; 3] = [1, 6, 48];

    fn sum(&self, of: impl Fn(&Member) -> u32) -> String {
        words::count(self.status.members.iter().map(|member| u64::from(of(member))).sum::<u64>())
    }

    fn sessions(&self) -> String {
        self.sum(|member| member.own.as_ref().map_or(0, |own| own.sessions))
    }

    fn rooms(&self) -> String {
        self.sum(|member| member.own.as_ref().map_or(0, |own| own.rooms))
    }

    fn allocations(&self) -> String {
        let all = self.edges.iter().filter_map(|edge| edge.health.as_ref());
        words::count(all.map(|health| u64::from(health.allocations)).sum::<u64>())
    }

    fn relayed_bytes(&self) -> String {
        words::bytes(self.relayed.relayed.sent.bytes + self.relayed.relayed.received.bytes)
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
        let status = mount.cluster.status().await;
        let (edges, relayed) = (mount.cluster.edges().await, mount.cluster.usage(UsageOf::Apps).await);
        let relayed = relayed.unwrap_or_default();
        let bytes = |(name, part): (&String, &chappe_proto::usage::Relayed)| {
            (name.clone(), part.sent.bytes + part.received.bytes)
        };
        let mut apps: Vec<_> = relayed.parts.iter().map(bytes).collect();
        apps.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        apps.truncate(APPS_SHOWN);
        let health = Health::of(&status);
        let frame = Frame::of(visitor, "/admin", "Overview");
        let hours = ask.hours();
        let figures = vec![
            figure(mount, "People connected to this node", "sessions", hours, whole).await,
            figure(mount, "Rooms on this node", "rooms", hours, whole).await,
            figure(mount, "Relayed, by edge", "relayed_bytes.edge.*", hours, bits).await,
            figure(mount, "Relayed, by app", "relayed_bytes.app.*", hours, bits).await,
            figure(mount, "Signals a second through this node", "signals", hours, whole).await,
            figure(mount, "Refusals a second, by cause", "refused.*", hours, whole).await,
        ];
        Ok(Self { frame, status, health, edges, relayed, apps, hours, figures })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

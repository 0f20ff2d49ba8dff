//! What this node finds of itself and of the cluster, every ten seconds: for operators, who ask any node for all nodes'.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chappe_admin::history::{History, Sample};
use chappe_proto::id::Region;
use chappe_proto::limits::{HISTORY_EVERY, HISTORY_TOP};
use chappe_proto::mesh::uplink::Traffic;
use chappe_proto::registry::{self, NodeState, State};
use chappe_proto::select::fleet::Seen;
use chappe_proto::time::Unix;
use chappe_proto::usage::{Tally, UsageOf};

use crate::actor::edges::ListEdges;
use crate::clock;
use crate::node::Node;

/// The figures.
#[derive(Debug, Default)]
pub struct Figures(Mutex<History>);

impl Figures {
    /// Asks them.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&mut History) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Samples for as long as the node runs.
pub(crate) async fn run(node: Arc<Node>) {
    loop {
        actix_rt::time::sleep(until_next(clock::unix())).await;
        let edges = node.edges.send(ListEdges).await.unwrap_or_default();
        let sample = sample(&node, &edges);
        node.history.with(|history| history.add(clock::unix(), sample));
    }
}

/// How long until the middle of the next step: all nodes sample at the same time, each step once, though timers and
/// clocks are off by a second or four.
fn until_next(now: Unix) -> Duration {
    let (step, half) = (HISTORY_EVERY.as_millis(), HISTORY_EVERY.as_millis() / 2);
    let passed = (now.0.as_millis() + half) % step;
    Duration::from_millis(u64::try_from(step - passed).unwrap_or(0))
}

#[allow(clippy::cast_precision_loss, reason = "figures for plots")]
const fn number(count: u64) -> f64 {
    count as f64
}

fn count(many: usize) -> f64 {
    number(many as u64)
}

fn sample(node: &Node, edges: &[Seen]) -> Sample {
    let mut sample = Sample::default();
    sample.gauge("sessions", count(node.sessions.len()));
    // Not those that run elsewhere and have their anchor here.
    sample.gauge("rooms", node.rooms.counts().into_iter().map(|(_, rooms, _)| f64::from(rooms)).sum());
    sample.gauge("memory", number(memory()));
    of_nodes(&mut sample, &node.registry.state());
    // A second of processor time a second is one core.
    sample.count("cpu", clock::cpu().as_secs_f64());
    sample.count("commits", number(node.registry.status().committed));
    for (name, total) in node.counts.all() {
        sample.count(name, number(total));
    }
    of_edges(&mut sample, edges);
    of_apps(&mut sample, &node.usage.parts(&UsageOf::Apps));
    sample
}

fn of_nodes(sample: &mut Sample, state: &State) {
    let up: Vec<&registry::Node> =
        state.nodes().map(|(_, node)| node).filter(|node| node.state == NodeState::Up).collect();
    sample.gauge("nodes", count(up.len()));
    for (region, nodes) in by_region(up.iter().map(|node| (&node.region, 1))) {
        sample.gauge(format!("nodes.region.{region}"), number(nodes));
    }
}

fn by_region<'a>(all: impl Iterator<Item = (&'a Region, u64)>) -> BTreeMap<&'a Region, u64> {
    let mut sums = BTreeMap::new();
    for (region, many) in all {
        *sums.entry(region).or_default() += many;
    }
    sums
}

fn of_edges(sample: &mut Sample, edges: &[Seen]) {
    let health = |seen: &Seen| seen.health.clone().unwrap_or_default();
    let (alive, lost): (Vec<&Seen>, Vec<&Seen>) = edges.iter().partition(|seen| seen.alive);
    let draining = alive.iter().filter(|seen| health(seen).draining).count();
    sample.gauge("edges.alive", count(alive.len()));
    sample.gauge("edges.draining", count(draining));
    sample.gauge("edges.lost", count(lost.len()));
    let allocations = alive.iter().map(|seen| u64::from(health(seen).allocations)).sum();
    sample.gauge("allocations", number(allocations));
    let allocations = alive.iter().map(|seen| (&seen.hello.region, u64::from(health(seen).allocations)));
    for (region, allocations) in by_region(allocations) {
        sample.gauge(format!("allocations.region.{region}"), number(allocations));
    }
    let relayed = |seen: &Seen| {
        let health = health(seen);
        health.sent.plus(health.received)
    };
    let mut by_bytes = alive;
    by_bytes.sort_by_key(|seen| std::cmp::Reverse(relayed(seen).bytes));
    for (place, seen) in by_bytes.into_iter().enumerate() {
        let (edge, region, Traffic { packets, bytes }) =
            (&seen.hello.edge, &seen.hello.region, relayed(seen));
        let own = if place < HISTORY_TOP { edge.to_string() } else { "(others)".to_owned() };
        if place < HISTORY_TOP {
            sample.gauge(format!("allocations.edge.{edge}"), f64::from(health(seen).allocations));
        }
        for (what, total) in [("relayed_bytes", bytes), ("relayed_packets", packets)] {
            let figures =
                vec![what.to_owned(), format!("{what}.region.{region}"), format!("{what}.edge.{own}")];
            sample.total(format!("{what}.of.{edge}"), number(total), figures);
        }
    }
}

fn of_apps(sample: &mut Sample, apps: &BTreeMap<String, Tally>) {
    let mut apps: Vec<(String, u64)> =
        apps.iter().map(|(app, tally)| (app.clone(), tally.relayed.bytes())).collect();
    apps.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    for (place, (app, bytes)) in apps.into_iter().enumerate() {
        let figure = if place < HISTORY_TOP { app.as_str() } else { "(others)" };
        let figure = format!("relayed_bytes.app.{figure}");
        sample.total(format!("relayed_bytes.by.{app}"), number(bytes), vec![figure]);
    }
}

/// Resident memory of this process in bytes; zero where /proc is not to be read.
fn memory() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").ok();
    let pages = statm.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use chappe_proto::usage::Relayed;

    use super::*;

    #[test]
    fn all_nodes_sample_in_the_middle_of_the_same_steps() {
        let wait = |ms| until_next(Unix(Duration::from_millis(ms))).as_millis();
        assert_eq!(
            [wait(0), wait(4_999), wait(5_000), wait(5_001), wait(14_000)],
            [5_000, 1, 10_000, 9_999, 1_000]
        );
    }

    #[test]
    fn of_very_many_apps_the_greatest_have_figures_and_the_others_one() {
        let tally = |bytes| {
            let relayed = Relayed { sent: Traffic { packets: 1, bytes }, received: Traffic::default() };
            Tally { relayed, ..Tally::default() }
        };
        let apps = (0..HISTORY_TOP as u64 + 9).map(|n| (format!("app-{n:03}"), tally(n))).collect();
        let mut sample = Sample::default();
        of_apps(&mut sample, &apps);
        let figures = |of: &str| sample.totals[&format!("relayed_bytes.by.{of}")].1.clone();
        assert_eq!(figures("app-058"), ["relayed_bytes.app.app-058"]);
        assert_eq!(figures("app-008"), ["relayed_bytes.app.(others)"]);
        assert!(memory() > 0);
    }
}

//! What this node finds of itself and of the cluster, every ten seconds: for its operators, and nowhere else.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use chappe_admin::history::{History, Sample};
use chappe_proto::limits::{HISTORY_EVERY, HISTORY_TOP};
use chappe_proto::mesh::uplink::Traffic;
use chappe_proto::select::fleet::Seen;
use chappe_proto::usage::{Relayed, UsageOf};
use tokio::time::{MissedTickBehavior, interval};

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
    let mut every = interval(HISTORY_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        every.tick().await;
        let edges = node.edges.send(ListEdges).await.unwrap_or_default();
        let sample = sample(&node, &edges);
        node.history.with(|history| history.add(clock::unix(), sample));
    }
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
    sample.gauge("rooms", count(node.rooms.len()));
    sample.gauge("memory", number(memory()));
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

fn of_edges(sample: &mut Sample, edges: &[Seen]) {
    let health = |seen: &Seen| seen.health.clone().unwrap_or_default();
    let (alive, lost): (Vec<&Seen>, Vec<&Seen>) = edges.iter().partition(|seen| seen.alive);
    let draining = alive.iter().filter(|seen| health(seen).draining).count();
    sample.gauge("edges.alive", count(alive.len()));
    sample.gauge("edges.draining", count(draining));
    sample.gauge("edges.lost", count(lost.len()));
    let allocations = alive.iter().map(|seen| u64::from(health(seen).allocations)).sum();
    sample.gauge("allocations", number(allocations));
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

fn of_apps(sample: &mut Sample, apps: &BTreeMap<String, Relayed>) {
    let bytes = |relayed: &Relayed| relayed.sent.plus(relayed.received).bytes;
    let mut apps: Vec<(String, u64)> =
        apps.iter().map(|(app, relayed)| (app.clone(), bytes(relayed))).collect();
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
    use super::*;

    #[test]
    fn of_very_many_apps_the_greatest_have_figures_and_the_others_one() {
        let relayed = |bytes| Relayed { sent: Traffic { packets: 1, bytes }, received: Traffic::default() };
        let apps = (0..HISTORY_TOP as u64 + 9).map(|n| (format!("app-{n:03}"), relayed(n))).collect();
        let mut sample = Sample::default();
        of_apps(&mut sample, &apps);
        let figures = |of: &str| sample.totals[&format!("relayed_bytes.by.{of}")].1.clone();
        assert_eq!(figures("app-058"), ["relayed_bytes.app.app-058"]);
        assert_eq!(figures("app-008"), ["relayed_bytes.app.(others)"]);
        assert!(memory() > 0);
    }
}

//! Figures over the last hours, as one node has seen them: sampled every [`HISTORY_EVERY`], kept in memory alone. Those
//! of several nodes become the cluster's in [`mod@merged`].

mod merged;
mod ring;

use std::collections::BTreeMap;

use chappe_proto::history::{Point, Sampled, Wanted};
use chappe_proto::id::Region;
use chappe_proto::limits::{HISTORY_EVERY, HISTORY_LINES, HISTORY_SERIES_ASKED, HISTORY_SERIES_MAX};
use chappe_proto::time::Unix;

use merged::NODES;
pub use merged::{NodeHistory, merged};
pub use ring::Series;

/// Points by which figures that begin alike are ranked: the newest.
const RECENT: usize = 30;

/// Whether every node has this figure of the whole cluster; else each has its own, and the cluster's is their sum.
pub(crate) fn is_shared(name: &str) -> bool {
    ["edges.", "allocations", "relayed_", "commits", "nodes"].iter().any(|begins| name.starts_with(begins))
}

/// What a node finds at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// What is so now, by name.
    pub gauges: BTreeMap<String, f64>,
    /// What has been counted since something began, by what counts it, and the figures that its increase a second is part
    /// of: one that begins anew makes no other one of a sum less.
    pub totals: BTreeMap<String, (f64, Vec<String>)>,
}

impl Sample {
    /// It is so now.
    pub fn gauge(&mut self, name: impl Into<String>, value: f64) {
        self.gauges.insert(name.into(), value);
    }

    /// So much was counted by one, which is part of these figures.
    pub fn total(&mut self, by: impl Into<String>, value: f64, figures: Vec<String>) {
        self.totals.insert(by.into(), (value, figures));
    }

    /// The same of what is a figure of its own.
    pub fn count(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        self.total(name.clone(), value, vec![name]);
    }
}

/// All figures.
#[derive(Debug, Default)]
pub struct History {
    series: BTreeMap<String, Series>,
    totals: BTreeMap<String, f64>,
    /// When the first sample was taken.
    since: Option<u64>,
    /// When the last one was.
    at: Option<u64>,
}

impl History {
    /// Takes a sample. A total that was not there before begins; one that is less than it was has begun anew, as its
    /// process has. Where samples were missed nothing is made up for them, and what was counted meanwhile is one gap.
    pub fn add(&mut self, at: Unix, sample: Sample) {
        let at = at.secs();
        let passed = self.at.map(|last| at.saturating_sub(last));
        if passed == Some(0) {
            return;
        }
        self.at = Some(at);
        self.since.get_or_insert(at);
        for (name, value) in sample.gauges {
            self.keep(at, name, value);
        }
        let steady = passed.filter(|passed| *passed <= 2 * HISTORY_EVERY.as_secs());
        let mut increases: BTreeMap<String, f64> = BTreeMap::new();
        let mut totals = BTreeMap::new();
        for (by, (total, figures)) in sample.totals {
            if let (Some(passed), Some(before)) = (steady, self.totals.get(&by)) {
                let more = if total < *before { total } else { total - before };
                #[allow(clippy::cast_precision_loss, reason = "a few seconds")]
                let more = more / passed as f64;
                for figure in figures {
                    *increases.entry(figure).or_default() += more;
                }
            }
            totals.insert(by, total);
        }
        self.totals = totals;
        for (name, value) in increases {
            self.keep(at, name, value);
        }
    }

    /// Where there are too many, one that nobody has sampled for longest makes room; where all are alive, the new one is
    /// not kept.
    fn keep(&mut self, at: u64, name: String, value: f64) {
        if !self.series.contains_key(&name) && self.series.len() >= HISTORY_SERIES_MAX {
            let oldest = self.series.iter().min_by_key(|(_, series)| series.last());
            let Some(oldest) = oldest.filter(|(_, series)| series.last() + HISTORY_EVERY.as_secs() * 6 < at)
            else {
                return;
            };
            let oldest = oldest.0.clone();
            self.series.remove(&oldest);
        }
        self.series.entry(name).or_default().add(at, value);
    }

    /// What another node, or this one, asks for. `is_there` says of an edge whether it is in the region that is asked for.
    #[must_use]
    pub fn sampled(&self, wanted: &Wanted, is_there: impl Fn(&str) -> bool) -> Sampled {
        let region = wanted.region.as_ref();
        let told = |name: &str| region.is_none_or(|region| is_of(name, region, &is_there));
        let mut series = BTreeMap::new();
        for name in wanted.series.iter().take(HISTORY_SERIES_ASKED) {
            if let Some(prefix) = name.strip_suffix('*') {
                let all = self.names().filter(|name| name.starts_with(prefix) && told(name));
                series.extend(self.greatest(all, wanted));
            } else if told(name)
                && let Some(points) = self.points(&held_as(name, region), wanted.since, wanted.step)
            {
                series.insert(name.clone(), points);
            }
        }
        // By it whoever puts nodes' figures together knows whose are missing.
        let nodes = self.points(&held_as(NODES, region), wanted.since, wanted.step);
        series.insert(NODES.to_owned(), nodes.unwrap_or_default());
        let names = if wanted.names {
            self.names().filter(|name| told(name)).map(str::to_owned).collect()
        } else {
            vec![]
        };
        Sampled { since: Unix::from_secs(self.since.unwrap_or_default()), names, series }
    }

    /// Those of them that were greatest of late.
    fn greatest<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
        wanted: &Wanted,
    ) -> Vec<(String, Vec<Point>)> {
        let points = |name: &str| self.points(name, wanted.since, wanted.step).unwrap_or_default();
        let mut all: Vec<_> = names.map(|name| (name.to_owned(), points(name))).collect();
        all.sort_by(|(_, one), (_, other)| recent(other).total_cmp(&recent(one)));
        all.truncate(usize::try_from(wanted.most).unwrap_or(HISTORY_LINES).min(HISTORY_LINES));
        all
    }

    /// The figures that there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// One of them, from `since` on in steps of so many seconds; as [`Series::points`] has it.
    fn points(&self, name: &str, since: Unix, step: u64) -> Option<Vec<Point>> {
        Some(self.series.get(name)?.points(self.at.unwrap_or_default(), since.secs(), step))
    }
}

/// How much a figure was of late.
pub(crate) fn recent(points: &[Point]) -> f64 {
    points.iter().rev().take(RECENT).map(|point| point.mean).sum()
}

/// Figures of the whole that are told of each region too.
const BY_REGION: [&str; 4] = ["allocations", "nodes", "relayed_bytes", "relayed_packets"];

/// What a figure is kept as where a region's is asked for.
fn held_as(name: &str, region: Option<&Region>) -> String {
    match region {
        Some(region) if BY_REGION.contains(&name) => format!("{name}.region.{region}"),
        _ => name.to_owned(),
    }
}

/// Whether a figure tells of what is in a region: what each node has of its own does where it is asked there alone.
fn is_of(name: &str, region: &Region, is_there: impl Fn(&str) -> bool) -> bool {
    if !is_shared(name) || BY_REGION.contains(&name) {
        return true;
    }
    match (name.split_once(".edge."), name.split_once(".region.")) {
        (Some((_, edge)), _) => is_there(edge),
        (_, Some((_, of))) => of == region.as_str(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(gauges: &[(&str, f64)], totals: &[(&str, f64)]) -> Sample {
        let mut sample = Sample::default();
        gauges.iter().for_each(|(name, value)| sample.gauge(*name, *value));
        totals.iter().for_each(|(name, value)| sample.count(*name, *value));
        sample
    }

    fn means(history: &History, name: &str) -> Vec<f64> {
        history.points(name, Unix::from_secs(0), 10).unwrap().iter().map(|point| point.mean).collect()
    }

    #[test]
    fn totals_are_kept_as_increase_a_second() {
        let mut history = History::default();
        let totals = [100.0, 150.0, 150.0, 20.0, 40.0];
        for (n, total) in (0..).zip(totals) {
            history.add(Unix::from_secs(n * 10), sample(&[("rooms", 3.0)], &[("bytes", total)]));
        }
        // It is not known since when the first 100 are; the fourth is of a process that began anew.
        assert_eq!(means(&history, "bytes"), [5.0, 0.0, 2.0, 2.0]);
        assert_eq!(means(&history, "rooms"), [3.0; 5]);
        history.add(Unix::from_secs(1_000), sample(&[], &[("bytes", 1_000.0)]));
        history.add(Unix::from_secs(1_010), sample(&[], &[("bytes", 1_010.0)]));
        assert_eq!(means(&history, "bytes").len(), 5, "what was missed is a gap");
        history.add(Unix::from_secs(1_010), sample(&[("rooms", 9.0)], &[]));
        assert_eq!(means(&history, "rooms").len(), 5, "one sample at a time");
        assert_eq!(history.names().collect::<Vec<_>>(), ["bytes", "rooms"]);
        assert!(history.points("none", Unix::from_secs(0), 10).is_none());
    }

    #[test]
    fn a_sum_does_not_suffer_from_a_part_that_begins_anew() {
        let mut history = History::default();
        for (at, [a, b]) in [(0, [100.0, 100.0]), (10, [200.0, 150.0]), (20, [10.0, 250.0])] {
            let mut sample = Sample::default();
            sample.total("edge.a", a, vec!["all".to_owned(), "a".to_owned()]);
            sample.total("edge.b", b, vec!["all".to_owned()]);
            history.add(Unix::from_secs(at), sample);
        }
        assert_eq!((means(&history, "all"), means(&history, "a")), (vec![15.0, 11.0], vec![10.0, 1.0]));
        assert_eq!(history.names().collect::<Vec<_>>(), ["a", "all"]);
    }

    #[test]
    fn of_very_many_figures_those_that_live_are_kept() {
        let mut history = History::default();
        let many = |prefix: &str, count| {
            let mut sample = Sample::default();
            (0..count).for_each(|n| sample.gauge(format!("{prefix}{n}"), 1.0));
            sample
        };
        history.add(Unix::from_secs(10), many("a", HISTORY_SERIES_MAX + 50));
        history.add(Unix::from_secs(20), many("b", 50));
        assert!(
            history.names().count() == HISTORY_SERIES_MAX
                && history.names().all(|name| name.starts_with('a'))
        );
        history.add(Unix::from_secs(500), many("b", 50));
        assert_eq!(history.names().filter(|name| name.starts_with('b')).count(), 50);
        assert_eq!(history.names().count(), HISTORY_SERIES_MAX);
    }
}

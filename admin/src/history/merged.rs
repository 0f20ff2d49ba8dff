//! The figures of a cluster, put together of its nodes'.

use std::collections::BTreeMap;

use chappe_proto::history::{Point, Sampled};
use chappe_proto::id::{NodeId, Region};

use super::is_shared;

/// Nodes that there were, by which it shows whose samples are missing.
pub(crate) const NODES: &str = "nodes";

/// What one node has sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeHistory {
    /// Which.
    pub node: NodeId,
    /// Where it stands.
    pub region: Region,
    /// What it answers; none where it does not.
    pub sampled: Option<Sampled>,
}

/// Who was there in a step.
#[derive(Debug, Default)]
struct There {
    /// As nodes saw it; the least in the step, so that who came or went in it makes no gap.
    were: f64,
    /// Those whose samples are told.
    told: f64,
}

/// The figures of all these nodes together. What every node has of the whole is that of the one that has most of a step;
/// what each has of its own is a sum. Of a step in which more nodes were there than have samples no sum is told: a
/// gap, since it would be less than what was.
#[must_use]
pub fn merged(histories: &[NodeHistory], region: Option<&Region>) -> BTreeMap<String, Vec<Point>> {
    let mut there: BTreeMap<u64, There> = BTreeMap::new();
    let mut merged: BTreeMap<&str, BTreeMap<u64, Point>> = BTreeMap::new();
    for history in histories {
        let Some(sampled) = &history.sampled else { continue };
        let counts = region.is_none_or(|region| history.region == *region);
        for point in sampled.series.get(NODES).into_iter().flatten() {
            let there = there.entry(point.at).or_default();
            there.were = there.were.max(point.min);
            there.told += if counts { 1.0 } else { 0.0 };
        }
        for (name, points) in sampled.series.iter().filter(|(name, _)| counts || is_shared(name)) {
            let steps = merged.entry(name).or_default();
            points.iter().for_each(|point| put(steps, point, is_shared(name)));
        }
    }
    let is_whole = |at: &u64| there.get(at).is_none_or(|there| there.told >= there.were);
    let told = |(name, steps): (&str, BTreeMap<u64, Point>)| {
        let whole = steps.into_iter().filter(|(at, _)| is_shared(name) || is_whole(at));
        (name.to_owned(), whole.map(|(_, point)| point).collect())
    };
    merged.into_iter().map(told).collect()
}

fn put(steps: &mut BTreeMap<u64, Point>, point: &Point, is_shared: bool) {
    match steps.get_mut(&point.at) {
        None => {
            steps.insert(point.at, *point);
        }
        Some(held) if !is_shared => held.add(point),
        Some(held) if is_more(point, held) => *held = *point,
        Some(_) => {}
    }
}

/// Which of two nodes' words on a step counts: the one of more samples, or the greater, since a node may have heard less.
fn is_more(one: &Point, other: &Point) -> bool {
    (one.samples, one.mean) > (other.samples, other.mean)
}

#[cfg(test)]
mod tests {
    use chappe_proto::time::Unix;

    use super::*;

    fn history(node: u64, region: &str, series: &[(&str, &[(u64, f64)])]) -> NodeHistory {
        let points =
            |points: &[(u64, f64)]| points.iter().map(|(at, value)| Point::of(*at, *value)).collect();
        let series = series.iter().map(|(name, some)| ((*name).to_owned(), points(some))).collect();
        let sampled = Some(Sampled { since: Unix::default(), names: Vec::new(), series });
        NodeHistory { node: NodeId(node), region: Region::new(region).unwrap(), sampled }
    }

    fn means(histories: &[NodeHistory], region: Option<&str>, name: &str) -> Vec<(u64, f64)> {
        let region = region.map(|region| Region::new(region).unwrap());
        let merged = merged(histories, region.as_ref());
        merged.get(name).into_iter().flatten().map(|point| (point.at, point.mean)).collect()
    }

    /// Two nodes that saw each other all the time, and of which the second began anew at 20.
    fn restarted() -> [NodeHistory; 2] {
        let nodes: &[(u64, f64)] = &[(0, 2.0), (10, 2.0), (20, 1.0), (30, 2.0), (40, 2.0)];
        let one: &[(u64, f64)] = &[(0, 5.0), (10, 5.0), (20, 6.0), (30, 4.0), (40, 4.0)];
        let bytes: &[(u64, f64)] = &[(0, 50.0), (10, 50.0), (20, 50.0), (30, 7.0)];
        let heard: &[(u64, f64)] = &[(30, 8.0), (40, 9.0)];
        [
            history(1, "eu", &[("nodes", nodes), ("sessions", one), ("relayed_bytes", bytes)]),
            history(
                2,
                "us",
                &[("nodes", &nodes[3..4]), ("sessions", &[(30, 3.0)]), ("relayed_bytes", heard)],
            ),
        ]
    }

    #[test]
    fn what_each_has_is_added_and_what_is_missing_is_a_gap() {
        // At 20 the second was not there; at 0 and 10 it was, and its samples are lost; at 40 they are not there yet.
        assert_eq!(means(&restarted(), None, "sessions"), [(20, 6.0), (30, 7.0)]);
        let mut silent = restarted();
        silent[1].sampled = None;
        assert_eq!(means(&silent, None, "sessions"), [(20, 6.0)]);
    }

    #[test]
    fn what_all_have_is_had_of_any_who_was_there() {
        let all = [(0, 50.0), (10, 50.0), (20, 50.0), (30, 8.0), (40, 9.0)];
        assert_eq!(means(&restarted(), None, "relayed_bytes"), all);
        let mut more = restarted();
        more[0].sampled.as_mut().unwrap().series.get_mut("relayed_bytes").unwrap()[3].samples = 2;
        assert_eq!(means(&more, None, "relayed_bytes")[3], (30, 7.0), "of more samples");
    }

    #[test]
    fn a_region_is_what_its_nodes_have() {
        let mut both = restarted();
        for history in &mut both {
            let one = vec![Point::of(0, 1.0), Point::of(10, 1.0), Point::of(30, 1.0), Point::of(40, 1.0)];
            history.sampled.as_mut().unwrap().series.insert(NODES.to_owned(), one);
        }
        let eu = [(0, 5.0), (10, 5.0), (20, 6.0), (30, 4.0), (40, 4.0)];
        assert_eq!(means(&both, Some("eu"), "sessions"), eu);
        assert_eq!(means(&both, Some("us"), "sessions"), [(30, 3.0)]);
    }

    #[test]
    fn of_a_step_in_which_one_came_there_is_a_sum() {
        let mut came = restarted();
        let nodes = came[0].sampled.as_mut().unwrap().series.get_mut("nodes").unwrap();
        nodes[0].min = 1.0;
        assert_eq!(means(&came, None, "sessions")[0], (0, 5.0));
    }
}

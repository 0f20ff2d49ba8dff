//! Round trips from each to each, as a table: of nodes, of edges, of the regions of many edges.

use std::collections::BTreeMap;

use chappe_proto::id::{EdgeId, Region};
use chappe_proto::mesh::probe::Prober;

use super::words;
use crate::control::{ClusterStatus, EdgeReport, Member};
use crate::operation::RoundTrip;

/// More edges than these are shown by their regions: a page has room for so many columns.
const EDGES_SHOWN: usize = 12;
/// Below this a round trip is near: a continent's width of fibre.
const NEAR_MS: f64 = 50.0;
/// From this on it is far: an ocean and more (ITU-T G.114 has 150 ms one way as the most that talk bears).
const FAR_MS: f64 = 150.0;

/// Round trips from the rows to the columns.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Matrix {
    /// The columns' names.
    pub(super) heads: Vec<String>,
    /// The rows.
    pub(super) rows: Vec<Row>,
    /// Whether regions stand for their edges.
    pub(super) folded: bool,
}

/// From one to each.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Its name.
    pub(super) head: String,
    /// What else there is to say of it.
    pub(super) note: String,
    /// To each column.
    pub(super) cells: Vec<Cell>,
}

/// From one to another.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Cell {
    /// Its colour.
    pub(super) class: &'static str,
    /// What it says; nothing where nothing is known.
    pub(super) text: String,
    /// The same in more words.
    pub(super) hint: String,
}

impl Cell {
    fn is(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn of(ms: f64, hint: String) -> Self {
        let class = match ms {
            ms if ms < NEAR_MS => "near",
            ms if ms >= FAR_MS => "far",
            _ => "",
        };
        Self { class, text: words::millis(ms), hint }
    }
}

/// Between nodes, as each says it itself.
pub(super) fn of_nodes(status: &ClusterStatus) -> Matrix {
    let row = |from: &Member| Row {
        head: from.node.to_string(),
        note: from.region.to_string(),
        cells: status.members.iter().map(|to| between_nodes(from, to)).collect(),
    };
    Matrix {
        heads: status.members.iter().map(|member| member.node.to_string()).collect(),
        rows: status.members.iter().map(row).collect(),
        folded: false,
    }
}

fn between_nodes(from: &Member, to: &Member) -> Cell {
    let link = from.own.as_ref().and_then(|own| own.links.iter().find(|link| link.to == to.node));
    match link.map(|link| (link.via, link.rtt_ms)) {
        _ if from.node == to.node => Cell::is("–"),
        None => Cell { class: "far", ..Cell::is("no link") },
        Some((Some(via), _)) => Cell { class: "far", ..Cell::is(format!("by node {via}")) },
        Some((None, Some(ms))) => Cell::of(ms, format!("node {} to node {}", from.node, to.node)),
        Some((None, None)) => Cell::is("?"),
    }
}

/// Between edges, as they probe each other; nothing where nobody has probed.
pub(super) fn of_edges(edges: &[EdgeReport], round_trips: &[RoundTrip]) -> Matrix {
    if round_trips.is_empty() {
        return Matrix::default();
    }
    let mut edges: Vec<(&Region, &EdgeId)> = edges.iter().map(|edge| (&edge.region, &edge.edge)).collect();
    edges.sort_unstable();
    if edges.len() > EDGES_SHOWN { by_region(&edges, round_trips) } else { by_edge(&edges, round_trips) }
}

fn by_edge(edges: &[(&Region, &EdgeId)], round_trips: &[RoundTrip]) -> Matrix {
    let cells = |from: &Prober| -> Vec<Cell> {
        let to = |(_, to): &(&Region, &EdgeId)| {
            let known = round_trips.iter().find(|one| one.from == *from && one.to == **to);
            match known {
                Some(one) => Cell::of(one.rtt_ms, format!("{from} to edge {to}")),
                None if matches!(from, Prober::Edge(edge) if edge == *to) => Cell::is("–"),
                None => Cell::default(),
            }
        };
        edges.iter().map(to).collect()
    };
    let row = |(region, edge): &(&Region, &EdgeId)| Row {
        head: edge.to_string(),
        note: region.to_string(),
        cells: cells(&Prober::Edge((*edge).clone())),
    };
    let mut nodes: Vec<&Prober> = round_trips.iter().map(|one| &one.from).collect();
    nodes.retain(|from| matches!(from, Prober::Node(_)));
    nodes.sort_unstable();
    nodes.dedup();
    let of_nodes =
        nodes.into_iter().map(|node| Row { head: node.to_string(), note: String::new(), cells: cells(node) });
    Matrix {
        heads: edges.iter().map(|(_, edge)| edge.to_string()).collect(),
        rows: edges.iter().map(row).chain(of_nodes).collect(),
        folded: false,
    }
}

fn by_region(edges: &[(&Region, &EdgeId)], round_trips: &[RoundTrip]) -> Matrix {
    let region_of: BTreeMap<&EdgeId, &Region> = edges.iter().map(|(region, edge)| (*edge, *region)).collect();
    let mut pairs: BTreeMap<(&Region, &Region), Vec<f64>> = BTreeMap::new();
    for one in round_trips {
        if let Prober::Edge(from) = &one.from
            && let (Some(from), Some(to)) = (region_of.get(from), region_of.get(&one.to))
        {
            pairs.entry((from, to)).or_default().push(one.rtt_ms);
        }
    }
    let mut regions: Vec<&Region> = edges.iter().map(|(region, _)| *region).collect();
    regions.dedup();
    pairs.values_mut().for_each(|times| times.sort_unstable_by(f64::total_cmp));
    let row = |from: &&Region| Row {
        head: from.to_string(),
        note: format!("{} edges", edges.iter().filter(|(region, _)| region == from).count()),
        cells: regions.iter().map(|to| between_regions(from, to, pairs.get(&(*from, *to)))).collect(),
    };
    Matrix {
        heads: regions.iter().map(ToString::to_string).collect(),
        rows: regions.iter().map(row).collect(),
        folded: true,
    }
}

/// The median of what the edges of one region measured to those of another, the least first.
fn between_regions(from: &Region, to: &Region, times: Option<&Vec<f64>>) -> Cell {
    let times = times.map(Vec::as_slice).unwrap_or_default();
    let (Some(least), Some(most), Some(median)) =
        (times.first(), times.last(), times.get(times.len().saturating_sub(1) / 2))
    else {
        return Cell::default();
    };
    let (least, most) = (words::millis(*least), words::millis(*most));
    Cell::of(*median, format!("{from} to {to}: {} pairs, {least} to {most}", times.len()))
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::NodeId;

    use super::*;
    use crate::memory::operation::round_trip;

    fn edge(name: &str, region: &str) -> EdgeReport {
        let (edge, region) = (EdgeId::new(name).unwrap(), Region::new(region).unwrap());
        EdgeReport { edge, region, ..crate::memory::an_edge() }
    }

    fn by(name: &str) -> Prober {
        Prober::Edge(EdgeId::new(name).unwrap())
    }

    fn texts(row: &Row) -> Vec<String> {
        row.cells.iter().map(|cell| cell.text.replace('\u{a0}', " ")).collect()
    }

    #[test]
    fn edges_stand_by_region_and_what_was_not_measured_is_empty() {
        let edges = [edge("z", "eu"), edge("a", "us"), edge("b", "eu")];
        let times = [
            round_trip(by("b"), "a", 91.4),
            round_trip(by("a"), "b", 180.0),
            round_trip(by("b"), "z", 0.62),
            round_trip(by("gone"), "b", 1.0),
            round_trip(Prober::Node(NodeId(1)), "z", 3.0),
        ];
        let matrix = of_edges(&edges, &times);
        assert_eq!((matrix.heads.clone(), matrix.folded), (vec!["b".into(), "z".into(), "a".into()], false));
        let rows: Vec<_> = matrix.rows.iter().map(|row| (row.head.as_str(), texts(row))).collect();
        let row = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
        assert_eq!(rows[0], ("b", row(["–", "0.6 ms", "91 ms"])));
        assert_eq!(rows[1], ("z", row(["", "–", ""])));
        assert_eq!(rows[2], ("a", row(["180 ms", "", "–"])));
        assert_eq!(rows[3], ("node 1", row(["", "3.0 ms", ""])));
        let classes: Vec<_> = matrix.rows[0].cells.iter().map(|cell| cell.class).collect();
        assert_eq!((classes, matrix.rows[2].cells[0].class), (vec!["", "near", ""], "far"));
        assert_eq!(of_edges(&edges, &[]), Matrix::default());
    }

    #[test]
    fn many_edges_are_folded_into_regions_with_the_median_of_their_pairs() {
        let name = |n: usize| format!("e{n}");
        let edges: Vec<_> = (0..13).map(|n| edge(&name(n), if n < 7 { "eu" } else { "us" })).collect();
        let times: Vec<_> = [80.0, 300.0, 90.0]
            .iter()
            .enumerate()
            .map(|(n, ms)| round_trip(by(&name(n)), "e9", *ms))
            .collect();
        let matrix = of_edges(&edges, &times);
        assert_eq!((matrix.heads.len(), matrix.rows.len(), matrix.folded), (2, 2, true));
        assert_eq!(
            (texts(&matrix.rows[0]), matrix.rows[0].note.as_str()),
            (vec![String::new(), "90 ms".into()], "7 edges")
        );
        let hint = matrix.rows[0].cells[1].hint.replace('\u{a0}', " ");
        assert_eq!(hint, "eu to us: 3 pairs, 80 ms to 300 ms");
        assert_eq!(texts(&matrix.rows[1]), ["", ""]);
    }
}

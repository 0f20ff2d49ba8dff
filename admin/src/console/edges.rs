//! The edges on a map and in a table; and one of them.

use askama::Template;
use chappe_proto::id::EdgeId;
use chappe_proto::mesh::uplink::Health;
use chappe_proto::registry::EdgeState;
use chappe_proto::select::condition::State;

use super::frame::Frame;
use super::matrix::{self, Matrix};
use super::view::{Nothing, View};
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::control::{EdgeReport, Fault};
use crate::operation::RoundTrip;

const SECTION: &str = "/admin/edges";

/// How an edge is, as a badge: its class and its word.
fn badge(edge: &EdgeReport) -> (&'static str, &'static str) {
    match (edge.state, edge.condition.as_ref().map(|condition| condition.state)) {
        (EdgeState::Removed, _) => ("", "removed"),
        (EdgeState::Draining, _) | (_, Some(State::Draining)) => ("warn", "draining"),
        (_, Some(State::Up)) => ("good", "up"),
        (_, Some(State::Degraded)) => ("warn", "degraded"),
        (_, Some(State::Overloaded)) => ("warn", "overloaded"),
        (_, Some(State::Lost)) => ("bad", "lost"),
        (_, None) if edge.alive => ("good", "up"),
        (_, None) => ("bad", "not heard"),
    }
}

/// An edge as a point of the map, in its units: two a degree, north is up.
struct Point<'a> {
    edge: &'a EdgeReport,
    x: f64,
    y: f64,
}

/// All edges.
#[derive(Template)]
#[template(path = "edges.html", blocks = ["live"])]
pub(crate) struct Edges {
    frame: Frame,
    owns: bool,
    edges: Vec<EdgeReport>,
    round_trips: Vec<RoundTrip>,
}

impl Edges {
    fn matrix(&self) -> Matrix {
        matrix::of_edges(&self.edges, &self.round_trips)
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    const fn matrix_hint(&self, matrix: &Matrix) -> &'static str {
        if matrix.folded {
            "from the row's region to the column's: the median of the pairs of their edges"
        } else {
            "from the row to the column: the median of the last five probes"
        }
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn badge(&self, edge: &EdgeReport) -> (&'static str, &'static str) {
        badge(edge)
    }

    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn bytes(&self, health: &Health) -> String {
        words::bytes(health.sent.bytes + health.received.bytes)
    }

    fn points(&self) -> Vec<Point<'_>> {
        let placed = self.edges.iter().filter_map(|edge| Some((edge, edge.coordinates?)));
        let point = |(edge, (latitude, longitude)): (_, (f64, f64))| Point {
            edge,
            x: longitude * 2.0,
            y: -latitude * 2.0,
        };
        placed.map(point).collect()
    }
}

impl View for Edges {
    type Place = ();
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), _: Nothing) -> Result<Self, Fault> {
        let (edges, round_trips) = (mount.cluster.edges().await, mount.cluster.round_trips().await);
        Ok(Self { frame: Frame::of(visitor, SECTION, "Edges"), owns: visitor.owns, edges, round_trips })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

/// One edge.
#[derive(Template)]
#[template(path = "edge.html", blocks = ["live"])]
pub(crate) struct Edge {
    frame: Frame,
    acts: bool,
    owns: bool,
    edge: EdgeReport,
}

impl Edge {
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn badge(&self, edge: &EdgeReport) -> (&'static str, &'static str) {
        badge(edge)
    }
}

impl View for Edge {
    type Place = String;
    type Ask = Nothing;

    async fn load(mount: &Mount, visitor: &Visitor, edge: String, _: Nothing) -> Result<Self, Fault> {
        let id = EdgeId::new(&edge).map_err(|_| Fault::NotThere("edge"))?;
        let mut edges = mount.cluster.edges().await.into_iter();
        let edge = edges.find(|edge| edge.edge == id).ok_or(Fault::NotThere("edge"))?;
        let frame = Frame::of(visitor, SECTION, format!("Edge {id}"));
        Ok(Self { frame, acts: visitor.acts, owns: visitor.owns, edge })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

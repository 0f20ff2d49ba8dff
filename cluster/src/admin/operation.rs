//! How nodes and edges run: what is asked of each node and edge, and what this node has heard of edges.

use std::time::Duration;

use chappe_admin::Answer;
use chappe_admin::control::Fault;
use chappe_admin::operation::{OfEdges, Operation, Process, RoundTrip};
use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::logs::{Level, LogPage, Wanted};
use chappe_proto::mesh::allocations::{EdgeAnswer, EdgeAsk};
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::registry::{Command, EdgeState, Note};
use chappe_proto::settings::Setting;
use futures_util::future::join_all;

use super::{Admin, NODE_WITHIN};
use crate::actor::edges::RoundTrips;

impl Admin {
    /// Asks a node that is a member.
    async fn of_member(&self, node: NodeId, ask: Ask) -> Result<Reply, Fault> {
        self.is_there(&Process::Node(node))?;
        match self.node.mesh.request(node, ask, NODE_WITHIN).await {
            Ok(Reply::Failed(failure)) => Err(Fault::Unavailable(format!("node {node}: {failure}"))),
            Ok(reply) => Ok(reply),
            Err(error) => {
                Err(Fault::Unavailable(format!("node {node} does not answer: {error}; look whether it runs")))
            }
        }
    }
}

/// An answer to another question.
fn other(of: &Process) -> Fault {
    Fault::Unavailable(format!("{of} answers something else: is it of another release?"))
}

/// What an edge said of itself.
fn said(edge: &EdgeId, answer: Option<EdgeAnswer>) -> Result<EdgeAnswer, Fault> {
    let why = match answer {
        Some(EdgeAnswer::Unknown) => "does not tell: it is of an older build, or the node that it reports to",
        Some(EdgeAnswer::Busy) => "has too many questions to answer; try again",
        Some(answer) => return Ok(answer),
        None => "does not answer; look whether it runs, and reports to a node",
    };
    Err(Fault::Unavailable(format!("edge {edge} {why}")))
}

/// The options in an edge's answer.
fn settings_in(edge: &EdgeId, answer: Option<EdgeAnswer>) -> Result<Vec<Setting>, Fault> {
    match said(edge, answer)? {
        EdgeAnswer::Settings { settings } => Ok(settings),
        _ => Err(other(&Process::Edge(edge.clone()))),
    }
}

impl Admin {
    /// Asks an edge of the cluster.
    async fn ask_edge(&self, edge: &EdgeId, ask: &EdgeAsk) -> Result<EdgeAnswer, Fault> {
        let ways = self.ways(Some(edge)).await?;
        let nodes = ways.get(edge).map(Vec::as_slice).unwrap_or_default();
        said(edge, self.of_edge(edge, nodes, ask).await)
    }

    async fn set_log_level(&self, of: &Process, level: Option<Level>, secs: u32) -> Result<(), Fault> {
        let is_done = match of {
            Process::Node(node) => self.of_member(*node, Ask::LogLevel { level, secs }).await? == Reply::Done,
            Process::Edge(edge) => {
                self.ask_edge(edge, &EdgeAsk::LogLevel { level, secs }).await? == EdgeAnswer::Done
            }
        };
        if is_done { Ok(()) } else { Err(other(of)) }
    }

    /// Fails where there is no such node or edge.
    fn is_there(&self, of: &Process) -> Result<(), Fault> {
        let state = self.node.registry.state();
        match of {
            Process::Node(node) => state.node(*node).map(drop).ok_or(Fault::NotThere("node")),
            Process::Edge(edge) => {
                let held = state.edge(edge).filter(|held| held.state != EdgeState::Removed);
                held.map(drop).ok_or(Fault::NotThere("edge"))
            }
        }
    }
}

impl Operation for Admin {
    fn settings(&self, of: Process) -> Answer<'_, Result<Vec<Setting>, Fault>> {
        Box::pin(async move {
            match &of {
                Process::Node(node) => match self.of_member(*node, Ask::Settings).await? {
                    Reply::Settings(settings) => Ok(settings),
                    _ => Err(other(&of)),
                },
                Process::Edge(edge) => {
                    settings_in(edge, Some(self.ask_edge(edge, &EdgeAsk::Settings).await?))
                }
            }
        })
    }

    fn edge_settings(&self) -> Answer<'_, Result<OfEdges<Vec<Setting>>, Fault>> {
        Box::pin(async move {
            let ways = self.ways(None).await?;
            let asked = ways.into_iter().map(|(edge, nodes)| async move {
                let settings = settings_in(&edge, self.of_edge(&edge, &nodes, &EdgeAsk::Settings).await);
                (edge, settings)
            });
            Ok(join_all(asked).await)
        })
    }

    fn logs(&self, of: Process, wanted: Wanted) -> Answer<'_, Result<LogPage, Fault>> {
        Box::pin(async move {
            match &of {
                Process::Node(node) => match self.of_member(*node, Ask::Logs(wanted)).await? {
                    Reply::Logs(page) => Ok(page),
                    _ => Err(other(&of)),
                },
                Process::Edge(edge) => match self.ask_edge(edge, &EdgeAsk::Logs(wanted)).await? {
                    // An edge that has more has told some.
                    EdgeAnswer::Logs(page) => {
                        Ok(LogPage { more: page.more && !page.lines.is_empty(), ..page })
                    }
                    _ => Err(other(&of)),
                },
            }
        })
    }

    fn log_level(
        &self,
        of: Process,
        level: Option<Level>,
        within: Duration,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            self.is_there(&of)?;
            self.commit(Command::Note, note.clone()).await?;
            let secs = u32::try_from(within.as_secs()).unwrap_or(u32::MAX);
            let done = self.set_log_level(&of, level, secs).await;
            if let Err(fault) = &done {
                self.undone(note, fault).await;
            }
            done
        })
    }

    fn round_trips(&self) -> Answer<'_, Vec<RoundTrip>> {
        Box::pin(async {
            let all = self.node.edges.send(RoundTrips).await.unwrap_or_default();
            let shown = |one: chappe_proto::select::fleet::RoundTrip| RoundTrip {
                from: one.from,
                to: one.to,
                rtt_ms: f64::from(one.rtt_us) / 1000.0,
                age: one.age,
            };
            all.into_iter().map(shown).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_that_tells_nothing_is_named_with_the_reason() {
        let edge = EdgeId::new("e").unwrap();
        for (answer, told) in [
            (None, "edge e does not answer; look whether it runs"),
            (Some(EdgeAnswer::Unknown), "edge e does not tell: it is of an older build"),
            (Some(EdgeAnswer::Busy), "edge e has too many questions"),
            (Some(EdgeAnswer::Done), "edge e answers something else"),
        ] {
            let Err(Fault::Unavailable(why)) = settings_in(&edge, answer) else { unreachable!() };
            assert!(why.starts_with(told), "{why}");
        }
        let settings = EdgeAnswer::Settings { settings: Vec::new() };
        assert_eq!(settings_in(&edge, Some(settings)), Ok(Vec::new()));
    }
}

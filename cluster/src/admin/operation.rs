//! How nodes and edges run: what is asked of each node, and what this one has heard of edges.

use std::time::Duration;

use chappe_admin::Answer;
use chappe_admin::control::Fault;
use chappe_admin::operation::{Operation, RoundTrip};
use chappe_proto::id::NodeId;
use chappe_proto::logs::{Level, LogPage, Wanted};
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::registry::{Command, Note};
use chappe_proto::settings::Setting;

use super::{Admin, NODE_WITHIN};
use crate::actor::edges::RoundTrips;

impl Admin {
    /// Asks a node that is a member.
    async fn of_member(&self, node: NodeId, ask: Ask) -> Result<Reply, Fault> {
        if self.node.registry.state().node(node).is_none() {
            return Err(Fault::NotThere("node"));
        }
        match self.node.mesh.request(node, ask, NODE_WITHIN).await {
            Ok(Reply::Failed(failure)) => Err(Fault::Unavailable(format!("node {node}: {failure}"))),
            Ok(reply) => Ok(reply),
            Err(error) => {
                Err(Fault::Unavailable(format!("node {node} does not answer: {error}; look whether it runs")))
            }
        }
    }
}

fn other(node: NodeId) -> Fault {
    Fault::Unavailable(format!("node {node} answers something else: is it of another release?"))
}

impl Operation for Admin {
    fn settings(&self, node: NodeId) -> Answer<'_, Result<Vec<Setting>, Fault>> {
        Box::pin(async move {
            match self.of_member(node, Ask::Settings).await? {
                Reply::Settings(settings) => Ok(settings),
                _ => Err(other(node)),
            }
        })
    }

    fn logs(&self, node: NodeId, wanted: Wanted) -> Answer<'_, Result<LogPage, Fault>> {
        Box::pin(async move {
            match self.of_member(node, Ask::Logs(wanted)).await? {
                Reply::Logs(page) => Ok(page),
                _ => Err(other(node)),
            }
        })
    }

    fn log_level(
        &self,
        node: NodeId,
        level: Option<Level>,
        within: Duration,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            if self.node.registry.state().node(node).is_none() {
                return Err(Fault::NotThere("node"));
            }
            self.commit(Command::Note, note).await?;
            let secs = u32::try_from(within.as_secs()).unwrap_or(u32::MAX);
            match self.of_member(node, Ask::LogLevel { level, secs }).await? {
                Reply::Done => Ok(()),
                _ => Err(other(node)),
            }
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

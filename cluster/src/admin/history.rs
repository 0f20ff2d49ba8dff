//! What the nodes have sampled of themselves.

use chappe_admin::Answer;
use chappe_admin::history::NodeHistory;
use chappe_admin::past::Figures;
use chappe_proto::history::{Sampled, Wanted};
use chappe_proto::id::{NodeId, Region};
use chappe_proto::limits::HISTORY_SERIES_ASKED;
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::registry::NodeState;
use futures_util::future::join_all;

use super::{Admin, NODE_WITHIN};

impl Admin {
    /// What a node has sampled, some figures at a time; none where it does not answer.
    async fn sampled_at(&self, node: NodeId, wanted: &Wanted) -> Option<Sampled> {
        let mut all: Option<Sampled> = None;
        let mut series = wanted.series.chunks(HISTORY_SERIES_ASKED);
        loop {
            let next = series.next();
            if all.is_some() && next.is_none() {
                return all;
            }
            let (series, names) = (next.unwrap_or_default().to_vec(), wanted.names && all.is_none());
            let ask = Ask::History(Wanted { series, names, ..wanted.clone() });
            match self.node.mesh.request(node, ask, NODE_WITHIN).await {
                Ok(Reply::History(more)) => match &mut all {
                    Some(all) => all.series.extend(more.series),
                    None => all = Some(more),
                },
                _ => return None,
            }
        }
    }
}

impl Figures for Admin {
    fn histories(&self, wanted: Wanted, of: Option<NodeId>) -> Answer<'_, Vec<NodeHistory>> {
        Box::pin(async move {
            let state = self.node.registry.state();
            let up = state.nodes().filter(|(id, node)| match of {
                Some(of) => *id == of,
                None => node.state == NodeState::Up,
            });
            let asked: Vec<(NodeId, Region)> = up.map(|(id, node)| (id, node.region.clone())).collect();
            let ask = async |(node, region): (NodeId, Region)| NodeHistory {
                node,
                region,
                sampled: self.sampled_at(node, &wanted).await,
            };
            join_all(asked.into_iter().map(ask)).await
        })
    }
}

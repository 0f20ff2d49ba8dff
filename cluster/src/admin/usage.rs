//! What nodes have counted of usage, put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use chappe_admin::UsageReport;
use chappe_proto::id::NodeId;
use chappe_proto::limits::{USAGE_PAGE, USAGE_ROOMS_MAX, USAGE_SESSIONS_MAX};
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::time::Unix;
use chappe_proto::usage::{Tally, UsageOf};
use futures_util::future::join_all;

use super::{Admin, NODE_WITHIN};
use crate::node::Node;

/// Parts that one node is asked for at most.
const PARTS_MAX: usize = USAGE_SESSIONS_MAX + USAGE_ROOMS_MAX;

impl Admin {
    /// What one node has counted, page by page; none where it does not answer.
    async fn usage_at(&self, node: NodeId, of: &UsageOf) -> Option<(Unix, Tally, Vec<(String, Tally)>)> {
        let (mut first, mut parts) = (None, Vec::<(String, Tally)>::new());
        while parts.len() < PARTS_MAX {
            let after = parts.last().map(|(name, _)| name.clone());
            let ask = Ask::Usage { of: of.clone(), after };
            let answer = self.node.mesh.request(node, ask, NODE_WITHIN).await;
            let Ok(Reply::Usage { since, page }) = answer else { break };
            first.get_or_insert((since, page.relayed));
            let last = page.parts.len() < USAGE_PAGE;
            parts.extend(page.parts);
            if last {
                break;
            }
        }
        first.map(|(since, relayed)| (since, relayed, parts))
    }

    /// What any node has counted: of each figure the greatest, since none counts what was not relayed and one may
    /// have heard less, or begun later. None for an app that there is not.
    pub(super) async fn usage_of(&self, of: &UsageOf) -> Option<UsageReport> {
        let state = self.node.registry.state();
        let app = match of {
            UsageOf::App(app) => Some(app),
            UsageOf::Room(room) => Some(&room.app),
            UsageOf::Apps | UsageOf::Names | UsageOf::Session(_) | UsageOf::Edges | UsageOf::Rooms => None,
        };
        if app.is_some_and(|app| state.app(app).is_none()) {
            return None;
        }
        let nodes: Vec<_> = Node::gateways(&state).map(|gateway| gateway.node).collect();
        let answers = join_all(nodes.iter().map(|node| self.usage_at(*node, of))).await;
        let (since, relayed, parts) = merged(answers.into_iter().flatten());
        Some(UsageReport { since, relayed, parts, prices: Arc::clone(state.prices()) })
    }
}

fn merged(
    answers: impl Iterator<Item = (Unix, Tally, Vec<(String, Tally)>)>,
) -> (Unix, Tally, BTreeMap<String, Tally>) {
    let (mut first, mut whole, mut parts) =
        (None::<Unix>, Tally::default(), BTreeMap::<String, Tally>::new());
    for (since, tally, its) in answers {
        first = Some(first.map_or(since, |first| first.min(since)));
        whole.raise(&tally);
        for (name, tally) in its {
            parts.entry(name).or_default().raise(&tally);
        }
    }
    // One node may have heard more of one part, and another one of another.
    let mut sum = Tally::default();
    parts.values().for_each(|part| sum.join(part));
    whole.raise(&sum);
    (first.unwrap_or_default(), whole, parts)
}

#[cfg(test)]
mod tests {
    use chappe_proto::id::Region;
    use chappe_proto::mesh::uplink::Traffic;
    use chappe_proto::usage::Relayed;

    use super::*;

    #[test]
    fn of_several_nodes_the_greatest_figure_counts_and_a_whole_is_no_less_than_its_parts() {
        let tally = |packets| {
            let sent = Traffic { packets, bytes: 10 * packets };
            let mut tally = Tally::default();
            tally.add(Relayed { sent, received: Traffic::default() }, Some(&Region::new("eu").unwrap()));
            tally
        };
        let part = |name: &str, packets| (name.to_owned(), tally(packets));
        let one = (Unix::from_secs(9), tally(9), vec![part("a", 5), part("b", 4)]);
        let two = (Unix::from_secs(5), tally(8), vec![part("b", 6), part("c", 2)]);
        let (since, whole, told) = merged([one, two].into_iter());
        let parts = [part("a", 5), part("b", 6), part("c", 2)];
        assert_eq!(told, BTreeMap::from(parts));
        assert_eq!((since, whole), (Unix::from_secs(5), tally(13)));
    }
}

//! What nodes have counted of usage, put together.

use std::collections::BTreeMap;

use chappe_admin::UsageReport;
use chappe_proto::id::NodeId;
use chappe_proto::limits::{USAGE_PAGE, USAGE_ROOMS_MAX, USAGE_SESSIONS_MAX};
use chappe_proto::mesh::node::{Answer as Reply, Ask};
use chappe_proto::time::Unix;
use chappe_proto::usage::{Relayed, UsageOf};
use futures_util::future::join_all;

use super::{Admin, NODE_WITHIN};
use crate::node::Node;

/// Parts that one node is asked for at most.
const PARTS_MAX: usize = USAGE_SESSIONS_MAX + USAGE_ROOMS_MAX;

impl Admin {
    /// What one node has counted, page by page; none where it does not answer.
    async fn usage_at(&self, node: NodeId, of: &UsageOf) -> Option<(Unix, Relayed, Vec<(String, Relayed)>)> {
        let (mut first, mut parts) = (None, Vec::<(String, Relayed)>::new());
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
            UsageOf::Apps | UsageOf::Names | UsageOf::Session(_) => None,
        };
        if app.is_some_and(|app| state.app(app).is_none()) {
            return None;
        }
        let nodes: Vec<_> = Node::gateways(&state).map(|gateway| gateway.node).collect();
        let answers = join_all(nodes.iter().map(|node| self.usage_at(*node, of))).await;
        Some(merged(answers.into_iter().flatten()))
    }
}

fn merged(answers: impl Iterator<Item = (Unix, Relayed, Vec<(String, Relayed)>)>) -> UsageReport {
    let (mut first, mut whole, mut parts) = (None::<Unix>, Relayed::default(), BTreeMap::new());
    for (since, relayed, its) in answers {
        first = Some(first.map_or(since, |first| first.min(since)));
        whole = whole.max(relayed);
        for (name, relayed) in its {
            let part: &mut Relayed = parts.entry(name).or_default();
            *part = part.max(relayed);
        }
    }
    // One node may have heard more of one part, and another one of another.
    let sum = parts.values().fold(Relayed::default(), |sum, part| sum.plus(*part));
    UsageReport { since: first.unwrap_or_default(), relayed: whole.max(sum), parts }
}

#[cfg(test)]
mod tests {
    use chappe_proto::mesh::uplink::Traffic;

    use super::*;

    #[test]
    fn of_several_nodes_the_greatest_figure_counts_and_a_whole_is_no_less_than_its_parts() {
        let relayed = |packets| {
            let sent = Traffic { packets, bytes: 10 * packets };
            Relayed { sent, received: Traffic::default() }
        };
        let part = |name: &str, packets| (name.to_owned(), relayed(packets));
        let one = (Unix::from_secs(9), relayed(9), vec![part("a", 5), part("b", 4)]);
        let two = (Unix::from_secs(5), relayed(8), vec![part("b", 6), part("c", 2)]);
        let merged = merged([one, two].into_iter());
        let parts = [part("a", 5), part("b", 6), part("c", 2)];
        assert_eq!(merged.parts, BTreeMap::from(parts));
        assert_eq!((merged.since, merged.relayed), (Unix::from_secs(5), relayed(13)));
    }
}

//! By which edges somebody's media goes: they are asked for its allocations, and a moment later again.

use std::collections::BTreeMap;

use chappe_admin::path::{Looks, Path};
use chappe_proto::id::{EdgeId, SessionId};
use chappe_proto::limits::{ALLOCATIONS_PAGE, PATH_LOOKS_APART};
use chappe_proto::mesh::allocations::{AllocationFilter, AllocationReport, EdgeAnswer, EdgeAsk};
use futures_util::future::join_all;

use super::Admin;
use super::turn::Ways;

/// What each edge told; none where it did not answer.
type Look = BTreeMap<EdgeId, Option<Vec<AllocationReport>>>;

impl Admin {
    /// What edges relay of a session now. It takes [`PATH_LOOKS_APART`] where any of them holds something for it.
    pub(super) async fn path_of(&self, session: SessionId) -> Path {
        // It fails for an edge that is named and is not there.
        let mut ways = self.ways(None).await.unwrap_or_default();
        let first = self.look(&ways, session).await;
        let holds = |look: &Option<Vec<AllocationReport>>| look.as_ref().is_some_and(|held| !held.is_empty());
        ways.retain(|edge, _| first.get(edge).is_some_and(holds));
        let mut second = Look::new();
        if !ways.is_empty() {
            tokio::time::sleep(PATH_LOOKS_APART).await;
            second = self.look(&ways, session).await;
        }
        let looks: Looks = first
            .into_iter()
            .map(|(edge, before)| {
                // One that held nothing holds nothing still.
                let after = second.remove(&edge).unwrap_or_else(|| before.clone());
                (edge, before.zip(after))
            })
            .collect();
        let world = self.node.world();
        Path::between(looks, |edge| world.edges.edge(edge).map(|status| status.region.clone()))
    }

    async fn look(&self, ways: &Ways, session: SessionId) -> Look {
        let filter = AllocationFilter::of_session(session);
        let limit = u16::try_from(ALLOCATIONS_PAGE).unwrap_or(u16::MAX);
        let ask = EdgeAsk::Allocations { filter, from: 0, limit };
        let answers = join_all(ways.iter().map(|(edge, nodes)| self.of_edge(edge, nodes, &ask))).await;
        let told = |answer| match answer {
            Some(EdgeAnswer::Allocations { page, .. }) => Some(page),
            _ => None,
        };
        ways.keys().cloned().zip(answers.into_iter().map(told)).collect()
    }
}

//! Figures over the last hours, as an operator sees them.

use chappe_proto::history::Wanted;
use chappe_proto::id::NodeId;

use super::Answer;
use crate::history::NodeHistory;

/// The figures of the nodes.
pub trait Figures {
    /// What each node that is up has sampled, as far as it answers; of one node alone where it is named, and nothing where
    /// there is none of that number.
    fn histories(&self, wanted: Wanted, of: Option<NodeId>) -> Answer<'_, Vec<NodeHistory>>;
}

//! Figures over the last hours, as an operator sees them.

use chappe_proto::history::Wanted;
use chappe_proto::id::NodeId;
use chappe_proto::time::Unix;

use super::Answer;
use crate::history::NodeHistory;

/// The figures of the nodes.
pub trait Figures {
    /// What each node that is up has sampled, as far as it answers; of one node alone where it is named, and nothing where
    /// there is none of that number.
    fn histories(&self, wanted: Wanted, of: Option<NodeId>) -> Answer<'_, Vec<NodeHistory>>;
    /// What the clock of the node that answers says.
    fn clock(&self) -> Unix;
    /// Their names.
    fn figures(&self) -> Answer<'_, Vec<String>>;
    /// One of them, from `since` on, in steps of so many seconds or longer ones; none where there is no such figure.
    fn points(&self, name: String, since: Unix, step: u64) -> Answer<'_, Option<Vec<Point>>>;
}

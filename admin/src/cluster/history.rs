//! Figures over the last hours, as an operator sees them.

use chappe_proto::time::Unix;

use super::Answer;
use crate::history::Point;

/// The figures of the node that answers.
pub trait Figures {
    /// Their names.
    fn figures(&self) -> Answer<'_, Vec<String>>;
    /// One of them, from `since` on, in steps of so many seconds or longer ones; none where there is no such figure.
    fn points(&self, name: String, since: Unix, step: u64) -> Answer<'_, Option<Vec<Point>>>;
    /// What the node's clock says.
    fn clock(&self) -> Unix;
}

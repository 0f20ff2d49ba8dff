//! How a command ends that does not just fail.

use std::process::ExitCode;

use chappe_proto::id::EdgeId;

/// An error with an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Exit {
    /// What was asked for makes no sense: 2, as clap has it.
    #[error("{0:#}")]
    Usage(anyhow::Error),
    /// The node was removed from its cluster: 3.
    #[error(
        "{0:#}. To come back it joins anew, with an empty directory and a token of `chappe cluster invite`"
    )]
    Removed(anyhow::Error),
    /// The edge was removed from its cluster: 3.
    #[error(
        "{why}. Where operators removed it: `chappe cluster edge resume {edge}`, and start it again as who it was; \
         else it joins anew, with an empty directory and a token of `chappe cluster invite --edge {edge}`"
    )]
    EdgeRemoved {
        /// As the node said it.
        why: String,
        /// Its name.
        edge: EdgeId,
    },
    /// The command has said already what went wrong: 1.
    #[error("something failed")]
    Told,
}

/// Ends with this error: says it, unless it was said.
pub(crate) fn with(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Exit>() {
        Some(Exit::Told) => ExitCode::FAILURE,
        Some(Exit::Usage(_)) => {
            crate::log::fail(error);
            ExitCode::from(2)
        }
        Some(Exit::Removed(_) | Exit::EdgeRemoved { .. }) => {
            crate::log::fail(error);
            ExitCode::from(3)
        }
        None => {
            crate::log::fail(error);
            ExitCode::FAILURE
        }
    }
}

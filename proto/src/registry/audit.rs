//! Who changed what, from where, when.

use serde::{Deserialize, Serialize};

use super::{Refusal, State, Thing};
use crate::id::Index;
use crate::limits::{AUDIT_MAX, AUDIT_TEXT_MAX};
use crate::time::Unix;

/// Who asks for a change: goes with its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// An operator, an API key, a peer or a node.
    pub who: String,
    /// What they did, in words for operators. Never a secret.
    pub what: String,
    /// Their address, or the node that acted by itself.
    pub from: String,
}

impl Note {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let fine = |text: &String| text.len() <= AUDIT_TEXT_MAX;
        if fine(&self.who) && fine(&self.what) && fine(&self.from) {
            Ok(())
        } else {
            Err(Refusal::Invalid(Thing::Note))
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The entry that it came with.
    pub index: Index,
    /// When.
    pub at: Unix,
    /// Who did what, from where.
    pub note: Note,
    /// Why it was refused, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
}

impl State {
    /// The latest [`AUDIT_MAX`] lines of the audit log, oldest first.
    pub fn audit(&self) -> impl DoubleEndedIterator<Item = &Audit> {
        self.audit.iter()
    }

    pub(super) fn record(&mut self, note: Note, refused: Option<Refusal>) {
        let line = Audit { index: self.index, at: self.now, note, refused };
        self.audit.push(line, AUDIT_MAX);
    }
}

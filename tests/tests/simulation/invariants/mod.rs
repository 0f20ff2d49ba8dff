//! What must hold, one file each. What happens is told as it happens; what is wrong ends the run.

pub(crate) mod answered;
pub(crate) mod apart;
pub(crate) mod drained;
pub(crate) mod durable;
pub(crate) mod one_owner;
pub(crate) mod rebuilt;
pub(crate) mod registries;
pub(crate) mod revoked;
pub(crate) mod roster;
pub(crate) mod signals;

use std::fmt;

/// Which invariant does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    OneOwner,
    Answered,
    Apart,
    Drained,
    Durable,
    Rebuilt,
    Registries,
    Revoked,
    Roster,
    Signals,
    /// A machine or its shell has failed.
    Runs,
}

/// What is wrong.
#[derive(Debug, Clone)]
pub(crate) struct Wrong {
    pub(crate) name: Name,
    pub(crate) why: String,
}

impl Name {
    /// This one does not hold.
    pub(crate) const fn broken(self, why: String) -> Wrong {
        Wrong { name: self, why }
    }

    /// Of what one of the files says.
    pub(crate) fn judge(self, result: Result<(), String>) -> Result<(), Wrong> {
        result.map_err(|why| self.broken(why))
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.name, self.why)
    }
}

/// All who watch.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) owners: one_owner::Owners,
    pub(crate) answered: answered::Answered,
    pub(crate) rebuilt: rebuilt::Rebuilt,
    pub(crate) registries: registries::Registries,
    pub(crate) durable: durable::Durable,
    pub(crate) signals: signals::Signals,
    pub(crate) revoked: revoked::Revoked,
    pub(crate) apart: apart::Apart,
    pub(crate) drained: drained::Drained,
    failure: Option<Wrong>,
}

impl Watch {
    /// Keeps the first thing that was wrong.
    pub(crate) fn judge(&mut self, judgement: Result<(), Wrong>) {
        if let Err(wrong) = judgement {
            self.failure.get_or_insert(wrong);
        }
    }

    /// What was wrong, if anything.
    pub(crate) fn verdict(&self) -> Result<(), Wrong> {
        self.failure.clone().map_or(Ok(()), Err)
    }
}

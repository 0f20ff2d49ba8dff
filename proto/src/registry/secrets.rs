//! Secrets and authorities with numbers: the highest issues, all of them are accepted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Outcome, Refusal, Thing};
use crate::limits::NUMBERED_SECRETS_MAX;
use crate::mesh::uplink::Secret;

/// Secrets by their number. Numbers grow, so that one names the same bytes for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<T = Secret> {
    held: BTreeMap<u64, T>,
    last: u64,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), last: 0 }
    }
}

impl<T> Numbered<T> {
    /// All in force.
    #[must_use]
    pub const fn all(&self) -> &BTreeMap<u64, T> {
        &self.held
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&T> {
        self.held.get(&number)
    }

    /// The one that issues.
    #[must_use]
    pub fn newest(&self) -> Option<(u64, &T)> {
        self.held.last_key_value().map(|(number, secret)| (*number, secret))
    }

    /// The number that the next one will have; from 1.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }

    pub(super) fn add(&mut self, thing: Thing, number: u64, secret: T) -> Result<Outcome, Refusal> {
        if number != self.next() {
            return Err(Refusal::NotNext { thing, next: self.next() });
        }
        if self.held.len() >= NUMBERED_SECRETS_MAX {
            return Err(Refusal::Full { thing, max: NUMBERED_SECRETS_MAX as u64 });
        }
        self.held.insert(number, secret);
        self.last = number;
        Ok(Outcome::Done)
    }

    /// Passes numbers over: they may have been given out where nothing is known of it.
    pub(super) const fn skip(&mut self, numbers: u64) {
        self.last = self.last.saturating_add(numbers);
    }

    pub(super) fn remove(&mut self, thing: Thing, number: u64) -> Result<Outcome, Refusal> {
        if !self.held.contains_key(&number) {
            return Err(Refusal::Unknown(thing));
        }
        if self.newest().is_some_and(|(newest, _)| newest == number) {
            return Err(Refusal::Last(thing));
        }
        self.held.remove(&number);
        Ok(Outcome::Done)
    }
}

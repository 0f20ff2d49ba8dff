//! What operators decide of the cluster as a whole: its timers, how many vote, how edges are selected.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::profile::{Profile, ProfileName};
use super::{Outcome, Refusal, State, Thing};
use crate::id::Index;
use crate::limits::{SELECT_NETWORKS_MAX, SELECT_REGIONS_MAX, SELECT_RULES_MAX};
use crate::select::{BadPolicy, Policy};

/// The timers, and what is left of the former ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timers {
    name: ProfileName,
    /// The former ones, of which leases may be left.
    former: Option<ProfileName>,
    /// The change's entry.
    since: Index,
}

/// How many vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Voters(u8);

impl Default for Voters {
    fn default() -> Self {
        Self(3)
    }
}

impl State {
    /// The timers in force. While a change of them settles, nodes count their leases by the shorter and the
    /// leader its evictions by the longer: so one that has not heard of the change yet, on either side,
    /// still ends its lease before anyone else begins.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let now = self.timers.name.profile();
        let former = self.timers.former.unwrap_or(self.timers.name).profile();
        Profile { lease: now.lease.min(former.lease), eviction: now.eviction.max(former.eviction), ..now }
    }

    /// What the timers are called.
    #[must_use]
    pub const fn profile_name(&self) -> ProfileName {
        self.timers.name
    }

    /// The entry that changed the timers, while that has not settled: the leader says
    /// [`super::Command::ProfileSettled`] once it has applied it for as long as [`Profile::eviction`].
    #[must_use]
    pub const fn settling(&self) -> Option<Index> {
        if self.timers.former.is_some() { Some(self.timers.since) } else { None }
    }

    /// How many are to vote, where there are as many nodes: 3 or 5.
    #[must_use]
    pub const fn wanted_voters(&self) -> u8 {
        self.voters.0
    }

    /// Where regions and networks are, and which edges are for whom.
    #[must_use]
    pub const fn selection(&self) -> &Arc<Policy> {
        &self.selection
    }

    pub(super) fn selection_set(&mut self, policy: Policy) -> Result<Outcome, Refusal> {
        policy.check().map_err(|bad| match bad {
            BadPolicy::Regions => {
                Refusal::Full { thing: Thing::SelectionRegion, max: SELECT_REGIONS_MAX as u64 }
            }
            BadPolicy::Networks => {
                Refusal::Full { thing: Thing::SelectionNetwork, max: SELECT_NETWORKS_MAX as u64 }
            }
            BadPolicy::Rules => Refusal::Full { thing: Thing::SelectionRule, max: SELECT_RULES_MAX as u64 },
            BadPolicy::Empty => Refusal::Invalid(Thing::SelectionRule),
        })?;
        self.selection = Arc::new(policy);
        Ok(Outcome::Done)
    }

    pub(super) fn profile_set(&mut self, profile: ProfileName) -> Result<Outcome, Refusal> {
        let now = self.timers.name;
        if profile != now {
            self.timers = Timers { name: profile, former: Some(now), since: self.index };
        }
        Ok(Outcome::Done)
    }

    pub(super) fn profile_settled(&mut self, since: Index) -> Result<Outcome, Refusal> {
        if self.settling() != Some(since) {
            return Err(Refusal::NotSettling);
        }
        self.timers.former = None;
        Ok(Outcome::Done)
    }

    pub(super) fn voters_set(&mut self, wanted: u8) -> Result<Outcome, Refusal> {
        if !matches!(wanted, 3 | 5) {
            return Err(Refusal::Invalid(Thing::Voters));
        }
        self.voters = Voters(wanted);
        Ok(Outcome::Done)
    }
}

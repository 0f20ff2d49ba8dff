//! What operators decide of the selection: where regions are, which networks are where, which edges for whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::geo::Coordinates;
use crate::id::{AppId, Region};
use crate::limits::{
    RULE_REGIONS_MAX, SELECT_NETWORKS_MAX, SELECT_REGIONS_MAX, SELECT_RULES_MAX, SELECT_RULES_REGIONS_MAX,
};

/// The whole of it, as the registry has it: fields of a newer release are skipped. Edges' weights are their own ([`crate::registry::Command::EdgeSet`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Where regions are, in degrees: `[latitude, longitude]`. Where a region's edges say it themselves it may be
    /// left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<Region, Coordinates>,
    /// In which region the clients of a network are; the longest prefix counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<IpNet, Region>,
    /// Which edges for whom: all rules that match count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// Which edges the clients of a region, or of an app, are given; of both where it names both, of all where neither.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Clients there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Clients of this app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// Edges there before any others, however far.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<Region>,
    /// No edges there, whatever happens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<Region>,
    /// Edges there and nowhere else, whatever happens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Region>,
}

impl Rule {
    fn is_about(&self, region: Option<&Region>, app: Option<&AppId>) -> bool {
        self.region.as_ref().is_none_or(|of| Some(of) == region)
            && self.app.as_ref().is_none_or(|of| Some(of) == app)
    }

    fn named(&self) -> usize {
        self.prefer.len() + self.never.len() + self.only.len()
    }
}

/// Why a policy is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// Too many regions.
    #[error("regions: {SELECT_REGIONS_MAX} at most")]
    Regions,
    /// Too many networks.
    #[error("networks: {SELECT_NETWORKS_MAX} at most")]
    Networks,
    /// Too many rules, or regions that they name.
    #[error(
        "rules: {SELECT_RULES_MAX} at most, each with {RULE_REGIONS_MAX} regions at most, \
         {SELECT_RULES_REGIONS_MAX} in all"
    )]
    Rules,
    /// A rule that says nothing.
    #[error("rules: each says `prefer`, `never` or `only`")]
    Empty,
}

/// What the rules say of edges in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Before others.
    Preferred,
    /// By distance.
    Allowed,
    /// Not at all.
    Denied,
}

impl Policy {
    /// Whether it is within its limits.
    ///
    /// # Errors
    /// [`BadPolicy`], naming the field.
    pub fn check(&self) -> Result<(), BadPolicy> {
        let named = |rule: &Rule| rule.named();
        if self.regions.len() > SELECT_REGIONS_MAX {
            return Err(BadPolicy::Regions);
        }
        if self.networks.len() > SELECT_NETWORKS_MAX {
            return Err(BadPolicy::Networks);
        }
        if self.rules.len() > SELECT_RULES_MAX
            || self.rules.iter().any(|rule| rule.named() > RULE_REGIONS_MAX)
            || self.rules.iter().map(named).sum::<usize>() > SELECT_RULES_REGIONS_MAX
        {
            return Err(BadPolicy::Rules);
        }
        if self.rules.iter().any(|rule| rule.named() == 0) {
            return Err(BadPolicy::Empty);
        }
        Ok(())
    }

    /// The region that the operator's table has for an address: that of the longest prefix.
    #[must_use]
    pub fn region_of(&self, ip: IpAddr) -> Option<&Region> {
        let ip = ip.to_canonical();
        let of = self.networks.iter().filter(|(net, _)| net.contains(&ip));
        of.max_by_key(|(net, _)| net.prefix_len()).map(|(_, region)| region)
    }

    /// The rules for a client.
    pub(super) fn rules_for<'a>(&'a self, region: Option<&Region>, app: Option<&AppId>) -> Vec<&'a Rule> {
        self.rules.iter().filter(|rule| rule.is_about(region, app)).collect()
    }
}

/// What these rules say of edges in a region. `never` wins, then `only`.
pub(super) fn verdict(rules: &[&Rule], region: &Region) -> Verdict {
    if rules.iter().any(|rule| rule.never.contains(region))
        || rules.iter().any(|rule| !rule.only.is_empty() && !rule.only.contains(region))
    {
        return Verdict::Denied;
    }
    if rules.iter().any(|rule| rule.prefer.contains(region)) { Verdict::Preferred } else { Verdict::Allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    #[test]
    fn the_longest_prefix_counts() {
        let policy: Policy = serde_json::from_str(
            r#"{"networks": {"10.0.0.0/8": "eu", "10.1.0.0/16": "us", "2001:db8::/32": "ap"}}"#,
        )
        .unwrap();
        let of = |ip: &str| policy.region_of(ip.parse().unwrap()).map(Region::as_str);
        assert_eq!(
            (of("10.2.3.4"), of("10.1.2.3"), of("::ffff:10.1.2.3")),
            (Some("eu"), Some("us"), Some("us"))
        );
        assert_eq!((of("2001:db8:1::1"), of("192.0.2.1")), (Some("ap"), None));
    }

    #[test]
    fn rules_match_by_region_and_app() {
        let policy: Policy = serde_json::from_str(
            r#"{"rules": [
                {"region": "cn", "prefer": ["hk"], "never": ["us"]},
                {"app": "bank", "only": ["eu", "ch"]},
                {"region": "ch", "app": "bank", "prefer": ["ch"]}
            ]}"#,
        )
        .unwrap();
        policy.check().unwrap();
        let verdict = |at: &str, app: &str, edges: &str| {
            let rules = policy.rules_for(Some(&region(at)), Some(&AppId::new(app).unwrap()));
            verdict(&rules, &region(edges))
        };
        assert_eq!(verdict("cn", "a", "hk"), Verdict::Preferred);
        assert_eq!(verdict("cn", "a", "us"), Verdict::Denied);
        assert_eq!(verdict("de", "a", "us"), Verdict::Allowed);
        assert_eq!(verdict("cn", "bank", "hk"), Verdict::Denied, "only is harder than prefer");
        assert_eq!(
            (verdict("ch", "bank", "ch"), verdict("ch", "bank", "eu")),
            (Verdict::Preferred, Verdict::Allowed)
        );
    }

    #[test]
    fn what_is_too_much_or_says_nothing_is_refused() {
        let mut policy = Policy { rules: vec![Rule::default()], ..Policy::default() };
        assert_eq!(policy.check(), Err(BadPolicy::Empty));
        policy.rules = vec![Rule { only: vec![region("a"); RULE_REGIONS_MAX + 1], ..Rule::default() }];
        assert_eq!(policy.check(), Err(BadPolicy::Rules));
        policy.rules = vec![Rule { only: vec![region("a")], ..Rule::default() }; SELECT_RULES_MAX + 1];
        assert_eq!(policy.check(), Err(BadPolicy::Rules));
        policy.rules.clear();
        let net = |n: usize| IpNet::new(IpAddr::V4(u32::try_from(n << 8).unwrap().into()), 24).unwrap();
        policy.networks = (0..=SELECT_NETWORKS_MAX).map(|n| (net(n), region("a"))).collect();
        assert_eq!(policy.check(), Err(BadPolicy::Networks));
        policy.networks.clear();
        let here = Coordinates::new(1.0, 2.0).unwrap();
        policy.regions = (0..=SELECT_REGIONS_MAX).map(|n| (region(&n.to_string()), here)).collect();
        assert_eq!(policy.check(), Err(BadPolicy::Regions));
        for bad in [r#"{"networks": {"10.0.0.0": "eu"}}"#, r#"{"regions": {"a": [91, 0]}}"#] {
            assert!(serde_json::from_str::<Policy>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_largest_fits_into_an_entry() {
        let long = |n: usize| region(&format!("{n:0>64}"));
        let here = Coordinates::new(1.0, 2.0).unwrap();
        let net = |n: usize| {
            IpNet::new(IpAddr::V6((u128::MAX << 64 | (n as u128) << 32).into()), 96).unwrap().trunc()
        };
        let per_rule = SELECT_RULES_REGIONS_MAX / SELECT_RULES_MAX;
        let rule = Rule {
            region: Some(long(1)),
            app: Some(AppId::new(&"a".repeat(64)).unwrap()),
            never: (0..per_rule).map(long).collect(),
            ..Rule::default()
        };
        let policy = Policy {
            regions: (0..SELECT_REGIONS_MAX).map(|n| (long(n), here)).collect(),
            networks: (0..SELECT_NETWORKS_MAX).map(|n| (net(n), long(n))).collect(),
            rules: vec![rule; SELECT_RULES_MAX],
        };
        policy.check().unwrap();
        let bytes = crate::wire::encode(&policy).unwrap();
        assert!(bytes.len() < crate::limits::ENTRY_MAX * 9 / 10, "{} bytes", bytes.len());
        assert_eq!(crate::wire::decode::<Policy>(&bytes, usize::MAX).unwrap(), policy);
    }
}

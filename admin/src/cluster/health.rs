//! Whether a cluster is well, in words, each with what to do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use chappe_proto::id::{NodeId, Region};
use chappe_proto::registry::NodeState;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::control::{ClusterStatus, Member};

/// How a cluster is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// What is wrong now; nothing where the cluster is well.
    pub problems: Vec<String>,
    /// What would make a failure worse than it must be, or is only under way.
    pub hints: Vec<String>,
}

/// A voter that is not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    /// Which.
    pub node: NodeId,
    /// Where it stands.
    pub region: Option<Region>,
    /// How long ago it was last heard; none for never.
    pub heard: Option<Duration>,
}

/// Why there is no leader: `no leader: 2 of 3 voters unreachable: …`.
#[must_use]
pub fn no_leader(voters: usize, silent: &[Silent]) -> String {
    if silent.is_empty() {
        return "no leader: the voters are electing one; try again".to_owned();
    }
    let mut words = format!("no leader: {} of {voters} voters unreachable: ", silent.len());
    for (nth, one) in silent.iter().enumerate() {
        let _ = write!(words, "{}node {}", if nth == 0 { "" } else { ", " }, one.node);
        let place = one.region.as_ref().map(|region| format!("{region}, ")).unwrap_or_default();
        let _ = match one.heard {
            Some(ago) => write!(words, " ({place}last heard {} ago)", span(ago)),
            None => write!(words, " ({place}never heard)"),
        };
    }
    words
}

/// A time as people say it.
#[must_use]
pub fn span(time: Duration) -> String {
    match (time.as_millis(), time.as_secs()) {
        (ms @ 0..1000, _) => format!("{ms} ms"),
        (_, s @ 0..120) => format!("{s} s"),
        (_, s @ 0..7_200) => format!("{} min", s / 60),
        (_, s @ 0..172_800) => format!("{} h", s / 3600),
        (_, s) => format!("{} days", s / 86_400),
    }
}

impl Health {
    /// Of a cluster as one of its nodes knows it.
    #[must_use]
    pub fn of(status: &ClusterStatus) -> Self {
        let mut health = Self::default();
        health.voters(status);
        for member in &status.members {
            health.member(status, member);
        }
        health.builds(status);
        health.links(status);
        health
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_fine(&self) -> bool {
        self.problems.is_empty()
    }

    fn voters(&mut self, status: &ClusterStatus) {
        let voters: Vec<_> = status.voters().collect();
        let silent: Vec<_> = voters.iter().filter(|member| !member.reachable).map(|m| silent(m)).collect();
        let all = voters.len();
        let wanted = usize::from(status.voters_wanted);
        if status.leader.is_none() {
            self.problems.push(no_leader(all, &silent));
            if silent.len() * 2 > all.saturating_sub(1) && !silent.is_empty() {
                self.hints.push(
                    "calls go on, but nobody is admitted and nothing changes until a majority of the voters is \
                     back; if they never come back: `chappe cluster recover`"
                        .to_owned(),
                );
            }
            return;
        }
        let spare = all.saturating_sub(silent.len()).saturating_sub(all / 2 + 1);
        for one in &silent {
            let ago = one.heard.map_or("never heard".to_owned(), |ago| format!("silent for {}", span(ago)));
            self.problems.push(format!(
                "voter {} is unreachable ({ago}): {} more may fail before nothing can be committed",
                one.node, spare
            ));
        }
        if all < wanted {
            let nodes = status.members.iter().filter(|member| !member.leaving).count();
            let fix = match wanted.saturating_sub(nodes) {
                0 => "others take their place as they catch up".to_owned(),
                1 => "add a node (`chappe cluster invite`)".to_owned(),
                missing => format!("add {missing} nodes (`chappe cluster invite`)"),
            };
            let risk =
                if all == 1 { "the loss of this one stops the cluster" } else { "until then fewer may fail" };
            self.hints.push(format!("{all} of {wanted} voters: {fix}; {risk}"));
        } else if let Some((region, held)) = heaviest(&voters)
            && held * 2 >= all
            && all > 1
        {
            self.hints.push(format!(
                "{held} of {all} voters are in region {region}: its loss stops the cluster; nodes in three regions \
                 survive the loss of any one"
            ));
        }
    }

    fn member(&mut self, status: &ClusterStatus, member: &Member) {
        let node = member.node;
        if member.state == NodeState::Down {
            if !member.leaving {
                self.problems.push(format!(
                    "node {node} is down: start it again, or let it go by `chappe cluster remove {node}`"
                ));
            }
            return;
        }
        if !member.reachable && !member.role.votes() {
            self.problems.push(format!("node {node} is unreachable from node {}", status.node));
        }
        if member.leaving {
            self.hints.push(format!("node {node} is leaving"));
        } else if member.draining {
            self.hints.push(match (&member.own, member.shards) {
                (Some(own), 0) if own.sessions == 0 => {
                    format!("node {node} is drained: stop it, or `chappe cluster resume {node}`")
                }
                _ => format!("node {node} is draining"),
            });
        }
        let Some(own) = &member.own else { return };
        if !own.lease && status.leader.is_some() {
            self.problems
                .push(format!("node {node} has no lease: its rooms admit nobody, calls in them go on"));
        }
        if own.disk_low {
            self.problems.push(format!("node {node} has less than 64 MB of free disk: free some"));
        }
    }

    fn builds(&mut self, status: &ClusterStatus) {
        let mut builds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for member in status.members.iter().filter(|member| member.state == NodeState::Up) {
            builds.entry(&member.build).or_default().push(member.node.to_string());
        }
        if builds.len() > 1 {
            let each: Vec<_> =
                builds.iter().map(|(build, nodes)| format!("{build} on {}", nodes.join(", "))).collect();
            self.hints.push(format!("nodes run different builds: {}", each.join("; ")));
        }
    }

    fn links(&mut self, status: &ClusterStatus) {
        for member in &status.members {
            for link in member.own.iter().flat_map(|own| &own.links) {
                // Each pair once.
                if let Some(via) = link.via
                    && member.node < link.to
                {
                    self.hints.push(format!(
                        "nodes {} and {} have no direct link; node {via} forwards",
                        member.node, link.to
                    ));
                }
            }
        }
    }
}

fn silent(member: &Member) -> Silent {
    Silent {
        node: member.node,
        region: Some(member.region.clone()),
        heard: member.heard_ms.map(Duration::from_millis),
    }
}

/// The region with the most voters.
fn heaviest(voters: &[&Member]) -> Option<(Region, usize)> {
    let mut regions: BTreeMap<&Region, usize> = BTreeMap::new();
    for voter in voters {
        *regions.entry(&voter.region).or_default() += 1;
    }
    regions.into_iter().max_by_key(|(_, held)| *held).map(|(region, held)| (region.clone(), held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Link, MemberRole};
    use crate::memory::three_nodes;

    fn of(change: impl FnOnce(&mut ClusterStatus)) -> Health {
        let mut status = three_nodes();
        change(&mut status);
        Health::of(&status)
    }

    #[test]
    fn three_nodes_in_three_regions_are_well() {
        assert_eq!(of(|_| {}), Health::default());
    }

    #[test]
    fn without_a_leader_it_is_said_who_is_missing() {
        let health = of(|status| {
            status.leader = None;
            for member in &mut status.members {
                member.role = MemberRole::Voter;
            }
            (status.members[1].reachable, status.members[1].heard_ms) = (false, Some(4_200));
            (status.members[2].reachable, status.members[2].heard_ms) = (false, None);
        });
        assert_eq!(
            health.problems,
            [
                "no leader: 2 of 3 voters unreachable: node 2 (us, last heard 4 s ago), node 3 (ap, never heard)"
            ]
        );
        assert!(health.hints[0].contains("recover"), "{health:?}");
        assert_eq!(no_leader(3, &[]), "no leader: the voters are electing one; try again");
    }

    #[test]
    fn a_silent_voter_is_told_with_how_many_more_may_fail() {
        let health = of(|status| {
            (status.members[1].reachable, status.members[1].heard_ms) = (false, Some(900));
        });
        let told =
            "voter 2 is unreachable (silent for 900 ms): 0 more may fail before nothing can be committed";
        assert_eq!(health.problems, [told]);
    }

    #[test]
    fn regions_and_voters_that_cannot_survive_a_loss_are_hinted_at() {
        let two = of(|status| status.members[2].region = Region::new("us").unwrap());
        assert!(two.is_fine() && two.hints[0].starts_with("2 of 3 voters are in region us"), "{two:?}");
        let one = of(|status| {
            status.members.truncate(1);
        });
        assert!(one.is_fine() && one.hints[0].starts_with("1 of 3 voters: add 2 nodes"), "{one:?}");
    }

    #[test]
    fn each_trouble_of_a_node_has_its_words() {
        let health = of(|status| {
            status.members[0].draining = true;
            status.members[1].state = NodeState::Down;
            status.members[2].build = "9.0.0".to_owned();
            let own = status.members[2].own.as_mut().unwrap();
            (own.lease, own.disk_low) = (false, true);
            let via = Link { to: NodeId(3), via: Some(NodeId(2)), rtt_ms: None };
            status.members[0].own.as_mut().unwrap().links.push(via);
        });
        let (problems, hints) = (health.problems.join("\n"), health.hints.join("\n"));
        for told in ["node 2 is down", "cluster remove 2", "node 3 has no lease", "64 MB"] {
            assert!(problems.contains(told), "{told} not in {problems}");
        }
        for told in ["node 1 is draining", "different builds", "nodes 1 and 3 have no direct link; node 2"] {
            assert!(hints.contains(told), "{told} not in {hints}");
        }
    }

    #[test]
    fn times_are_said_in_one_unit() {
        let said = |ms| span(Duration::from_millis(ms));
        assert_eq!([said(20), said(61_000), said(600_000)], ["20 ms", "61 s", "10 min"]);
        assert_eq!([said(7_200_000), said(864_000_000)], ["2 h", "10 days"]);
    }
}

//! Who is what in the cluster at the moment, which process is to be struck, and where the load goes so that
//! it passes there.

use anyhow::{Context, Result, bail};
use chappe_proto::id::{AppId, RoomKey, RoomName};

/// What the victim is to the load, or to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It runs the rooms.
    Owner,
    /// It holds one of each room's two sockets.
    Gateway,
    /// It leads the registry, and has nothing to do with the rooms.
    Leader,
    /// Owner and gateway in one process.
    OwnerGateway,
    /// Owner and leader in one process.
    OwnerLeader,
    /// Two processes at once: the owner, and a gateway.
    Two,
    /// Two of three voters one after the other, the leader first; no room has to do with them.
    Quorum,
    /// All of them, one after another.
    All,
}

impl Role {
    /// Those that each fault may strike.
    pub(super) const EACH: [(&'static str, Self); 6] = [
        ("owner", Self::Owner),
        ("gateway", Self::Gateway),
        ("leader", Self::Leader),
        ("owner+gateway", Self::OwnerGateway),
        ("owner+leader", Self::OwnerLeader),
        ("two", Self::Two),
    ];

    fn owns(self) -> bool {
        matches!(self, Self::Owner | Self::OwnerGateway | Self::OwnerLeader | Self::Two)
    }

    fn leads(self) -> bool {
        matches!(self, Self::Leader | Self::OwnerLeader | Self::Quorum)
    }

    /// Whether the load's signals pass a victim.
    pub(super) fn is_passed(self) -> bool {
        self.owns() || self.is_gateway()
    }

    fn is_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::OwnerGateway | Self::Two)
    }
}

/// The cluster as its admin API tells it.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) leader: u64,
    pub(super) voters: Vec<u64>,
    pub(super) up: Vec<u64>,
    /// The owner of each shard.
    pub(super) owners: Vec<Option<u64>>,
}

/// Whom a fault strikes, and where the load is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) victims: Vec<u64>,
    /// Whether the load's signals pass a victim.
    pub(super) through: bool,
    /// Who runs the rooms.
    pub(super) owners: Vec<u64>,
    /// A victim that holds sockets.
    struck: Option<u64>,
    /// Nodes that live on.
    others: Vec<u64>,
}

impl Plan {
    /// Chooses for a role; the round's number makes it another node each time.
    pub(super) fn of(role: Role, view: &View, round: usize) -> Result<Self> {
        let pick = |from: &[u64]| from.get(round % from.len().max(1)).copied();
        let plain: Vec<u64> = view.up.iter().copied().filter(|node| *node != view.leader).collect();
        let first = if role.leads() { Some(view.leader) } else { pick(&plain) };
        let first = first.context("there is no node to strike")?;
        let mut victims = vec![first];
        if role == Role::Two {
            // The registry keeps its quorum: at most one voter of three.
            let votes = |node: &u64| view.voters.contains(node);
            let allowed = |node: &u64| *node != first && !(votes(&first) && votes(node));
            let second: Vec<u64> = plain.iter().copied().filter(allowed).collect();
            victims.push(pick(&second).context("no second node to strike without the quorum")?);
        }
        if role == Role::Quorum {
            let voters = view.voters.iter().copied().filter(|node| *node != first);
            victims.push(pick(&voters.collect::<Vec<_>>()).context("there is no other voter")?);
        }
        let mut others: Vec<u64> = view.up.iter().copied().filter(|node| !victims.contains(node)).collect();
        if role == Role::All {
            (victims, others) = (view.up.clone(), view.up.clone());
        }
        if others.len() < 2 && view.up.len() > 1 {
            bail!("{} nodes are too few for this", view.up.len());
        }
        let struck = role.is_gateway().then(|| *victims.last().unwrap_or(&first));
        let owners = if role.owns() { vec![first] } else { others.clone() };
        Ok(Self { through: role.is_passed(), victims, owners, struck, others })
    }

    /// The nodes of a room's sender and receiver.
    pub(super) fn gateways(&self, room: usize) -> (u64, u64) {
        let other = |n: usize| self.others.get(n % self.others.len().max(1)).copied();
        let live = other(room / 2).or(self.struck).unwrap_or(0);
        match self.struck {
            Some(struck) if room.is_multiple_of(2) => (struck, live),
            Some(struck) => (live, struck),
            None => (live, other(room / 2 + 1).unwrap_or(live)),
        }
    }

    /// A node that lives on.
    pub(super) fn other(&self, n: usize) -> u64 {
        self.others.get(n % self.others.len().max(1)).or(self.victims.first()).copied().unwrap_or(0)
    }

    /// Names of so many rooms that the right nodes own.
    pub(super) fn rooms(&self, app: &AppId, view: &View, prefix: &str, count: usize) -> Result<Vec<String>> {
        let owned = |name: &String| {
            let key = RoomKey { app: app.clone(), room: RoomName::new(name).ok()? };
            let owner = view.owners.get(usize::from(key.anchor().0)).copied().flatten()?;
            self.owners.contains(&owner).then_some(())
        };
        let tries = (0..count * 500).map(|n| format!("{prefix}-{n}"));
        let names: Vec<String> = tries.filter(|name| owned(name).is_some()).take(count).collect();
        if names.len() < count {
            bail!("node {:?} owns too few shards for {count} rooms", self.owners);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let owners = (0..4096_u64).map(|shard| Some(shard % 5 + 1)).collect();
        View { leader: 2, voters: vec![1, 2, 3], up: vec![1, 2, 3, 4, 5], owners }
    }

    #[test]
    fn each_role_strikes_whom_it_should() {
        for round in 0..20 {
            let plan = |role| Plan::of(role, &view(), round).unwrap();
            for role in [Role::Leader, Role::OwnerLeader] {
                assert_eq!(plan(role).victims, [2]);
            }
            for role in [Role::Owner, Role::Gateway, Role::OwnerGateway] {
                assert!(!plan(role).victims.contains(&2));
            }
            let two = plan(Role::Two).victims;
            assert!(two[0] != two[1] && two.iter().filter(|node| **node <= 3).count() <= 1, "{two:?}");
        }
    }

    #[test]
    fn a_quorum_is_lost_by_its_leader_first() {
        let plan = Plan::of(Role::Quorum, &view(), 1).unwrap();
        assert_eq!((plan.victims[0], plan.victims.len(), plan.through), (2, 2, false));
        assert!([1, 3].contains(&plan.victims[1]));
        let all = Plan::of(Role::All, &view(), 0).unwrap();
        assert_eq!((all.victims.len(), all.owners.len()), (5, 5));
    }

    #[test]
    fn the_load_passes_the_victim_as_its_role_says() {
        for (_, role) in Role::EACH {
            let plan = Plan::of(role, &view(), 1).unwrap();
            let owned = plan.victims.contains(&plan.owners[0]);
            assert_eq!((owned, plan.owners.len() == 1), (role.owns(), role.owns()));
            for room in 0..12 {
                let (one, other) = plan.gateways(room);
                assert_ne!(one, other);
                let struck = [one, other].iter().filter(|node| plan.victims.contains(node)).count();
                assert_eq!(struck, usize::from(role.is_gateway()), "{role:?}");
            }
        }
    }

    #[test]
    fn rooms_are_found_by_their_shards_owner() {
        let app = AppId::new("bench").unwrap();
        let plan = Plan::of(Role::Owner, &view(), 0).unwrap();
        let rooms = plan.rooms(&app, &view(), "r", 300).unwrap();
        assert_eq!(rooms.len(), 300);
        for room in rooms {
            let key = RoomKey { app: app.clone(), room: RoomName::new(&room).unwrap() };
            assert_eq!(view().owners[usize::from(key.anchor().0)], Some(plan.victims[0]));
        }
        let nobody = View { owners: vec![None; 4096], ..view() };
        assert!(plan.rooms(&app, &nobody, "r", 1).is_err());
    }
}

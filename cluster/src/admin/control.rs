//! What operators see and decide of the cluster, of what a single member can do.

use chappe_admin::control::{
    Backup, ClusterStatus, EdgeIdentity, Event, Fault, Invitation, InvitationStatus, InvitationWish, Member,
    MemberOwn, MemberRole, NodeChange,
};
use chappe_admin::{Answer, Changed, Control};
use chappe_proto::id::{ClusterId, EdgeId, Index, InvitationId, NodeId};
use chappe_proto::registry::profile::ProfileName;
use chappe_proto::registry::{self, Command, Note};

use super::Admin;
use crate::consensus::Role;

/// What needs another member.
const ALONE: &str = "this node is the only member of its cluster";

impl Admin {
    async fn commit(&self, command: Command, note: Note) -> Result<(), Fault> {
        match self.change(command, note).await {
            Changed::Done => Ok(()),
            Changed::Refused(refusal) => Err(Fault::Refused(refusal)),
            Changed::Unavailable => {
                Err(Fault::Unavailable("the registry cannot commit right now; try again".to_owned()))
            }
        }
    }

    fn own(&self, disk_low: bool, applied: Index) -> MemberOwn {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        MemberOwn {
            lease: true,
            sessions: count(self.0.sessions.len()),
            rooms: count(self.0.rooms.len()),
            applied,
            disk_low,
            ..MemberOwn::default()
        }
    }
}

fn open((id, held): (&InvitationId, &registry::Invitation)) -> InvitationStatus {
    InvitationStatus { id: *id, region: held.region.clone(), until: held.until }
}

impl Control for Admin {
    fn status(&self) -> Answer<'_, ClusterStatus> {
        let (state, raft) = (self.0.registry.state(), self.0.registry.status());
        let role = |node: NodeId| match raft.leader {
            Some(leader) if leader == node => MemberRole::Leader,
            _ if raft.voters.contains(&node) => MemberRole::Voter,
            _ if raft.learners.contains(&node) => MemberRole::StandBy,
            _ => MemberRole::Follower,
        };
        let members = state.nodes().map(|(id, node)| {
            let me = id == raft.member;
            let shards = state.shards().filter(|(_, shard)| shard.owner == Some(id)).count();
            Member {
                node: id,
                region: node.region.clone(),
                role: role(id),
                generation: node.generation,
                state: node.state,
                since: node.since,
                reachable: me,
                heard_ms: me.then_some(0),
                build: node.build.clone(),
                weight: node.weight,
                draining: node.draining,
                leaving: node.leaving,
                shards: u32::try_from(shards).unwrap_or(u32::MAX),
                lag: (me && raft.role == Role::Leader).then_some(0),
                own: me.then(|| self.own(raft.disk_low, state.index())),
                mesh: node.addresses.mesh.clone(),
                public: node.addresses.public.clone(),
            }
        });
        let status = ClusterStatus {
            id: state.cluster().map_or_else(|| ClusterId::from_random([0; 15]), |cluster| cluster.id),
            name: state.cluster().map(|cluster| cluster.name.clone()).unwrap_or_default(),
            version: state.version(),
            profile: state.profile_name(),
            voters_wanted: state.wanted_voters(),
            node: raft.member,
            leader: raft.leader,
            term: raft.term,
            committed: Index(raft.committed),
            applied: state.index(),
            members: members.collect(),
            authorities: Vec::new(),
            invitations: state.invitations().filter(|(_, held)| held.used.is_none()).map(open).collect(),
        };
        Box::pin(async { status })
    }

    fn node_set(&self, node: NodeId, change: NodeChange, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            let state = self.0.registry.state();
            let held = state.node(node).ok_or(Fault::NotThere("node"))?;
            let weight = change.weight.unwrap_or(held.weight);
            let draining = change.draining.unwrap_or(held.draining);
            self.commit(Command::NodeSet { node, weight, draining }, note).await
        })
    }

    fn node_remove(&self, node: NodeId, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(self.commit(Command::NodeLeave { node }, note))
    }

    fn transfer(&self, _: Option<NodeId>, _: Note) -> Answer<'_, Result<NodeId, Fault>> {
        Box::pin(async { Err(Fault::Conflict(ALONE.to_owned())) })
    }

    fn invite(&self, _: InvitationWish, _: Note) -> Answer<'_, Result<Invitation, Fault>> {
        Box::pin(async { Err(Fault::Conflict(ALONE.to_owned())) })
    }

    fn invitation_remove(&self, id: InvitationId, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(self.commit(Command::InvitationRemove { id }, note))
    }

    fn authority_rotate(&self, _: Note) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(async { Err(Fault::Conflict(ALONE.to_owned())) })
    }

    fn profile_set(&self, profile: ProfileName, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(self.commit(Command::ProfileSet { profile }, note))
    }

    fn voters_set(&self, wanted: u8, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(self.commit(Command::VotersSet { wanted }, note))
    }

    fn edge_certify(&self, _: EdgeId, _: Vec<u8>, _: Note) -> Answer<'_, Result<EdgeIdentity, Fault>> {
        Box::pin(async { Err(Fault::Conflict(ALONE.to_owned())) })
    }

    fn backup(&self, _: Note) -> Answer<'_, Result<Backup, Fault>> {
        Box::pin(async {
            Err(Fault::Conflict(
                "a cluster of one is backed up by a copy of its directory, once stopped".to_owned(),
            ))
        })
    }

    fn shards(&self) -> Answer<'_, Vec<Option<NodeId>>> {
        let state = self.0.registry.state();
        let owners = state.shards().map(|(_, shard)| shard.owner).collect();
        Box::pin(async { owners })
    }

    fn events(&self) -> Answer<'_, Vec<Event>> {
        Box::pin(async { Vec::new() })
    }
}

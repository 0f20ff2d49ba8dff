//! What operators see and decide of the cluster.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::time::Duration;

use chappe_admin::control::{
    AuthorityStatus, Backup, ClusterStatus, EdgeChange, EdgeIdentity, EdgeReport, Event, Fault, Invitation,
    InvitationStatus, InvitationWish, Link, Member, MemberOwn, MemberRole, NodeChange,
};
use chappe_admin::{Answer, Control, asked};
use chappe_proto::id::{ClusterId, EdgeId, Index, InvitationId, NodeId};
use chappe_proto::limits;
use chappe_proto::mesh::node::{Answer as Reply, Ask, NodeStatus};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::profile::ProfileName;
use chappe_proto::registry::{self, Command, EdgeState, NodeState, Note, Outcome, State};
use futures_util::future::join_all;
use rustix::fs::{MemfdFlags, memfd_create};
use rustls::pki_types::CertificateDer;

use super::role::role;
use super::{Admin, NODE_WITHIN, REGISTRY_WITHIN};
use crate::actor::edges::ListEdges;
use crate::clock;
use crate::consensus::backup;
use crate::consensus::{Proposal, Role, Status};
use crate::mesh::join;
use crate::mesh::pki::{self, Authority, Holder, PkiError};

/// The next leader must be there within this.
const TRANSFER_WITHIN: Duration = Duration::from_secs(5);

impl Admin {
    pub(super) async fn commit(&self, command: Command, note: Note) -> Result<Outcome, Fault> {
        let by = asked::request_id(&command);
        let proposal = Proposal { command, by, note: Some(note) };
        let proposed = self.node.proposals.propose(proposal, REGISTRY_WITHIN).await;
        let applied = proposed.map_err(|missing| Fault::Unavailable(missing.to_string()))?;
        Ok(applied.outcome.accepted()?)
    }

    /// What each node says of itself, of those that answer.
    pub(super) async fn said(&self, nodes: impl Iterator<Item = NodeId>) -> BTreeMap<NodeId, NodeStatus> {
        let ask = async |node| {
            let answer = self.node.mesh.request(node, Ask::Status, NODE_WITHIN).await;
            match answer {
                Ok(Reply::Status(status)) => Some((node, status)),
                _ => None,
            }
        };
        join_all(nodes.map(ask)).await.into_iter().flatten().collect()
    }

    /// Who is to lead, where nobody was named: a voter that is up and keeps up.
    async fn heir(&self, state: &State, raft: &Status) -> Option<NodeId> {
        let known = raft.role == Role::Leader;
        let said = if raft.is_member() { BTreeMap::new() } else { self.said(self.reached(state)).await };
        let mut fit = state.nodes().map(|(node, _)| node).filter(|node| {
            role(raft, &said, *node) == MemberRole::Voter
                && state.is_up(*node)
                && self.node.reaches(*node)
                && (!known || raft.caught_up.contains(node))
        });
        fit.next()
    }

    /// The nodes that can be asked.
    fn reached(&self, state: &State) -> impl Iterator<Item = NodeId> {
        state.nodes().map(|(id, _)| id).filter(|id| self.node.reaches(*id))
    }
}

fn own(status: NodeStatus) -> MemberOwn {
    let direct = status.reaches.iter().zip(&status.round_trips).map(|(to, rtt)| {
        #[expect(clippy::cast_precision_loss, reason = "a round trip is far below 2^52 microseconds")]
        let rtt_ms = (*rtt > 0).then_some(*rtt as f64 / 1000.0);
        Link { to: *to, via: None, rtt_ms }
    });
    let through = status.through.iter().map(|(to, via)| Link { to: *to, via: Some(*via), rtt_ms: None });
    MemberOwn {
        links: direct.chain(through).collect(),
        lease: status.lease,
        sessions: status.sessions,
        foreign: status.foreign,
        rooms: status.rooms,
        applied: status.applied,
        edges: status.edges,
        disk_low: status.disk_low,
        certificate_until: status.certificate_until,
    }
}

fn authorities(state: &State) -> Vec<AuthorityStatus> {
    let status = |(number, authority): (&u64, &registry::Authority)| {
        let der = CertificateDer::from(authority.certificate.0.clone());
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        AuthorityStatus {
            number: *number,
            fingerprint: data_encoding::HEXLOWER.encode(digest.as_ref()),
            until: pki::validity(&der).map(|(_, until)| until).unwrap_or_default(),
        }
    };
    state.authorities().all().iter().map(status).collect()
}

fn open((id, held): (&InvitationId, &registry::Invitation)) -> InvitationStatus {
    InvitationStatus { id: *id, region: held.region.clone(), edge: held.edge.clone(), until: held.until }
}

impl Control for Admin {
    fn status(&self) -> Answer<'_, ClusterStatus> {
        Box::pin(async {
            let (state, raft) = (self.node.registry.state(), self.node.registry.status());
            let mut said = self.said(self.reached(&state)).await;
            // Who is no member of Raft is told what others have applied, and nothing of the log.
            let applied = said.values().map(|status| status.applied.0);
            let committed = applied.chain([raft.committed]).max().unwrap_or_default();
            let roles: BTreeMap<_, _> = state.nodes().map(|(id, _)| (id, role(&raft, &said, id))).collect();
            let links = self.node.mesh.links().borrow().clone();
            let heard = |id| {
                let ago = links.lost(id).map(|at| clock::mono().since(at).as_millis());
                ago.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX))
            };
            let mut shards: BTreeMap<NodeId, u32> = BTreeMap::new();
            for owner in state.shards().filter_map(|(_, shard)| shard.owner) {
                *shards.entry(owner).or_default() += 1;
            }
            let members = state.nodes().map(|(id, node)| {
                let role = roles.get(&id).copied().unwrap_or(MemberRole::Follower);
                let own = said.remove(&id).map(own);
                let behind = |own: &MemberOwn| committed.saturating_sub(own.applied.0);
                Member {
                    node: id,
                    region: node.region.clone(),
                    role,
                    generation: node.generation,
                    state: node.state,
                    since: node.since,
                    reachable: self.node.reaches(id),
                    heard_ms: if own.is_some() { Some(0) } else { heard(id) },
                    build: node.build.clone(),
                    weight: node.weight,
                    draining: node.drains(),
                    leaving: node.leaving,
                    shards: shards.get(&id).copied().unwrap_or(0),
                    lag: own.as_ref().map(behind),
                    own,
                    mesh: node.addresses.mesh.clone(),
                    public: node.addresses.public.clone(),
                }
            });
            ClusterStatus {
                id: state.cluster().map_or_else(|| ClusterId::from_random([0; 15]), |cluster| cluster.id),
                name: state.cluster().map(|cluster| cluster.name.clone()).unwrap_or_default(),
                version: state.version(),
                profile: state.profile_name(),
                voters_wanted: state.wanted_voters(),
                node: self.node.id,
                leader: raft.leader,
                term: raft.term,
                committed: Index(committed),
                applied: state.index(),
                members: members.collect(),
                authorities: authorities(&state),
                invitations: state.invitations().filter(|(_, held)| held.used.is_none()).map(open).collect(),
            }
        })
    }

    fn node_set(&self, node: NodeId, change: NodeChange, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            let state = self.node.registry.state();
            let held = state.node(node).ok_or(Fault::NotThere("node"))?;
            let weight = change.weight.unwrap_or(held.weight);
            let draining = change.draining.unwrap_or(held.draining);
            self.commit(Command::NodeSet { node, weight, draining }, note).await.map(drop)
        })
    }

    fn node_remove(&self, node: NodeId, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::NodeLeave { node }, note).await.map(drop) })
    }

    fn transfer(&self, to: Option<NodeId>, note: Note) -> Answer<'_, Result<NodeId, Fault>> {
        Box::pin(async move {
            let (state, raft) = (self.node.registry.state(), self.node.registry.status());
            let none = || Fault::Conflict("no other voter is there that could lead now".to_owned());
            let to = match to {
                Some(to) => to,
                None => self.heir(&state, &raft).await.ok_or_else(none)?,
            };
            self.commit(Command::Note, note).await?;
            let leader = self.node.registry.status().leader;
            let leader = leader.ok_or_else(|| Fault::Unavailable("no leader".to_owned()))?;
            match self.node.mesh.request(leader, Ask::Transfer { to }, TRANSFER_WITHIN).await {
                Ok(Reply::Done) => {}
                Ok(Reply::Failed(failure)) => return Err(Fault::Unavailable(failure.to_string())),
                Ok(_) => return Err(Fault::Unavailable("the leader answers something else".to_owned())),
                Err(error) => return Err(Fault::Unavailable(error.to_string())),
            }
            let mut statuses = self.node.registry.watch_status();
            let leads = statuses.wait_for(|status| status.leader == Some(to));
            match tokio::time::timeout(TRANSFER_WITHIN, leads).await {
                Ok(Ok(_)) => Ok(to),
                _ => Err(Fault::Unavailable(format!("node {to} does not lead yet"))),
            }
        })
    }

    fn invite(&self, wish: InvitationWish, note: Note) -> Answer<'_, Result<Invitation, Fault>> {
        Box::pin(async move {
            let state = self.node.registry.state();
            let up = state.nodes().filter(|(_, node)| node.state == NodeState::Up);
            let mut addresses: Vec<_> = up.flat_map(|(_, node)| node.addresses.mesh.clone()).collect();
            addresses.truncate(limits::NODE_ADDRESSES_MAX);
            let until = state.now().max(clock::unix()) + wish.ttl;
            let (command, token) = join::invite(&state, addresses, wish.region, wish.edge, until)
                .map_err(|error| Fault::Unavailable(error.to_string()))?;
            self.commit(command, note).await?;
            Ok(Invitation { id: token.invitation, token: token.to_string(), until })
        })
    }

    fn invitation_remove(&self, id: InvitationId, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::InvitationRemove { id }, note).await.map(drop) })
    }

    fn authority_rotate(&self, note: Note) -> Answer<'_, Result<u64, Fault>> {
        Box::pin(async move {
            let state = self.node.registry.state();
            let cluster = state.cluster().map(|cluster| cluster.id).ok_or(Fault::NotThere("cluster"))?;
            let authority = Authority::make(cluster, clock::unix())
                .map_err(|error| Fault::Unavailable(error.to_string()))?;
            let number = state.authorities().next();
            let (certificate, key) = (authority.certificate().to_vec(), Secret(authority.key()));
            self.commit(Command::AuthorityAdd { number, certificate, key }, note).await?;
            Ok(number)
        })
    }

    fn profile_set(&self, profile: ProfileName, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::ProfileSet { profile }, note).await.map(drop) })
    }

    fn voters_set(&self, wanted: u8, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::VotersSet { wanted }, note).await.map(drop) })
    }

    fn edges(&self) -> Answer<'_, Vec<EdgeReport>> {
        Box::pin(async {
            let state = self.node.registry.state();
            let seen = self.node.edges.send(ListEdges).await.unwrap_or_default();
            let said = self.said(state.nodes().map(|(id, _)| id).filter(|id| self.node.reaches(*id))).await;
            let (now, world) = (clock::mono(), self.node.world());
            let report = |(edge, held): (&EdgeId, &registry::Edge)| {
                let seen = seen.iter().find(|seen| seen.hello.edge == *edge);
                let status = world.edges.edge(edge);
                let reasons = status.iter().flat_map(|status| &status.condition.reasons);
                let nodes = said.iter().filter(|(_, status)| status.edges.contains(edge));
                EdgeReport {
                    edge: edge.clone(),
                    region: held.region.clone(),
                    coordinates: held.coordinates,
                    build: held.build.clone(),
                    state: held.state,
                    weight: held.weight,
                    since: held.since,
                    listeners: held.listeners.clone(),
                    relays: held.relays.clone(),
                    capacity: held.capacity,
                    alive: seen.is_some_and(|seen| seen.alive) && held.state != EdgeState::Removed,
                    heard_ms: seen
                        .map(|seen| u64::try_from(now.since(seen.heard).as_millis()).unwrap_or(u64::MAX)),
                    nodes: nodes.map(|(node, _)| *node).collect(),
                    uplink_ms: status.and_then(|status| status.uplink_ms),
                    condition: status.map(|status| status.condition.clone()),
                    advice: reasons.map(ToString::to_string).collect(),
                    health: seen.and_then(|seen| seen.health.clone()),
                }
            };
            state.edges().map(report).collect()
        })
    }

    fn edge_set(&self, edge: EdgeId, change: EdgeChange, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            let state = self.node.registry.state();
            let held = state.edge(&edge).ok_or(Fault::NotThere("edge"))?;
            let weight = change.weight.unwrap_or(held.weight);
            let decided = change.state.unwrap_or(held.state);
            self.commit(Command::EdgeSet { edge, state: decided, weight }, note).await.map(drop)
        })
    }

    fn edge_forget(&self, edge: EdgeId, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::EdgeForget { edge }, note).await.map(drop) })
    }

    fn edge_certify(
        &self,
        edge: EdgeId,
        public_key: Vec<u8>,
        note: Note,
    ) -> Answer<'_, Result<EdgeIdentity, Fault>> {
        Box::pin(async move {
            let state = self.node.registry.state();
            let broken = |error: PkiError| Fault::Unavailable(error.to_string());
            let authority = Authority::newest(&state).map_err(broken)?.ok_or(Fault::NotThere("authority"))?;
            let certificate =
                authority.certify(&Holder::Edge(edge.clone()), &public_key, clock::unix()).map_err(broken)?;
            let key = pki::key_hash(&certificate).map_err(broken)?;
            // Until it says where it stands itself.
            let region = state.node(self.node.id).map(|node| node.region.clone());
            let region = region.ok_or(Fault::NotThere("node"))?;
            let enrolled = self.commit(Command::EdgeEnrol { edge: edge.clone(), region, key }, note).await;
            enrolled.map_err(|fault| match fault {
                Fault::Refused(registry::Refusal::Removed(_)) => {
                    Fault::Conflict(format!("the edge {edge} was removed"))
                }
                fault => fault,
            })?;
            let cluster = state.cluster().ok_or(Fault::NotThere("cluster"))?;
            let authorities = state.authorities().all().values();
            let up = state.nodes().filter(|(_, node)| node.state == NodeState::Up);
            Ok(EdgeIdentity {
                cluster: cluster.id,
                certificate: pki::pem("CERTIFICATE", &certificate),
                authorities: authorities.map(|held| pki::pem("CERTIFICATE", &held.certificate.0)).collect(),
                nodes: up.flat_map(|(_, node)| node.addresses.mesh.clone()).collect(),
                realm: cluster.realm.clone(),
            })
        })
    }

    fn backup(&self, note: Note) -> Answer<'_, Result<Backup, Fault>> {
        Box::pin(async move {
            self.commit(Command::Note, note).await?;
            let broken = |why: String| Fault::Unavailable(why);
            let state = self.node.proposals.linearizable(REGISTRY_WITHIN).await;
            let state = state.map_err(|missing| broken(missing.to_string()))?;
            let index = state.index();
            // In memory: secrets are not to lie about on a disk.
            let written = actix_web::rt::task::spawn_blocking(move || -> io::Result<File> {
                let bytes = backup::encode(&state).map_err(io::Error::other)?;
                let mut file = File::from(memfd_create("backup", MemfdFlags::CLOEXEC)?);
                file.write_all(&bytes)?;
                file.rewind()?;
                Ok(file)
            });
            let file = written.await.map_err(|error| broken(error.to_string()))?;
            Ok(Backup { index, file: file.map_err(|error| broken(error.to_string()))? })
        })
    }

    fn shards(&self) -> Answer<'_, Vec<Option<NodeId>>> {
        let state = self.node.registry.state();
        let owners = state.shards().map(|(_, shard)| shard.owner).collect();
        Box::pin(async { owners })
    }

    fn events(&self) -> Answer<'_, Vec<Event>> {
        let events = self.events.all();
        Box::pin(async { events })
    }
}

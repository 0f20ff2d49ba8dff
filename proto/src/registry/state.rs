//! The state, and how an entry changes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::{Access, AccessChange};
use super::cow::{Map, Ring};
use super::edges::Enrolment;
use super::hooks::Hooks;
use super::issued::Lives;
use super::revocations::Revocations;
use super::rooms::Rooms;
use super::settings::{Timers, Voters};
use super::subject::Subject;
use super::users::Users;
use super::{
    ApiKey, App, Audit, Authority, Chain, Cluster, Command, Edge, Entry, Invitation, Issued, Node, Note,
    Numbered, Outcome, Prices, Refusal, RequestId, ShardEntry, Thing, VERSION, shards,
};
use crate::id::{AppId, EdgeId, Index, InvitationId, KeyId, NodeId, Region, SessionId, Shard};
use crate::limits::{PEER_PREFIXES_MAX, REQUESTS_REMEMBERED, SHARDS, SNAPSHOT_MAX};
use crate::mesh::uplink::PeerPolicy;
use crate::select::Policy;
use crate::time::Unix;
use crate::wire::{self, WireError};

/// All that the cluster agrees on. Cheap to clone: what does not change is shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(super) index: Index,
    pub(super) now: Unix,
    pub(super) version: u32,
    pub(super) cluster: Option<Cluster>,
    pub(super) apps: Arc<BTreeMap<AppId, App>>,
    pub(super) keys: Map<KeyId, ApiKey>,
    pub(super) nodes: Arc<BTreeMap<NodeId, Node>>,
    pub(super) last_node: NodeId,
    /// When the last life of a node that was removed ended.
    #[serde(default)]
    pub(super) removed_since: Option<Unix>,
    pub(super) shards: Arc<Vec<ShardEntry>>,
    pub(super) edges: Arc<BTreeMap<EdgeId, Edge>>,
    pub(super) turn: Arc<Numbered>,
    pub(super) sealing: Arc<Numbered>,
    pub(super) revocations: Revocations,
    pub(super) peers: Arc<PeerPolicy>,
    /// When each sealing key began.
    #[serde(default)]
    pub(super) sealing_since: Arc<BTreeMap<u64, Unix>>,
    #[serde(default)]
    pub(super) authorities: Arc<Numbered<Authority>>,
    #[serde(default)]
    pub(super) invitations: Arc<BTreeMap<InvitationId, Invitation>>,
    #[serde(default)]
    pub(super) groups: Arc<BTreeMap<Shard, Region>>,
    #[serde(default)]
    pub(super) timers: Timers,
    #[serde(default)]
    pub(super) voters: Voters,
    #[serde(default)]
    pub(super) users: Users,
    #[serde(default)]
    pub(super) origins: Arc<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) selection: Arc<Policy>,
    #[serde(default)]
    pub(super) access: Access,
    /// Credentials that were issued, by the sessions that they name.
    #[serde(default)]
    pub(super) issued: Map<SessionId, Issued>,
    /// When each shared secret began, and is to end.
    #[serde(default)]
    pub(super) turn_lives: Lives,
    #[serde(default)]
    pub(super) hooks: Arc<Hooks>,
    #[serde(default)]
    pub(super) rooms: Rooms,
    #[serde(default)]
    pub(super) prices: Arc<Prices>,
    pub(super) audit: Ring<Audit>,
    /// The hash of the line before the oldest that is kept.
    #[serde(default)]
    pub(super) audit_begins: Chain,
    /// Of API keys, without a line since the newest one.
    #[serde(default)]
    pub(super) audit_omitted: u64,
    pub(super) requests: Ring<(RequestId, Outcome)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            index: Index(0),
            now: Unix::default(),
            version: 1,
            cluster: None,
            apps: Arc::default(),
            keys: Map::default(),
            nodes: Arc::default(),
            last_node: NodeId(0),
            removed_since: None,
            shards: shards::unowned(),
            edges: Arc::default(),
            turn: Arc::default(),
            sealing: Arc::default(),
            sealing_since: Arc::default(),
            revocations: Revocations::default(),
            peers: Arc::default(),
            authorities: Arc::default(),
            invitations: Arc::default(),
            groups: Arc::default(),
            timers: Timers::default(),
            voters: Voters::default(),
            users: Users::default(),
            origins: Arc::default(),
            selection: Arc::default(),
            access: Access::default(),
            issued: Map::default(),
            turn_lives: Lives::default(),
            hooks: Arc::default(),
            rooms: Rooms::default(),
            prices: Arc::default(),
            audit: Ring::default(),
            audit_begins: Chain::default(),
            audit_omitted: 0,
            requests: Ring::default(),
        }
    }
}

/// Why bytes are not a state that this release can go on from.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Written under a cluster version of a newer release.
    #[error("the registry is at cluster version {found}; this release understands {VERSION} at most")]
    TooNew {
        /// The version found.
        found: u32,
    },
    /// The number of shards is another one: not of this program.
    #[error("a registry of {found} shards, not {SHARDS}")]
    Shards {
        /// How many were found.
        found: usize,
    },
}

impl State {
    /// The index of the last applied entry: the feed number.
    #[must_use]
    pub const fn index(&self) -> Index {
        self.index
    }

    /// The registry's time: the leader's clock at the last entry, never going back.
    #[must_use]
    pub const fn now(&self) -> Unix {
        self.now
    }

    /// The cluster version: what entries may hold.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What the cluster is called, once it has begun.
    #[must_use]
    pub const fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The shared secrets of TURN REST credentials.
    #[must_use]
    pub fn turn_secrets(&self) -> &Numbered {
        &self.turn
    }

    /// The keys that seal resume tokens.
    #[must_use]
    pub fn sealing_keys(&self) -> &Numbered {
        &self.sealing
    }

    /// What peers relays may reach.
    #[must_use]
    pub fn peers(&self) -> &PeerPolicy {
        &self.peers
    }

    /// The state's bytes: the same on every node that has applied the same entries.
    ///
    /// # Errors
    /// [`WireError::TooLong`] beyond [`SNAPSHOT_MAX`], which the limits of the collections exclude.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let bytes = wire::encode(self)?;
        if bytes.len() > SNAPSHOT_MAX {
            return Err(WireError::TooLong { len: bytes.len(), max: SNAPSHOT_MAX });
        }
        Ok(bytes)
    }

    /// Reads a state from a snapshot.
    ///
    /// # Errors
    /// When the bytes are not one, or one of a newer cluster version than this release understands.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        /// What a newer form has too: by it one is told from a broken one.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let understood = |found| {
            if found > VERSION { Err(SnapshotError::TooNew { found }) } else { Ok(()) }
        };
        let mut state: Self = match wire::decode(bytes, SNAPSHOT_MAX) {
            Ok(state) => state,
            Err(error) => {
                let head: Head = wire::decode(bytes, SNAPSHOT_MAX)?;
                understood(head.version)?;
                return Err(error.into());
            }
        };
        understood(state.version)?;
        match state.shards.len() {
            n if n == usize::from(SHARDS) => {
                state.chain_old_lines();
                Ok(state)
            }
            found => Err(SnapshotError::Shards { found }),
        }
    }

    /// An entry of Raft's own (a term's first, a change of members) has passed.
    pub fn pass(&mut self, index: Index) {
        self.index = index;
    }

    /// Applies the entry at `index`.
    pub fn apply(&mut self, index: Index, entry: Entry) -> Outcome {
        self.index = index;
        self.now = self.now.max(entry.at);
        self.sweep();
        self.sweep_invitations();
        self.sweep_access();
        self.sweep_rooms();
        if let Some(request) = &entry.by
            && let Some((known, outcome)) =
                self.requests.iter().rev().find(|(known, _)| request.repeats(known))
        {
            return if known == request { outcome.clone() } else { Outcome::Refused(Refusal::Repeated) };
        }
        // A note that is too long is not kept; its refusal is the proposer's to see.
        let result = match entry.note.map(|note| note.check().map(|()| note)) {
            None => self.carry(entry.command),
            Some(Ok(note)) => self.carry_noted(entry.command, note),
            Some(Err(refusal)) => Err(refusal),
        };
        let outcome = result.unwrap_or_else(Outcome::Refused);
        // Whoever names a request tries again what was refused, once the reason is gone.
        let tries = |request: &RequestId| request.is_named() && matches!(outcome, Outcome::Refused(_));
        if let Some(request) = entry.by.filter(|request| !tries(request)) {
            self.requests.push((request, outcome.clone()), REQUESTS_REMEMBERED);
        }
        outcome
    }

    /// Carries out what an operator asks, and keeps what was there before and is after.
    fn carry_noted(&mut self, command: Command, note: Note) -> Result<Outcome, Refusal> {
        let subject = Subject::of(&command);
        let before = subject.as_ref().and_then(|subject| subject.text(self));
        // A login or a password of one that has changed meanwhile has its line, unlike this.
        let of_operator = matches!(command, Command::Access(AccessChange::OperatorSet { .. }));
        let result = self.carry(command);
        // Whoever was overtaken makes it anew from what is there, or is told: nothing was decided.
        match &result {
            Err(Refusal::Changed(Thing::App | Thing::Room | Thing::Hook)) => return result,
            Err(Refusal::Changed(Thing::Operator)) if of_operator => return result,
            _ => {}
        }
        let after = subject.as_ref().and_then(|subject| subject.text(self));
        self.record(note, result.as_ref().err().cloned(), before, after);
        result
    }

    #[allow(clippy::too_many_lines, reason = "a line for each command")]
    #[allow(clippy::too_many_lines, reason = "a list")]
    fn carry(&mut self, command: Command) -> Result<Outcome, Refusal> {
        match command {
            Command::Note => Ok(Outcome::Done),
            Command::ClusterBegin { id, name, realm } => self.cluster_begin(id, name, realm),
            Command::ClusterRename { name } => self.cluster_rename(name),
            Command::VersionRaise { from, to } => self.version_raise(from, to),
            Command::AppAdd { app, name, policy } => self.app_add(app, name, policy),
            Command::AppSet { app, name, policy, since } => self.app_set(&app, name, policy, since),
            Command::AppRemove { app } => self.app_remove(&app),
            Command::KeyAdd { app, key, secret } => self.key_add(app, key, secret),
            Command::KeySet { key, disabled } => self.key_set(&key, disabled),
            Command::KeyRemove { key } => self.key_remove(&key),
            Command::NodeAdd { node, region } => self.node_add(node, region),
            Command::NodeUp { node, addresses, build, speaks } => {
                self.node_up(node, addresses, build, speaks)
            }
            Command::NodeDown { node, generation, moves } => self.node_down(node, generation, &moves),
            Command::NodeSet { node, weight, draining } => self.node_set(node, weight, draining),
            Command::NodeStopping { node, generation } => self.node_stopping(node, generation),
            Command::NodeLeave { node } => self.node_leave(node),
            Command::NodeRemove { node } => self.node_remove(node),
            Command::InvitationAdd { id, hash, region, edge, until } => {
                self.invitation_add(id, hash, region, edge, until)
            }
            Command::InvitationRemove { id } => self.invitation_remove(&id),
            Command::NodeJoin { invitation, region, addresses, applicant } => {
                self.node_join(&invitation, region, addresses, applicant)
            }
            Command::EdgeJoin { invitation, edge, region, applicant } => {
                self.edge_join(&invitation, edge, region, applicant)
            }
            Command::GroupSet { group, shards } => self.group_set(group.as_ref(), &shards),
            Command::ProfileSet { profile } => self.profile_set(profile),
            Command::ProfileSettled { since } => self.profile_settled(since),
            Command::VotersSet { wanted } => self.voters_set(wanted),
            Command::AuthorityAdd { number, certificate, key } => {
                self.authority_add(number, certificate, key)
            }
            Command::AuthorityRemove { number } => {
                Arc::make_mut(&mut self.authorities).remove(Thing::Authority, number)
            }
            Command::Moving { moves } => self.moving(&moves),
            Command::Moved { moves } => self.moved(&moves),
            Command::EdgeUp(hello) => self.edge_up(hello),
            Command::EdgeEnrol { edge, region, key } => self.edge_enrol(&edge, region, key, Enrolment::Named),
            Command::EdgeOffer { hello, key } => self.edge_offer(*hello, key),
            Command::EdgeSet { edge, state, weight } => self.edge_set(&edge, state, weight),
            Command::EdgeForget { edge } => self.edge_forget(&edge),
            Command::TurnSecretAdd { number, secret } => self.turn_secret_add(number, secret),
            Command::TurnSecretRemove { number } => self.turn_secret_remove(number),
            Command::SealingKeyAdd { number, key } => self.sealing_key_add(number, key),
            Command::SealingKeyRemove { number } => self.sealing_key_remove(number),
            Command::Revoke { sessions, banned, until, banned_until } => {
                self.revoke(&sessions, banned, until, banned_until)
            }
            Command::Pardon { room, identity } => self.pardon(room, identity),
            Command::PeersSet(policy) => self.peers_set(policy),
            Command::SelectionSet(policy) => self.selection_set(policy),
            Command::TurnUserSet(user) => self.turn_user_set(user),
            Command::TurnUserRemove { realm, name } => self.turn_user_remove(realm, name),
            Command::TurnOriginsSet { origins } => self.turn_origins_set(origins),
            Command::Access(change) => self.access_change(change),
            Command::TurnSecretRotate { number, secret, until } => {
                self.turn_secret_rotate(number, secret, until)
            }
            Command::IssuedAdd { id, label, app, until, by, secret } => {
                self.issued_add(id, label, app, until, by, secret)
            }
            Command::IssuedRevoke { id } => self.issued_revoke(&id),
            Command::HookAdd { app, hook, plan, secret } => self.hook_add(app, hook, plan, secret),
            Command::HookSet { app, hook, plan, since } => self.hook_set(&app, hook, plan, since),
            Command::HookGone { app, hook, url } => self.hook_gone(&app, hook, &url),
            Command::HookRotate { app, hook, secret } => self.hook_rotate(&app, hook, secret),
            Command::HookSettle { app, hook } => self.hook_settle(&app, hook),
            Command::HookRemove { app, hook } => self.hook_remove(&app, hook),
            Command::RoomSet { room, policy, by, since } => self.room_set(room, policy, by, since),
            Command::RoomRemove { room } => self.room_remove(&room),
            Command::PricesSet(prices) => self.prices_set(prices),
        }
    }

    fn peers_set(&mut self, policy: PeerPolicy) -> Result<Outcome, Refusal> {
        if policy.allow.len() > PEER_PREFIXES_MAX || policy.deny.len() > PEER_PREFIXES_MAX {
            return Err(Refusal::Full { thing: Thing::PeerPrefix, max: PEER_PREFIXES_MAX as u64 });
        }
        self.peers = Arc::new(policy);
        Ok(Outcome::Done)
    }
}

//! What can be asked of the registry. Encoded by [`crate::wire`] as one [`Entry`] of the Raft log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::access::AccessChange;
use super::profile::ProfileName;
use super::{AppPolicy, EdgeState, HookPlan, InvitedEdge, Moves, NodeAddresses, Note, Prices, RoomPolicy};
use crate::id::{
    AppId, ClusterId, EdgeId, Generation, HookId, Identity, Index, InvitationId, KeyId, NodeId, Region,
    RoomKey, SessionId, Shard,
};
use crate::limits::ENTRY_MAX;
use crate::mesh::uplink::{EdgeHello, PeerPolicy, Secret, TurnUser};
use crate::select::Policy;
use crate::time::Unix;
use crate::wire::{self, WireError};

/// One entry of the registry's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When the leader took it. Apply clamps it to be non-decreasing; it is the only clock.
    pub at: Unix,
    /// Names the request, where its sender may repeat it: the second gets the first's outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<RequestId>,
    /// Who asked for it, for the audit log: kept with the change, or with its refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// What is asked.
    pub command: Command,
}

impl Entry {
    /// The entry's bytes.
    ///
    /// # Errors
    /// [`WireError::TooLong`] beyond [`ENTRY_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let bytes = wire::encode(self)?;
        if bytes.len() > ENTRY_MAX {
            return Err(WireError::TooLong { len: bytes.len(), max: ENTRY_MAX });
        }
        Ok(bytes)
    }

    /// Reads an entry of the log.
    ///
    /// # Errors
    /// When it is not one, or holds a command of a newer release. Whoever applies the log must then
    /// stop: to skip what others apply is to have another state.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        wire::decode(bytes, ENTRY_MAX)
    }
}

/// Names a request: unique as long as a node's generations are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    /// The node that asks.
    pub node: NodeId,
    /// Its generation.
    pub generation: Generation,
    /// Counts its requests.
    pub n: u64,
}

impl RequestId {
    /// The `n`th change of a request that its sender named, and may repeat by way of any node: `name` is a hash of
    /// that name and of who asked. The command is told too: a repeat that asks for something else is known as one.
    ///
    /// # Errors
    /// [`WireError::TooLong`] of a command that is longer than an entry may be.
    pub fn named(name: &[u8; 32], n: u64, command: &Command) -> Result<Self, WireError> {
        let number = |bytes: &[u8]| {
            let digest = Sha256::digest(bytes);
            digest.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
        };
        let generation = Generation(number(&[name.as_slice(), &n.to_be_bytes()].concat()));
        Ok(Self { node: NOBODY, generation, n: number(&wire::encode(command)?) })
    }

    /// Whether its sender named it: no node is called so.
    pub(super) fn is_named(&self) -> bool {
        self.node == NOBODY
    }

    /// Whether it is this request, or a repeat of it that asks for something else.
    pub(super) fn repeats(&self, known: &Self) -> bool {
        self == known || (self.is_named() && (self.node, self.generation) == (known.node, known.generation))
    }
}

/// Nodes are counted from 1.
const NOBODY: NodeId = NodeId(0);

/// What is asked. A variant's name and its fields' names are the wire's: they never change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)]
pub enum Command {
    /// Nothing but the entry's note goes into the audit log (a login, say).
    Note,
    /// The cluster begins: once.
    ClusterBegin {
        /// Its id.
        id: ClusterId,
        /// What operators call it.
        name: String,
        /// The realm of the long-term credential mechanism (RFC 8489 section 9.2).
        realm: String,
    },
    /// The cluster is called otherwise.
    ClusterRename {
        /// What operators call it.
        name: String,
    },
    /// From now on entries may hold what version `to` brought.
    VersionRaise {
        /// The version now.
        from: u32,
        /// The version then.
        to: u32,
    },

    /// A new app.
    AppAdd {
        /// Its id.
        app: AppId,
        /// What operators call it.
        name: String,
        /// How it treats its users.
        policy: AppPolicy,
    },
    /// An app's name and policy are these.
    AppSet {
        /// Which.
        app: AppId,
        /// What operators call it.
        name: String,
        /// How it treats its users.
        policy: AppPolicy,
        /// When it changed last, as the one who made this of it saw it: refused where it has changed since. Whatever
        /// is there is changed without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Index>,
    },
    /// An app ends, its keys with it.
    AppRemove {
        /// Which.
        app: AppId,
    },
    /// A new API key.
    KeyAdd {
        /// Of which app.
        app: AppId,
        /// Its public half.
        key: KeyId,
        /// Its secret half.
        secret: Secret,
    },
    /// An API key stops working, or works again.
    KeySet {
        /// Which.
        key: KeyId,
        /// Whether it is refused.
        disabled: bool,
    },
    /// An API key ends.
    KeyRemove {
        /// Which.
        key: KeyId,
    },

    /// A new node, by an id that none had before.
    NodeAdd {
        /// Its id.
        node: NodeId,
        /// Where it stands.
        region: Region,
    },
    /// A node's process has begun: a new generation, and a new epoch for each shard that it still
    /// owns.
    NodeUp {
        /// Which.
        node: NodeId,
        /// Where it is reached.
        addresses: NodeAddresses,
        /// Its build, as `chappe --version` prints it.
        build: String,
        /// The newest cluster version that it understands.
        speaks: u32,
    },
    /// A node is gone, and its shards go where the leader's `solve` says.
    NodeDown {
        /// Which.
        node: NodeId,
        /// The generation that is gone: not one that has begun since.
        generation: Generation,
        /// Shards of that node, with the epochs from which they move.
        moves: Vec<Moves>,
    },
    /// What an operator decides of a node.
    NodeSet {
        /// Which.
        node: NodeId,
        /// Its part of the shards, relative to others'.
        weight: u16,
        /// Whether it is to own none.
        draining: bool,
    },
    /// A node's process is about to stop: it drains until the next one begins. An operator's word outlasts that.
    NodeStopping {
        /// Which.
        node: NodeId,
        /// The generation that stops: not one that has begun since.
        generation: Generation,
    },
    /// An operator decides that a node leaves for good: it drains, and is removed when it owns nothing and
    /// is no member of Raft. `NodeSet` without `draining` calls it off.
    NodeLeave {
        /// Which.
        node: NodeId,
    },
    /// A node that owns nothing and is not up is gone for good.
    NodeRemove {
        /// Which.
        node: NodeId,
    },

    /// Whoever knows the secret may join once.
    InvitationAdd {
        /// Its id.
        id: InvitationId,
        /// SHA-256 of its secret, [`crate::limits::INVITATION_HASH_BYTES`].
        hash: Secret,
        /// Where its node or edge is to stand, if that is to be there alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<Region>,
        /// That it is for an edge, and for which.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edge: Option<InvitedEdge>,
        /// Until when: [`crate::limits::INVITATION_TTL_MAX`] ahead at most.
        until: Unix,
    },
    /// An invitation is taken back.
    InvitationRemove {
        /// Which.
        id: InvitationId,
    },
    /// A node joins by an invitation, whose secret was checked by the node that asks for this. It uses the
    /// invitation up, and answers [`super::Outcome::Joined`]: again, if the same applicant asks again.
    NodeJoin {
        /// Which.
        invitation: InvitationId,
        /// Where it stands.
        region: Region,
        /// Where it is reached.
        addresses: NodeAddresses,
        /// A hash of the joiner's public key ([`crate::limits::APPLICANT_BYTES`]), by which it may ask again.
        #[serde(with = "serde_bytes")]
        applicant: Vec<u8>,
    },

    /// An edge joins by an invitation, likewise. What it offers it says later, by [`Self::EdgeOffer`].
    EdgeJoin {
        /// Which.
        invitation: InvitationId,
        /// Its name.
        edge: EdgeId,
        /// Where it stands.
        region: Region,
        /// SHA-256 of the joiner's public key (SubjectPublicKeyInfo in DER), which is the edge's from now on.
        #[serde(with = "serde_bytes")]
        applicant: Vec<u8>,
    },

    /// Shards are to be owned in a region, or anywhere.
    GroupSet {
        /// Where; anywhere without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Region>,
        /// Which.
        shards: Vec<Shard>,
    },
    /// The timers are these. Until they have settled, leases are those of the shorter and
    /// evictions those of the longer.
    ProfileSet {
        /// Which.
        profile: ProfileName,
    },
    /// No lease of the former timers is left: the leader says so, an eviction's time of the longer ones
    /// after it has applied the change.
    ProfileSettled {
        /// The index of the change.
        since: Index,
    },
    /// Raft is to have so many voters, where there are as many nodes.
    VotersSet {
        /// 3 or 5.
        wanted: u8,
    },

    /// An authority of the cluster begins: it certifies from now on.
    AuthorityAdd {
        /// Its number: the next one.
        number: u64,
        /// Its certificate, DER.
        #[serde(with = "serde_bytes")]
        certificate: Vec<u8>,
        /// Its private key, PKCS #8, DER.
        key: Secret,
    },
    /// An authority ends, and what it certified.
    AuthorityRemove {
        /// Its number: not the highest.
        number: u64,
    },

    /// Shards are to move: their owners admit nothing from now on. A move to the
    /// shard's own owner calls off the one before.
    Moving {
        /// Where to, with the epochs now.
        moves: Vec<Moves>,
    },
    /// Shards have moved: the next epoch begins. Also the first assignment, from epoch 0, and that of
    /// shards whose owner is not up.
    Moved {
        /// Where to, with the epochs before.
        moves: Vec<Moves>,
    },

    /// As [`Self::EdgeOffer`], in logs of earlier releases: by whatever key.
    EdgeUp(EdgeHello),
    /// An operator has a key certified for an edge: it is the edge's from now on.
    EdgeEnrol {
        /// Its name, which may be there.
        edge: EdgeId,
        /// Where it stands, until it says so itself.
        region: Region,
        /// SHA-256 of its public key (SubjectPublicKeyInfo in DER).
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
    /// An edge that has enrolled says what it offers. Refused by another key than that which it enrolled by.
    EdgeOffer {
        /// What it offers.
        hello: Box<EdgeHello>,
        /// SHA-256 of the public key in the certificate that it shows.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
    /// What an operator decides of an edge.
    EdgeSet {
        /// Which.
        edge: EdgeId,
        /// Whether it is given to clients.
        state: EdgeState,
        /// Its part of the sessions near it, relative to others'.
        weight: u16,
    },
    /// A removed edge is forgotten: its name may come again.
    EdgeForget {
        /// Which.
        edge: EdgeId,
    },

    /// A shared secret of TURN REST credentials begins: it issues from now on.
    TurnSecretAdd {
        /// Its number: the next one.
        number: u64,
        /// Its bytes.
        secret: Secret,
    },
    /// A shared secret ends.
    TurnSecretRemove {
        /// Its number: not the highest.
        number: u64,
    },
    /// A key that seals resume tokens begins: it seals from now on.
    SealingKeyAdd {
        /// Its number: the next one.
        number: u64,
        /// Its [`crate::limits::SEALING_KEY_BYTES`] bytes.
        key: Secret,
    },
    /// A sealing key ends, and the resume tokens that it sealed.
    SealingKeyRemove {
        /// Its number: not the highest.
        number: u64,
    },

    /// Sessions and their credentials die, and an identity stays out of a room.
    Revoke {
        /// The identity's sessions.
        sessions: Vec<SessionId>,
        /// Who stays out of which room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        banned: Option<(RoomKey, Identity)>,
        /// Until when: the latest expiry of anything issued to the sessions.
        until: Unix,
        /// Until when the identity stays out, where that is another time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        banned_until: Option<Unix>,
    },
    /// A ban is lifted.
    Pardon {
        /// From which room.
        room: RoomKey,
        /// Who.
        identity: Identity,
    },
    /// What peers relays may reach is this.
    PeersSet(PeerPolicy),
    /// Where regions and networks are, and which edges are for whom, is this.
    SelectionSet(Policy),

    /// A long-term user begins, or has other keys from now on.
    TurnUserSet(TurnUser),
    /// A long-term user ends, and its allocations with it.
    TurnUserRemove {
        /// Its realm.
        realm: String,
        /// Its name.
        name: String,
    },
    /// The realms of origins are these.
    TurnOriginsSet {
        /// All of them: realms by origins.
        origins: BTreeMap<String, String>,
    },

    /// Who may do what changes.
    Access(AccessChange),
    /// A shared secret begins, and those before it are to end.
    TurnSecretRotate {
        /// Its number: the next one.
        number: u64,
        /// Its bytes.
        secret: Secret,
        /// When they end, [`crate::limits::ISSUED_TTL_MAX`] ahead at most, as any clock has it; once nothing that was made by them is
        /// good any more where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Unix>,
    },

    /// A TURN credential was issued: its password was made of the newest secret, and is not told here.
    IssuedAdd {
        /// The session that its username names, which nobody has.
        id: SessionId,
        /// What its issuer calls it.
        label: String,
        /// The app that it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        app: Option<AppId>,
        /// When it expires: [`crate::limits::ISSUED_TTL_MAX`] ahead at most.
        until: Unix,
        /// Who issued it.
        by: String,
        /// The number of the secret: the highest.
        secret: u64,
    },
    /// An issued credential and its allocations die now.
    IssuedRevoke {
        /// Which.
        id: SessionId,
    },
    /// A webhook begins.
    HookAdd {
        /// Whose.
        app: AppId,
        /// Its id, which the asker drew.
        hook: HookId,
        /// How it is.
        plan: HookPlan,
        /// Signs.
        secret: Secret,
    },
    /// A webhook is as this says; it is tried again where its endpoint was gone.
    HookSet {
        /// Whose.
        app: AppId,
        /// Which.
        hook: HookId,
        /// How it is.
        plan: HookPlan,
        /// When it changed last, as the one who made this of it saw it: refused where it has changed since. Whatever
        /// is there is changed without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Index>,
    },
    /// A webhook's endpoint has said that it is gone.
    HookGone {
        /// Whose.
        app: AppId,
        /// Which.
        hook: HookId,
        /// The endpoint.
        url: String,
    },
    /// A new secret signs, and the one before.
    HookRotate {
        /// Whose.
        app: AppId,
        /// Of which webhook.
        hook: HookId,
        /// The new one.
        secret: Secret,
    },
    /// The newest secret alone signs.
    HookSettle {
        /// Whose.
        app: AppId,
        /// Of which webhook.
        hook: HookId,
    },
    /// A webhook ends; what waits for it is dropped.
    HookRemove {
        /// Whose.
        app: AppId,
        /// Which.
        hook: HookId,
    },
    /// A room's policy is this from now on, whether anybody is in it or not.
    RoomSet {
        /// Which.
        room: RoomKey,
        /// What is decided of it.
        policy: RoomPolicy,
        /// By whom, where nothing was decided of it before.
        #[serde(default)]
        by: String,
        /// When it changed last, as the one who made this of it saw it: refused where it has changed since. Whatever
        /// is there is changed without it. 0 says that nothing was decided of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Index>,
    },
    /// Nothing is decided of a room any more: its app's policy alone counts.
    RoomRemove {
        /// Which.
        room: RoomKey,
    },
    /// Relayed traffic costs this.
    PricesSet(Prices),
}

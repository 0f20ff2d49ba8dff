//! What operators and apps' servers see and decide of rooms and of who is in them.

use chappe_proto::id::{AppId, Identity, Index, NodeId, PeerId, Region, RoomKey, RoomName};
use chappe_proto::registry::{MadeRoom, Note, RoomPolicy, State};
use chappe_proto::signal::json::Json;
use chappe_proto::signal::lobby::{Knock, Verdict};
use chappe_proto::signal::member::{Muting, Profile};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::control::Fault;
use super::{Answer, Peer};
use crate::schema;

/// What the admin API can see and do of rooms. What is decided of one beforehand is committed when it is answered;
/// what is done in one that runs is put into the audit log first, and done by its owner when it is answered.
pub trait Rooms: Send + Sync + 'static {
    /// A page of the rooms, by app and name: those that run, and those of which something is decided.
    fn rooms(&self, wanted: RoomsWanted) -> Answer<'_, Result<RoomPage, Fault>>;
    /// A room: what is decided of it, where it runs, who is in it.
    fn room(&self, room: RoomKey) -> Answer<'_, Result<RoomReport, Fault>>;
    /// What is decided of a room is this, whether anybody is in it or not, where that last changed at `since`: 0 where
    /// nothing was decided of it.
    fn room_set(
        &self,
        room: RoomKey,
        policy: RoomPolicy,
        since: Index,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>>;
    /// Everybody leaves a room.
    fn room_close(&self, room: RoomKey, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// Nothing is decided of a room any more.
    fn room_forget(&self, room: RoomKey, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// A word to all who are in a room.
    fn room_message(&self, room: RoomKey, payload: Json, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// Grants of a peer are taken away, or given back.
    fn peer_mute(
        &self,
        room: RoomKey,
        peer: PeerId,
        muting: Muting,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>>;
    /// One who waits to be let in comes in, or is turned away.
    fn judge(
        &self,
        room: RoomKey,
        peer: PeerId,
        verdict: Verdict,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>>;
    /// Removes a peer, and keeps its identity out with `ban`; committed when it is answered.
    fn peer_kick(&self, room: RoomKey, peer: PeerId, ban: bool, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// Sends a peer to another room of the same app, which would let it in as far as is known: its client has been told
    /// when this is answered. [`Fault::Conflict`] where it has no connection, or would not be let in there.
    fn peer_move(
        &self,
        room: RoomKey,
        peer: PeerId,
        to: RoomName,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>>;
    /// Who stays out of which of an app's rooms, by room and identity.
    fn bans(&self, app: AppId) -> Answer<'_, Result<Vec<Ban>, Fault>>;
    /// An identity may come back to a room.
    fn ban_lift(&self, room: RoomKey, identity: Identity, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// How many rooms run, and how many are in them: of each node that answers and each app.
    fn room_counts(&self) -> Answer<'_, Vec<RoomCount>>;
}

/// Which rooms are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomsWanted {
    /// Of this app alone.
    pub app: Option<AppId>,
    /// With this in their names, in whatever case.
    pub text: Option<String>,
    /// That this node runs.
    pub node: Option<NodeId>,
    /// That are to run in this region.
    pub region: Option<Region>,
    /// That are locked, or are not.
    pub locked: Option<bool>,
    /// With somebody in them, or with nobody.
    pub people: Option<bool>,
    /// Behind this one.
    pub after: Option<RoomKey>,
    /// So many at most.
    pub limit: usize,
}

impl RoomsWanted {
    /// Whether only rooms of which something is decided can be meant.
    #[must_use]
    pub const fn only_made(&self) -> bool {
        matches!(self.locked, Some(true)) || self.region.is_some() || matches!(self.people, Some(false))
    }

    /// Whether a room's name is meant.
    #[must_use]
    pub fn names(&self, key: &RoomKey) -> bool {
        let text = self.text.as_ref().map(|text| text.to_lowercase());
        self.app.as_ref().is_none_or(|app| *app == key.app)
            && text.is_none_or(|text| key.room.as_str().to_lowercase().contains(&text))
    }

    /// Whether a room is meant.
    #[must_use]
    pub fn is(&self, room: &RoomLine) -> bool {
        self.node.is_none_or(|node| room.node == Some(node))
            && self.region.as_ref().is_none_or(|region| room.region.as_ref() == Some(region))
            && self.locked.is_none_or(|locked| room.locked == locked)
            && self.people.is_none_or(|people| (room.peers > 0) == people)
    }
}

/// A page of rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomPage {
    /// The rooms, by app and name.
    pub rooms: Vec<RoomLine>,
    /// What `after` is of the next page; nothing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Nodes that did not answer: their rooms are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<u64>)]
    pub silent: Vec<NodeId>,
}

/// A room in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomLine {
    /// Its app.
    #[schema(value_type = String)]
    pub app: AppId,
    /// Its name.
    #[schema(value_type = String)]
    pub room: RoomName,
    /// The node that runs it, where anybody is in it.
    #[schema(value_type = Option<u64>)]
    pub node: Option<NodeId>,
    /// How many are in it.
    pub peers: u32,
    /// Whether something is decided of it.
    pub made: bool,
    /// Whether nobody new comes in.
    pub locked: bool,
    /// Whether newcomers wait until somebody lets them in: the room itself tells who does.
    #[serde(default)]
    pub lobby: bool,
    /// Peers that it holds, where that is decided.
    pub capacity: Option<u32>,
    /// Where it is to run, where that is decided.
    #[schema(value_type = Option<String>)]
    pub region: Option<Region>,
    /// When it is closed, in milliseconds of Unix time.
    #[schema(value_type = Option<u64>)]
    pub expires: Option<Unix>,
}

impl RoomLine {
    /// A room with what is decided of it and, where it runs, by whom and with how many.
    #[must_use]
    pub fn new(key: RoomKey, made: Option<&MadeRoom>, runs: Option<(NodeId, u32)>) -> Self {
        let policy = made.map(|made| &made.policy);
        Self {
            app: key.app,
            room: key.room,
            node: runs.map(|(node, _)| node),
            peers: runs.map_or(0, |(_, peers)| peers),
            made: made.is_some(),
            locked: policy.is_some_and(|policy| policy.locked),
            lobby: policy.is_some_and(|policy| policy.lobby),
            capacity: policy.and_then(|policy| policy.capacity),
            region: policy.and_then(|policy| policy.region.clone()),
            expires: policy.and_then(|policy| policy.expires),
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> RoomKey {
        RoomKey { app: self.app.clone(), room: self.room.clone() }
    }
}

/// A room.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RoomReport {
    /// Its app.
    #[schema(value_type = String)]
    pub app: AppId,
    /// Its name.
    #[schema(value_type = String)]
    pub room: RoomName,
    /// What is decided of it; nothing where its app's policy alone counts.
    #[schema(value_type = Option<schema::RoomPolicy>)]
    pub policy: Option<RoomPolicy>,
    /// When that was first, in milliseconds of Unix time.
    #[schema(value_type = Option<u64>)]
    pub created: Option<Unix>,
    /// By whom.
    pub by: Option<String>,
    /// What its `ETag` is: another one after each change of what is decided; 0 where nothing is.
    #[schema(value_type = u64)]
    pub revision: Index,
    /// The node that runs it, where anybody is in it.
    #[schema(value_type = Option<u64>)]
    pub node: Option<NodeId>,
    /// The number of its last broadcast.
    pub broadcasts: u64,
    /// Who is in it.
    pub peers: Vec<Peer>,
    /// Who waits to be let in, who has waited longest first.
    pub waiting: Vec<Waiting>,
}

/// Somebody who waits to be let into a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Waiting {
    /// The peer that it is going to be: it is answered by this id.
    #[schema(value_type = String)]
    pub peer: PeerId,
    /// Who its token says it is.
    #[schema(value_type = Option<String>)]
    pub identity: Option<Identity>,
    /// A name to show.
    pub name: Option<String>,
    /// Whatever its app put there.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Json>,
    /// Since when, in milliseconds of Unix time.
    #[schema(value_type = u64)]
    pub since: Unix,
}

impl From<Knock> for Waiting {
    fn from(Knock { peer, profile, since }: Knock) -> Self {
        let Profile { identity, name, metadata } = profile;
        Self { peer, identity, name, metadata, since }
    }
}

/// What is decided of a room, as it is shown.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ShownPolicy {
    /// Peers that it holds: in the place of the app's number, and no token's is higher.
    pub capacity: Option<u32>,
    /// Whether nobody new comes in.
    pub locked: bool,
    /// Where it is to run.
    pub region: Option<String>,
    /// When it is closed, in milliseconds of Unix time; nobody gets in after it.
    pub expires: Option<u64>,
    /// Whatever its app's server put there.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
    /// Whether newcomers wait until somebody lets them in.
    pub lobby: bool,
}

/// Somebody who stays out of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Ban {
    /// Of which room.
    #[schema(value_type = String)]
    pub room: RoomName,
    /// Who.
    #[schema(value_type = String)]
    pub identity: Identity,
    /// Until when, in milliseconds of Unix time.
    #[schema(value_type = u64)]
    pub until: Unix,
}

/// The rooms of one app on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RoomCount {
    /// The node.
    #[schema(value_type = u64)]
    pub node: NodeId,
    /// The app.
    #[schema(value_type = String)]
    pub app: AppId,
    /// Rooms with somebody in them.
    pub rooms: u32,
    /// How many that is.
    pub peers: u32,
}

impl RoomReport {
    /// A room with what is decided of it, that does not run.
    #[must_use]
    pub fn new(key: RoomKey, made: Option<&MadeRoom>) -> Self {
        Self {
            app: key.app,
            room: key.room,
            policy: made.map(|made| made.policy.clone()),
            created: made.map(|made| made.created),
            by: made.map(|made| made.by.clone()),
            node: None,
            broadcasts: 0,
            peers: Vec::new(),
            waiting: Vec::new(),
            revision: made.map(|made| made.changed).unwrap_or_default(),
        }
    }
}

/// Who stays out of which of an app's rooms at `now`.
///
/// # Errors
/// [`Fault::NotThere`] without such an app.
pub fn bans_of(state: &State, app: &AppId, now: Unix) -> Result<Vec<Ban>, Fault> {
    state.app(app).ok_or(Fault::NotThere("app"))?;
    let of = state.bans(now).filter(|(key, _, _)| key.app == *app);
    let shown = |(key, identity, until): (&RoomKey, &Identity, Unix)| Ban {
        room: key.room.clone(),
        identity: identity.clone(),
        until,
    };
    Ok(of.map(shown).collect())
}

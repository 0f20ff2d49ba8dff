//! What operators see and decide of the relays: users, secrets, issued credentials, allocations.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::{AppId, EdgeId, RoomKey, SessionId};
use chappe_proto::mesh::allocations::{AllocationFilter, AllocationReport};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, Traffic, TurnUser};
use chappe_proto::registry::{Issued, Note, SecretLife, State};
use chappe_proto::select::Place;
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::control::Fault;
use super::{Answer, Changed, Unavailable};

/// What the admin API can see and do of the relays.
pub trait Relays: Send + Sync + 'static {
    /// The long-term users.
    fn turn_users(&self) -> Answer<'_, Result<Vec<TurnUser>, Unavailable>>;
    /// A long-term user begins, or has other keys; committed when it is answered.
    fn turn_user_set(&self, user: TurnUser, note: Note) -> Answer<'_, Changed>;
    /// A long-term user ends, and its allocations; committed when it is answered.
    fn turn_user_remove(&self, realm: String, name: String, note: Note) -> Answer<'_, Changed>;
    /// Realms by the origins whose clients are challenged with them.
    fn turn_origins(&self) -> Answer<'_, Result<BTreeMap<String, String>, Unavailable>>;
    /// The realms of origins are these; committed when it is answered.
    fn turn_origins_set(&self, origins: BTreeMap<String, String>, note: Note) -> Answer<'_, Changed>;
    /// What peers the operator allows and denies.
    fn turn_peers(&self) -> Answer<'_, Result<PeerPolicy, Unavailable>>;
    /// What peers are allowed and denied is this; committed when it is answered.
    fn turn_peers_set(&self, peers: PeerPolicy, note: Note) -> Answer<'_, Changed>;

    /// The shared secrets of TURN REST credentials, oldest first: the last one issues.
    fn turn_secrets(&self) -> Answer<'_, Result<Vec<SecretStatus>, Fault>>;
    /// A shared secret of TURN REST credentials is accepted, and issues from now on; one that is in
    /// force already stays as it is. Committed when it is answered.
    fn turn_secret_add(&self, secret: Secret, note: Note) -> Answer<'_, Changed>;
    /// A new secret, which nobody is told, issues from now on: its number. Those before it end `overlap` from now,
    /// else once nothing that was made by them is good. No allocation ends by that.
    fn turn_secret_rotate(&self, overlap: Option<Duration>, note: Note) -> Answer<'_, Result<u64, Fault>>;
    /// A secret ends that does not issue any more: no allocation is made by its credentials from now on.
    fn turn_secret_end(&self, number: u64, note: Note) -> Answer<'_, Result<(), Fault>>;

    /// A credential is issued; committed when it is answered.
    fn issue(&self, wish: IssueWish, note: Note) -> Answer<'_, Result<NewCredential, Fault>>;
    /// The issued credentials by id, those included that have expired a moment ago.
    fn issued(&self) -> Answer<'_, Result<Vec<IssuedStatus>, Fault>>;
    /// An issued credential and its allocations die; committed when it is answered.
    fn issued_revoke(&self, id: SessionId, note: Note) -> Answer<'_, Result<(), Fault>>;

    /// The next allocations by edge, at most `limit`.
    fn allocations(
        &self,
        wish: AllocationWish,
        from: Option<AllocationCursor>,
        limit: usize,
    ) -> Answer<'_, Result<AllocationPage, Fault>>;
    /// An allocation ends; it has when this is answered.
    fn allocation_close(&self, edge: EdgeId, number: u64, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// All allocations of a user end, on every edge that answers.
    fn allocations_close(&self, of: AllocationFilter, note: Note) -> Answer<'_, Result<Closed, Fault>>;
}

/// A shared secret of TURN REST credentials, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretStatus {
    /// Its number: ever higher.
    pub number: u64,
    /// When it began, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub since: Unix,
    /// When it ends, where another one has taken its place, likewise.
    #[schema(value_type = Option<u64>)]
    pub until: Option<Unix>,
    /// Whether it is the one that issues.
    pub issues: bool,
    /// How many issued credentials rely on it that can still be used.
    pub relying: usize,
}

impl SecretStatus {
    /// All of a registry's at `now`, oldest first.
    #[must_use]
    pub fn of(state: &State, now: Unix) -> Vec<Self> {
        let newest = state.turn_secrets().newest().map(|(number, _)| number);
        let status = |number: &u64| {
            let SecretLife { since, until } = state.turn_secret_life(*number).unwrap_or_default();
            let relying = state.relying_on(*number, now).count();
            Self { number: *number, since, until, issues: newest == Some(*number), relying }
        };
        state.turn_secrets().all().keys().map(status).collect()
    }
}

/// What credential is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct IssueWish {
    /// What it is called: [`chappe_proto::registry::is_label`].
    pub label: String,
    /// The app that it is for.
    pub app: Option<AppId>,
    /// How long it is good, in whole seconds.
    pub life: Duration,
    /// Which edges its URLs are of. It is good at all of them, whichever these are.
    pub at: IssueAt,
}

/// Which edges an issued credential is given the URLs of.
#[derive(Debug, Clone, PartialEq)]
pub enum IssueAt {
    /// The best one of each region.
    Everywhere,
    /// Those that a session there would be given.
    Near(Place),
    /// These, each of which its app's sessions may be given.
    Edges(Vec<EdgeId>),
}

/// A credential as it is told once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewCredential {
    /// Its id: by it it is revoked.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// When it expires, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub until: Unix,
    /// The username.
    pub username: String,
    /// The password. Secret.
    pub credential: String,
    /// For `RTCConfiguration.iceServers`: an entry for each edge.
    pub ice_servers: Vec<IceEntry>,
    /// The URLs of all of them.
    pub urls: Vec<String>,
}

impl std::fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewCredential")
            .field("id", &self.id)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// One entry of `RTCConfiguration.iceServers`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IceEntry {
    /// `turn:` and `turns:` URLs (RFC 7065).
    pub urls: Vec<String>,
    /// The username.
    pub username: String,
    /// The password. Secret.
    pub credential: String,
}

impl NewCredential {
    /// Of a username and its password, for edges with these URLs.
    #[must_use]
    pub fn new(
        id: SessionId,
        until: Unix,
        (username, credential): (String, String),
        edges: Vec<Vec<String>>,
    ) -> Self {
        let urls = edges.iter().flatten().cloned().collect();
        let entry = |urls| IceEntry { urls, username: username.clone(), credential: credential.clone() };
        let ice_servers = edges.into_iter().filter(|urls| !urls.is_empty()).map(entry).collect();
        Self { id, until, username, credential, ice_servers, urls }
    }
}

/// What has become of an issued credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IssuedState {
    /// Allocations are made by it.
    Active,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// Its secret has ended.
    SecretEnded,
}

/// An issued credential, without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedStatus {
    /// Its id, which its username names.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// What its issuer calls it.
    pub label: String,
    /// The app that it is for.
    #[schema(value_type = Option<String>)]
    pub app: Option<AppId>,
    /// Who issued it.
    pub by: String,
    /// When, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub created: Unix,
    /// When it expires, likewise.
    #[schema(value_type = u64)]
    pub until: Unix,
    /// When it was revoked, likewise.
    #[schema(value_type = Option<u64>)]
    pub revoked: Option<Unix>,
    /// The number of the secret that made it.
    pub secret: u64,
    /// What has become of it.
    pub state: IssuedState,
}

impl IssuedStatus {
    /// All of a registry's at `now`, by id.
    #[must_use]
    pub fn of(state: &State, now: Unix) -> Vec<Self> {
        let secrets = state.turn_secrets();
        let status = |(id, held): (&SessionId, &Issued)| {
            let became = match held {
                Issued { revoked: Some(_), .. } => IssuedState::Revoked,
                Issued { until, .. } if *until <= now => IssuedState::Expired,
                Issued { secret, .. } if secrets.get(*secret).is_none() => IssuedState::SecretEnded,
                _ => IssuedState::Active,
            };
            let Issued { label, app, created, until, by, secret, revoked } = held.clone();
            Self { id: *id, label, app, by, created, until, revoked, secret, state: became }
        };
        state.all_issued().map(status).collect()
    }
}

/// Which allocations are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllocationWish {
    /// Those of this edge alone.
    pub edge: Option<EdgeId>,
    /// Those of the sessions that are in this room.
    pub room: Option<RoomKey>,
    /// And these.
    pub filter: AllocationFilter,
}

/// Where a list of allocations goes on: at an edge, behind what it has told.
pub type AllocationCursor = (EdgeId, u32);

/// Some allocations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AllocationPage {
    /// Those.
    pub allocations: Vec<Allocation>,
    /// Edges that did not answer: none of theirs are told.
    #[schema(value_type = Vec<String>)]
    pub missing: Vec<EdgeId>,
    /// Where to go on; nothing where these were the last ones.
    #[serde(skip)]
    pub next: Option<AllocationCursor>,
}

/// Packets and bytes of payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl From<Traffic> for Figures {
    fn from(Traffic { packets, bytes }: Traffic) -> Self {
        Self { packets, bytes }
    }
}

/// An allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Allocation {
    /// Its edge.
    #[schema(value_type = String)]
    pub edge: EdgeId,
    /// What it is called there: 16 hexadecimal digits.
    pub id: String,
    /// How the client reaches the edge: `udp`, `tcp`, `tls` or `dtls`.
    pub transport: String,
    /// The client's address as the edge sees it.
    pub client: String,
    /// The listener's address that the client sends to.
    pub server: String,
    /// The relayed transport addresses.
    pub relayed: Vec<String>,
    /// The session or the issued credential whose it is.
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// The label of that credential.
    pub label: Option<String>,
    /// The app of the session's room, or of the credential, as far as it is known.
    #[schema(value_type = Option<String>)]
    pub app: Option<AppId>,
    /// The session's room, as far as it is known.
    pub room: Option<String>,
    /// The name of a user that is no session.
    pub user: Option<String>,
    /// The realm of a long-term user.
    pub realm: Option<String>,
    /// When it began, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub created: Unix,
    /// In how many milliseconds it ends unless it is refreshed.
    pub left_ms: u64,
    /// Permissions in force.
    pub permissions: u32,
    /// Channels in force.
    pub channels: u32,
    /// Payload from the client to peers.
    pub sent: Figures,
    /// Payload from peers to the client.
    pub received: Figures,
}

impl Allocation {
    /// As an edge reports it at `now`; `room` where that of its session is known.
    #[must_use]
    pub fn new(
        edge: &EdgeId,
        report: AllocationReport,
        state: &State,
        room: Option<RoomKey>,
        now: Unix,
    ) -> Self {
        let issued = report.session.and_then(|session| state.issued(&session));
        let app = room.as_ref().map(|room| room.app.clone());
        Self {
            edge: edge.clone(),
            id: format!("{:016x}", report.number),
            transport: report.transport.name().to_lowercase(),
            client: report.client.to_string(),
            server: report.server.to_string(),
            relayed: report.relayed.iter().map(ToString::to_string).collect(),
            session: report.session,
            label: issued.map(|held| held.label.clone()),
            app: app.or_else(|| issued.and_then(|held| held.app.clone())),
            room: room.map(|room| room.room.to_string()),
            user: report.name,
            realm: report.realm,
            created: Unix(now.0.saturating_sub(Duration::from_millis(report.age_ms))),
            left_ms: report.left_ms,
            permissions: report.permissions,
            channels: report.channels,
            sent: report.sent.into(),
            received: report.received.into(),
        }
    }
}

/// Allocations that were closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Closed {
    /// How many.
    pub closed: u32,
    /// Edges that did not answer: theirs may be there still.
    #[schema(value_type = Vec<String>)]
    pub missing: Vec<EdgeId>,
}

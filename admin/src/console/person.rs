//! Somebody in a room.

use std::collections::BTreeMap;

use askama::Template;
use chappe_proto::id::{PeerId, RoomKey};
use chappe_proto::inspect::SessionDetails;
use chappe_proto::signal::connection::{CandidateType, Connection, ConnectionState};

use super::frame::Frame;
use super::room::{key, name};
use super::rooms::SECTION;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use super::words;
use crate::control::Fault;
use crate::path::{Path, Relay};
use crate::{Mount, Peer};

/// Somebody in a room.
#[derive(Template)]
#[template(path = "person.html", blocks = ["live"])]
pub(crate) struct Person {
    frame: Frame,
    acts: bool,
    room: RoomKey,
    peer: Peer,
    name: String,
    /// None where its gateway does not answer.
    session: Option<SessionDetails>,
    /// None where its client does not tell.
    connections: Option<Vec<Line>>,
    /// By which edges its media goes; none where its room does not answer.
    path: Option<Path>,
}

/// Its media connection to somebody else.
struct Line {
    peer: PeerId,
    /// What the other is called.
    name: String,
    connection: Connection,
}

impl Line {
    /// How it is, and the badge's class.
    const fn state(&self) -> (&'static str, &'static str) {
        match self.connection.state {
            ConnectionState::New => ("not begun", ""),
            ConnectionState::Connecting => ("connecting", "warn"),
            ConnectionState::Connected => ("connected", "good"),
            ConnectionState::Disconnected => ("interrupted", "warn"),
            ConnectionState::Failed => ("failed", "bad"),
            ConnectionState::Closed => ("closed", ""),
        }
    }

    /// By what its media goes, and the candidates of the pair; none before one was selected.
    fn way(&self) -> Option<(&'static str, String)> {
        let Connection { local: Some(local), remote: Some(remote), .. } = self.connection else {
            return None;
        };
        let way = if [local, remote].contains(&CandidateType::Relay) { "relayed" } else { "direct" };
        Some((way, format!("{} to {}", local.name(), remote.name())))
    }
}

/// What a client told of its connections, by the others' names.
fn lines(told: &BTreeMap<PeerId, Connection>, people: &[Peer]) -> Vec<Line> {
    let line = |(peer, connection): (&PeerId, &Connection)| {
        let other = people.iter().find(|other| other.peer == *peer);
        let name = other.map_or_else(|| peer.to_string(), name);
        Line { peer: *peer, name, connection: *connection }
    };
    let mut lines: Vec<Line> = told.iter().map(line).collect();
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines
}

impl Person {
    /// The room's address.
    fn room_path(&self) -> String {
        format!("/admin/apps/{}/rooms/{}", self.room.app, self.room.room)
    }

    /// Its place in the API, with what follows.
    fn api(&self, rest: &str) -> String {
        format!(
            "/admin/api/v1/apps/{}/rooms/{}/peers/{}{rest}",
            self.room.app, self.room.room, self.peer.peer
        )
    }

    /// How much an edge relays of it.
    #[expect(clippy::unused_self, reason = "as templates call it")]
    fn rate(&self, relay: &Relay) -> String {
        #[expect(clippy::cast_precision_loss, reason = "no rate is near 2^52")]
        let bits = relay.bytes_per_s as f64 * 8.0;
        words::rate(bits)
    }

    /// Whether a grant was taken away from it.
    fn lacks(&self, grant: &str) -> bool {
        self.peer.withheld.contains(&grant)
    }
}

impl View for Person {
    type Place = (String, String, String);
    type Ask = Nothing;

    async fn load(
        mount: &Mount,
        visitor: &Visitor,
        (app, room, peer): Self::Place,
        _: Nothing,
    ) -> Result<Self, Fault> {
        let key = key(&app, &room)?;
        let missing = Fault::NotThere("person in that room: they have left, or were removed");
        let Ok(id) = peer.parse::<PeerId>() else { return Err(missing) };
        let people = mount.cluster.room(key.clone()).await?.peers;
        let peer = people.iter().find(|peer| peer.peer == id).ok_or(missing)?.clone();
        let name = name(&peer);
        let told = mount.cluster.peer(key.clone(), id, false).await.ok();
        let (session, path) = told.map(|told| (told.session, told.path)).unzip();
        let session = session.flatten();
        let told = session.as_ref().and_then(|session| session.connections.as_ref());
        let connections = told.map(|told| lines(told, &people));
        let frame = Frame::of(visitor, SECTION, format!("{name} in {}", key.room));
        Ok(Self { frame, acts: visitor.acts, room: key, peer, name, session, connections, path })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

//! Somebody in a room.

use askama::Template;
use chappe_proto::id::{PeerId, RoomKey};
use chappe_proto::inspect::SessionDetails;

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
    /// By which edges its media goes; none where its room does not answer.
    path: Option<Path>,
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
        let peer = people.into_iter().find(|peer| peer.peer == id).ok_or(missing)?;
        let name = name(&peer);
        let told = mount.cluster.peer(key.clone(), id, false).await.ok();
        let (session, path) = told.map(|told| (told.session, told.path)).unzip();
        let session = session.flatten();
        let frame = Frame::of(visitor, SECTION, format!("{name} in {}", key.room));
        Ok(Self { frame, acts: visitor.acts, room: key, peer, name, session, path })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

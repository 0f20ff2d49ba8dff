//! What passes a room, live: the signaling inspector. Its lines come by the API's own events.

use askama::Template;

use super::frame::Frame;
use super::view::{Nothing, View};
use super::visitor::Visitor;
use crate::Mount;
use crate::api::rooms::key;
use crate::control::Fault;

/// The inspector of one room.
#[derive(Template)]
#[template(path = "signals.html", blocks = ["live"])]
pub(crate) struct Signals {
    frame: Frame,
    app: String,
    room: String,
    owns: bool,
}

impl View for Signals {
    type Place = (String, String);
    type Ask = Nothing;

    async fn load(_: &Mount, visitor: &Visitor, (app, room): Self::Place, _: Nothing) -> Result<Self, Fault> {
        let key = key(&app, &room).map_err(|_| Fault::NotThere("room"))?;
        let frame = Frame::of(visitor, "/admin/rooms", format!("Signals of {}", key.room));
        Ok(Self { frame, app, room, owns: visitor.owns })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

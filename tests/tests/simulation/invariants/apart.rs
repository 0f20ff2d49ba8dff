//! Nothing crosses rooms or apps: whoever is seen, heard or written to is of one's own room.

use std::collections::BTreeMap;

use chappe_proto::id::{PeerId, RoomKey};

use crate::client::{Client, Fact};

/// The room of each peer, as its client knows.
#[derive(Default)]
pub(crate) struct Apart(BTreeMap<PeerId, RoomKey>);

impl Apart {
    pub(crate) fn hear(&mut self, client: &Client, fact: &Fact) -> Result<(), String> {
        let room = &client.who.room;
        match fact {
            Fact::Became(peer) => {
                self.0.insert(*peer, room.clone());
            }
            Fact::Overheard(text) => {
                return Err(format!("{} of {room} was told {text}", client.who.identity));
            }
            Fact::Took { from: other, .. } | Fact::Sent { to: other, .. } => self.own(room, *other)?,
            _ => {}
        }
        Ok(())
    }

    fn own(&self, room: &RoomKey, other: PeerId) -> Result<(), String> {
        match self.0.get(&other) {
            Some(theirs) if theirs != room => Err(format!("{other} of {theirs} is seen in {room}")),
            _ => Ok(()),
        }
    }

    /// Whom a client sees.
    pub(crate) fn sees(&self, client: &Client) -> Result<(), String> {
        client.roster.keys().try_for_each(|other| self.own(&client.who.room, *other))
    }
}

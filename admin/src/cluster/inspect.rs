//! What passes a room, as an operator sees it.

use chappe_proto::id::RoomKey;
use chappe_proto::inspect::{Filter, SignalsPage};
use chappe_proto::registry::Note;

use super::Answer;
use super::control::Fault;

/// What of a room is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignalsAsk {
    /// The last number that is known, 0 for all that is held.
    pub after: u64,
    /// Which.
    pub filter: Filter,
    /// As many at most.
    pub limit: u32,
    /// Whether payloads are shown as they are: [`Inspect::looked`] comes first.
    pub plain: bool,
    /// Whether a key of the room's app asks: apps get a part of the watches.
    pub by_app: bool,
}

/// Watching rooms.
pub trait Inspect {
    /// A page of what passed a room. It is watched from the first question on, for some seconds after each.
    /// [`Fault::NotThere`] where nobody is in it.
    fn signals(&self, room: RoomKey, ask: SignalsAsk) -> Answer<'_, Result<SignalsPage, Fault>>;
    /// Puts into the audit log that somebody looks at what is hidden otherwise; committed when it is answered.
    fn looked(&self, note: Note) -> Answer<'_, Result<(), Fault>>;
}

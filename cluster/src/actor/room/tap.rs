//! What webhooks are told of a room.

use chappe_proto::hooks::event::EventKind;
use chappe_proto::hooks::tap::{Heard, Tap, waiting};
use chappe_proto::registry::State;
use chappe_proto::signal::lobby::Knock;
use chappe_proto::signal::route::ProxyInput;
use chappe_proto::signal::site::Site;

use super::RoomActor;
use crate::clock;
use crate::hooks::wants;

impl RoomActor {
    /// Tells of what the gateways are told.
    pub(super) fn tell_hooks(&mut self, state: &State, body: &ProxyInput) {
        let ProxyInput::Changed { n, change, .. } = body else { return };
        let app = &self.key.app;
        let wanted = |kind| state.hooks_of(app).any(|(_, hook)| wants(hook, kind));
        let heard = Heard { room: &self.key, place: self.place, n: *n, at: clock::unix(), change };
        for event in self.tap.handle(heard, wanted) {
            self.node.hooks.tell(state, app, &event);
        }
    }

    /// Tells of one who waits to be let in.
    pub(super) fn tell_hooks_of(&self, state: &State, knock: &Knock) {
        let app = &self.key.app;
        if state.hooks_of(app).any(|(_, hook)| wants(hook, EventKind::PeerWaiting)) {
            self.node.hooks.tell(state, app, &waiting(&self.key, knock, clock::unix()));
        }
    }

    /// A room that is elsewhere is another owner's to tell of; should it come back, it is taken over again.
    pub(super) fn forget_if_away(&mut self) {
        if self.machine.as_ref().and_then(Site::room).is_none() {
            self.tap = Tap::default();
        }
    }
}

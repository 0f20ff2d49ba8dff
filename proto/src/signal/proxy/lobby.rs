//! Who waits to be let in, for those of a gateway's own sessions that may answer.

use std::sync::Arc;

use super::super::lobby::{Knock, digest};
use super::super::route::ToSession;
use super::{Output, Proxy};
use crate::id::PeerId;

impl Proxy {
    /// Whether one of its own sessions may let others in, or will once it is in itself.
    fn may_answer(&self) -> bool {
        self.own.values().any(|own| own.member.seat.grants.admin)
    }

    /// What it has of them, for the owner to compare. None where it needs to have nothing.
    pub(super) fn lobby_digest(&self) -> Option<u64> {
        self.may_answer().then(|| digest(self.lobby.iter().map(|knock| &knock.peer)))
    }

    /// All who wait.
    pub(super) fn hear_lobby(&mut self, waiting: Vec<Knock>, out: &mut Vec<Output>) {
        if *self.lobby == waiting || !self.may_answer() {
            return;
        }
        self.lobby = Arc::new(waiting);
        let may = self.own.values().filter(|own| own.member.seat.grants.admin && own.pending.is_none());
        out.extend(
            may.map(|own| Output::Session(own.member.seat.peer, ToSession::Lobby(Arc::clone(&self.lobby)))),
        );
    }

    /// One more does.
    pub(super) fn hear_knock(&mut self, knock: Knock, out: &mut Vec<Output>) {
        let others = self.lobby.iter().filter(|other| other.peer != knock.peer);
        let mut waiting: Vec<Knock> = others.cloned().collect();
        let line = |knock: &Knock| (knock.since, knock.peer);
        let place = waiting.partition_point(|other| line(other) < line(&knock));
        waiting.insert(place, knock);
        self.hear_lobby(waiting, out);
    }

    /// One does no more.
    pub(super) fn hear_knock_gone(&mut self, peer: PeerId, out: &mut Vec<Output>) {
        self.hear_lobby(self.lobby.iter().filter(|knock| knock.peer != peer).cloned().collect(), out);
    }

    /// Where nobody here may answer any more, the owner will say nothing more of it: what is kept would go stale.
    pub(super) fn forget_lobby(&mut self) {
        if !self.lobby.is_empty() && !self.may_answer() {
            self.lobby = Arc::default();
        }
    }
}

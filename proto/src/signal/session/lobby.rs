//! Waiting to be let in, and what one who may let others in is told of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::code::{ErrorCode, Refusal};
use super::super::frame::{KnockView, ServerFrame};
use super::super::lobby::{Knock, Verdict};
use super::super::route::FromSession;
use super::{Output, Phase, Session, World};
use crate::id::PeerId;
use crate::time::{Mono, Now};

impl Session {
    /// Its client has to wait to be let in. It learns nothing of the room; of the cluster it learns where else it may
    /// knock, should this node be lost.
    pub(super) fn wait(&mut self, now: Now, world: &World, position: u32, out: &mut Vec<Output>) {
        if !matches!(self.phase, Phase::Entering(_)) {
            return;
        }
        self.unavailable_at = Mono::NEVER;
        let before = self.waits.replace(position);
        if before == Some(position) {
            return;
        }
        let nodes = self.nodes(world);
        self.tell(&ServerFrame::Waiting { position, nodes: &nodes }, out);
        if before.is_none() {
            self.tell_moving(now, out);
        }
    }

    /// Whether its client can be told anything.
    pub(super) fn is_answered(&self) -> bool {
        self.phase == Phase::Present || self.waits.is_some()
    }

    /// Who waits by now. What comes before the welcome is in the welcome.
    pub(super) fn hear_lobby(&mut self, waiting: Arc<Vec<Knock>>, out: &mut Vec<Output>) {
        let before = std::mem::replace(&mut self.lobby, waiting);
        if self.phase != Phase::Present {
            return;
        }
        let ids = |knocks: &[Knock]| knocks.iter().map(|knock| knock.peer).collect::<BTreeSet<PeerId>>();
        let (old, new) = (ids(&before), ids(&self.lobby));
        for peer in old.difference(&new) {
            self.tell(&ServerFrame::KnockGone { peer: *peer }, out);
        }
        for knock in self.lobby.iter().filter(|knock| !old.contains(&knock.peer)) {
            self.tell(&ServerFrame::Knock(KnockView::from(knock)), out);
        }
    }

    pub(super) fn judge(&self, peer: PeerId, verdict: Verdict, out: &mut Vec<Output>) {
        if self.member.seat.grants.admin {
            let by = self.member.seat.peer;
            out.push(Output::Proxy(FromSession::Judge { by, peer, verdict }));
        } else {
            self.refuse(&Refusal::new(ErrorCode::Forbidden, "grants: `admin` is missing"), out);
        }
    }
}

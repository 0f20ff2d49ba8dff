//! A session whose client is to go to another room: it is told so with a token for that, whichever socket it hears it
//! by, and is sent away where it does not go.

use rand_chacha::rand_core::Rng;

use super::super::code::LeaveReason;
use super::super::frame::ServerFrame;
use super::super::moved::MoveToken;
use super::{Output, Phase, Session, World};
use crate::id::{RoomKey, RoomName};
use crate::limits;
use crate::time::{Mono, Now};

/// Where a session is moved.
#[derive(Debug)]
pub(super) struct Moved {
    to: RoomName,
    /// When it ends where its client has not gone by itself.
    leaves_at: Mono,
}

impl Session {
    /// Its client is to go to this room of the same app, as an operator has decided. It is told, and said again to one
    /// that comes back without having heard it; the session ends when it goes, or after [`limits::MOVED_WITHIN`].
    /// False where it cannot be told now: it has no socket, or is not in its room yet.
    pub fn handle_move(&mut self, now: Now, world: &World, to: RoomName, out: &mut Vec<Output>) -> bool {
        if self.phase != Phase::Present || self.socket.is_none() || world.sealing.is_empty() {
            return false;
        }
        self.moved = Some(Moved { to, leaves_at: Mono::NEVER });
        self.tell_moved(now, world, out);
        true
    }

    /// Says [`ServerFrame::Moved`] where it is moved.
    pub(super) fn tell_moved(&mut self, now: Now, world: &World, out: &mut Vec<Output>) {
        let Some(moved) = &mut self.moved else { return };
        moved.leaves_at = now.mono + limits::MOVED_WITHIN;
        let (to, member) = (moved.to.clone(), &self.member);
        let (earliest, latest) = (now.unix + limits::MOVE_TOKEN_MIN, now.unix + limits::RESUME_TTL);
        let token = MoveToken {
            room: RoomKey { app: self.room.app.clone(), room: to.clone() },
            seat: member.seat.clone(),
            identity: member.profile.identity.clone(),
            name: member.profile.name.clone(),
            metadata: member.profile.metadata.clone(),
            withheld: member.withheld,
            until: member.seat.token_until.clamp(earliest, latest),
        };
        let mut nonce = [0; 24];
        self.rng.fill_bytes(&mut nonce);
        if let Some(token) = token.seal(&world.sealing, nonce) {
            self.tell(&ServerFrame::Moved { room: &to, token: &token }, out);
        }
    }

    /// When it ends, having been moved. Not while its client has no socket: it is told again when it is back.
    pub(super) fn leaves_at(&self) -> Mono {
        let told = self.socket.is_some() && self.phase == Phase::Present;
        self.moved.as_ref().filter(|_| told).map_or(Mono::NEVER, |moved| moved.leaves_at)
    }

    /// Why it leaves whose client says that it does.
    pub(super) const fn left(&self) -> LeaveReason {
        if self.moved.is_some() { LeaveReason::Moved } else { LeaveReason::Left }
    }
}

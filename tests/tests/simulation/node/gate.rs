//! Sockets of clients, and what passes with a `join` (mirrors `cluster::actor::gateway`; tokens are claims
//! without a signature, source addresses are not counted).

use std::sync::Arc;

use chappe_proto::id::{Attach, Identity, PeerId, RoomKey, SessionId};
use chappe_proto::limits;
use chappe_proto::registry::State;
use chappe_proto::select::Place;
use chappe_proto::signal::code::{CloseCode, ErrorCode, Refusal};
use chappe_proto::signal::frame::{ClientFrame, GoneReason, Join, ServerFrame};
use chappe_proto::signal::member::{Member, Policy, Profile, Seat, Withheld};
use chappe_proto::signal::resume::{OpenError, ResumeToken};
use chappe_proto::signal::session::{Rebuilt, Session, Start};
use chappe_proto::signal::token::Claims;
use chappe_proto::time::Now;

use super::{Node, SessionSlot};
use crate::breaks::Break;
use crate::env::{Down, Env};

/// Whether a session, or an identity in this room, was kicked or banned.
pub(super) fn is_revoked(
    state: &State,
    now: Now,
    room: &RoomKey,
    session: SessionId,
    identity: Option<&Identity>,
) -> bool {
    state.revoked(&session, now.unix).is_some()
        || identity.is_some_and(|identity| state.banned(room, identity, now.unix).is_some())
}

/// An app's policy as rooms and sessions need it.
pub(super) fn policy(state: &State, room: &RoomKey) -> Option<Policy> {
    let policy = &state.app(&room.app)?.policy;
    Some(Policy {
        anonymous: policy.anonymous,
        capacity: policy.capacity,
        grace: policy.grace(),
        credential_ttl: policy.credential_ttl(),
        frames_burst: policy.frames_burst,
        frames_per_sec: policy.frames_per_sec,
        rules: state.rules(room),
    })
}

impl Node {
    /// A client's text arrives.
    pub(crate) fn text(&mut self, env: &mut Env, socket: u32, text: &str) {
        match *self.sockets.entry(socket).or_insert(None) {
            Some(peer) => self.with_session(env, peer, |session, now, world, out| {
                session.handle_text(now, world, text, out);
            }),
            None => self.greet(env, socket, text),
        }
        self.settle(env);
    }

    /// A socket has ended.
    pub(crate) fn cut(&mut self, env: &mut Env, socket: u32) {
        if let Some(Some(peer)) = self.sockets.remove(&socket) {
            if let Some(slot) = self.sessions.get_mut(&peer)
                && slot.socket == Some(socket)
            {
                slot.socket = None;
            }
            self.with_session(env, peer, |session, now, _, out| session.handle_socket_lost(now, out));
        }
        self.settle(env);
    }

    fn say(&self, env: &mut Env, socket: u32, frame: &ServerFrame<'_>) {
        env.down(socket, Down::Text(frame.text().to_string()));
    }

    fn greet(&mut self, env: &mut Env, socket: u32, text: &str) {
        let mut code = CloseCode::Refused;
        let refusal = match ClientFrame::read(text) {
            Ok(ClientFrame::Join(join)) => {
                if join.resume.is_some() {
                    code = CloseCode::Shutdown; // it is to resume elsewhere
                }
                match self.join(env, socket, *join) {
                    Ok(()) => return,
                    Err(refusal) => refusal,
                }
            }
            Ok(ClientFrame::Ping(t)) => {
                return self.say(env, socket, &ServerFrame::Pong { t: t.as_ref() });
            }
            Ok(_) => Refusal::new(ErrorCode::NotJoined, "the first frame is `join`"),
            Err(refusal) => refusal,
        };
        self.say(env, socket, &ServerFrame::Error(&refusal));
        self.say(env, socket, &ServerFrame::closed(code));
        self.close(env, socket, code);
    }

    fn join(&mut self, env: &mut Env, socket: u32, join: Join) -> Result<(), Refusal> {
        let unavailable = |what| Refusal::new(ErrorCode::Unavailable, what).retry_after(limits::BUSY_RETRY);
        if self.gateway.is_none() {
            return Err(unavailable("this node has not begun"));
        }
        let now = self.now(env);
        if let Some(text) = join.resume.clone() {
            return match self.come_back(env, now, socket, &text, join) {
                Ok(true) => Ok(()),
                Ok(false) => Err(unavailable("this node is cut off from the cluster")),
                Err(reason) => {
                    self.say(env, socket, &ServerFrame::Gone { reason });
                    Ok(())
                }
            };
        }
        if !self.has_lease(env) {
            return Err(unavailable("this node is cut off from the cluster"));
        }
        let start = self.admit(env, now, join)?;
        self.start(env, socket, start);
        Ok(())
    }

    fn admit(&self, env: &mut Env, now: Now, join: Join) -> Result<Start, Refusal> {
        let bad = |_| Refusal::new(ErrorCode::TokenInvalid, "not a token");
        let text = join.token.as_deref().unwrap_or_default();
        let claims: Claims = serde_json::from_str(text).map_err(bad)?;
        let grants = claims.check(&join.room, now.unix)?;
        let unknown = || Refusal::new(ErrorCode::Unavailable, "no such app yet");
        let app = self.state.key(&claims.iss).ok_or_else(unknown)?.app.clone();
        let room = RoomKey { app, room: join.room };
        let policy = policy(&self.state, &room).ok_or_else(unknown)?;
        let seat = Seat {
            peer: PeerId::from_random(env.dice.bytes()),
            session: SessionId::from_random(env.dice.bytes()),
            grants,
            capacity: claims.capacity,
            token_until: claims.until(),
            place: None,
        };
        let profile = Profile { identity: claims.sub, name: claims.name, metadata: join.metadata };
        let revoked = is_revoked(&self.state, now, &room, seat.session, profile.identity.as_ref());
        if revoked && !env.broken(Break::ForgetsRevocations) {
            return Err(Refusal::new(ErrorCode::Banned, "an admin removed you from this room"));
        }
        let member = Member {
            seat,
            profile,
            version: 0,
            attach: Attach(1),
            away: false,
            admitted: None,
            withheld: Withheld::NONE,
        };
        Ok(Start { room, member, policy, place: Place::default(), rebuilt: None, seed: env.dice.bytes() })
    }

    /// A return with a resume token; false where this node may not take it now.
    fn come_back(
        &mut self,
        env: &mut Env,
        now: Now,
        socket: u32,
        text: &str,
        join: Join,
    ) -> Result<bool, GoneReason> {
        let token = ResumeToken::open(text, &self.world.sealing, now.unix).map_err(|e| match e {
            OpenError::Unknown => GoneReason::Unknown,
            OpenError::Expired => GoneReason::Expired,
        })?;
        let peer = token.seat.peer;
        let revoked = is_revoked(&self.state, now, &token.room, token.seat.session, token.identity.as_ref());
        if revoked && !env.broken(Break::ForgetsRevocations) {
            return Err(GoneReason::Revoked);
        }
        if !self.sessions.contains_key(&peer) {
            if !self.has_lease(env) {
                return Ok(false);
            }
            let start = rebuild(&self.state, now, token, join, env.dice.bytes());
            self.start(env, socket, start.ok_or(GoneReason::Unknown)?);
            return Ok(true);
        }
        let mut out = Vec::new();
        let Some(slot) = self.sessions.get_mut(&peer) else { return Err(GoneReason::Unknown) };
        slot.machine.handle_resume(now, token.presented(), join.marks, &mut out)?;
        let former = slot.socket.replace(socket);
        self.sockets.insert(socket, Some(peer));
        if let Some(former) = former.filter(|former| *former != socket) {
            self.say(env, former, &ServerFrame::closed(CloseCode::Replaced));
            self.close(env, former, CloseCode::Replaced);
        }
        self.session_outputs(env, peer, out);
        Ok(true)
    }

    fn start(&mut self, env: &mut Env, socket: u32, start: Start) {
        let (peer, room) = (start.member.seat.peer, start.room.clone());
        let mut out = Vec::new();
        let machine = Session::new(self.now(env), start, &mut out);
        self.sessions.insert(peer, SessionSlot { machine, room, socket: Some(socket) });
        self.sockets.insert(socket, Some(peer));
        self.session_outputs(env, peer, out);
    }

    /// What sessions need to know of the registry.
    pub(super) fn publish(&mut self) {
        let keys = self.state.sealing_keys().all().iter();
        let keys = keys.filter_map(|(n, secret)| Some((*n, <[u8; 32]>::try_from(&secret.0[..]).ok()?)));
        self.world.sealing = Arc::new(keys.collect());
    }
}

/// A session made anew from its token: the same peer, its counters and marks being its client's.
fn rebuild(state: &State, now: Now, token: ResumeToken, join: Join, seed: [u8; 32]) -> Option<Start> {
    let policy = policy(state, &token.room)?;
    let presented = token.presented();
    let says = join.name.is_some() || join.metadata.is_some();
    let member = Member {
        profile: Profile {
            identity: token.identity,
            name: join.name.or(token.name),
            metadata: join.metadata.or(token.metadata),
        },
        version: if says { now.unix.millis() } else { 0 },
        attach: Attach(presented.attach.0 + 1),
        away: false,
        admitted: Some(token.admitted),
        withheld: token.withheld,
        seat: token.seat,
    };
    let rebuilt = Some(Rebuilt { presented, marks: join.marks });
    Some(Start { room: token.room, member, policy, place: Place::default(), rebuilt, seed })
}

//! The gate that a `join` passes: a new session, or one that its resume token brings back.

use chappe_proto::id::{Attach, Identity, PeerId, SessionId};
use chappe_proto::select::Place;
use chappe_proto::signal::code::{CloseCode, ErrorCode, Refusal};
use chappe_proto::signal::frame::{ClientFrame, GoneReason, Join, ServerFrame};
use chappe_proto::signal::member::{Grants, Member, Profile, Seat, Withheld};
use chappe_proto::signal::proxy::Proxy;
use chappe_proto::signal::resume::{OpenError, ResumeToken};
use chappe_proto::signal::session::{Rebuilt, Session, Start};
use chappe_proto::signal::token::Claims;

use super::{Cluster, SHARD};

impl Cluster {
    /// What a socket without a session says.
    pub(super) fn gate(&mut self, socket: u32, gateway: usize, text: &str) {
        match ClientFrame::read(text) {
            Ok(ClientFrame::Join(join)) => {
                if let Err(refusal) = self.join(socket, gateway, *join) {
                    self.say(socket, &ServerFrame::Error(&refusal));
                    self.say(socket, &ServerFrame::closed(CloseCode::Refused));
                    self.close(socket, CloseCode::Refused);
                }
            }
            Ok(_) => {
                let refusal = Refusal::new(ErrorCode::NotJoined, "the first frame is `join`");
                self.say(socket, &ServerFrame::Error(&refusal));
            }
            Err(refusal) => self.say(socket, &ServerFrame::Error(&refusal)),
        }
    }

    fn join(&mut self, socket: u32, gateway: usize, join: Join) -> Result<(), Refusal> {
        if let Some(text) = join.resume.clone() {
            if let Err(reason) = self.resume(socket, gateway, &text, join) {
                self.say(socket, &ServerFrame::Gone { reason });
            }
            return Ok(());
        }
        let (peer, session) = (PeerId::from_random(self.random()), SessionId::from_random(self.random()));
        let (grants, identity, name, capacity, token_until) = match &join.token {
            None if self.policy.anonymous => {
                (Grants::ANONYMOUS, join.identity, join.name, None, self.now.unix)
            }
            None => return Err(Refusal::new(ErrorCode::TokenMissing, "this app wants a token")),
            Some(text) => {
                let bad = |_| Refusal::new(ErrorCode::TokenInvalid, "not a token");
                let claims: Claims = serde_json::from_str(text).map_err(bad)?;
                let grants = claims.check(&join.room, self.now.unix)?;
                (grants, claims.sub.clone(), claims.name.clone(), claims.capacity, claims.until())
            }
        };
        let seat = Seat { peer, session, grants, capacity, token_until, place: None };
        let profile = Profile { identity, name, metadata: join.metadata };
        let member = Member {
            seat,
            profile,
            version: 0,
            attach: Attach(1),
            away: false,
            admitted: None,
            withheld: Withheld::NONE,
        };
        self.start(socket, gateway, member, None);
        Ok(())
    }

    fn resume(&mut self, socket: u32, gateway: usize, text: &str, join: Join) -> Result<(), GoneReason> {
        let token = ResumeToken::open(text, &self.world.sealing, self.now.unix).map_err(|e| match e {
            OpenError::Unknown => GoneReason::Unknown,
            OpenError::Expired => GoneReason::Expired,
        })?;
        let peer = token.seat.peer;
        if token.room != self.room {
            return Err(GoneReason::Unknown);
        }
        if self.is_revoked(token.seat.session, token.identity.as_ref()) {
            return Err(GoneReason::Revoked);
        }
        let Some((session, bound)) = self.nodes[gateway].sessions.get_mut(&peer) else {
            let presented = token.presented();
            let says = join.name.is_some() || join.metadata.is_some();
            let profile = Profile {
                identity: token.identity,
                name: join.name.or(token.name),
                metadata: join.metadata.or(token.metadata),
            };
            let member = Member {
                seat: token.seat,
                profile,
                version: if says { self.now.unix.millis() } else { 0 },
                attach: Attach(token.attach.0 + 1),
                away: false,
                admitted: Some(token.admitted),
                withheld: token.withheld,
            };
            self.start(socket, gateway, member, Some(Rebuilt { presented, marks: join.marks }));
            return Ok(());
        };
        let mut out = Vec::new();
        session.handle_resume(self.now, token.presented(), join.marks, &mut out)?;
        let former = bound.replace(socket);
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.session = Some(peer);
        }
        if let Some(former) = former.filter(|former| *former != socket) {
            self.say(former, &ServerFrame::closed(CloseCode::Replaced));
            self.close(former, CloseCode::Replaced);
        }
        self.session_outputs(gateway, peer, out);
        Ok(())
    }

    fn start(&mut self, socket: u32, gateway: usize, member: Member, rebuilt: Option<Rebuilt>) {
        let peer = member.seat.peer;
        let (room, policy, seed) = (self.room.clone(), self.policy, self.random());
        let start = Start { room, member, policy, place: Place::default(), rebuilt, seed };
        let (mut out, mut proxy_out) = (Vec::new(), Vec::new());
        let session = Session::new(self.now, start, &mut out);
        let node = &mut self.nodes[gateway];
        node.sessions.insert(peer, (session, Some(socket)));
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.session = Some(peer);
        }
        if node.proxy.is_none() {
            let mut proxy = Proxy::new(self.now, node.gateway, SHARD, node.epoch, &mut proxy_out);
            proxy.set_local(self.owner_at == Some(gateway) && node.epoch == self.epoch);
            node.proxy = Some(proxy);
        }
        self.proxy_outputs(gateway, proxy_out);
        self.session_outputs(gateway, peer, out);
    }

    fn is_revoked(&self, session: SessionId, identity: Option<&Identity>) -> bool {
        self.revoked.iter().any(|(s, i)| *s == session || (i.is_some() && i.as_ref() == identity))
    }
}

//! Frames between proxies and rooms, on this node and others (mirrors `cluster::router`).

use chappe_proto::id::{Epoch, PeerId, RoomKey, Shard};
use chappe_proto::limits;
use chappe_proto::mesh::node::Body;
use chappe_proto::registry::rights::{self, Right};
use chappe_proto::signal::code::{ErrorCode, Refusal};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::proxy::Proxy;
use chappe_proto::signal::route::{Direct, DirectBody, FromRoom, ProxyInput, RoomInput, ToRoom, ToSession};
use chappe_proto::signal::site::Site;

use super::rooms::At;
use super::{Local, Node};
use crate::breaks::Break;
use crate::env::{Env, id_of, index_of};

/// Frames that wait for an epoch to be applied.
const EARLY_MAX: usize = 256;

impl Node {
    /// A proxy of this node speaks to its room's owner.
    pub(super) fn send_room(&mut self, env: &mut Env, room: &RoomKey, body: RoomInput) {
        let (Some(gateway), Some(proxy)) = (self.gateway, self.proxies.get(room)) else { return };
        let asker = match &body {
            RoomInput::Broadcast { from, .. } | RoomInput::Mute { by: from, .. } => Some(*from),
            RoomInput::Kick { by, .. } | RoomInput::Judge { by, .. } => Some(*by),
            _ => None, // said again until it is answered, by this proxy or by the sender's session
        };
        let (shard, epoch) = proxy.place();
        let body = self.word(env, room, (shard, epoch), body);
        let frame = ToRoom { room: room.clone(), shard, epoch, gateway, body };
        if !self.hand_over(env, frame)
            && let Some(peer) = asker
        {
            let refusal = Refusal::new(ErrorCode::Unavailable, "the room cannot be reached right now");
            let error = ToSession::Error(refusal.retry_after(limits::BUSY_RETRY));
            self.local.push_back(Local::ToSession(peer, error));
        }
    }

    /// What this gateway says in a place: where that is the anchor, and the room's home is here, it says so.
    fn word(&mut self, env: &Env, room: &RoomKey, place: (Shard, Epoch), body: RoomInput) -> RoomInput {
        if place.0 != room.anchor() || !matches!(body, RoomInput::Attach { .. } | RoomInput::Detach) {
            return body;
        }
        let (now, name) = (self.now(env).mono, Self::name(env, room));
        let leaves = self.rooms.iter().filter(|((key, _), _)| *key == *name);
        let home = leaves.filter_map(|(_, slot)| slot.machine.leave()).find(|(_, until)| now < *until);
        let Some((home, _)) = home else { return body };
        if matches!(body, RoomInput::Attach { .. }) {
            let epoch = self.state.shard(home.shard).map(|entry| entry.epoch).unwrap_or_default();
            let homed = ProxyInput::Homed { shard: home.shard, epoch, since: home.since };
            let (room, (shard, epoch)) = (room.clone(), place);
            self.local.push_back(Local::FromRoom(FromRoom { room, shard, epoch, body: homed }));
        }
        RoomInput::Follows { home }
    }

    /// Around the owner, to another gateway's proxy of the same room.
    pub(super) fn send_proxy(&mut self, env: &mut Env, room: &RoomKey, to: Gateway, body: DirectBody) {
        let Some(gateway) = self.gateway else { return };
        let frame = Direct { room: room.clone(), gateway, body };
        env.send(self.index, index_of(to.node), Body::Direct(frame));
    }

    pub(super) fn hand_over(&mut self, env: &mut Env, frame: ToRoom) -> bool {
        let Some(owner) = self.state.shard(frame.shard).and_then(|entry| entry.owner) else { return false };
        if owner == self.id {
            self.local.push_back(Local::ToRoom(frame));
            return true;
        }
        env.send(self.index, index_of(owner), Body::ToRoom(frame))
    }

    /// A room of this node speaks to a gateway.
    pub(super) fn send_gateway(
        &mut self,
        env: &mut Env,
        room: &RoomKey,
        (shard, epoch): (Shard, Epoch),
        to: Gateway,
        body: ProxyInput,
    ) {
        let frame = FromRoom { room: room.clone(), shard, epoch, body };
        if Some(to) == self.gateway {
            self.local.push_back(Local::FromRoom(frame));
        } else if to.node != self.id {
            env.send(self.index, index_of(to.node), Body::FromRoom(frame));
        }
    }

    /// A frame for a room of this node.
    pub(super) fn at_room(&mut self, env: &mut Env, frame: ToRoom) {
        let (Some(_), Some(entry)) = (self.gateway, self.state.shard(frame.shard).copied()) else { return };
        let from = frame.gateway;
        env.note(|| {
            format!(
                "node {} has for {} in {} at {} of {:?} {:?}",
                self.id, frame.room, frame.shard, frame.epoch, from, frame.body
            )
        });
        if self.is_over(from) {
            return;
        }
        if frame.epoch > entry.epoch {
            if self.early.len() < EARLY_MAX {
                self.early.push_back(frame);
            }
            return;
        }
        let place = (frame.shard, entry.epoch);
        if frame.epoch < entry.epoch {
            let body = ProxyInput::Refused { epoch: entry.epoch };
            return self.send_gateway(env, &frame.room, place, from, body);
        }
        if self.right(env, frame.shard) == Right::None {
            return; // not ours: the sender will hear of it as we did
        }
        let at = (Self::name(env, &frame.room).into_owned(), frame.shard);
        let mut body = frame.body;
        let answers = matches!(body, RoomInput::Detach | RoomInput::Follows { .. });
        if !self.rooms.contains_key(&at)
            && (answers || !self.begin_site(env, at.clone(), &frame.room, entry.epoch))
        {
            return; // no room is made for it
        }
        if answers || matches!(body, RoomInput::Attach { .. }) {
            env.watch.answered.heard(self.id, &at.0, at.1, from);
        }
        if env.broken(Break::ForgetsHomes) {
            match &mut body {
                RoomInput::Follows { .. } => body = RoomInput::Detach,
                RoomInput::AtHome { held, .. } => *held = None,
                _ => {}
            }
        }
        env.watch.answered.knocks(newcomer(&body));
        self.with_site(env, &at, |site, view, out| site.handle(view, from, body, out));
        env.watch.answered.knocks(None);
    }

    /// Whether the registry knows that a gateway's life is over.
    fn is_over(&self, gateway: Gateway) -> bool {
        rights::is_over(&self.state, gateway.node, gateway.generation)
    }

    /// A frame of a room's owner for this gateway.
    pub(super) fn at_proxy(&mut self, env: &mut Env, owner: usize, frame: FromRoom) {
        let Some(gateway) = self.gateway else { return };
        let room = Self::name(env, &frame.room).into_owned();
        env.note(|| {
            format!(
                "node {} follows {} in {} at {} of node {} {:?}",
                self.id,
                frame.room,
                frame.shard,
                frame.epoch,
                owner + 1,
                frame.body
            )
        });
        if self.at_site(env, &room, &frame) {
            return;
        }
        if let Some(before) = self.proxies.get(&room).map(Proxy::place) {
            self.with_proxy(env, &room, |proxy, now, out| proxy.handle_room(now, frame, out));
            if self.proxies.get(&room).is_some_and(|proxy| proxy.place().0 != before.0) {
                self.follow_shard(env, &room);
                self.follow_link(env, &room);
            }
        } else if !matches!(frame.body, ProxyInput::Refused { .. }) {
            let FromRoom { room, shard, epoch, .. } = frame;
            let body = self.word(env, &room, (shard, epoch), RoomInput::Detach);
            let frame = ToRoom { room, shard, epoch, gateway, body };
            if owner == self.index {
                self.local.push_back(Local::ToRoom(frame));
            } else {
                env.send(self.index, owner, Body::ToRoom(frame));
            }
        }
    }

    /// What the anchor's owner says to a site elsewhere. False where it is for the proxy.
    fn at_site(&mut self, env: &mut Env, room: &RoomKey, frame: &FromRoom) -> bool {
        match frame.body {
            ProxyInput::Home { site, asked, home } => {
                let at = (room.clone(), site.0);
                if self.rooms.get(&at).is_some_and(|slot| slot.machine.place() == site) {
                    let (epoch, answer) = (frame.epoch, (asked, home));
                    self.with_site(env, &at, |site, view, out| site.handle_home(view, epoch, answer, out));
                }
                true
            }
            ProxyInput::Ask { .. } if frame.shard == frame.room.anchor() => {
                let away = |(key, shard): &&At| key == room && *shard != frame.shard;
                let away: Vec<At> = self.rooms.keys().filter(away).cloned().collect();
                away.iter().any(|at| self.with_site(env, at, Site::handle_asked) == Some(true))
            }
            _ => false,
        }
    }

    /// Frames that waited for an epoch which may be applied now.
    pub(super) fn hear_early(&mut self) {
        self.local.extend(self.early.drain(..).map(Local::ToRoom));
    }

    /// What another node says.
    pub(crate) fn body(&mut self, env: &mut Env, from: usize, body: Body) {
        match body {
            Body::ToRoom(frame) if frame.gateway.node == id_of(from) => self.at_room(env, frame),
            Body::FromRoom(frame) => self.at_proxy(env, from, frame),
            Body::Direct(frame) if frame.gateway.node == id_of(from) => {
                let Direct { room, gateway, body } = frame;
                let room = Self::name(env, &room).into_owned();
                self.with_proxy(env, &room, |proxy, now, out| proxy.handle_direct(now, gateway, body, out));
            }
            Body::Request { id, ask } => self.asked(env, from, id, ask),
            Body::Answer { id, answer } => self.front_answered(env, id, answer),
            body => self.keeping(env, from, body),
        }
        self.settle(env);
    }
}

/// Who was in no room before, where this announces such a one.
fn newcomer(body: &RoomInput) -> Option<PeerId> {
    match body {
        RoomInput::Announce { member, .. } if member.admitted.is_none() => Some(member.seat.peer),
        _ => None,
    }
}

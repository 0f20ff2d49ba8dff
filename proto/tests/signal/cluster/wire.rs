//! The wire between nodes: frames are lost, doubled, delayed and overtaken on it, and arrive.

use std::cmp::Reverse;
use std::time::Duration;

use chappe_proto::id::{Epoch, Identity, SessionId};
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::proxy::Proxy;
use chappe_proto::signal::route::{Direct, DirectBody, FromRoom, ProxyInput, RoomInput, ToRoom};
use chappe_proto::wire;
use rand_chacha::rand_core::Rng;

use super::{Broken, Cluster, Link, Mail, Node, SHARD, Weather, mono};

pub(super) fn again<T: serde::Serialize + serde::de::DeserializeOwned>(frame: &T) -> T {
    let bytes = wire::encode(frame).unwrap();
    wire::decode(&bytes, bytes.len()).unwrap()
}

impl Cluster {
    pub(super) fn send_to_room(&mut self, gateway: usize, body: RoomInput) {
        let node = &self.nodes[gateway];
        let (shard, epoch) = node.proxy.as_ref().map_or((SHARD, node.epoch), Proxy::place);
        let local = self.owner_at == Some(gateway);
        let gateway = node.gateway;
        if !node.up || (node.mute && !local) {
            return;
        }
        let frame = ToRoom { room: self.room.clone(), shard, epoch, gateway, body };
        let frame = if self.encodes { again(&frame) } else { frame };
        self.post((Some(gateway), None), local, |frame| Mail::ToRoom(Box::new(frame)), frame);
    }

    pub(super) fn send_direct(&mut self, gateway: usize, to: Gateway, body: DirectBody) {
        let broken = match &body {
            DirectBody::Signal(_) => Broken::StraightSignals,
            DirectBody::Ack(_) => Broken::StraightAcks,
        };
        let there = self.nodes.iter().position(|node| node.gateway.node == to.node).unwrap();
        if self.broken == Some(broken) || self.apart.contains(&(gateway.min(there), gateway.max(there))) {
            return;
        }
        let gateway = self.nodes[gateway].gateway;
        let frame = Direct { room: self.room.clone(), gateway, body };
        let frame = if self.encodes { again(&frame) } else { frame };
        self.post((Some(gateway), Some(to)), false, |frame| Mail::Direct(to, Box::new(frame)), frame);
    }

    pub(super) fn send_to_proxy(&mut self, epoch: Epoch, to: Gateway, body: ProxyInput) {
        let frame = FromRoom { room: self.room.clone(), shard: SHARD, epoch, body };
        let local = self.owner_at.is_some_and(|at| self.nodes[at].gateway == to) && epoch == self.epoch;
        let node = self.nodes.iter().find(|node| node.gateway.node == to.node);
        if !local && node.is_some_and(|node| node.deaf) {
            return;
        }
        let frame = if self.encodes { again(&frame) } else { frame };
        self.post((None, Some(to)), local, |frame| Mail::FromRoom(to, Box::new(frame)), frame);
    }

    fn post<F: Clone>(&mut self, link: Link, local: bool, mail: impl Fn(F) -> Mail, frame: F) {
        let weather = if local { Weather::default() } else { self.weather };
        if self.per_mille(weather.lost) {
            return;
        }
        let copies = if self.per_mille(weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let range = u64::try_from(weather.delay.as_micros()).unwrap() + 1;
            let mut at = mono(self.now.mono) + Duration::from_micros(self.rng.next_u64() % range);
            let last = self.arrivals.entry(link).or_default();
            let last_was = *last;
            if weather.overtaking == 0 || self.rng.next_u32() % 1000 >= weather.overtaking {
                at = at.max(last_was);
                self.arrivals.insert(link, at);
            }
            self.seq += 1;
            self.wire.push(Reverse((at, self.seq)));
            self.mail.insert(self.seq, mail(frame.clone()));
        }
    }

    fn note(&self, mail: &Mail) {
        let line = match mail {
            Mail::ToRoom(frame) => match &frame.body {
                RoomInput::Signal(_) | RoomInput::Ack(_) => return,
                body => format!("{} > epoch {} {body:?}", frame.gateway.node, frame.epoch),
            },
            Mail::FromRoom(to, frame) => match &frame.body {
                ProxyInput::Signal(_) | ProxyInput::Ack(_) | ProxyInput::Taken { .. } => return,
                body => format!("{} < epoch {} {body:?}", to.node, frame.epoch),
            },
            Mail::Direct(..) => return,
        };
        println!("{:9.3} {line}", (self.now.mono.0 - Duration::from_secs(1000)).as_secs_f64());
    }

    pub(super) fn arrive(&mut self, mail: Mail) {
        if self.log {
            self.note(&mail);
        }
        match mail {
            Mail::ToRoom(frame) => self.at_owner(*frame),
            Mail::FromRoom(to, frame) => {
                let Some(at) = self.nodes.iter().position(|node| node.gateway == to && node.up) else {
                    return;
                };
                if self.nodes[at].proxy.is_some() {
                    self.with_proxy(at, |proxy, now, out| proxy.handle_room(now, *frame, out));
                } else if !matches!(frame.body, ProxyInput::Refused { .. }) {
                    self.nodes[at].epoch = self.nodes[at].epoch.max(frame.epoch);
                    self.send_to_room(at, RoomInput::Detach);
                }
            }
            Mail::Direct(to, frame) => {
                if let Some(at) = self.nodes.iter().position(|node| node.gateway.node == to.node) {
                    let Direct { gateway, body, .. } = *frame;
                    self.with_proxy(at, |proxy, now, out| proxy.handle_direct(now, gateway, body, out));
                }
            }
        }
    }

    fn at_owner(&mut self, frame: ToRoom) {
        let from = frame.gateway;
        let is_over = |node: &Node| node.gateway.node == from.node && from.generation < node.over_before;
        if !self.owner_up || self.nodes.iter().any(is_over) {
            return;
        }
        if let Some((epoch, former)) = &mut self.former
            && frame.epoch == *epoch
        {
            let (epoch, mut out) = (*epoch, Vec::new());
            let before = former.last_change();
            former.handle(self.now, frame.gateway, frame.body, &|_, _| false, &mut out);
            self.usurped += u64::from(former.last_change() != before);
            return self.former_outputs(epoch, out);
        }
        if frame.epoch != self.epoch {
            if frame.epoch < self.epoch {
                self.send_to_proxy(self.epoch, frame.gateway, ProxyInput::Refused { epoch: self.epoch });
            }
            return;
        }
        if self.owner.is_none() && frame.body == RoomInput::Detach {
            return; // no room is made for it
        }
        let mut first = Vec::new();
        if self.owner.is_none() {
            let mut room = self.fresh_room();
            room.handle_timeout(self.now, &mut first);
            self.owner = Some(room);
        }
        let Some(room) = &mut self.owner else { return };
        let revoked = &self.revoked;
        let is_revoked = |session: SessionId, identity: Option<&Identity>| {
            revoked.iter().any(|(s, i)| *s == session || (i.is_some() && i.as_ref() == identity))
        };
        let (mut out, before) = (first, room.last_change());
        room.handle(self.now, frame.gateway, frame.body, &is_revoked, &mut out);
        self.usurped += u64::from(self.frozen && room.last_change() != before);
        self.room_outputs(out);
    }
}

//! What a client makes of each frame.

use std::time::Duration;

use chappe_proto::id::PeerId;
use chappe_proto::signal::bucket::Bucket;
use serde_json::Value;

use super::super::dice::ms;
use super::{Client, Fact, Moving, State, Want};

impl Client {
    /// A frame of a socket.
    pub(crate) fn frame(&mut self, now: Duration, socket: u32, text: &str) -> Vec<Want> {
        let mut wants = Vec::new();
        let frame: Value = serde_json::from_str(text).unwrap();
        let kind = frame["type"].as_str().unwrap();
        if let Some(Moving::Joining { socket: other, .. }) = self.moving
            && other == socket
        {
            self.moved(now, socket, kind, &frame, text, &mut wants);
        } else if self.socket == Some(socket) {
            (self.heard, self.asked) = (now, None);
            self.heed(now, kind, &frame, text, &mut wants);
        }
        self.pump(now, &mut wants);
        wants
    }

    fn heed(&mut self, now: Duration, kind: &str, frame: &Value, text: &str, wants: &mut Vec<Want>) {
        match (self.state, kind) {
            (State::Done, _) | (_, "pong") => {}
            (_, "ping") => wants.extend(self.socket.map(|s| Want::Say(s, r#"{"type":"pong"}"#.to_owned()))),
            (State::Joining { .. }, "welcome" | "resumed" | "rebuilt") => {
                self.welcome(now, kind, frame);
                if self.leaving {
                    wants.extend(self.leave());
                }
            }
            (State::Joining { .. }, "gone") => self.gone(now, frame, wants),
            (State::Joining { .. }, "error") => self.not_let_in(frame, text),
            (State::Joining { .. }, "moving") => {}
            (_, "closed") => self.closed(frame, text),
            (State::Live, _) => self.live(now, kind, frame, text),
            _ => self.astonished(text),
        }
    }

    /// A frame of the socket that it moves to.
    fn moved(
        &mut self,
        now: Duration,
        socket: u32,
        kind: &str,
        frame: &Value,
        text: &str,
        wants: &mut Vec<Want>,
    ) {
        match kind {
            "welcome" | "resumed" | "rebuilt" | "gone" => {
                // The new socket takes the place of the old.
                self.moving = None;
                wants.extend(self.socket.replace(socket).map(Want::Close));
                (self.state, self.heard, self.asked) = (State::Joining { since: now }, now, None);
                self.heed(now, kind, frame, text, wants);
            }
            "ping" => wants.push(Want::Say(socket, r#"{"type":"pong"}"#.to_owned())),
            "error" => self.not_let_in(frame, text),
            _ => {} // closed: its loss follows
        }
    }

    fn not_let_in(&mut self, frame: &Value, text: &str) {
        match frame["code"].as_str().unwrap() {
            "unavailable" | "busy" => {}
            "banned" if self.barred => {}
            // Sent away while it was on its way in.
            "banned" => self.barred = true,
            _ => self.astonished(text),
        }
    }

    fn astonished(&mut self, text: &str) {
        self.facts.push(Fact::Astonished(text.to_owned()));
    }

    fn welcome(&mut self, now: Duration, kind: &str, frame: &Value) {
        let peer = id(&frame["peer"]);
        if kind == "welcome" {
            self.facts.push(Fact::Became(peer));
        } else if kind == "rebuilt" {
            self.facts.push(Fact::Rebuilt(peer));
        }
        if kind != "welcome" && self.peer != Some(peer) {
            self.astonished(&frame.to_string());
        }
        if frame["room"] != self.who.room.room.as_str() {
            self.facts.push(Fact::Overheard(frame.to_string()));
        }
        (self.peer, self.seated) = (Some(peer), self.socket);
        self.resume = Some(frame["resume"].as_str().unwrap().to_owned());
        self.grace = ms(frame["limits"]["grace_ms"].as_u64().unwrap());
        self.broadcasts = frame["broadcasts"].as_u64().unwrap();
        let limit = |name: &str| u32::try_from(frame["limits"][name].as_u64().unwrap()).unwrap();
        self.bucket = Bucket::new(limit("frames_per_sec"), limit("frames_burst"));
        let before = std::mem::take(&mut self.roster);
        for view in frame["roster"].as_array().unwrap() {
            self.roster.insert(id(&view["peer"]), view["away"].as_bool().unwrap());
        }
        self.missing.retain(|peer, _| !self.roster.contains_key(peer));
        if kind == "rebuilt" {
            for peer in before.keys().filter(|peer| !self.roster.contains_key(peer)) {
                self.missing.entry(*peer).or_insert(now + self.grace);
            }
            self.roster.extend(self.missing.keys().map(|peer| (*peer, true)));
        } else {
            self.missing.clear();
        }
        for outbox in self.outboxes.values_mut() {
            (outbox.paused_until, outbox.sent) = (Duration::ZERO, outbox.base);
        }
        (self.attempt, self.heard, self.asked) = (0, now, None);
        self.state = State::Live;
    }

    fn gone(&mut self, now: Duration, frame: &Value, wants: &mut Vec<Want>) {
        match frame["reason"].as_str().unwrap() {
            "revoked" => self.barred = true,
            "replaced" => self.astonished(&frame.to_string()), // this is the newest of its identity
            // One that has said that it leaves may have left.
            _ if self.leaving => {}
            _ => {
                let grace = self.grace;
                self.facts.extend(self.seated.map(|socket| Fact::Gone { socket, grace }));
            }
        }
        self.forget();
        let Some(socket) = self.socket else { return };
        self.state = State::Joining { since: now };
        wants.push(Want::Say(socket, self.join_text()));
    }

    fn closed(&mut self, frame: &Value, text: &str) {
        if frame["resume"].as_bool().unwrap() {
            return;
        }
        match frame["code"].as_str().unwrap() {
            "left" => {
                self.forget();
                self.state = State::Done;
            }
            "kicked" | "banned" => {
                self.barred = true;
                self.forget();
            }
            "lost" => self.forget(), // joins afresh
            "refused" if self.peer.is_none() => {}
            "refused" => self.astonished(text),
            // By its own newer socket, which it closed if it leaves.
            "replaced" if self.moving.is_some() || self.leaving => {}
            _ => self.astonished(text),
        }
    }

    fn live(&mut self, now: Duration, kind: &str, frame: &Value, text: &str) {
        match kind {
            "signal" => self.signalled(now, frame, text),
            "delivered" => self.settle(id(&frame["to"]), frame["id"].as_u64().unwrap(), true),
            "undelivered" => self.settle(id(&frame["to"]), frame["id"].as_u64().unwrap(), false),
            "peer_joined" => {
                let peer = id(&frame["peer"]);
                self.missing.remove(&peer);
                self.roster.insert(peer, frame["away"].as_bool().unwrap());
            }
            "peer_left" => {
                let peer = id(&frame["peer"]);
                self.missing.remove(&peer);
                self.roster.remove(&peer);
            }
            "peer_updated" => {
                let change = frame["change"].as_str().unwrap();
                if let Some(away) = self.roster.get_mut(&id(&frame["peer"])) {
                    *away = if change == "metadata" { *away } else { change == "away" };
                }
            }
            "broadcast" => {
                if frame["payload"] != self.who.room.to_string() {
                    self.facts.push(Fact::Overheard(text.to_owned()));
                }
                self.broadcasts = self.broadcasts.max(frame["n"].as_u64().unwrap());
            }
            "moving" if self.moving.is_none() => {
                let within = frame["within_ms"].as_u64().unwrap();
                self.moving = Some(Moving::Due(now + ms(self.payloads % (within + 1))));
                let nodes = frame["to"].as_array().unwrap().iter();
                self.elsewhere =
                    nodes.map(|node| node.as_str().unwrap().parse::<usize>().unwrap() - 1).collect();
            }
            "moving" => {}
            "error" => self.refused(now, frame, text),
            _ => self.astonished(text),
        }
    }

    fn signalled(&mut self, now: Duration, frame: &Value, text: &str) {
        let (from, at) = (id(&frame["from"]), frame["id"].as_u64().unwrap());
        if frame["payload"][0] != self.who.room.to_string() {
            self.facts.push(Fact::Overheard(text.to_owned()));
        }
        let mark = self.marks.entry(from).or_default();
        *mark = frame["settled"].as_u64().map_or(*mark, |settled| settled.max(*mark));
        if at == *mark + 1 {
            *mark = at;
            let (to, payload) = (self.peer.unwrap(), frame["payload"][1].as_u64().unwrap());
            self.facts.push(Fact::Took { from, to, id: at, payload });
        } else if at > *mark {
            return;
        }
        if self.acks.is_empty() {
            self.acks_at = now + ms(5);
        }
        self.acks.insert(from);
    }

    fn refused(&mut self, now: Duration, frame: &Value, text: &str) {
        let wait = ms(frame["retry_after_ms"].as_u64().unwrap_or(250));
        match frame["code"].as_str().unwrap() {
            "busy" | "rate_limited" | "bad_id" if frame["to"].is_string() => {
                let (to, at) = (id(&frame["to"]), frame["id"].as_u64().unwrap());
                let gap = frame["code"] == "bad_id";
                if let Some(outbox) = self.outboxes.get_mut(&to).filter(|outbox| outbox.paused_until <= now) {
                    outbox.sent = if gap { outbox.base } else { (at - 1).max(outbox.base) };
                    outbox.paused_until = now + wait;
                }
            }
            "rate_limited" => {
                for outbox in self.outboxes.values_mut() {
                    (outbox.sent, outbox.paused_until) = (outbox.base, now + wait);
                }
            }
            // A broadcast or a kick that could not be carried out now; a kick of somebody who has left.
            "unavailable" => {}
            "bad_peer" if self.who.admin => {}
            _ => self.astonished(text),
        }
    }
}

fn id(value: &Value) -> PeerId {
    value.as_str().unwrap().parse().unwrap()
}

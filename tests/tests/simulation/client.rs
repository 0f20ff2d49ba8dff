//! A client as PROTOCOL.md sections 5 and 6 want it: it counts its signals without gaps and holds what is
//! not settled, keeps marks and takes mark + 1 only, comes back after a loss on any node, moves without
//! letting go of its socket, joins afresh when told that it is gone. It knows nothing of the servers but
//! their frames. One that was sent away is stubborn: it tries its token again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chappe_proto::id::{Identity, KeyId, PeerId, RoomKey};
use chappe_proto::signal::bucket::Bucket;
use chappe_proto::time::{Mono, Unix};
use serde_json::{Value, json};

use super::dice::ms;

/// A socket on which its join is not answered is given up after this.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// A client that hears nothing asks after this, and gives so long for the answer (PROTOCOL.md 5).
const ASK_AFTER: Duration = ms(4000);
const ANSWER_TO_PING_WITHIN: Duration = ms(2500);
const BACKOFF_MS: [u64; 4] = [0, 300, 1200, 2700];
const STUBBORN_EVERY: Duration = ms(1500);
/// What a client holds unsettled for one receiver at most: below `unacked_max`.
const HELD_MAX: usize = 60;

/// Who somebody is.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) identity: Identity,
    pub(crate) room: RoomKey,
    pub(crate) key: KeyId,
    pub(crate) admin: bool,
    pub(crate) token_until: Unix,
}

/// The signals to one receiver that are not settled: `held[0]` has the id `base + 1`.
#[derive(Debug, Default)]
struct Outbox {
    base: u64,
    sent: u64,
    held: Vec<u64>,
    paused_until: Duration,
}

/// What became of a client's signals and of those sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It became this peer.
    Became(PeerId),
    /// It is still this peer, made anew from its token.
    Rebuilt(PeerId),
    /// It handed a signal over, numbered so, with a payload that is unique.
    Sent { from: PeerId, to: PeerId, id: u64, payload: u64 },
    /// It took one.
    Took { from: PeerId, to: PeerId, id: u64, payload: u64 },
    /// It was told that all to this peer up to this id are delivered,
    Delivered { from: PeerId, to: PeerId, id: u64 },
    /// or that this one will never be.
    Undelivered { from: PeerId, to: PeerId, id: u64 },
    /// It was told that it is that peer no more.
    Over(PeerId),
    /// It came back to the room in which it last was by this socket, and is told that it is unknown.
    Gone { socket: u32, grace: Duration },
    /// It was told something that must never be said to a client that behaves.
    Astonished(String),
    /// It was told something of another room.
    Overheard(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits to connect.
    Offline {
        again_at: Duration,
    },
    /// Has sent its join.
    Joining {
        since: Duration,
    },
    Live,
    Done,
}

/// What a client wants of its world.
#[derive(Debug)]
pub(crate) enum Want {
    /// Write this to a socket.
    Say(u32, String),
    /// Close this one.
    Close(u32),
    /// Connect to some node, and say so by [`Client::connected`].
    Connect,
}

pub(crate) struct Client {
    pub(crate) who: Who,
    pub(crate) state: State,
    pub(crate) socket: Option<u32>,
    pub(crate) peer: Option<PeerId>,
    /// The socket by which it was let in, or came back, last.
    seated: Option<u32>,
    pub(crate) roster: BTreeMap<PeerId, bool>,
    pub(crate) facts: Vec<Fact>,
    /// It was kicked or banned, and may not come back with its token.
    pub(crate) barred: bool,
    /// Another socket on its way, while the present one is kept (`moving`).
    moving: Option<Moving>,
    /// The nodes that it was told to move to.
    elsewhere: Vec<usize>,
    sends_marks: bool,
    /// It has said that it leaves, and says so again on the next socket.
    leaving: bool,
    resume: Option<String>,
    outboxes: BTreeMap<PeerId, Outbox>,
    marks: BTreeMap<PeerId, u64>,
    /// Whose signals are to be acknowledged, and when: one word for a whole burst.
    acks: BTreeSet<PeerId>,
    acks_at: Duration,
    /// Those whom a rebuilt room has not seen yet, until when they may still come.
    missing: BTreeMap<PeerId, Duration>,
    broadcasts: u64,
    grace: Duration,
    bucket: Bucket,
    attempt: usize,
    payloads: u64,
    heard: Duration,
    asked: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Moving {
    Due(Duration),
    Joining { socket: u32, since: Duration },
}

impl Client {
    pub(crate) fn new(index: usize, who: Who, sends_marks: bool, begins: Duration) -> Self {
        Self {
            who,
            state: State::Offline { again_at: begins },
            socket: None,
            peer: None,
            seated: None,
            roster: BTreeMap::new(),
            facts: Vec::new(),
            barred: false,
            moving: None,
            elsewhere: Vec::new(),
            sends_marks,
            leaving: false,
            resume: None,
            outboxes: BTreeMap::new(),
            marks: BTreeMap::new(),
            acks: BTreeSet::new(),
            acks_at: Duration::ZERO,
            missing: BTreeMap::new(),
            broadcasts: 0,
            grace: ms(30_000),
            bucket: Bucket::new(1, 1),
            attempt: 0,
            payloads: (index as u64 + 1) << 32,
            heard: Duration::ZERO,
            asked: None,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.state == State::Live
    }

    /// What it writes first on a socket that it has been given.
    pub(crate) fn connected(&mut self, now: Duration, socket: u32) -> Want {
        if self.is_live() {
            self.moving = Some(Moving::Joining { socket, since: now });
        } else {
            (self.socket, self.state) = (Some(socket), State::Joining { since: now });
        }
        Want::Say(socket, self.join_text())
    }

    fn join_text(&self) -> String {
        let (who, room) = (&self.who, self.who.room.room.as_str());
        let mut join = json!({"type": "join", "room": room});
        if let Some(resume) = &self.resume {
            join["resume"] = json!(resume);
            if self.sends_marks {
                let marks = self.marks.iter().map(|(peer, mark)| (peer.to_string(), *mark));
                join["marks"] = json!(marks.collect::<BTreeMap<String, u64>>());
            }
        } else {
            // The gate of the simulation reads claims without a signature.
            let grants: &[&str] =
                if who.admin { &["join", "create", "admin"] } else { &["join", "create", "broadcast"] };
            let claims = json!({
                "iss": who.key.to_string(), "aud": "chappe", "exp": who.token_until.secs(),
                "sub": who.identity.as_str(), "room": room, "grants": grants,
            });
            join["token"] = json!(claims.to_string());
        }
        join.to_string()
    }

    /// A socket is gone.
    pub(crate) fn lost(&mut self, now: Duration, socket: u32) {
        if let Some(Moving::Joining { socket: other, .. }) = self.moving
            && other == socket
        {
            self.moving = Some(Moving::Due(now + ms(500)));
            return;
        }
        if self.socket != Some(socket) {
            return;
        }
        self.socket = None;
        if self.state == State::Done {
            return;
        }
        if let Some(Moving::Joining { socket, since }) = self.moving.take() {
            (self.socket, self.state) = (Some(socket), State::Joining { since });
            return;
        }
        if self.resume.is_none() {
            self.attempt = self.attempt.max(1); // a fresh join on its way would race the next
        }
        let wait = if self.barred && self.attempt > 0 {
            STUBBORN_EVERY
        } else {
            ms(BACKOFF_MS[self.attempt.min(BACKOFF_MS.len() - 1)])
        };
        self.attempt += 1;
        self.state = State::Offline { again_at: now + wait };
    }

    /// A person reloads the page: everything is forgotten, and the identity joins anew.
    pub(crate) fn reload(&mut self, now: Duration) -> Vec<Want> {
        let mut wants: Vec<Want> = self.socket.take().map(Want::Close).into_iter().collect();
        if let Some(Moving::Joining { socket, .. }) = self.moving.take() {
            wants.push(Want::Close(socket));
        }
        self.forget();
        self.state = State::Offline { again_at: now + ms(BACKOFF_MS[1]) };
        wants
    }

    fn forget(&mut self) {
        if let Some(peer) = self.peer.take() {
            self.facts.push(Fact::Over(peer));
        }
        (self.resume, self.seated) = (None, None);
        self.outboxes.clear();
        self.marks.clear();
        self.acks.clear();
        self.roster.clear();
        self.missing.clear();
        self.broadcasts = 0;
    }

    /// Hands a signal over, if it fits. It goes with the next [`Self::pump`].
    pub(crate) fn signal(&mut self, to: PeerId) {
        let Some(from) = self.peer else { return };
        let outbox = self.outboxes.entry(to).or_default();
        if outbox.held.len() >= HELD_MAX {
            return;
        }
        self.payloads += 1;
        outbox.held.push(self.payloads);
        let id = outbox.base + outbox.held.len() as u64;
        self.facts.push(Fact::Sent { from, to, id, payload: self.payloads });
    }

    /// Says something else, where it is in the room.
    pub(crate) fn say(&self, text: &str) -> Option<Want> {
        self.socket.filter(|_| self.is_live()).map(|socket| Want::Say(socket, text.to_owned()))
    }

    /// Leaves for good.
    pub(crate) fn leave(&mut self) -> Vec<Want> {
        let Some(said) = self.say(r#"{"type":"leave"}"#) else { return Vec::new() };
        self.leaving = true;
        // The socket that it moves to would bring it back.
        let close = self.moving.take().and_then(|moving| match moving {
            Moving::Joining { socket, .. } => Some(Want::Close(socket)),
            Moving::Due(_) => None,
        });
        std::iter::once(said).chain(close).collect()
    }

    fn pump(&mut self, now: Duration, wants: &mut Vec<Want>) {
        let Some(socket) = self.socket.filter(|_| self.state == State::Live) else { return };
        while self.acks_at <= now
            && let Some(from) = self.acks.pop_first()
        {
            if self.bucket.take(Mono(now)).is_err() {
                self.acks.insert(from);
                self.acks_at = now + ms(100);
                break;
            }
            let mark = self.marks.get(&from).copied().unwrap_or_default();
            let ack = json!({"type": "ack", "from": from.to_string(), "id": mark});
            wants.push(Want::Say(socket, ack.to_string()));
        }
        for (to, outbox) in &mut self.outboxes {
            while outbox.paused_until <= now && outbox.sent < outbox.base + outbox.held.len() as u64 {
                if self.bucket.take(Mono(now)).is_err() {
                    outbox.paused_until = now + ms(100);
                    return;
                }
                outbox.sent += 1;
                let payload = outbox.held[(outbox.sent - outbox.base - 1) as usize];
                let payload = json!([self.who.room.to_string(), payload]);
                let (id, to) = (outbox.sent, to.to_string());
                let frame =
                    json!({"type": "signal", "to": to, "id": id, "kind": "candidate", "payload": payload});
                wants.push(Want::Say(socket, frame.to_string()));
            }
        }
    }

    /// The nodes to connect to, where it was told some: once, since they may be gone as well.
    pub(crate) fn elsewhere(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.elsewhere)
    }

    /// Whether nothing of it waits for an answer.
    pub(crate) fn is_settled(&self) -> bool {
        self.outboxes.values().all(|outbox| outbox.held.is_empty())
    }

    /// Peers it may write to.
    pub(crate) fn others(&self) -> Vec<PeerId> {
        self.roster.keys().copied().collect()
    }

    /// When [`Self::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Duration {
        let mut at = match self.state {
            State::Offline { again_at } => again_at,
            State::Joining { since } => since + ANSWER_WITHIN,
            State::Live => self.asked.map_or(self.heard + ASK_AFTER, |asked| asked + ANSWER_TO_PING_WITHIN),
            State::Done => return Duration::MAX,
        };
        match self.moving {
            Some(Moving::Due(due)) => at = at.min(due),
            Some(Moving::Joining { since, .. }) => at = at.min(since + ANSWER_WITHIN),
            None => {}
        }
        if self.is_live() {
            let waits = |o: &&Outbox| o.sent < o.base + o.held.len() as u64;
            let pump = self.outboxes.values().filter(waits).map(|o| o.paused_until).min();
            at = at.min(pump.unwrap_or(Duration::MAX));
            if !self.acks.is_empty() {
                at = at.min(self.acks_at);
            }
        }
        at.min(self.missing.values().min().copied().unwrap_or(Duration::MAX))
    }

    /// What its timers make it do.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Want> {
        let mut wants = Vec::new();
        let over: Vec<PeerId> = self.missing.iter().filter(|(_, at)| **at <= now).map(|(p, _)| *p).collect();
        for peer in over {
            self.missing.remove(&peer);
            self.roster.remove(&peer);
        }
        let silent = match self.state {
            State::Offline { again_at } if again_at <= now => {
                self.state = State::Offline { again_at: Duration::MAX };
                wants.push(Want::Connect);
                false
            }
            State::Joining { since } => since + ANSWER_WITHIN <= now,
            State::Live => self.ask(now, &mut wants),
            _ => false,
        };
        if let Some(socket) = self.socket.filter(|_| silent) {
            wants.push(Want::Close(socket));
            self.lost(now, socket);
        }
        match self.moving {
            Some(Moving::Due(due)) if due <= now && self.is_live() => {
                self.moving = Some(Moving::Due(Duration::MAX));
                wants.push(Want::Connect);
            }
            Some(Moving::Joining { socket, since }) if since + ANSWER_WITHIN <= now => {
                wants.push(Want::Close(socket));
                self.moving = Some(Moving::Due(now));
            }
            _ => {}
        }
        self.pump(now, &mut wants);
        wants
    }

    /// Asks a silent server. True where it has not answered in time.
    fn ask(&mut self, now: Duration, wants: &mut Vec<Want>) -> bool {
        match self.asked {
            Some(asked) => asked + ANSWER_TO_PING_WITHIN <= now,
            None => {
                if self.heard + ASK_AFTER <= now {
                    self.asked = Some(now);
                    wants.extend(self.say(r#"{"type":"ping"}"#));
                }
                false
            }
        }
    }

    // ------------------------------------------------------------------------------------- frames

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

    fn settle(&mut self, to: PeerId, upto: u64, delivered: bool) {
        let Some(from) = self.peer else { return };
        let Some(outbox) = self.outboxes.get_mut(&to) else { return };
        while outbox.base < upto && !outbox.held.is_empty() {
            outbox.base += 1;
            outbox.held.remove(0);
            let id = outbox.base;
            self.facts.push(if delivered {
                Fact::Delivered { from, to, id }
            } else {
                Fact::Undelivered { from, to, id }
            });
        }
        outbox.sent = outbox.sent.max(outbox.base);
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

/// The peers that are in a room, as their clients say.
pub(crate) fn live(clients: &[Client], room: &RoomKey) -> BTreeSet<PeerId> {
    clients.iter().filter(|c| c.is_live() && c.who.room == *room).filter_map(|c| c.peer).collect()
}

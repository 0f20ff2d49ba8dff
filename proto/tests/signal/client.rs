//! A client as PROTOCOL.md sections 5 and 6 want it: it holds what is unacknowledged, keeps marks, takes
//! mark + 1 only, and comes back after a loss. It knows nothing of the servers but their frames.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chappe_proto::id::PeerId;
use chappe_proto::signal::bucket::Bucket;
use chappe_proto::time::Mono;
use serde_json::{Value, json};

/// A client gives a socket up that has not answered its join within this.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(8);
const BACKOFF_MS: [u64; 4] = [0, 300, 1200, 2700];

/// What breaks a client on purpose, to see that the test notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breakage {
    /// It takes whatever comes, and keeps none.
    IgnoresMarks,
    /// It does not send again what it holds after a return.
    ForgetsHeld,
}

/// The signals to one receiver that are not settled: `held[0]` has the id `base + 1`.
#[derive(Debug, Default)]
struct Outbox {
    base: u64,
    sent: u64,
    held: Vec<u64>,
    paused_until: Duration,
}

/// What became of a client's signals and of those sent to it, for the referee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It became this peer.
    Became(PeerId),
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
    /// It was told something that must never be said to a client that behaves.
    Astonished(String),
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

pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) socket: Option<u32>,
    pub(crate) peer: Option<PeerId>,
    pub(crate) roster: BTreeMap<PeerId, bool>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) breakage: Option<Breakage>,
    /// They save repetitions, no more.
    pub(crate) sends_marks: bool,
    resume: Option<String>,
    outboxes: BTreeMap<PeerId, Outbox>,
    marks: BTreeMap<PeerId, u64>,
    /// Those whom a rebuilt room has not seen yet, until when they may still come.
    missing: BTreeMap<PeerId, Duration>,
    broadcasts: u64,
    grace: Duration,
    /// It keeps to the rate as well as it knows; acknowledgements it does not count.
    bucket: Bucket,
    attempt: usize,
    payloads: u64,
}

impl Client {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            name: format!("client{index}"),
            state: State::Offline { again_at: Duration::ZERO },
            socket: None,
            peer: None,
            roster: BTreeMap::new(),
            facts: Vec::new(),
            breakage: None,
            sends_marks: true,
            resume: None,
            outboxes: BTreeMap::new(),
            marks: BTreeMap::new(),
            missing: BTreeMap::new(),
            broadcasts: 0,
            grace: Duration::from_secs(30),
            bucket: Bucket::new(1, 1),
            attempt: 0,
            payloads: (index as u64) << 32,
        }
    }

    /// What it writes first on a new socket.
    pub(crate) fn join(&mut self, now: Duration, socket: u32) -> String {
        self.socket = Some(socket);
        self.state = State::Joining { since: now };
        self.join_text()
    }

    fn join_text(&self) -> String {
        let mut join = json!({"type": "join", "room": "tower", "identity": self.name});
        if let Some(resume) = &self.resume {
            join["resume"] = json!(resume);
            if self.sends_marks && self.breakage != Some(Breakage::IgnoresMarks) {
                let marks = self.marks.iter().map(|(peer, mark)| (peer.to_string(), *mark));
                join["marks"] = json!(marks.collect::<BTreeMap<String, u64>>());
            }
        }
        join.to_string()
    }

    /// Its socket is gone.
    pub(crate) fn lost(&mut self, now: Duration) {
        self.socket = None;
        if self.state != State::Done {
            if self.resume.is_none() {
                self.attempt = self.attempt.max(1); // a fresh join on its way would race the next
            }
            let wait = BACKOFF_MS[self.attempt.min(BACKOFF_MS.len() - 1)];
            self.attempt += 1;
            self.state = State::Offline { again_at: now + Duration::from_millis(wait) };
        }
    }

    /// A person reloads the page: everything is forgotten, and the identity joins anew.
    pub(crate) fn reload(&mut self, now: Duration) {
        self.forget();
        self.socket = None;
        self.state = State::Offline { again_at: now + Duration::from_millis(BACKOFF_MS[1]) };
    }

    fn forget(&mut self) {
        if let Some(peer) = self.peer.take() {
            self.facts.push(Fact::Over(peer));
        }
        self.resume = None;
        self.outboxes.clear();
        self.marks.clear();
        self.roster.clear();
        self.missing.clear();
        self.broadcasts = 0;
    }

    /// Hands a signal over, if it fits. It goes with the next [`Self::pump`].
    pub(crate) fn signal(&mut self, to: PeerId) {
        let Some(from) = self.peer else { return };
        let outbox = self.outboxes.entry(to).or_default();
        if outbox.held.len() >= 60 {
            return;
        }
        self.payloads += 1;
        outbox.held.push(self.payloads);
        let id = outbox.base + outbox.held.len() as u64;
        self.facts.push(Fact::Sent { from, to, id, payload: self.payloads });
    }

    /// What is to be written now.
    pub(crate) fn pump(&mut self, now: Duration) -> Vec<String> {
        let mut frames = Vec::new();
        if self.state != State::Live {
            return frames;
        }
        for (to, outbox) in &mut self.outboxes {
            while outbox.paused_until <= now && outbox.sent < outbox.base + outbox.held.len() as u64 {
                if self.bucket.take(Mono(now)).is_err() {
                    return frames;
                }
                outbox.sent += 1;
                let payload = outbox.held[(outbox.sent - outbox.base - 1) as usize];
                let (id, to) = (outbox.sent, to.to_string());
                let frame =
                    json!({"type": "signal", "to": to, "id": id, "kind": "candidate", "payload": payload});
                frames.push(frame.to_string());
            }
        }
        frames
    }

    /// When [`Self::pump`] has something to write again.
    pub(crate) fn wakes(&self) -> Option<Duration> {
        let waits = |o: &&Outbox| o.sent < o.base + o.held.len() as u64;
        self.outboxes.values().filter(waits).map(|outbox| outbox.paused_until).min()
    }

    /// Whether nothing of it waits for an answer.
    pub(crate) fn is_settled(&self) -> bool {
        self.outboxes.values().all(|outbox| outbox.held.is_empty())
    }

    /// Peers it may write to.
    pub(crate) fn others(&self) -> Vec<PeerId> {
        self.roster.keys().copied().collect()
    }

    /// Forgets those whom a rebuilt room did not bring back.
    pub(crate) fn tick(&mut self, now: Duration) {
        let over: Vec<PeerId> = self.missing.iter().filter(|(_, at)| **at <= now).map(|(p, _)| *p).collect();
        for peer in over {
            self.missing.remove(&peer);
            self.roster.remove(&peer);
        }
    }

    // ------------------------------------------------------------------------------------- frames

    /// A frame; what it answers.
    pub(crate) fn frame(&mut self, now: Duration, text: &str) -> Vec<String> {
        let frame: Value = serde_json::from_str(text).unwrap();
        let kind = frame["type"].as_str().unwrap();
        match (self.state, kind) {
            (_, "ping") => return vec![r#"{"type":"pong"}"#.to_owned()],
            (State::Joining { .. }, "welcome" | "resumed" | "rebuilt") => self.welcome(now, kind, &frame),
            (State::Joining { .. }, "gone") => return self.gone(&frame),
            (State::Joining { .. }, "error") => {
                let code = frame["code"].as_str().unwrap();
                if !matches!(code, "unavailable" | "busy") {
                    self.astonished(text);
                }
            }
            (_, "closed") => self.closed(&frame, text),
            (State::Live, _) => return self.live(now, kind, &frame, text),
            _ => self.astonished(text),
        }
        self.pump(now)
    }

    fn astonished(&mut self, text: &str) {
        self.facts.push(Fact::Astonished(text.to_owned()));
    }

    fn welcome(&mut self, now: Duration, kind: &str, frame: &Value) {
        let peer = id(&frame["peer"]);
        if kind == "welcome" {
            self.facts.push(Fact::Became(peer));
        } else if self.peer != Some(peer) {
            self.astonished(&frame.to_string());
        }
        self.peer = Some(peer);
        self.resume = Some(frame["resume"].as_str().unwrap().to_owned());
        self.grace = Duration::from_millis(frame["limits"]["grace_ms"].as_u64().unwrap());
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
            outbox.paused_until = Duration::ZERO;
            if self.breakage != Some(Breakage::ForgetsHeld) {
                outbox.sent = outbox.base;
            }
        }
        self.attempt = 0;
        self.state = State::Live;
    }

    fn gone(&mut self, frame: &Value) -> Vec<String> {
        let reason = frame["reason"].as_str().unwrap();
        if reason == "revoked" || reason == "replaced" {
            self.astonished(&frame.to_string()); // nobody kicks, and this is the newest of its identity
        }
        self.forget();
        vec![self.join_text()]
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
            "lost" => self.forget(), // joins afresh
            _ => self.astonished(text),
        }
    }

    fn live(&mut self, now: Duration, kind: &str, frame: &Value, text: &str) -> Vec<String> {
        match kind {
            "signal" => return self.signalled(frame),
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
            "broadcast" => self.broadcasts = self.broadcasts.max(frame["n"].as_u64().unwrap()),
            "error" => self.refused(now, frame, text),
            _ => self.astonished(text),
        }
        self.pump(now)
    }

    fn signalled(&mut self, frame: &Value) -> Vec<String> {
        let (from, at, payload) = (id(&frame["from"]), frame["id"].as_u64().unwrap(), &frame["payload"]);
        let mark = self.marks.entry(from).or_default();
        *mark = frame["settled"].as_u64().map_or(*mark, |settled| settled.max(*mark));
        let broken = self.breakage == Some(Breakage::IgnoresMarks);
        if at == *mark + 1 || broken {
            *mark = at;
            let (to, payload) = (self.peer.unwrap(), payload.as_u64().unwrap());
            self.facts.push(Fact::Took { from, to, id: at, payload });
        } else if at > *mark {
            return Vec::new();
        }
        vec![json!({"type": "ack", "from": from.to_string(), "id": *mark}).to_string()]
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
        let wait = Duration::from_millis(frame["retry_after_ms"].as_u64().unwrap_or(250));
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
            "unavailable" => {}
            // It was muted, and had not heard of it.
            "forbidden" if text.contains("`broadcast` was taken away") => {}
            _ => self.astonished(text),
        }
    }
}

fn id(value: &Value) -> PeerId {
    value.as_str().unwrap().parse().unwrap()
}

/// The peers of a set of clients that each of them should see.
pub(crate) fn live(clients: &[Client]) -> BTreeSet<PeerId> {
    clients.iter().filter(|client| client.state == State::Live).filter_map(|client| client.peer).collect()
}

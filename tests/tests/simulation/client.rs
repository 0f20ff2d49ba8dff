//! A client as PROTOCOL.md sections 5 and 6 want it: it counts its signals without gaps and holds what is
//! not settled, keeps marks and takes mark + 1 only, comes back after a loss on any node, moves without
//! letting go of its socket, joins afresh when told that it is gone. It knows nothing of the servers but
//! their frames. One that was sent away is stubborn: it tries its token again and again.

mod frames;
mod outbox;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chappe_proto::id::{Identity, KeyId, PeerId, RoomKey};
use chappe_proto::signal::bucket::Bucket;
use chappe_proto::time::Unix;
use serde_json::json;

use super::dice::ms;
use outbox::Outbox;

/// A socket on which its join is not answered is given up after this.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// A client that hears nothing asks after this, and gives so long for the answer (PROTOCOL.md 5).
const ASK_AFTER: Duration = ms(4000);
const ANSWER_TO_PING_WITHIN: Duration = ms(2500);
const BACKOFF_MS: [u64; 4] = [0, 300, 1200, 2700];
const STUBBORN_EVERY: Duration = ms(1500);
/// Who somebody is.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) identity: Identity,
    pub(crate) room: RoomKey,
    pub(crate) key: KeyId,
    pub(crate) admin: bool,
    pub(crate) token_until: Unix,
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

    /// The nodes to connect to, where it was told some: once, since they may be gone as well.
    pub(crate) fn elsewhere(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.elsewhere)
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
}

/// The peers that are in a room, as their clients say.
pub(crate) fn live(clients: &[Client], room: &RoomKey) -> BTreeSet<PeerId> {
    clients.iter().filter(|c| c.is_live() && c.who.room == *room).filter_map(|c| c.peer).collect()
}

//! What passes a room, kept while somebody watches it.
//!
//! A watch begins with the first question and is renewed by each; [`WATCH_FOR`] after the last one it ends, and what
//! it holds is gone. It hears what the room's owner is told and what it answers, so that a signal that goes around an
//! owner as well ([`crate::signal::proxy`]) is seen once, and one that goes around an owner that is dead or cut off
//! is not seen: its acknowledgement may be. What a sender's gateway says again is counted and not shown.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::redact::{Hidden, redact};
use crate::id::PeerId;
use crate::limits::{
    SHOWN_TEXT_MAX, SIGNALS_PAGE, SIGNALS_PAGE_BYTES, WATCH_BYTES, WATCH_ENTRIES, WATCH_FOR, WATCH_PAIRS_MAX,
};
use crate::signal::code::LeaveReason;
use crate::signal::json::Json;
use crate::signal::member::Gateway;
use crate::signal::room::Output;
use crate::signal::route::{Ack, ProxyInput, RoomChange, RoomInput, Signal};
use crate::time::{Mono, Now, Unix};

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A directed signal.
    Signal,
    /// A receiver's client has it; its sender is told `delivered`.
    Ack,
    /// To all others.
    Broadcast,
    /// Somebody came in.
    Join,
    /// Somebody may not come in.
    Refused,
    /// Somebody is gone for good.
    Leave,
    /// A socket was lost.
    Away,
    /// A socket is back.
    Back,
    /// Somebody changed name or metadata.
    Update,
    /// Grants of somebody were taken away by an operator, or given back.
    Mute,
    /// Somebody is to be removed: asked for, `leave` follows once it is committed.
    Kick,
}

impl What {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Ack => "ack",
            Self::Broadcast => "broadcast",
            Self::Join => "join",
            Self::Refused => "refused",
            Self::Leave => "leave",
            Self::Away => "away",
            Self::Back => "back",
            Self::Update => "update",
            Self::Mute => "mute",
            Self::Kick => "kick",
        }
    }
}

/// What became of a signal at the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It went to its receiver's gateway.
    Relayed,
    /// Its receiver has no socket right now: its sender's gateway holds it.
    Waits,
    /// It can never arrive.
    Undelivered,
}

/// Something that passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Its number: one above that of what passed before.
    pub n: u64,
    /// When, by the clock of the room's owner.
    pub at: Unix,
    /// What.
    pub what: What,
    /// Who sent it, or whom it is about; none of an operator's word to all. Of an acknowledgement the signals' receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PeerId>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PeerId>,
    /// Its id between those two; of a broadcast its number in the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// A signal's kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A signal's connection, hidden unless all is shown: equal ones look equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// The length of the payload in bytes, as the limits count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// What became of a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fate: Option<Fate>,
    /// Why, where there is a reason: of a leave, a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it says, redacted unless all is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Json>,
}

/// Which of it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Only what this peer sends or is sent.
    pub peer: Option<PeerId>,
    /// Only signals of this kind, or what has this name ([`What::name`]).
    pub kind: Option<String>,
    /// Only what has this text in it as it is shown, small letters or capitals.
    pub text: Option<String>,
}

/// A page of what passed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalsPage {
    /// Oldest first, as many as were asked for at most.
    pub passed: Vec<Passed>,
    /// Ask after this for what follows: the number of the last that was looked at, shown or not.
    pub next: u64,
    /// So many passed after the asker's number and are not held any more.
    pub missed: u64,
    /// The watch began after the asker's number was given: what passed in between is not known.
    #[serde(default)]
    pub anew: bool,
    /// Signals that gateways have said again since the watch began.
    #[serde(default)]
    pub again: u64,
    /// Whether more is held.
    #[serde(default)]
    pub more: bool,
}

/// Keeps what passes one room.
#[derive(Debug)]
pub struct Tap {
    until: Mono,
    /// Hides values, the same way for as long as the watch lasts.
    key: [u8; 32],
    held: VecDeque<Passed>,
    bytes: usize,
    first: u64,
    next: u64,
    /// The last signal of each pair.
    last: BTreeMap<(PeerId, PeerId), u64>,
    again: u64,
}

impl Tap {
    /// A watch begins. `key` is random; its numbers begin where none that was given before can be.
    #[must_use]
    pub fn new(now: Now, key: [u8; 32]) -> Self {
        // Microseconds: a room in which more than one thing passes in each is none. JavaScript counts up to 2^53.
        let first = u64::try_from(now.unix.0.as_micros()).unwrap_or(0).max(1);
        Self {
            until: now.mono + WATCH_FOR,
            key,
            held: VecDeque::new(),
            bytes: 0,
            first,
            next: first,
            last: BTreeMap::new(),
            again: 0,
        }
    }

    /// When it ends unless it is asked before.
    #[must_use]
    pub const fn until(&self) -> Mono {
        self.until
    }

    /// What the room was told, where it was a gateway that told it, and what it answered. `waits` says whether the
    /// room has a signal for which it said nothing: its receiver is away.
    pub fn handle(
        &mut self,
        now: Now,
        input: Option<&(Gateway, RoomInput)>,
        out: &[Output],
        waits: impl FnOnce(Gateway, &Signal) -> bool,
    ) {
        if let Some((from, RoomInput::Signal(signal))) = input {
            self.signal(now, *from, signal, out, waits);
        }
        for output in out {
            match output {
                Output::To(_, ProxyInput::Ack(ack)) => self.ack(now, *ack),
                Output::All(ProxyInput::Broadcast { from, n, payload }) => {
                    self.keep(Passed {
                        from: *from,
                        id: Some(*n),
                        size: size(payload.as_str().len()),
                        payload: Some(payload.clone()),
                        ..blank(now, What::Broadcast)
                    });
                }
                Output::All(ProxyInput::Changed { change, .. }) => self.change(now, change),
                Output::To(_, ProxyInput::NotAdmitted { peer, refusal }) => self.keep(Passed {
                    from: Some(*peer),
                    why: word(&refusal.code),
                    ..blank(now, What::Refused)
                }),
                Output::Revoke(revocation) => self.keep(Passed {
                    from: revocation.by.map(|(by, _)| by),
                    to: Some(revocation.peer),
                    why: word(&if revocation.ban { LeaveReason::Banned } else { LeaveReason::Kicked }),
                    ..blank(now, What::Kick)
                }),
                _ => {}
            }
        }
    }

    fn signal(
        &mut self,
        now: Now,
        from: Gateway,
        signal: &Signal,
        out: &[Output],
        waits: impl FnOnce(Gateway, &Signal) -> bool,
    ) {
        let fate = out.iter().find_map(|output| match output {
            Output::To(_, ProxyInput::Signal(_)) => Some(Fate::Relayed),
            Output::To(_, ProxyInput::Undelivered { .. }) => Some(Fate::Undelivered),
            _ => None,
        });
        let Some(fate) = fate.or_else(|| waits(from, signal).then_some(Fate::Waits)) else {
            return; // a former gateway's
        };
        let pair = (signal.from, signal.to);
        if self.last.get(&pair).is_some_and(|last| signal.id <= *last) {
            self.again += 1;
            return;
        }
        if self.last.len() < WATCH_PAIRS_MAX || self.last.contains_key(&pair) {
            self.last.insert(pair, signal.id);
        }
        let content = &signal.content;
        self.keep(Passed {
            from: Some(signal.from),
            to: Some(signal.to),
            id: Some(signal.id),
            kind: Some(content.kind.to_string()),
            connection: content.connection.as_ref().map(|connection| connection.as_str().to_owned()),
            size: size(content.len()),
            fate: Some(fate),
            payload: Some(content.payload.clone()),
            ..blank(now, What::Signal)
        });
    }

    fn ack(&mut self, now: Now, ack: Ack) {
        let (from, to, id) = (Some(ack.to), Some(ack.from), Some(ack.id));
        self.keep(Passed { from, to, id, ..blank(now, What::Ack) });
    }

    fn change(&mut self, now: Now, change: &RoomChange) {
        let peer = change.peer();
        let (what, why) = match change {
            RoomChange::Joined(_) => (What::Join, None),
            RoomChange::Left { reason, .. } => {
                self.last.retain(|(from, to), _| *from != peer && *to != peer);
                (What::Leave, word(reason))
            }
            RoomChange::Away { .. } => (What::Away, None),
            RoomChange::Back { .. } => (What::Back, None),
            RoomChange::Updated { .. } => (What::Update, None),
            RoomChange::Withheld { .. } => (What::Mute, None),
        };
        self.keep(Passed { from: Some(peer), why, ..blank(now, what) });
    }

    fn keep(&mut self, mut passed: Passed) {
        passed.n = self.next;
        self.next += 1;
        self.bytes += weight(&passed);
        self.held.push_back(passed);
        while self.held.len() > WATCH_ENTRIES || self.bytes > WATCH_BYTES {
            let Some(gone) = self.held.pop_front() else { break };
            self.bytes -= weight(&gone);
        }
    }

    /// A page of what passed after a number, 0 for all that is held; and the watch goes on. `plain` shows all.
    pub fn page(&mut self, now: Now, after: u64, filter: &Filter, limit: usize, plain: bool) -> SignalsPage {
        self.until = now.mono + WATCH_FOR;
        // A number of a watch before, or of an owner whose clock is ahead of this one's.
        let anew = after != 0 && (after + 1 < self.first || after >= self.next);
        let after = if anew || after == 0 { self.first - 1 } else { after };
        let oldest = self.held.front().map_or(self.next, |passed| passed.n);
        let mut page = SignalsPage {
            missed: oldest.saturating_sub(after + 1),
            next: after.max(oldest - 1),
            anew,
            again: self.again,
            ..SignalsPage::default()
        };
        let (mut bytes, limit) = (0, limit.clamp(1, SIGNALS_PAGE));
        let from = usize::try_from(page.next + 1 - oldest).unwrap_or(usize::MAX);
        for passed in self.held.iter().skip(from) {
            if page.passed.len() >= limit || bytes >= SIGNALS_PAGE_BYTES {
                page.more = true;
                break;
            }
            page.next = passed.n;
            if !filter.wants_before(passed) {
                continue;
            }
            let shown = if plain { passed.clone() } else { hide(passed, &Hidden(&self.key)) };
            if filter.wants_text(&shown) {
                bytes += weight(&shown);
                page.passed.push(shown);
            }
        }
        page
    }
}

const fn blank(now: Now, what: What) -> Passed {
    Passed {
        n: 0,
        at: now.unix,
        what,
        from: None,
        to: None,
        id: None,
        kind: None,
        connection: None,
        size: None,
        fate: None,
        why: None,
        payload: None,
    }
}

fn size(bytes: usize) -> Option<u32> {
    u32::try_from(bytes).ok()
}

/// A code as it is written on wires.
fn word(code: &impl Serialize) -> Option<String> {
    serde_json::to_value(code).ok()?.as_str().map(str::to_owned)
}

/// What an entry takes, in bytes: a fixed part and what clients have written.
fn weight(passed: &Passed) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let payload = passed.payload.as_ref().map_or(0, |payload| payload.as_str().len());
    size_of::<Passed>() + text(&passed.kind) + text(&passed.connection) + text(&passed.why) + payload
}

fn hide(passed: &Passed, hidden: &Hidden<'_>) -> Passed {
    let kind = passed.kind.as_deref().unwrap_or_default();
    Passed {
        connection: passed.connection.as_ref().map(|connection| hidden.hash(connection)),
        payload: passed.payload.as_ref().map(|payload| redact(kind, payload, hidden)),
        n: passed.n,
        at: passed.at,
        what: passed.what,
        from: passed.from,
        to: passed.to,
        id: passed.id,
        kind: passed.kind.clone(),
        size: passed.size,
        fate: passed.fate,
        why: passed.why.clone(),
    }
}

impl Filter {
    fn wants_before(&self, passed: &Passed) -> bool {
        let peer = |peer| passed.from == Some(peer) || passed.to == Some(peer);
        let kind = |kind: &String| passed.kind.as_ref() == Some(kind) || passed.what.name() == kind;
        self.peer.is_none_or(peer) && self.kind.as_ref().is_none_or(kind)
    }

    /// Looked for in what is shown alone: what is hidden is not found by trying texts.
    fn wants_text(&self, shown: &Passed) -> bool {
        let Some(text) = &self.text else { return true };
        let end = text.floor_char_boundary(SHOWN_TEXT_MAX);
        let text = text[..end].to_lowercase();
        serde_json::to_string(shown).is_ok_and(|shown| shown.to_lowercase().contains(&text))
    }
}

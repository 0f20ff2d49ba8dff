//! What is remembered of a delivery, and told of it to operators.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Event, EventKind};
use crate::id::{EventId, RoomName};
use crate::limits::{HOOK_ANSWER_MAX, HOOK_ATTEMPTS_KEPT, HOOK_FAULT_MAX};
use crate::time::{Mono, Now, Unix};

/// How a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits: for those before it, or for its next attempt.
    Waiting,
    /// It is under way.
    Sending,
    /// It was taken: an answer of 200 to 299.
    Delivered,
    /// It was given up: not taken for [`crate::limits::HOOK_RETRY_FOR`].
    Expired,
    /// The endpoint has said that it is gone (410).
    Gone,
    /// The webhook was disabled before it was taken.
    Cancelled,
}

impl DeliveryState {
    /// Whether nothing more comes of it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Sending)
    }
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Unix,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The status of the answer, where there was one.
    #[serde(default)]
    pub status: Option<u16>,
    /// The first bytes of the answer, or why there was none.
    #[serde(default)]
    pub said: String,
}

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answered {
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// The first bytes of the answer, or why there was none.
    pub said: String,
    /// How long it took.
    pub took: Duration,
    /// How long the endpoint has asked to wait (RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
}

impl Answered {
    /// As it is remembered of a request that ended now.
    #[must_use]
    pub fn attempt(&self, now: Now) -> Attempt {
        let most = if self.status.is_some() { HOOK_ANSWER_MAX * 3 } else { HOOK_FAULT_MAX };
        let took_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        let at = Unix(now.unix.0.saturating_sub(self.took));
        let said = self.said[..self.said.floor_char_boundary(most)].to_owned();
        Attempt { at, took_ms, status: self.status, said }
    }
}

/// A delivery as it is told to operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The event.
    pub event: EventId,
    /// What happened.
    pub kind: EventKind,
    /// In which room.
    #[serde(default)]
    pub room: Option<RoomName>,
    /// When.
    pub at: Unix,
    /// What is sent.
    pub body: String,
    /// How it is.
    pub state: DeliveryState,
    /// The last attempts, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// How many there were.
    #[serde(default)]
    pub tries: u32,
}

/// How a webhook does on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookCounts {
    /// Events that wait, those under way included.
    pub waiting: u64,
    /// Events that were taken since the node began.
    pub delivered: u64,
    /// Events that were given up since the node began.
    pub failed: u64,
    /// Events for which there was no room since the node began.
    pub dropped: u64,
    /// Since when its endpoint takes nothing.
    pub failing_since: Option<Unix>,
}

/// Which deliveries are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Of this kind.
    pub kind: Option<EventKind>,
    /// Of this room.
    pub room: Option<RoomName>,
    /// Older than this one.
    pub before: Option<(Unix, EventId)>,
}

/// What one node knows of a webhook's deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryPage {
    /// The newest of those asked for, [`crate::limits::HOOK_PAGE`] at most.
    pub deliveries: Vec<Delivery>,
    /// How the webhook does.
    #[serde(default)]
    pub counts: HookCounts,
}

/// A delivery as the queue holds it.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) event: Event,
    pub(super) state: DeliveryState,
    pub(super) attempts: VecDeque<Attempt>,
    pub(super) tries: u32,
    /// Attempts since it was last put into the queue.
    pub(super) round: u32,
    /// When that was.
    pub(super) since: Mono,
    /// When it may be tried again.
    pub(super) next: Mono,
}

impl Record {
    pub(super) fn new(event: Event, now: Mono) -> Self {
        let (attempts, tries, round) = (VecDeque::new(), 0, 0);
        Self { event, state: DeliveryState::Waiting, attempts, tries, round, since: now, next: now }
    }

    /// Bytes that it is counted with.
    pub(super) fn bytes(&self) -> usize {
        self.event.body.len()
    }

    pub(super) fn note(&mut self, attempt: Attempt) {
        if self.attempts.len() >= HOOK_ATTEMPTS_KEPT {
            self.attempts.pop_front();
        }
        self.attempts.push_back(attempt);
        (self.tries, self.round) = (self.tries.saturating_add(1), self.round.saturating_add(1));
    }

    pub(super) const fn order(&self) -> (Unix, EventId) {
        (self.event.at, self.event.id)
    }

    pub(super) fn is_wanted(&self, wanted: &Wanted) -> bool {
        wanted.state.is_none_or(|state| state == self.state)
            && wanted.kind.is_none_or(|kind| kind == self.event.kind)
            && wanted.room.as_ref().is_none_or(|room| Some(room) == self.event.room.as_ref())
            && wanted.before.is_none_or(|before| self.order() < before)
    }

    pub(super) fn told(&self) -> Delivery {
        let Event { id, kind, room, at, body } = &self.event;
        Delivery {
            event: *id,
            kind: *kind,
            room: room.clone(),
            at: *at,
            body: body.to_string(),
            state: self.state,
            attempts: self.attempts.iter().cloned().collect(),
            tries: self.tries,
        }
    }
}

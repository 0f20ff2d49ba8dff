//! What waits for one webhook, and what lately happened to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::event::Event;
use super::super::record::{Answered, DeliveryState, HookCounts, Record};
use super::{Resent, Waits};
use crate::id::{AppId, EventId, RoomName};
use crate::limits::{
    HOOK_FAILING_AFTER, HOOK_IN_FLIGHT, HOOK_LOG_BYTES, HOOK_LOG_MAX, HOOK_QUEUE_BYTES, HOOK_QUEUE_MAX,
    HOOK_RETRY_FOR, HOOK_RETRY_MAX,
};
use crate::time::{Mono, Now, Unix};

/// What is told in order.
type Key = Option<RoomName>;

#[derive(Debug)]
pub(super) struct Line {
    pub(super) app: AppId,
    records: BTreeMap<EventId, Record>,
    /// Events that wait, by room. The first one of a room is under way, or its room is in one of the next two.
    rooms: BTreeMap<Key, VecDeque<EventId>>,
    /// Rooms whose first event may be sent.
    ready: VecDeque<Key>,
    /// Rooms whose first event is to be tried again.
    later: BTreeSet<(Mono, Key)>,
    /// Deliveries that are over, oldest first.
    over: VecDeque<EventId>,
    over_bytes: usize,
    /// Bytes of those that wait.
    bytes: usize,
    waiting: usize,
    sending: usize,
    off: bool,
    /// Attempts that failed since one did not.
    failures: u32,
    failing_since: Option<Unix>,
    /// Of an endpoint that takes nothing: when it is asked again,
    probe_at: Mono,
    /// how often it was,
    probes: u32,
    /// and whether it is being asked.
    probing: bool,
    delivered: u64,
    failed: u64,
    dropped: u64,
}

impl Line {
    pub(super) const fn new(app: AppId) -> Self {
        Self {
            app,
            records: BTreeMap::new(),
            rooms: BTreeMap::new(),
            ready: VecDeque::new(),
            later: BTreeSet::new(),
            over: VecDeque::new(),
            over_bytes: 0,
            bytes: 0,
            waiting: 0,
            sending: 0,
            off: false,
            failures: 0,
            failing_since: None,
            probe_at: Mono(std::time::Duration::ZERO),
            probes: 0,
            probing: false,
            delivered: 0,
            failed: 0,
            dropped: 0,
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether anything waits that is not under way.
    pub(super) const fn waits(&self) -> bool {
        self.waiting > self.sending
    }

    pub(super) fn knows(&self, event: EventId) -> bool {
        self.records.contains_key(&event)
    }

    pub(super) fn record(&self, event: EventId) -> Option<&Record> {
        self.records.get(&event)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    pub(super) fn counts(&self) -> HookCounts {
        HookCounts {
            waiting: self.waiting as u64,
            delivered: self.delivered,
            failed: self.failed,
            dropped: self.dropped,
            failing_since: self.failing_since.filter(|_| self.is_failing()),
        }
    }

    pub(super) const fn has_room_for(&self, bytes: usize) -> bool {
        self.waiting < HOOK_QUEUE_MAX && self.bytes + bytes <= HOOK_QUEUE_BYTES
    }

    pub(super) const fn drop_one(&mut self) {
        self.dropped += 1;
    }

    pub(super) fn push(&mut self, now: Now, event: Event) {
        let (id, key) = (event.id, event.room.clone());
        self.records.insert(id, Record::new(event, now.mono));
        self.line_up(id, key);
    }

    /// At the end of its room's.
    fn line_up(&mut self, id: EventId, key: Key) {
        self.bytes += self.records.get(&id).map_or(0, Record::bytes);
        self.waiting += 1;
        let room = self.rooms.entry(key.clone()).or_default();
        room.push_back(id);
        if room.len() == 1 {
            self.ready.push_back(key);
        }
    }

    const fn is_failing(&self) -> bool {
        self.failures >= HOOK_FAILING_AFTER
    }

    const fn at_once(&self) -> usize {
        if self.is_failing() { 1 } else { HOOK_IN_FLIGHT }
    }

    /// The next event to be sent now.
    pub(super) fn next(&mut self, now: Now) -> Option<Event> {
        while let Some((at, key)) = self.later.pop_first() {
            if at > now.mono {
                self.later.insert((at, key));
                break;
            }
            self.ready.push_back(key);
        }
        if self.sending >= self.at_once() || (self.is_failing() && self.probe_at > now.mono) {
            return None;
        }
        while let Some(key) = self.ready.pop_front() {
            let Some(id) = self.rooms.get(&key).and_then(VecDeque::front).copied() else { continue };
            let Some(record) = self.records.get_mut(&id) else { continue };
            if now.mono.since(record.since) >= HOOK_RETRY_FOR {
                self.finish(id, DeliveryState::Expired);
                continue;
            }
            record.state = DeliveryState::Sending;
            self.sending += 1;
            self.probing = self.is_failing();
            return self.records.get(&id).map(|record| record.event.clone());
        }
        None
    }

    pub(super) fn poll_timeout(&self) -> Mono {
        if !self.waits() || self.sending >= self.at_once() {
            return Mono::NEVER;
        }
        let first = || self.later.first().map_or(Mono::NEVER, |(at, _)| *at);
        let due = if self.ready.is_empty() { first() } else { Mono::default() };
        if self.is_failing() { due.max(self.probe_at) } else { due }
    }

    /// True where the endpoint is gone.
    pub(super) fn handle_result(
        &mut self,
        now: Now,
        id: EventId,
        answered: &Answered,
        waits: &mut Waits,
    ) -> bool {
        let Some(record) = self.records.get_mut(&id) else { return false };
        if record.state != DeliveryState::Sending {
            return false;
        }
        record.note(answered.attempt(now));
        let key = record.event.room.clone();
        self.sending -= 1;
        let over = DeliveryState::of_status(answered.status);
        if over == Some(DeliveryState::Delivered) {
            self.renew();
        } else {
            self.fail(now, waits);
        }
        match over {
            Some(state) => self.finish(id, state),
            None if self.off => self.finish(id, DeliveryState::Cancelled),
            None => self.try_later(now, id, key, answered, waits),
        }
        if over == Some(DeliveryState::Gone) {
            // Until the registry knows it, or has another URL.
            (self.failures, self.probe_at) =
                (self.failures.max(HOOK_FAILING_AFTER), now.mono + HOOK_RETRY_MAX);
        }
        over == Some(DeliveryState::Gone)
    }

    fn fail(&mut self, now: Now, waits: &mut Waits) {
        let was_failing = self.is_failing();
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now.unix);
        if std::mem::take(&mut self.probing) {
            self.probes = self.probes.saturating_add(1);
        } else if was_failing {
            return; // it was sent before
        } else {
            self.probes = 0;
        }
        if self.is_failing() {
            self.probe_at = now.mono + waits.of_probe(self.probes);
        }
    }

    fn try_later(&mut self, now: Now, id: EventId, key: Key, answered: &Answered, waits: &mut Waits) {
        let Some(record) = self.records.get_mut(&id) else { return };
        let asked = answered.retry_after.unwrap_or_default().min(HOOK_RETRY_MAX);
        let wait = waits.of_attempt(record.round.saturating_sub(1)).max(asked);
        record.next = now.mono + wait;
        if record.next.since(record.since) >= HOOK_RETRY_FOR {
            return self.finish(id, DeliveryState::Expired);
        }
        record.state = DeliveryState::Waiting;
        self.later.insert((record.next, key));
    }

    /// The first event of its room is over: the next one's turn.
    fn finish(&mut self, id: EventId, state: DeliveryState) {
        let Some(record) = self.records.get_mut(&id) else { return };
        record.state = state;
        let (key, bytes) = (record.event.room.clone(), record.bytes());
        if let Some(room) = self.rooms.get_mut(&key) {
            room.pop_front();
            if room.is_empty() {
                self.rooms.remove(&key);
            } else {
                self.ready.push_back(key);
            }
        }
        self.waiting -= 1;
        self.bytes -= bytes;
        let count = if state == DeliveryState::Delivered { &mut self.delivered } else { &mut self.failed };
        *count += 1;
        self.remember(id, bytes);
    }

    fn remember(&mut self, id: EventId, bytes: usize) {
        self.over.push_back(id);
        self.over_bytes += bytes;
        while self.over.len() > HOOK_LOG_MAX || self.over_bytes > HOOK_LOG_BYTES {
            let Some(oldest) = self.over.pop_front() else { return };
            if let Some(record) = self.records.remove(&oldest) {
                self.over_bytes -= record.bytes();
            }
        }
    }

    /// Its endpoint is well, or another one.
    pub(super) fn renew(&mut self) {
        if self.is_failing() {
            let later = std::mem::take(&mut self.later);
            self.ready.extend(later.into_iter().map(|(_, key)| key));
        }
        (self.failures, self.failing_since) = (0, None);
        (self.probe_at, self.probes, self.probing) = (Mono::default(), 0, false);
    }

    /// Nothing is sent any more, or again.
    pub(super) fn set_off(&mut self, off: bool) {
        if std::mem::replace(&mut self.off, off) == off {
            return;
        }
        self.renew();
        if !off {
            return;
        }
        self.later.clear();
        self.ready.clear();
        // Those under way end by their answers.
        let is_waiting = |record: &Record| record.state == DeliveryState::Waiting;
        let mut waiting: Vec<_> = Vec::new();
        for room in self.rooms.values_mut() {
            let is_it = |id: &EventId| self.records.get(id).is_some_and(is_waiting);
            waiting.extend(room.iter().copied().filter(is_it));
            room.retain(|id| !is_it(id));
        }
        self.rooms.retain(|_, room| !room.is_empty());
        for id in waiting {
            let Some(record) = self.records.get_mut(&id) else { continue };
            record.state = DeliveryState::Cancelled;
            let bytes = record.bytes();
            (self.waiting, self.bytes) = (self.waiting - 1, self.bytes - bytes);
            self.failed += 1;
            self.remember(id, bytes);
        }
    }

    /// `room` is how many bytes may wait besides.
    pub(super) fn resend(&mut self, now: Now, id: EventId, room: usize) -> Resent {
        let Some(record) = self.records.get(&id) else { return Resent::Unknown };
        let (key, bytes) = (record.event.room.clone(), record.bytes());
        if !record.state.is_over() {
            // The room's first event: this one, or one that keeps it waiting.
            let first = self.rooms.get(&key).and_then(VecDeque::front).and_then(|id| self.records.get(id));
            if let Some(at) = first.map(|first| first.next)
                && self.later.remove(&(at, key.clone()))
            {
                self.ready.push_front(key);
            }
        } else if bytes > room || !self.has_room_for(bytes) {
            return Resent::Full;
        } else {
            if let Some(record) = self.records.get_mut(&id) {
                record.state = DeliveryState::Waiting;
                (record.round, record.since, record.next) = (0, now.mono, now.mono);
            }
            self.over.retain(|over| *over != id);
            self.over_bytes -= bytes;
            self.line_up(id, key);
        }
        self.probe_at = now.mono;
        Resent::Done
    }
}

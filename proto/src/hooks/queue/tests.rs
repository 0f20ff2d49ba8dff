//! The queue in virtual time.

use super::super::event::EventKind;
use super::*;
use crate::id::RoomName;
use crate::limits::{
    HOOK_FAILING_AFTER, HOOK_IN_FLIGHT, HOOK_LOG_BYTES, HOOK_LOG_MAX, HOOK_QUEUE_MAX, HOOK_RETRY_FOR,
    HOOKS_PER_APP,
};
use crate::time::Unix;

const HOUR: Duration = Duration::from_secs(3600);

struct World {
    queue: Queue,
    now: Now,
    app: AppId,
    serial: u64,
}

/// What is under way: of which webhook, room and number.
type Sent = (u8, String, EventId);

impl World {
    fn new() -> Self {
        let now = Now { mono: Mono(HOUR), unix: Unix::from_secs(1_000_000) };
        Self { queue: Queue::new(7), now, app: AppId::new("a").unwrap(), serial: 0 }
    }

    fn event(&mut self, room: &str, len: usize) -> Event {
        self.serial += 1;
        let mut id = [0; 15];
        id[..8].copy_from_slice(&self.serial.to_be_bytes());
        let (id, room) = (EventId::from_random(id), RoomName::new(room).ok());
        let body = "x".repeat(len).into();
        Event { id, kind: EventKind::PeerJoined, room, at: self.now.unix, body }
    }

    fn push(&mut self, hook: u8, room: &str) -> EventId {
        let event = self.event(room, 10);
        assert!(self.queue.push(self.now, &self.app, id(hook), &event));
        event.id
    }

    fn poll(&mut self) -> Vec<Sent> {
        let mut out = Vec::new();
        self.queue.poll(self.now, &mut out);
        out.into_iter().map(sent).collect()
    }

    /// Lets time pass until something is sent.
    fn next(&mut self) -> (Duration, Vec<Sent>) {
        let wait = self.queue.poll_timeout().until(self.now.mono);
        self.now = self.now.after(wait);
        (wait, self.poll())
    }

    fn answers(&mut self, hook: u8, event: EventId, status: u16) -> Vec<Output> {
        let (mut out, said, took) = (Vec::new(), "hm".to_owned(), Duration::from_millis(20));
        let answered = Answered { status: Some(status), said, took, retry_after: None };
        self.queue.handle_result(self.now, id(hook), event, &answered, &mut out);
        out
    }

    fn state(&self, hook: u8, event: EventId) -> Option<DeliveryState> {
        self.queue.delivery(id(hook), event).map(|delivery| delivery.state)
    }

    fn counts(&self, hook: u8) -> super::super::record::HookCounts {
        self.queue.deliveries(id(hook), &Wanted::default()).counts
    }
}

fn id(hook: u8) -> HookId {
    HookId::from_random([hook; 15])
}

fn sent(output: Output) -> Sent {
    let Output::Send { hook, event, .. } = output else { panic!("{output:?}") };
    let hook = (0..=255).find(|n| id(*n) == hook).unwrap();
    (hook, event.room.unwrap().to_string(), event.id)
}

fn events(sent: &[Sent]) -> Vec<EventId> {
    sent.iter().map(|(_, _, event)| *event).collect()
}

#[test]
fn a_room_s_events_go_one_after_another_and_rooms_side_by_side() {
    let mut world = World::new();
    let [a1, a2, b1] = [world.push(1, "a"), world.push(1, "a"), world.push(1, "b")];
    assert_eq!(events(&world.poll()), [a1, b1]);
    assert_eq!(world.poll(), []);
    assert_eq!(world.queue.poll_timeout(), Mono::NEVER);
    world.answers(1, b1, 204);
    assert_eq!(world.poll(), []);
    world.answers(1, a1, 200);
    assert_eq!(events(&world.poll()), [a2]);
    world.answers(1, a2, 299);
    assert!(world.queue.is_idle());
    assert_eq!((world.counts(1).delivered, world.counts(1).waiting), (3, 0));
    world.answers(1, a2, 500);
    assert_eq!(world.state(1, a2), Some(DeliveryState::Delivered), "an answer counts once");
}

#[test]
fn what_is_not_taken_is_tried_again_and_keeps_its_room_waiting() {
    let mut world = World::new();
    let [a1, a2] = [world.push(1, "a"), world.push(1, "a")];
    assert_eq!(events(&world.poll()), [a1]);
    world.answers(1, a1, 500);
    let (first, again) = world.next();
    assert_eq!(events(&again), [a1], "not the next one");
    assert!((3_750..=6_250).contains(&first.as_millis()), "{first:?}");
    world.answers(1, a1, 404);
    let (second, again) = world.next();
    assert_eq!(events(&again), [a1]);
    assert!((7_500..=12_500).contains(&second.as_millis()), "{second:?}");
    world.answers(1, a1, 200);
    assert_eq!(events(&world.poll()), [a2]);
    let told = world.queue.delivery(id(1), a1).unwrap();
    assert_eq!((told.tries, told.state), (3, DeliveryState::Delivered));
    let statuses: Vec<_> = told.attempts.iter().map(|attempt| attempt.status.unwrap()).collect();
    assert_eq!((statuses, told.attempts[0].took_ms), (vec![500, 404, 200], 20));
}

#[test]
fn waits_grow_to_an_hour_and_end_after_a_day() {
    let mut world = World::new();
    let (begin, event) = (world.now.mono, world.push(1, "a"));
    let next = world.push(1, "a");
    let (mut waits, mut sent) = (Vec::new(), world.poll());
    while events(&sent) == [event] {
        world.answers(1, event, 503);
        let (wait, now) = world.next();
        waits.push(wait);
        sent = now;
    }
    assert_eq!(world.state(1, event), Some(DeliveryState::Expired));
    assert_eq!(events(&sent), [next], "the next one's last moment");
    world.now = world.now.after(HOUR);
    world.answers(1, next, 503);
    assert_eq!(world.state(1, next), Some(DeliveryState::Expired));
    assert!(waits.iter().all(|wait| *wait <= HOUR), "{waits:?}");
    assert!(waits.iter().filter(|wait| **wait > HOUR * 7 / 10).count() >= 20, "{waits:?}");
    let passed = world.now.mono.since(begin);
    assert!(passed <= HOOK_RETRY_FOR + HOUR && passed >= HOOK_RETRY_FOR - HOUR, "{passed:?}");
    // One that comes to its turn too late is not sent at all.
    let [first, late] = [world.push(1, "a"), world.push(1, "a")];
    world.next();
    world.now = world.now.after(HOOK_RETRY_FOR);
    world.answers(1, first, 200);
    assert_eq!((world.poll(), world.state(1, late)), (vec![], Some(DeliveryState::Expired)));
    assert_eq!(world.counts(1).failed, 3);
    assert!(world.queue.is_idle());
    assert_eq!(world.queue.bytes, 0);
}

#[test]
fn an_endpoint_says_how_long_to_wait() {
    let mut world = World::new();
    let event = world.push(1, "a");
    world.poll();
    let retry_after = Some(Duration::from_secs(100));
    let answered = Answered { status: Some(429), retry_after, ..Answered::default() };
    world.queue.handle_result(world.now, id(1), event, &answered, &mut Vec::new());
    assert_eq!(world.next().0, Duration::from_secs(100));
    let retry_after = Some(Duration::from_secs(1_000_000));
    let answered = Answered { status: Some(429), retry_after, ..Answered::default() };
    world.queue.handle_result(world.now, id(1), event, &answered, &mut Vec::new());
    assert_eq!(world.next().0, HOUR, "and no longer than is waited anyway");
}

#[test]
fn an_endpoint_that_takes_nothing_is_asked_by_one_request_at_a_time() {
    let mut world = World::new();
    let rooms: Vec<String> = (0..20).map(|n| format!("r{n}")).collect();
    for room in &rooms {
        world.push(1, room);
    }
    let first = world.poll();
    assert_eq!(first.len(), HOOK_IN_FLIGHT);
    for event in events(&first) {
        world.answers(1, event, 500);
    }
    assert!(world.counts(1).failing_since.is_some());
    assert_eq!(world.poll(), [], "it is left alone");
    // Another webhook is none of its business.
    let other = world.push(2, "a");
    assert_eq!(events(&world.poll()), [other]);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let (wait, probe) = world.next();
        assert_eq!(probe.len(), 1);
        assert_eq!(world.poll(), []);
        waits.push(wait);
        world.answers(1, probe[0].2, 502);
    }
    assert!(waits[0] < Duration::from_secs(7) && waits[11] > Duration::from_secs(200), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= HOOK_PROBE_MAX), "{waits:?}");
    // New rooms are among those that are tried.
    let (_, probe) = world.next();
    world.answers(1, probe[0].2, 200);
    assert!(world.counts(1).failing_since.is_none());
    assert_eq!(world.poll().len(), HOOK_IN_FLIGHT, "all go at once, those included that were to wait");
}

#[test]
fn one_event_that_is_never_taken_keeps_only_its_own_room_waiting() {
    let mut world = World::new();
    let bad = world.push(1, "bad");
    world.poll();
    for _ in 0..HOOK_FAILING_AFTER {
        world.answers(1, bad, 400);
        world.now = world.now.after(HOOK_PROBE_MAX);
        world.poll();
    }
    world.answers(1, bad, 400);
    assert!(world.counts(1).failing_since.is_some());
    let good = world.push(1, "good");
    let (wait, sent) = world.next();
    assert!(wait <= HOOK_PROBE_MAX, "{wait:?}");
    assert_eq!(events(&sent), [good], "not the one that was just tried");
    world.answers(1, good, 200);
    assert_eq!(world.state(1, bad), Some(DeliveryState::Waiting));
}

#[test]
fn webhooks_take_turns() {
    let mut world = World::new();
    for n in 0..40 {
        for hook in 1..=12 {
            world.push(hook, &format!("r{n}"));
        }
    }
    let first = world.poll();
    assert_eq!(first.len(), HOOKS_IN_FLIGHT);
    assert_eq!(world.queue.poll_timeout(), Mono::NEVER);
    let served: std::collections::BTreeSet<u8> = first.iter().map(|(hook, ..)| *hook).collect();
    assert_eq!(served, (1..=8).collect());
    for (hook, _, event) in first {
        world.answers(hook, event, 200);
    }
    let second: std::collections::BTreeSet<u8> = world.poll().iter().map(|(hook, ..)| *hook).collect();
    assert!(second.is_superset(&(9..=12).collect()), "{second:?}");
}

#[test]
fn a_gone_endpoint_is_left_alone_and_its_events_are_dropped() {
    let mut world = World::new();
    let [first, second] = [world.push(1, "a"), world.push(1, "a")];
    world.poll();
    let out = world.answers(1, first, 410);
    assert_eq!(out, [Output::Gone { app: world.app.clone(), hook: id(1) }]);
    assert_eq!(world.poll(), []);
    world.queue.keep(|_, _| Standing::Off);
    assert_eq!(world.state(1, first), Some(DeliveryState::Gone));
    assert_eq!(world.state(1, second), Some(DeliveryState::Cancelled));
    assert!(world.queue.is_idle());
    world.queue.keep(|_, _| Standing::On);
    let third = world.push(1, "a");
    assert_eq!(events(&world.poll()), [third], "set again, it is tried at once");
    world.queue.keep(|_, _| Standing::Removed);
    assert_eq!(world.state(1, first), None);
    world.answers(1, third, 200);
    assert!(world.queue.is_idle());
    assert_eq!(world.queue.bytes, 0);
}

#[test]
fn a_webhook_that_is_switched_off_ends_what_is_under_way_by_its_answer() {
    let mut world = World::new();
    let [sent, waits] = [world.push(1, "a"), world.push(1, "a")];
    world.poll();
    world.queue.keep(|_, _| Standing::Off);
    assert_eq!(world.state(1, sent), Some(DeliveryState::Sending));
    assert_eq!(world.state(1, waits), Some(DeliveryState::Cancelled));
    world.answers(1, sent, 500);
    assert_eq!(world.state(1, sent), Some(DeliveryState::Cancelled));
    assert_eq!((world.queue.bytes, world.queue.poll_timeout()), (0, Mono::NEVER));
}

#[test]
fn a_queue_that_is_full_counts_what_it_drops() {
    let mut world = World::new();
    for _ in 0..HOOK_QUEUE_MAX {
        world.push(1, "a");
    }
    let event = world.event("a", 10);
    assert!(!world.queue.push(world.now, &world.app.clone(), id(1), &event));
    assert_eq!((world.counts(1).dropped, world.counts(1).waiting), (1, HOOK_QUEUE_MAX as u64));
    assert!(world.state(1, event.id).is_none());
    world.push(2, "a");
    // By bytes, of one and of all.
    let mut world = World::new();
    let large = |world: &mut World, hook| {
        let event = world.event("a", 4 * 1024 * 1024);
        world.queue.push(world.now, &world.app.clone(), id(hook), &event)
    };
    assert_eq!((0..5).filter(|_| large(&mut world, 1)).count(), 4);
    assert_eq!((2..=5).filter(|hook| (0..4).all(|_| large(&mut world, *hook))).count(), 1);
    assert_eq!(world.counts(5).dropped, 1);
}

#[test]
fn however_many_apps_have_webhooks_that_take_nothing_there_is_room_for_another() {
    const MIB: usize = 1024 * 1024;
    let mut world = World::new();
    let mut fill = |n: u8| {
        world.app = AppId::new(&format!("app-{n}")).unwrap();
        let mut held = 0;
        for hook in 0..HOOKS_PER_APP {
            let hook = n * 16 + u8::try_from(hook).unwrap();
            while {
                let event = world.event("a", MIB);
                world.queue.push(world.now, &world.app.clone(), id(hook), &event)
            } {
                held += 1;
            }
        }
        held
    };
    let taken: Vec<usize> = (0..4).map(&mut fill).collect();
    assert_eq!(taken, [32, 16, 8, 4], "in MiB, of 64");
    let event = world.event("a", 1);
    assert!(world.queue.push(world.now, &AppId::new("small").unwrap(), id(250), &event));
    assert!(world.queue.bytes < HOOKS_QUEUE_BYTES);
}

#[test]
fn what_is_over_is_remembered_up_to_a_limit_and_sent_again_when_asked() {
    let mut world = World::new();
    let all: Vec<_> = (0..HOOK_LOG_MAX + 5).map(|_| world.push(1, "a")).collect();
    for event in &all {
        assert_eq!(events(&world.poll()), [*event]);
        world.answers(1, *event, 200);
    }
    assert_eq!(world.state(1, all[4]), None);
    assert_eq!(world.queue.resend(world.now, id(1), all[4]), Resent::Unknown);
    assert_eq!(world.queue.resend(world.now, id(9), all[5]), Resent::Unknown);
    let waits = world.push(1, "a");
    assert_eq!(events(&world.poll()), [waits]);
    assert_eq!(world.queue.resend(world.now, id(1), all[5]), Resent::Done);
    assert_eq!(world.poll(), [], "in its room's turn");
    world.answers(1, waits, 200);
    assert_eq!(events(&world.poll()), [all[5]]);
    world.answers(1, all[5], 200);
    assert_eq!(world.queue.delivery(id(1), all[5]).unwrap().tries, 2);

    let page = world.queue.deliveries(id(1), &Wanted::default());
    assert_eq!(page.deliveries.len(), HOOK_PAGE);
    assert!(page.deliveries.is_sorted_by_key(|one| std::cmp::Reverse((one.at, one.event))));
    let before = Some((page.deliveries[9].at, page.deliveries[9].event));
    let rest = world.queue.deliveries(id(1), &Wanted { before, ..Wanted::default() });
    assert_eq!(rest.deliveries[..], page.deliveries[10..]);
    let none = Wanted { state: Some(DeliveryState::Waiting), ..Wanted::default() };
    assert!(world.queue.deliveries(id(1), &none).deliveries.is_empty());
    let other = Wanted { room: RoomName::new("b").ok(), ..Wanted::default() };
    assert!(world.queue.deliveries(id(1), &other).deliveries.is_empty());

    let mut world = World::new();
    let long: Vec<Event> = (0..3).map(|_| world.event("a", HOOK_LOG_BYTES / 2)).collect();
    for event in &long {
        world.queue.push(world.now, &world.app.clone(), id(1), event);
        world.poll();
        world.answers(1, event.id, 200);
    }
    assert_eq!(world.state(1, long[0].id), None, "bodies of so many bytes");
    assert!(world.state(1, long[1].id).is_some());
}

#[test]
fn what_waits_is_tried_at_once_when_asked_or_when_the_endpoint_is_another() {
    let mut world = World::new();
    let [first, second] = [world.push(1, "a"), world.push(1, "a")];
    for _ in 0..6 {
        world.next();
        world.answers(1, first, 500);
    }
    assert_eq!(world.poll(), []);
    assert_eq!(world.queue.resend(world.now, id(1), second), Resent::Done);
    assert_eq!(events(&world.poll()), [first], "what it waits for");
    world.answers(1, first, 500);
    assert_eq!(world.poll(), []);
    world.queue.renew(id(1));
    assert_eq!(events(&world.poll()), [first]);
}

#[test]
fn an_event_is_queued_once() {
    let mut world = World::new();
    let event = world.event("a", 10);
    for _ in 0..2 {
        assert!(world.queue.push(world.now, &world.app.clone(), id(1), &event));
    }
    assert_eq!(events(&world.poll()), [event.id]);
    world.answers(1, event.id, 200);
    assert!(world.queue.push(world.now, &world.app.clone(), id(1), &event));
    assert!(world.queue.is_idle());
}

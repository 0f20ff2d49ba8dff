//! One test for each schedule that once broke a room or a proxy: the fewest frames that show it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;
use chappe_proto::id::{
    AppId, Attach, Change, Epoch, Generation, Identity, NodeId, PeerId, RoomKey, RoomName, SessionId, Shard,
};
use chappe_proto::limits;
use chappe_proto::signal::code::{ErrorCode, LeaveReason};
use chappe_proto::signal::frame::GoneReason;
use chappe_proto::signal::json::Json;
use chappe_proto::signal::member::{Gateway, Grants, Member, Policy, Profile, Seat};
use chappe_proto::signal::proxy::{self, Proxy};
use chappe_proto::signal::room::{self, Room};
use chappe_proto::signal::route::{
    Ack, Content, DirectBody, Entry, FromRoom, FromSession, Held, ProxyInput, Returned, RoomChange,
    RoomInput, Signal, Since, ToSession,
};
use chappe_proto::signal::session::{self, Session, Start};
use chappe_proto::time::{Mono, Now, Unix};

const START: Now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::from_secs(1_700_000_000) };
const G1: Gateway = Gateway { node: NodeId(1), generation: Generation(1) };
const G2: Gateway = Gateway { node: NodeId(2), generation: Generation(1) };
const SHARD: Shard = Shard(7);

fn peer(n: u8) -> PeerId {
    PeerId::from_random([n; 15])
}

fn member(n: u8, attach: u64) -> Member {
    let (session, grants) = (SessionId::from_random([n; 15]), Grants::ANONYMOUS);
    let seat = Seat { peer: peer(n), session, grants, capacity: None, token_until: START.unix };
    let profile = Profile { identity: None, name: None, metadata: None };
    Member { seat, profile, version: 0, attach: Attach(attach), away: false, admitted: None }
}

fn identified(n: u8, identity: &str) -> Member {
    let mut member = member(n, 1);
    member.profile.identity = Some(Identity::new(identity).unwrap());
    member
}

fn admitted(mut member: Member, epoch: u64, n: u64) -> Member {
    member.admitted = Some((Epoch(epoch), Change(n)));
    member
}

fn entry(gateway: Gateway, member: Member, presented: u64) -> Entry {
    Entry { gateway, member, presented: Attach(presented), age_ms: 0 }
}

fn announce(member: Member, presented: u64, age_ms: u64, attached_ms: u64) -> RoomInput {
    let (marks, presented) = (BTreeMap::new(), Attach(presented));
    RoomInput::Announce { member, marks, presented, age_ms, attached_ms }
}

fn attach(held: Option<Held>) -> RoomInput {
    RoomInput::Attach { held: held.map(Box::new), since: Since::default() }
}

fn signal(from: u8, to: u8, id: u64) -> Signal {
    let (kind, payload) = (ByteString::from_static("x"), Json::NULL);
    Signal { from: peer(from), to: peer(to), id, content: Content { connection: None, kind, payload } }
}

fn after(ms: u64) -> Now {
    START.after(Duration::from_millis(ms))
}

// -------------------------------------------------------------------------------------------- rooms

struct Owner(Room);

impl Owner {
    fn new(epoch: u64) -> Self {
        Self(Room::new(Epoch(epoch), Policy::default()))
    }

    fn hears(&mut self, now: Now, from: Gateway, input: RoomInput) -> Vec<room::Output> {
        let mut out = Vec::new();
        self.0.handle(now, from, input, &|_, _| false, &mut out);
        out
    }

    fn peers(&self) -> Vec<PeerId> {
        self.0.entries().map(|entry| entry.member.seat.peer).collect()
    }
}

#[test]
fn a_session_is_as_old_as_the_earliest_word_of_it_though_a_frame_was_long_on_its_way() {
    let mut room = Owner::new(2);
    room.0.expect_gateways(START, [G1, G2]);
    let first = admitted(identified(1, "ada"), 1, 1);
    let held = |age_ms| {
        let entry = Entry { age_ms, ..entry(G1, first.clone(), 0) };
        attach(Some(Held { roster: vec![entry], ..Held::default() }))
    };
    room.hears(after(5000), G2, held(1000)); // four seconds on its way
    room.hears(after(5000), G1, held(5000));
    // Ada has joined anew, two seconds ago, and waited for the room.
    let out = room.hears(after(5000), G2, announce(identified(2, "ada"), 0, 2000, 2000));
    let replaced = RoomChange::Left { peer: peer(1), reason: LeaveReason::Replaced };
    let all = |output: &room::Output| matches!(output, room::Output::All(ProxyInput::Changed { change, .. }) if *change == replaced);
    assert!(out.iter().any(all), "{out:?}");
}

#[test]
fn nobodys_grace_ends_while_a_live_gateway_has_not_spoken() {
    let mut room = Owner::new(2);
    room.0.expect_gateways(START, [G1, G2]);
    // The one gateway speaks of a peer of the other's, which is live and cannot be reached.
    let held = Held { roster: vec![entry(G2, admitted(member(1, 1), 1, 1), 0)], ..Held::default() };
    room.hears(START, G1, attach(Some(held)));
    let mut out = Vec::new();
    for step in 1..100 {
        room.0.handle_timeout(START.after(limits::GRACE.mul_f64(f64::from(step) / 20.0)), &mut out);
    }
    assert_eq!(room.peers(), [peer(1)]);
    let late = START.after(5 * limits::GRACE);
    room.hears(late, G2, RoomInput::Detach);
    room.0.handle_timeout(late, &mut out);
    assert!(room.peers().is_empty());
}

#[test]
fn an_empty_room_asks_who_follows_it() {
    let mut room = Owner::new(1);
    room.hears(START, G1, attach(None));
    assert!(!room.0.is_idle()); // and its `detach` is lost
    let at = room.0.poll_timeout();
    assert!(at.since(START.mono) <= limits::ASK_EMPTY_EVERY);
    let mut out = Vec::new();
    room.0.handle_timeout(Now { mono: at, ..START }, &mut out);
    assert_eq!(out, [room::Output::To(G1, ProxyInput::Ask { since: Since::default() })]);
    assert!(room.0.poll_timeout() > at && room.0.poll_timeout() < Mono::NEVER);
    room.hears(START, G1, RoomInput::Detach);
    assert!(room.0.is_idle());
    assert_eq!(room.0.poll_timeout(), Mono::NEVER);
}

#[test]
fn of_one_identity_the_later_join_has_the_session_however_long_it_was_on_its_way() {
    let mut room = Owner::new(1);
    room.hears(START, G1, attach(None));
    room.hears(START, G2, attach(None));
    room.hears(after(2000), G1, announce(identified(1, "ada"), 0, 500, 500));
    // This one was begun before, and given up by its client.
    let out = room.hears(after(2100), G2, announce(identified(2, "ada"), 0, 2000, 2000));
    assert!(matches!(out[..], [room::Output::To(G2, ProxyInput::Gone { reason: GoneReason::Replaced, .. })]));
    assert_eq!(room.peers(), [peer(1)]);
}

/// What a proxy says to its owner.
fn said(out: &mut Vec<proxy::Output>) -> Vec<RoomInput> {
    let said = |output| if let proxy::Output::Room(input) = output { Some(input) } else { None };
    out.drain(..).filter_map(said).collect()
}

#[test]
fn a_new_owner_knows_who_came_back_to_a_gateway_that_does_not_hear_it() {
    // The gateway of both has ended, and with it the owner.
    let back = |n: u8| FromSession::Announce {
        member: admitted(member(n, 2), 1, n.into()),
        marks: BTreeMap::new(),
        presented: Attach(1),
        age: Duration::from_secs(2),
    };
    let (mut room, mut out) = (Owner::new(2), Vec::new());
    room.0.expect_gateways(START, [G1, G2]);
    room.hears(START, G1, RoomInput::Detach);
    let mut proxy = Proxy::new(START, G2, SHARD, Epoch(1), &mut out);
    proxy.handle_session(START, back(1), &mut out);
    assert_eq!(said(&mut out), [attach(None)]); // nobody hears it
    proxy.handle_moved(after(100), SHARD, Epoch(2), &mut out);
    for input in said(&mut out) {
        room.hears(after(100), G2, input); // what it answers is lost
    }
    assert_eq!(room.peers(), [peer(1)]);

    let at = proxy.poll_timeout();
    proxy.handle_timeout(Now { mono: at, ..START }, &mut out);
    out.clear();
    proxy.handle_session(after(1000), back(3), &mut out);
    for input in said(&mut out) {
        room.hears(after(1000), G2, input);
    }
    assert_eq!(room.peers(), [peer(1), peer(3)]);
}

#[test]
fn a_peer_that_nobody_knows_is_unknown_once_all_gateways_have_spoken_unless_one_has_ended() {
    let unknown = |room: &mut Owner, now| {
        let out = room.hears(now, G1, RoomInput::Signal(signal(1, 9, 1)));
        out.iter().any(|output| matches!(output, room::Output::To(_, ProxyInput::Undelivered { .. })))
    };
    let back = |room: &mut Owner| {
        room.hears(START, G1, attach(None));
        room.hears(START, G1, announce(admitted(member(1, 2), 1, 1), 1, 0, 0));
    };
    let (mut room, mut out) = (Owner::new(2), Vec::new());
    room.0.expect_gateways(START, [G1, G2]);
    room.0.set_unbroken();
    back(&mut room);
    assert!(!unknown(&mut room, after(1000)), "G2 may know it");
    room.hears(after(1000), G2, RoomInput::Detach);
    assert!(unknown(&mut room, after(1000)));

    let mut room = Owner::new(2);
    room.0.expect_gateways(START, [G1, G2]);
    room.0.set_unbroken();
    back(&mut room);
    room.0.handle_gateway_lost(after(5000), G2, &mut out);
    assert!(!unknown(&mut room, after(5000)), "it was there perhaps");
    let grace = u64::try_from(room.0.grace().as_millis()).unwrap();
    assert!(!unknown(&mut room, after(5000 + grace - 1)));
    assert!(unknown(&mut room, after(5000 + grace)));
}

#[test]
fn a_join_that_a_former_owner_never_heard_does_not_replace_the_later_one_that_it_did() {
    for late_first in [true, false] {
        let mut room = Owner::new(2);
        let ada = admitted(identified(1, "ada"), 1, 5);
        let held = Entry { age_ms: 3000, ..entry(G1, ada.clone(), 0) };
        let held = Held { roster: vec![held], ..Held::default() };
        let late = announce(identified(2, "ada"), 0, 4000, 4000);
        room.hears(START, G2, attach(None));
        if late_first {
            room.hears(START, G2, late);
            room.hears(START, G1, attach(Some(held)));
        } else {
            room.hears(START, G1, attach(Some(held)));
            room.hears(START, G2, late);
        }
        assert_eq!(room.peers(), [peer(1)], "{late_first}");
        room.hears(START, G1, announce(ada, 0, 3000, 3000));
        assert_eq!(room.peers(), [peer(1)]);
    }
}

#[test]
fn of_one_token_the_later_attachment_has_the_session() {
    let mut room = Owner::new(1);
    room.hears(START, G1, attach(None));
    room.hears(START, G2, attach(None));
    room.hears(START, G1, announce(member(1, 1), 0, 0, 0));
    let back = |attached_ms| announce(admitted(member(1, 2), 1, 1), 1, 5000, attached_ms);
    room.hears(after(5000), G1, back(100));
    // The same token was shown there before, and the word of it is late.
    let out = room.hears(after(5000), G2, back(1000));
    assert!(matches!(out[..], [room::Output::To(G2, ProxyInput::Gone { tie: true, .. })]), "{out:?}");
    assert_eq!(room.0.entries().next().unwrap().gateway, G1);
    room.hears(after(6000), G2, back(0));
    assert_eq!(room.0.entries().next().unwrap().gateway, G2);
}

#[test]
fn a_lost_socket_that_another_gateway_has_by_now_is_told_how_things_are() {
    let mut room = Owner::new(1);
    room.hears(START, G1, attach(None));
    room.hears(START, G2, attach(None));
    room.hears(START, G1, announce(member(1, 1), 0, 0, 0));
    room.hears(START, G2, announce(admitted(member(1, 2), 1, 1), 1, 0, 0));
    let lost = Member { away: true, ..admitted(member(1, 1), 1, 1) };
    let out = room.hears(START, G1, announce(lost, 0, 0, 0));
    assert!(matches!(out[..], [room::Output::To(G1, ProxyInput::Here { .. })]), "{out:?}");
}

#[test]
fn whoever_follows_a_room_learns_who_left_it_and_the_next_owner_from_them() {
    let mut room = Owner::new(1);
    room.hears(START, G1, attach(None));
    room.hears(START, G1, announce(member(1, 1), 0, 0, 0));
    room.hears(START, G1, announce(member(3, 1), 0, 0, 0));
    room.hears(START, G1, RoomInput::Leave { peer: peer(1), reason: LeaveReason::Left });
    let out = room.hears(START, G2, attach(None));
    let [room::Output::To(G2, here @ ProxyInput::Here { left, .. })] = &out[..] else { panic!("{out:?}") };
    assert_eq!(left[..], [(peer(1), LeaveReason::Left)]);

    let mut gateway = Follower::new(G2);
    gateway.hears(START, 1, here.clone());
    let out = gateway.moves(START, 2);
    let held = out.iter().find_map(|output| match output {
        proxy::Output::Room(RoomInput::Attach { held, .. }) => held.clone(),
        _ => None,
    });
    assert_eq!(held.unwrap().left, [(peer(1), LeaveReason::Left)]);
    assert!(!gateway.0.is_idle(), "it has something to tell");
}

#[test]
fn whom_a_settled_room_does_not_know_has_left_for_its_next_owner_too() {
    let mut room = Owner::new(2);
    room.0.set_settled();
    room.hears(START, G1, attach(None));
    let out = room.hears(START, G1, announce(admitted(member(1, 2), 1, 1), 1, 0, 0));
    let lost = RoomChange::Left { peer: peer(1), reason: LeaveReason::Lost };
    assert!(matches!(&out[..], [
        room::Output::To(G1, ProxyInput::Gone { reason: GoneReason::Expired, .. }),
        room::Output::All(ProxyInput::Changed { change, .. }),
    ] if *change == lost));
    assert_eq!(room.0.left().collect::<Vec<_>>(), [peer(1)]);
}

#[test]
fn a_room_is_not_settled_before_every_gateway_has_spoken() {
    let mut room = Owner::new(2);
    room.0.expect_gateways(START, [G1, G2]);
    room.hears(START, G1, attach(None));
    room.hears(START, G1, announce(admitted(member(1, 1), 1, 1), 0, 0, 0));
    let later = START.after(Policy::default().grace * 2);
    let unknown = RoomInput::Signal(signal(1, 2, 1)); // at the gateway that cannot be reached
    let out = room.hears(later, G1, unknown.clone());
    assert!(matches!(out[..], [room::Output::To(G1, ProxyInput::Taken { .. })]), "{out:?}");
    room.hears(later, G2, RoomInput::Detach);
    let out = room.hears(later, G1, unknown);
    assert!(matches!(out[..], [room::Output::To(G1, ProxyInput::Undelivered { .. })]), "{out:?}");
}

#[test]
fn an_owner_without_a_lease_calls_nobody_unknown() {
    let mut room = Owner::new(1);
    room.0.set_settled();
    room.hears(START, G1, attach(None));
    room.hears(START, G1, announce(member(1, 1), 0, 0, 0));
    let mut out = Vec::new();
    room.0.set_frozen(START, true, &mut out);
    let out = room.hears(START, G1, RoomInput::Signal(signal(1, 9, 1)));
    assert!(matches!(out[..], [room::Output::To(G1, ProxyInput::Taken { .. })]), "{out:?}");
    assert_eq!(room.0.poll_timeout(), Mono::NEVER);
    room.0.set_frozen(START, false, &mut Vec::new());
    let out = room.hears(START, G1, RoomInput::Signal(signal(1, 9, 1)));
    assert!(matches!(out[..], [room::Output::To(G1, ProxyInput::Undelivered { .. })]), "{out:?}");
}

// ------------------------------------------------------------------------------------------ proxies

struct Follower(Proxy);

impl Follower {
    fn new(gateway: Gateway) -> Self {
        Self(Proxy::new(START, gateway, SHARD, Epoch(1), &mut Vec::new()))
    }

    fn hears(&mut self, now: Now, epoch: u64, body: ProxyInput) -> Vec<proxy::Output> {
        let mut out = Vec::new();
        let room = RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("r").unwrap() };
        self.0.handle_room(now, FromRoom { room, shard: SHARD, epoch: Epoch(epoch), body }, &mut out);
        out
    }

    fn moves(&mut self, now: Now, epoch: u64) -> Vec<proxy::Output> {
        let mut out = Vec::new();
        self.0.handle_moved(now, SHARD, Epoch(epoch), &mut out);
        out
    }

    fn says(&mut self, now: Now, input: FromSession) -> Vec<proxy::Output> {
        let mut out = Vec::new();
        self.0.handle_session(now, input, &mut out);
        out
    }

    fn fires(&mut self, now: Now) -> Vec<proxy::Output> {
        let mut out = Vec::new();
        self.0.handle_timeout(now, &mut out);
        out
    }

    /// Peer 1 here, peer 2 at the other gateway, both in the room.
    fn of_two() -> Self {
        let mut gateway = Self::new(G1);
        let (ada, ben) = (admitted(member(1, 1), 1, 1), admitted(member(2, 1), 1, 2));
        let announce = FromSession::Announce {
            member: ada.clone(),
            marks: BTreeMap::new(),
            presented: Attach(0),
            age: Duration::ZERO,
        };
        gateway.says(START, announce);
        let roster = vec![entry(G1, ada, 0), entry(G2, ben, 0)];
        gateway.hears(START, 1, ProxyInput::Here { n: Change(2), roster, left: Vec::new(), broadcasts: 0 });
        gateway
    }
}

fn straight(out: &[proxy::Output]) -> Vec<(Gateway, DirectBody)> {
    let direct = |output: &proxy::Output| match output {
        proxy::Output::Direct(to, body) => Some((*to, body.clone())),
        _ => None,
    };
    out.iter().filter_map(direct).collect()
}

fn asks_again(out: &[proxy::Output]) -> bool {
    out.iter().any(|output| matches!(output, proxy::Output::Sessions(ToSession::Resend, None)))
}

fn taken(id: u64) -> ProxyInput {
    ProxyInput::Taken { from: peer(1), to: peer(2), id }
}

#[test]
fn a_late_refusal_of_a_former_life_does_not_end_the_present_one() {
    let mut gateway = Follower::of_two();
    let announce = FromSession::Announce {
        member: admitted(member(1, 4), 1, 1),
        marks: BTreeMap::new(),
        presented: Attach(3),
        age: Duration::ZERO,
    };
    gateway.says(START, announce);
    let gone = |presented| ProxyInput::Gone {
        peer: peer(1),
        attach: Attach(4),
        presented: Attach(presented),
        reason: GoneReason::Replaced,
        tie: false,
    };
    gateway.hears(START, 1, gone(1));
    assert!(gateway.0.attach_of(peer(1)).is_some());
    gateway.hears(START, 1, gone(3));
    assert!(gateway.0.attach_of(peer(1)).is_none());
}

/// Who is told that it was refused.
fn refused(out: &[proxy::Output]) -> Vec<PeerId> {
    let error = |output: &proxy::Output| match output {
        proxy::Output::Session(peer, ToSession::Error(refusal)) => {
            assert_eq!(refusal.code, ErrorCode::Unavailable);
            assert!(refusal.retry_after_ms.is_some());
            Some(*peer)
        }
        _ => None,
    };
    out.iter().filter_map(error).collect()
}

#[test]
fn whoever_kicks_or_broadcasts_hears_of_it_where_no_owner_does() {
    let kick = || FromSession::Kick { by: peer(1), peer: peer(2), ban: false };
    let broadcast = || FromSession::Broadcast { from: peer(1), payload: Json::NULL };
    let mut gateway = Follower::of_two();
    for asks in [kick(), broadcast()] {
        assert!(matches!(gateway.says(START, asks)[..], [proxy::Output::Room(_)]));
    }
    gateway.moves(START, 2);
    for asks in [kick(), broadcast()] {
        let out = gateway.says(START, asks);
        assert_eq!(
            (refused(&out), out.len()),
            (vec![peer(1)], 1),
            "the new owner has not heard this gateway"
        );
    }
    // The former owner refuses what it had before, and so may one that is not known here yet.
    let error = RoomInput::Kick { by: peer(1), peer: peer(2), ban: false }.unheard();
    let (peer, refusal) = error.unwrap();
    for epoch in [1, 2, 3] {
        let out = gateway.hears(START, epoch, ProxyInput::Error { peer, refusal: refusal.clone() });
        assert_eq!(refused(&out), [peer], "{epoch}");
    }
}

#[test]
fn a_room_answers_what_a_gateway_that_it_does_not_know_will_not_say_again() {
    let mut room = Owner::new(2);
    for asks in [
        RoomInput::Kick { by: peer(1), peer: peer(2), ban: false },
        RoomInput::Broadcast { from: peer(1), payload: Json::NULL },
    ] {
        let out = room.hears(START, G1, asks);
        let [
            room::Output::To(G1, ProxyInput::Error { peer: to, .. }),
            room::Output::To(G1, ProxyInput::Ask { .. }),
        ] = &out[..]
        else {
            panic!("{out:?}")
        };
        assert_eq!(*to, peer(1));
    }
}

#[test]
fn an_owner_that_takes_signals_is_the_only_way() {
    let mut gateway = Follower::of_two();
    for id in 1..=3 {
        let now = after(id * 200);
        let out = gateway.says(now, FromSession::Signal(signal(1, 2, id)));
        assert!(straight(&out).is_empty());
        gateway.hears(now, 1, taken(id));
        assert!(!asks_again(&gateway.fires(now)));
    }
    assert!(gateway.0.poll_timeout().since(after(600).mono) > Duration::from_secs(1));
}

#[test]
fn what_an_owner_does_not_take_goes_straight_after_everything_before_it() {
    let mut gateway = Follower::of_two();
    gateway.says(START, FromSession::Signal(signal(1, 2, 1)));
    assert_eq!(gateway.0.poll_timeout(), START.mono + limits::CUSTODY_WITHIN);
    assert!(!asks_again(&gateway.fires(after(249))));
    // Sessions say again, in order, all that is unacknowledged.
    assert!(asks_again(&gateway.fires(after(250))));
    let out = gateway.says(after(250), FromSession::Signal(signal(1, 2, 1)));
    assert_eq!(straight(&out), [(G2, DirectBody::Signal(signal(1, 2, 1)))]);
    // And the owner is asked all the while: once it takes one, it is the way again.
    assert!(out.iter().any(|output| matches!(output, proxy::Output::Room(RoomInput::Signal(_)))));
    gateway.hears(after(300), 1, taken(1));
    assert!(straight(&gateway.says(after(300), FromSession::Signal(signal(1, 2, 2)))).is_empty());
}

#[test]
fn an_owner_that_is_slow_is_not_buried_under_repetitions() {
    let mut gateway = Follower::of_two();
    let (mut id, mut again) = (0, 0);
    for step in 0..100 {
        let now = after(step * 50);
        id += 1;
        gateway.says(now, FromSession::Signal(signal(1, 2, id)));
        again += u32::from(asks_again(&gateway.fires(now)));
        if step % 8 == 7 {
            gateway.hears(now, 1, taken(id - 6)); // each 300 ms late
        }
    }
    assert!((1..=10).contains(&again), "{again} times in five seconds");
}

#[test]
fn at_the_owner_itself_nothing_is_watched() {
    let mut gateway = Follower::of_two();
    gateway.0.set_local(true);
    gateway.says(START, FromSession::Signal(signal(1, 2, 1)));
    assert!(gateway.0.poll_timeout() > after(1000).mono);
}

#[test]
fn what_came_straight_is_acknowledged_straight() {
    let mut gateway = Follower::of_two();
    let mut out = Vec::new();
    gateway.0.handle_direct(START, G2, DirectBody::Signal(signal(2, 1, 1)), &mut out);
    assert!(matches!(&out[..], [proxy::Output::Session(to, ToSession::Signal(_))] if *to == peer(1)));
    let ack = Ack { from: peer(2), to: peer(1), id: 1 };
    let out = gateway.says(START, FromSession::Ack(ack));
    assert_eq!(straight(&out), [(G2, DirectBody::Ack(ack))]);
    // What comes by the owner is acknowledged by it alone.
    let ack = Ack { id: 2, ..ack };
    assert!(straight(&gateway.says(START, FromSession::Ack(ack))).is_empty());
}

#[test]
fn only_the_gateway_that_has_the_sender_is_believed() {
    let mut gateway = Follower::of_two();
    let restarted = Gateway { generation: Generation(2), ..G2 };
    let away = RoomChange::Away { peer: peer(2), attach: Attach(1), gateway: G2 };
    for (from, signal) in [(restarted, signal(2, 1, 1)), (G2, signal(3, 1, 1)), (G2, signal(2, 9, 1))] {
        let mut out = Vec::new();
        gateway.0.handle_direct(START, from, DirectBody::Signal(signal), &mut out);
        assert!(out.is_empty(), "{from:?}");
    }
    gateway.hears(START, 1, ProxyInput::Changed { n: Change(3), broadcasts: 0, change: away });
    let mut out = Vec::new();
    gateway.0.handle_direct(START, G2, DirectBody::Signal(signal(2, 1, 1)), &mut out);
    assert!(out.is_empty(), "it is away");
    // What its client took it has taken.
    gateway.0.handle_direct(START, G2, DirectBody::Ack(Ack { from: peer(1), to: peer(2), id: 1 }), &mut out);
    assert!(matches!(&out[..], [proxy::Output::Session(to, ToSession::Ack(_))] if *to == peer(1)));
}

#[test]
fn while_the_link_to_the_owner_is_down_nothing_waits() {
    let mut gateway = Follower::of_two();
    let mut out = Vec::new();
    gateway.0.handle_link(START, false, &mut out);
    assert!(asks_again(&out));
    let out = gateway.says(START, FromSession::Signal(signal(1, 2, 1)));
    assert_eq!(straight(&out).len(), 1);
    let ack = Ack { from: peer(2), to: peer(1), id: 1 };
    assert_eq!(straight(&gateway.says(START, FromSession::Ack(ack))).len(), 1);
    let mut out = Vec::new();
    gateway.0.handle_link(START, true, &mut out);
    assert!(asks_again(&out));
    assert!(out.iter().any(|output| matches!(output, proxy::Output::Room(RoomInput::Check { .. }))));
}

/// What a proxy hands over with its attachment.
fn handed_over(out: &[proxy::Output]) -> &Held {
    let held = out.iter().find_map(|output| match output {
        proxy::Output::Room(RoomInput::Attach { held, .. }) => held.as_deref(),
        _ => None,
    });
    held.expect("an attachment with what is held")
}

#[test]
fn whom_an_owner_called_unknown_the_next_one_does_not_have_back() {
    let mut gateway = Follower::of_two();
    gateway.hears(START, 1, ProxyInput::Undelivered { from: peer(1), to: peer(9), id: 1, was_here: false });
    let out = gateway.moves(after(100), 2);
    assert_eq!(handed_over(&out).left, [(peer(9), LeaveReason::Lost)]);
    let mut room = Owner::new(2);
    room.hears(after(100), G1, attach(Some(handed_over(&out).clone())));
    room.hears(after(100), G2, attach(None));
    let out = room.hears(after(200), G2, announce(admitted(member(9, 2), 1, 1), 1, 5000, 0));
    assert!(matches!(out[..], [room::Output::To(G2, ProxyInput::Gone { reason: GoneReason::Expired, .. })]));
}

#[test]
fn a_session_that_was_lost_without_a_word_is_remembered_until_it_is_elsewhere_or_gone() {
    let mut gateway = Follower::of_two();
    gateway.0.handle_session_lost(START, peer(1), &mut Vec::new());
    let away = RoomChange::Away { peer: peer(1), attach: Attach(1), gateway: G1 };
    gateway.hears(START, 1, ProxyInput::Changed { n: Change(3), broadcasts: 0, change: away });
    assert!(!gateway.0.is_idle(), "no other node may know of it");
    let mut next = Follower::of_two();
    next.0.handle_session_lost(START, peer(1), &mut Vec::new());
    let out = next.moves(START, 2); // the owner never heard of the loss
    assert_eq!(handed_over(&out).roster.len(), 2);
    let left = RoomChange::Left { peer: peer(1), reason: LeaveReason::Lost };
    gateway.hears(after(100), 1, ProxyInput::Changed { n: Change(4), broadcasts: 0, change: left });
    assert!(gateway.0.is_idle());
}

#[test]
fn what_a_gateway_hears_of_a_former_owner_after_it_came_first_counts() {
    let ada =
        Returned { member: admitted(member(1, 2), 1, 1), presented: Attach(1), age_ms: 0, attached_ms: 0 };
    let mut room = Owner::new(2);
    room.0.expect_gateways(START, [G1, G2]);
    room.hears(START, G1, attach(Some(Held { returns: vec![ada], ..Held::default() })));
    // Its proxy ended; the next one found an owner without a lease first.
    let roster = vec![entry(G2, admitted(member(2, 1), 1, 2), 0)];
    room.hears(after(500), G1, attach(Some(Held { roster, ..Held::default() })));
    assert_eq!(room.peers(), [peer(1), peer(2)], "G2 has not spoken yet, and peer 2 is not gone");
}

// ----------------------------------------------------------------------------------------- sessions

#[test]
fn a_session_is_as_old_as_it_is_though_the_wall_clock_is_set_back() {
    let room = RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("tower").unwrap() };
    let (policy, mut out) = (Policy::default(), Vec::new());
    let start = Start {
        room,
        member: admitted(member(1, 1), 1, 1),
        policy,
        region: None,
        rebuilt: None,
        seed: [1; 32],
    };
    let mut session = Session::new(START, start, &mut out);
    let now = Now { unix: Unix::from_secs(1_600_000_000), ..after(5000) };
    out.clear();
    session.handle_socket_lost(now, &mut out);
    let age = |output: &session::Output| match output {
        session::Output::Proxy(FromSession::Announce { age, .. }) => Some(*age),
        _ => None,
    };
    assert_eq!(out.iter().find_map(age), Some(Duration::from_secs(5)));
}

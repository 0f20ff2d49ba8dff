//! What an owner learns from the gateways: of a former one's room, and of who follows it.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::{Attach, Change, Epoch};
use chappe_proto::limits;
use chappe_proto::signal::code::LeaveReason;
use chappe_proto::signal::proxy::{self, Proxy};
use chappe_proto::signal::room;
use chappe_proto::signal::route::{FromSession, Held, ProxyInput, Returned, RoomChange, RoomInput, Since};
use chappe_proto::time::{Mono, Now};

use super::{
    Follower, G1, G2, Owner, SHARD, START, admitted, after, attach, entry, handed_over, member, peer,
};

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

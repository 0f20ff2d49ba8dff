//! Whose a session is where two gateways, or two joins of one identity, claim it.

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::{AppId, Attach, RoomKey, RoomName};
use chappe_proto::select::Place;
use chappe_proto::signal::code::LeaveReason;
use chappe_proto::signal::frame::GoneReason;
use chappe_proto::signal::member::{Member, Policy};
use chappe_proto::signal::room;
use chappe_proto::signal::route::{Entry, FromSession, Held, ProxyInput, RoomChange};
use chappe_proto::signal::session::{self, Session, Start};
use chappe_proto::time::{Now, Unix};

use super::{
    Follower, G1, G2, Owner, START, admitted, after, announce, attach, entry, identified, member, peer,
};

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

#[test]
fn a_session_is_as_old_as_it_is_though_the_wall_clock_is_set_back() {
    let room = RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("tower").unwrap() };
    let (policy, mut out) = (Policy::default(), Vec::new());
    let start = Start {
        room,
        member: admitted(member(1, 1), 1, 1),
        policy,
        place: Place::default(),
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

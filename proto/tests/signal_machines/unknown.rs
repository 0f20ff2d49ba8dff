//! Who is called unknown, and stays gone for the next owner too.

use chappe_proto::signal::code::LeaveReason;
use chappe_proto::signal::frame::GoneReason;
use chappe_proto::signal::member::Policy;
use chappe_proto::signal::proxy;
use chappe_proto::signal::room;
use chappe_proto::signal::route::{ProxyInput, RoomChange, RoomInput};
use chappe_proto::time::Mono;

use super::{
    Follower, G1, G2, Owner, START, admitted, after, announce, attach, handed_over, member, peer, signal,
};

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

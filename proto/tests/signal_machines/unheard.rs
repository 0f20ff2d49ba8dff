//! Kicks and broadcasts that no owner hears are answered.

use chappe_proto::id::PeerId;
use chappe_proto::signal::code::ErrorCode;
use chappe_proto::signal::json::Json;
use chappe_proto::signal::proxy;
use chappe_proto::signal::room;
use chappe_proto::signal::route::{FromSession, ProxyInput, RoomInput, ToSession};

use super::{Follower, G1, Owner, START, peer};

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

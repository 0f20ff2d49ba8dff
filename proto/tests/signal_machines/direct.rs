//! Signals around an owner that does not take them.

use std::time::Duration;

use chappe_proto::id::{Attach, Change, Generation};
use chappe_proto::limits;
use chappe_proto::signal::member::Gateway;
use chappe_proto::signal::proxy;
use chappe_proto::signal::route::{
    Ack, DirectBody, FromSession, ProxyInput, RoomChange, RoomInput, ToSession,
};

use super::{Follower, G2, START, after, peer, signal};

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

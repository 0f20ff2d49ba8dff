//! Waiting to be let in: what the transcript `lobby` does not show.

use chappe_proto::limits;
use chappe_proto::signal::code::{ErrorCode, LeaveReason};
use chappe_proto::signal::lobby::{Knock, Verdict};
use chappe_proto::signal::member::Rules;
use chappe_proto::signal::room::Output;
use chappe_proto::signal::route::ToSession;

use super::*;

fn with_lobby() -> Owner {
    let mut owner = Owner::new(1);
    owner.0.set_rules(Rules { lobby: true, ..Rules::default() });
    owner.hears(START, G1, attach(None));
    owner.hears(START, G2, attach(None));
    owner
}

/// One who may let others in.
fn host(n: u8) -> Member {
    let mut host = member(n, 1);
    host.seat.grants.admin = true;
    host
}

/// One of many, with an id of its own.
fn guest(n: usize) -> Member {
    let mut guest = member(0, 1);
    let mut bytes = [7; 15];
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    guest.seat.peer = PeerId::from_random(bytes);
    guest
}

fn refused(out: &[Output]) -> Vec<ErrorCode> {
    let code = |output: &Output| match output {
        Output::To(_, ProxyInput::NotAdmitted { refusal, .. }) => Some(refusal.code),
        _ => None,
    };
    out.iter().filter_map(code).collect()
}

/// Whom gateways are told of, and which.
fn told(out: &[Output]) -> Vec<(Gateway, usize)> {
    let list = |output: &Output| match output {
        Output::To(to, ProxyInput::Lobby { waiting }) => Some((*to, waiting.len())),
        _ => None,
    };
    out.iter().filter_map(list).collect()
}

#[test]
fn a_lobby_holds_so_many_and_says_so_and_who_is_in_it_already_stays() {
    let mut owner = with_lobby();
    for n in 0..limits::LOBBY_MAX {
        assert_eq!(refused(&owner.hears(START, G1, announce(guest(n), 0, 0, 0))), []);
    }
    let one_more = || announce(guest(limits::LOBBY_MAX), 0, 0, 0);
    assert_eq!(refused(&owner.hears(START, G1, one_more())), [ErrorCode::LobbyFull]);
    let again = owner.hears(START, G1, announce(guest(0), 0, 0, 0));
    assert!(matches!(again[..], [Output::To(G1, ProxyInput::Waits { position: 1, .. })]), "{again:?}");
    let gone = RoomInput::Leave { peer: guest(5).seat.peer, reason: LeaveReason::Left };
    owner.hears(START, G1, gone);
    assert_eq!(refused(&owner.hears(START, G1, one_more())), []);
    assert_eq!((owner.0.knocks().len(), owner.peers().len()), (limits::LOBBY_MAX, 0), "none takes a place");
}

#[test]
fn only_gateways_of_those_who_may_answer_are_told_and_again_where_it_may_have_been_lost() {
    let mut owner = with_lobby();
    owner.hears(START, G1, announce(host(1), 0, 0, 0));
    assert_eq!(told(&owner.hears(START, G2, announce(member(2, 1), 0, 0, 0))), [(G1, 1)]);
    let check = || RoomInput::Check { n: Change(0), digest: 0 };
    assert_eq!(told(&owner.hears(START, G1, check())).last(), Some(&(G1, 1)));
    assert_eq!(told(&owner.hears(START, G2, check())), []);
    // With all of the room, which it asked for since something was lost.
    assert_eq!(told(&owner.hears(START, G1, attach(None))), [(G1, 1)]);
    let mut out = Vec::new();
    owner.0.handle_gateway_lost(START, G2, &mut out);
    assert_eq!(told(&out), [(G1, 0)], "who waited there is gone");
}

#[test]
fn who_is_banned_while_waiting_waits_no_more() {
    let mut owner = with_lobby();
    owner.hears(START, G1, announce(host(1), 0, 0, 0));
    owner.hears(START, G2, announce(identified(2, "ben"), 0, 0, 0));
    let mut out = Vec::new();
    let barred = |_: SessionId, identity: Option<&Identity>| identity.is_some();
    owner.0.handle(START, G2, announce(identified(2, "ben"), 0, 0, 0), &barred, &mut out);
    assert_eq!((refused(&out), told(&out)), (vec![ErrorCode::Banned], vec![(G1, 0)]));
}

#[test]
fn of_two_that_wait_by_one_identity_the_later_join_does_however_often_the_former_is_announced() {
    let mut owner = with_lobby();
    owner.hears(START, G1, announce(identified(1, "ben"), 0, 5_000, 0));
    let replaced = |out: &[Output], of: PeerId| {
        let is_so =
            |output: &Output| matches!(output, Output::To(_, ProxyInput::Gone { peer, .. }) if *peer == of);
        out.iter().any(is_so)
    };
    assert!(replaced(&owner.hears(START, G2, announce(identified(2, "ben"), 0, 0, 0)), peer(1)));
    // It was not heard of that.
    let late = owner.hears(after(500), G1, announce(identified(1, "ben"), 0, 5_500, 0));
    assert!(replaced(&late, peer(1)) && !replaced(&late, peer(2)));
    assert_eq!(owner.0.knocks().iter().map(|knock| knock.peer).collect::<Vec<_>>(), [peer(2)]);
}

#[test]
fn an_empty_room_with_people_waiting_is_kept_and_asks_nobody_for_it() {
    let mut owner = with_lobby();
    owner.hears(START, G1, announce(member(1, 1), 0, 0, 0));
    assert!(!owner.0.is_idle());
    let first = owner.0.poll_timeout();
    assert_eq!(first, START.mono + limits::LOBBY_UNHEARD);
    // It waited elsewhere before: not anew from here on.
    let old = u64::try_from(limits::LOBBY_WAIT_MAX.as_millis()).unwrap() - 1_000;
    owner.hears(START, G1, announce(member(2, 1), 0, old, 0));
    assert_eq!(owner.0.poll_timeout(), after(1_000).mono);
    let mut out = Vec::new();
    owner.0.handle_timeout(after(1_000), &mut out);
    assert_eq!(refused(&out), [ErrorCode::Unanswered]);
    assert_eq!(owner.0.knocks().iter().map(|knock| knock.peer).collect::<Vec<_>>(), [peer(1)]);
}

#[test]
fn of_one_who_waits_its_age_is_that_of_its_join_when_it_comes_in() {
    let mut owner = with_lobby();
    owner.hears(START, G1, announce(host(1), 0, 0, 0));
    owner.hears(START, G2, announce(identified(2, "ben"), 0, 500, 0));
    let mut out = Vec::new();
    owner.0.judge(after(2_000), peer(2), &Verdict::Admit, &mut out).unwrap();
    let age = owner.0.entries().find(|entry| entry.member.seat.peer == peer(2)).map(|entry| entry.age_ms);
    assert_eq!(age, Some(2_500));
    assert!(!out.iter().any(|output| matches!(output, Output::Revoke(_))));
}

#[test]
fn a_proxy_hands_the_list_on_to_those_who_may_answer_once() {
    let mut gateway = Follower::new(G1);
    let session = |member| FromSession::Announce {
        member,
        marks: BTreeMap::new(),
        presented: Attach(0),
        age: Duration::ZERO,
    };
    gateway.says(START, session(host(1)));
    gateway.says(START, session(member(2, 1)));
    let entries = [host(1), member(2, 1)].map(|who| entry(G1, admitted(who, 1, 1), 0));
    let here = ProxyInput::Here { n: Change(2), roster: entries.to_vec(), left: Vec::new(), broadcasts: 0 };
    gateway.hears(START, 1, here);
    let knock = Knock { peer: peer(3), profile: member(3, 1).profile, since: START.unix };
    let lobby = || ProxyInput::Lobby { waiting: vec![knock.clone()] };
    let out = gateway.hears(START, 1, lobby());
    let [proxy::Output::Session(to, ToSession::Lobby(list))] = &out[..] else { panic!("{out:?}") };
    assert_eq!((*to, list.len()), (peer(1), 1));
    assert!(gateway.hears(START, 1, lobby()).is_empty(), "said again, it is nothing new");
}

//! Waiting to be let in: what the transcript `lobby` does not show.

use chappe_proto::limits;
use chappe_proto::signal::code::{ErrorCode, LeaveReason};
use chappe_proto::signal::follow::digest;
use chappe_proto::signal::lobby::{self, Knock, Verdict};
use chappe_proto::signal::member::Rules;
use chappe_proto::signal::room::Output;
use chappe_proto::signal::route::{RoomChange, ToSession};

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

/// What a gateway is told of those who wait.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    All(usize),
    Knock(PeerId),
    Gone(PeerId),
}

/// The gateways that are told, and what.
fn told(out: &[Output]) -> Vec<(Gateway, Told)> {
    let told = |output: &Output| match output {
        Output::To(to, ProxyInput::Lobby { waiting }) => Some((*to, Told::All(waiting.len()))),
        Output::To(to, ProxyInput::Knock(knock)) => Some((*to, Told::Knock(knock.peer))),
        Output::To(to, ProxyInput::KnockGone { peer }) => Some((*to, Told::Gone(*peer))),
        _ => None,
    };
    out.iter().filter_map(told).collect()
}

fn check(owner: &Owner, lobby: Option<u64>) -> RoomInput {
    RoomInput::Check { n: owner.0.last_change(), digest: digest(owner.0.entries()), lobby }
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
    let knocks = owner.hears(START, G2, announce(member(2, 1), 0, 0, 0));
    assert_eq!(told(&knocks), [(G1, Told::Knock(peer(2)))], "of one more, not of all");
    let (nobody, it) = (check(&owner, Some(0)), lobby::digest([peer(2)].iter()));
    assert_eq!(told(&owner.hears(START, G1, nobody)), [(G1, Told::All(1))], "it has missed something");
    let same = check(&owner, Some(it));
    assert_eq!(told(&owner.hears(START, G1, same)), []);
    let none = check(&owner, None);
    assert_eq!(told(&owner.hears(START, G2, none)), [], "nobody there may answer");
    // With all of the room, which it asked for since something was lost.
    assert_eq!(told(&owner.hears(START, G1, attach(None))), [(G1, Told::All(1))]);
    let mut out = Vec::new();
    owner.0.handle_gateway_lost(START, G2, &mut out);
    assert_eq!(told(&out), [(G1, Told::Gone(peer(2)))], "who waited there is gone");
}

#[test]
fn who_waits_comes_in_when_the_lobby_ends_and_a_gateway_that_missed_it_is_told_that_nobody_does() {
    let mut owner = with_lobby();
    owner.hears(START, G1, announce(host(1), 0, 0, 0));
    for n in [2, 3] {
        owner.hears(START, G2, announce(member(n, 1), 0, 0, 0));
    }
    let mut out = Vec::new();
    owner.0.set_rules(Rules::default());
    owner.0.obey(START, &mut out);
    assert_eq!((owner.peers().len(), owner.0.has_knocks()), (3, false));
    assert_eq!(told(&out), [(G1, Told::Gone(peer(2))), (G1, Told::Gone(peer(3)))]);
    let stale = check(&owner, Some(lobby::digest([peer(3), peer(2)].iter())));
    assert_eq!(told(&owner.hears(START, G1, stale)), [(G1, Told::All(0))]);
    let nobody = check(&owner, Some(0));
    assert_eq!(told(&owner.hears(START, G1, nobody)), []);
}

#[test]
fn an_identity_that_was_denied_may_knock_again_after_a_while_and_others_at_once() {
    let mut owner = with_lobby();
    let retries = |out: &[Output]| match out {
        [.., Output::To(_, ProxyInput::NotAdmitted { refusal, .. })] => {
            Some((refusal.code, refusal.retry_after_ms))
        }
        _ => None,
    };
    let deny = |owner: &mut Owner, n: u8| {
        let mut out = Vec::new();
        owner.0.judge(START, peer(n), &Verdict::Deny { reason: None }, &mut out).unwrap();
        retries(&out)
    };
    owner.hears(START, G1, announce(identified(1, "ben"), 0, 0, 0));
    owner.hears(START, G1, announce(member(2, 1), 0, 0, 0));
    assert_eq!(deny(&mut owner, 1), Some((ErrorCode::Denied, Some(30_000))));
    assert_eq!(
        deny(&mut owner, 2),
        Some((ErrorCode::Denied, None)),
        "without an identity it is nobody again"
    );
    let knocks = |owner: &mut Owner, now, member| retries(&owner.hears(now, G2, announce(member, 0, 0, 0)));
    assert_eq!(
        knocks(&mut owner, after(10_000), identified(3, "ben")),
        Some((ErrorCode::Denied, Some(20_000)))
    );
    assert_eq!(knocks(&mut owner, after(10_000), member(2, 1)), None);
    assert_eq!(knocks(&mut owner, after(10_000), identified(4, "cat")), None);
    // It is remembered though nobody follows the room meanwhile, and no longer than it counts.
    for gateway in [G1, G2] {
        owner.hears(after(11_000), gateway, RoomInput::Detach);
    }
    assert!(!owner.0.is_idle());
    assert_eq!(owner.0.poll_timeout(), after(30_000).mono);
    owner.0.handle_timeout(after(30_000), &mut Vec::new());
    assert!(owner.0.is_idle());
    owner.hears(after(30_000), G2, attach(None));
    assert_eq!(knocks(&mut owner, after(30_000), identified(3, "ben")), None);
    assert_eq!(owner.0.knocks().len(), 1);
}

#[test]
fn who_is_banned_while_waiting_waits_no_more() {
    let mut owner = with_lobby();
    owner.hears(START, G1, announce(host(1), 0, 0, 0));
    owner.hears(START, G2, announce(identified(2, "ben"), 0, 0, 0));
    let mut out = Vec::new();
    let barred = |_: SessionId, identity: Option<&Identity>| identity.is_some();
    owner.0.handle(START, G2, announce(identified(2, "ben"), 0, 0, 0), &barred, &mut out);
    assert_eq!((refused(&out), told(&out)), (vec![ErrorCode::Banned], vec![(G1, Told::Gone(peer(2)))]));
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

/// A gateway with one who may answer and one who may not, both in the room.
fn with_host() -> Follower {
    let mut gateway = Follower::new(G1);
    for who in [host(1), member(2, 1)] {
        gateway.says(START, joins(who));
    }
    let entries = [host(1), member(2, 1)].map(|who| entry(G1, admitted(who, 1, 1), 0));
    let here = ProxyInput::Here { n: Change(2), roster: entries.to_vec(), left: Vec::new(), broadcasts: 0 };
    gateway.hears(START, 1, here);
    gateway
}

fn joins(member: Member) -> FromSession {
    FromSession::Announce { member, marks: BTreeMap::new(), presented: Attach(0), age: Duration::ZERO }
}

/// The `n`th who knocks.
fn knock(n: u8) -> Knock {
    Knock { peer: peer(n), profile: member(n, 1).profile, since: after(u64::from(n)).unix }
}

/// The sessions that are handed a list, and who is on it.
fn handed(out: &[proxy::Output]) -> Vec<(PeerId, Vec<PeerId>)> {
    let list = |output: &proxy::Output| match output {
        proxy::Output::Session(to, ToSession::Lobby(list)) => {
            Some((*to, list.iter().map(|knock| knock.peer).collect()))
        }
        _ => None,
    };
    out.iter().filter_map(list).collect()
}

#[test]
fn a_proxy_hands_the_list_on_to_those_who_may_answer_once() {
    let mut gateway = with_host();
    let lobby = || ProxyInput::Lobby { waiting: vec![knock(4)] };
    assert_eq!(handed(&gateway.hears(START, 1, lobby())), [(peer(1), vec![peer(4)])]);
    assert_eq!(handed(&gateway.hears(START, 1, lobby())), [], "said again, it is nothing new");
    let earlier = gateway.hears(START, 1, ProxyInput::Knock(knock(3)));
    assert_eq!(handed(&earlier), [(peer(1), vec![peer(3), peer(4)])], "who has waited longest first");
    assert_eq!(handed(&gateway.hears(START, 1, ProxyInput::Knock(knock(3)))), []);
    let gone = || ProxyInput::KnockGone { peer: peer(4) };
    assert_eq!(handed(&gateway.hears(START, 1, gone())), [(peer(1), vec![peer(3)])]);
    assert_eq!(handed(&gateway.hears(START, 1, gone())), []);
}

#[test]
fn a_proxy_says_whom_it_has_waiting_and_has_nobody_once_none_of_its_sessions_may_answer() {
    let mut gateway = with_host();
    let mut at = START;
    let mut said = |gateway: &mut Follower| {
        at = at.after(limits::ROSTER_CHECK_EVERY);
        let check = |output: proxy::Output| match output {
            proxy::Output::Room(RoomInput::Check { lobby, .. }) => Some(lobby),
            _ => None,
        };
        gateway.fires(at).into_iter().find_map(check).unwrap()
    };
    assert_eq!(said(&mut gateway), Some(0));
    gateway.hears(START, 1, ProxyInput::Knock(knock(3)));
    assert_eq!(said(&mut gateway), Some(lobby::digest([peer(3)].iter())));
    gateway.says(START, FromSession::Leave { peer: peer(1), reason: LeaveReason::Left });
    assert_eq!(said(&mut gateway), None);
    gateway.hears(START, 1, ProxyInput::Knock(knock(4)));
    // The next who may answer is welcomed with nobody of then, as the owner says nothing of a lobby that has ended.
    gateway.says(START, joins(host(5)));
    let joined = RoomChange::Joined(entry(G1, admitted(host(5), 1, 3), 0));
    let welcomed =
        gateway.hears(START, 1, ProxyInput::Changed { n: Change(3), broadcasts: 0, change: joined });
    assert_eq!(handed(&welcomed), [(peer(5), vec![])]);
}

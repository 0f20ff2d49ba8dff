//! Schedules of rooms that move that once let two shards admit, called live peers gone, or hung: the fewest frames
//! that show each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::{
    AppId, Attach, Change, Epoch, Generation, Identity, NodeId, PeerId, RoomKey, RoomName, SessionId, Shard,
};
use chappe_proto::signal::code::ErrorCode;
use chappe_proto::signal::member::{Gateway, Grants, Member, Policy, Profile, Rules, Seat, Withheld};
use chappe_proto::signal::proxy::{self, Proxy};
use chappe_proto::signal::room::Output;
use chappe_proto::signal::route::{
    Entry, FromRoom, FromSession, Held, Home, ProxyInput, RoomInput, Since, ToSession,
};
use chappe_proto::signal::site::{Plan, Site, View};
use chappe_proto::time::{Mono, Now, Unix};

const START: Now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::from_secs(1_700_000_000) };
/// The anchor, and three shards away from it.
const A: Shard = Shard(7);
const T: Shard = Shard(8);
const U: Shard = Shard(9);
const V: Shard = Shard(10);

fn gateway(n: u64) -> Gateway {
    Gateway { node: NodeId(n), generation: Generation(1) }
}

fn at(ms: u64) -> Now {
    START.after(Duration::from_millis(ms))
}

/// Both gateways live, and no life has ended.
fn view<R>(now: Now, epoch: u64, step: impl FnOnce(View<'_>) -> R) -> R {
    let live = || vec![gateway(1), gateway(2)];
    let epoch = |_| Epoch(epoch);
    step(View {
        now,
        full: true,
        epoch: &epoch,
        live: &live,
        lost: &|_| false,
        revoked: &|_, _| false,
        rules: Rules::default(),
    })
}

fn site(now: Now, shard: Shard, epoch: u64, settled: bool) -> Site {
    let (place, node, policy) = ((shard, Epoch(epoch)), NodeId(9), Policy::default());
    view(now, epoch, |view| Site::new(view, Plan { place, anchor: A, node, policy, settled }))
}

/// One step of a site, and what it says, to each gateway by itself.
fn step(site: &mut Site, now: Now, act: impl FnOnce(&mut Site, View<'_>, &mut Vec<Output>)) -> Vec<Output> {
    let mut out = Vec::new();
    view(now, site.place().1.0, |view| act(site, view, &mut out));
    let each = |output| match output {
        Output::All(body) => site.gateways().map(|to| Output::To(to, body.clone())).collect(),
        output => vec![output],
    };
    out.into_iter().flat_map(each).collect()
}

fn hears(site: &mut Site, now: Now, from: u64, input: RoomInput) -> Vec<Output> {
    step(site, now, |site, view, out| site.handle(view, gateway(from), input, out))
}

fn detach_both(site: &mut Site, now: Now) {
    for from in [1, 2] {
        hears(site, now, from, RoomInput::Detach);
    }
}

fn wakes(site: &mut Site, now: Now) -> Vec<Output> {
    step(site, now, Site::handle_timeout)
}

fn told(site: &mut Site, now: Now, answer: (u64, Home)) -> Vec<Output> {
    let epoch = site.place().1;
    step(site, now, |site, view, out| site.handle_home(view, epoch, answer, out))
}

fn moves(site: &mut Site, now: Now, to: Shard) -> Vec<Output> {
    step(site, now, |site, view, out| assert!(site.move_to(view, to, out)))
}

fn question(out: &[Output]) -> RoomInput {
    let questions = out.iter().filter_map(|output| match output {
        Output::Anchor(input @ RoomInput::AtHome { .. }) => Some(input.clone()),
        _ => None,
    });
    questions.last().expect("a question for the anchor")
}

fn answer(out: &[Output]) -> Option<(u64, Home)> {
    out.iter().find_map(|output| match output {
        Output::To(_, ProxyInput::Home { asked, home, .. }) => Some((*asked, *home)),
        _ => None,
    })
}

/// The anchor answers a site's question.
fn asks(anchor: &mut Site, site: &mut Site, now: Now, question: RoomInput) -> Vec<Output> {
    let answer = answer(&hears(anchor, now, 9, question)).expect("an answer");
    told(site, now, answer)
}

/// A site away from the anchor that has its leave.
fn home(anchor: &mut Site, shard: Shard, now: Now) -> Site {
    let mut site = site(now, shard, 3, false);
    let first = question(&wakes(&mut site, now));
    asks(anchor, &mut site, now, first);
    site
}

/// The room, moved to T, with its site there; nobody is in it.
fn moved() -> (Site, Site) {
    let mut anchor = site(at(0), A, 3, true);
    hears(&mut anchor, at(0), 1, RoomInput::attach());
    moves(&mut anchor, at(10), T);
    let t = home(&mut anchor, T, at(11));
    (anchor, t)
}

fn for_proxy(out: &[Output], of: u64) -> Vec<ProxyInput> {
    let to = out.iter().filter_map(|output| match output {
        Output::To(to, body) if to.node.0 == of => Some(body.clone()),
        _ => None,
    });
    to.collect()
}

fn proxy_hears(proxy: &mut Proxy, now: Now, from: &Site, bodies: Vec<ProxyInput>) -> Vec<proxy::Output> {
    let (shard, epoch) = from.place();
    let mut out = Vec::new();
    for body in bodies {
        let room = RoomKey { app: AppId::new("dev").unwrap(), room: RoomName::new("r").unwrap() };
        proxy.handle_room(now, FromRoom { room, shard, epoch, body }, &mut out);
    }
    out
}

fn for_rooms(out: &[proxy::Output]) -> Vec<RoomInput> {
    let inputs = out.iter().filter_map(|output| match output {
        proxy::Output::Room(input) | proxy::Output::Asker(_, input) => Some(input.clone()),
        _ => None,
    });
    inputs.collect()
}

/// A site and a proxy speak until they have nothing more to say.
fn talk(
    site: &mut Site,
    proxy: &mut Proxy,
    of: u64,
    now: Now,
    first: Vec<proxy::Output>,
) -> Vec<proxy::Output> {
    let (mut all, mut said) = (Vec::new(), first);
    for _ in 0..20 {
        let inputs = for_rooms(&said);
        all.append(&mut said);
        for input in inputs {
            let heard = hears(site, now, of, input);
            said.extend(proxy_hears(proxy, now, site, for_proxy(&heard, of)));
        }
        if said.is_empty() {
            return all;
        }
    }
    panic!("they never stop");
}

fn joins(n: u8) -> FromSession {
    let (peer, session) = (PeerId::from_random([n; 15]), SessionId::from_random([n; 15]));
    let seat = Seat {
        peer,
        session,
        grants: Grants::ANONYMOUS,
        capacity: None,
        token_until: START.unix,
        place: None,
    };
    let profile = Profile { identity: None, name: None, metadata: None };
    let member = Member {
        seat,
        profile,
        version: 0,
        attach: Attach(1),
        away: false,
        admitted: None,
        withheld: Withheld::NONE,
    };
    FromSession::Announce { member, marks: BTreeMap::new(), presented: Attach(0), age: Duration::ZERO }
}

/// A gateway whose session asks to be let in.
fn joined(site: &mut Site, of: u64, n: u8, now: Now) -> Proxy {
    let (shard, epoch) = site.place();
    let mut out = Vec::new();
    let mut proxy = Proxy::new(now, gateway(of), shard, epoch, &mut out);
    talk(site, &mut proxy, of, now, out);
    let mut out = Vec::new();
    proxy.handle_session(now, joins(n), &mut out);
    talk(site, &mut proxy, of, now, out);
    proxy
}

fn is_let_in(out: &[proxy::Output], n: u8) -> bool {
    let peer = PeerId::from_random([n; 15]);
    let admitted = |output: &proxy::Output| matches!(output, proxy::Output::Session(to, ToSession::Admitted { .. }) if *to == peer);
    out.iter().any(admitted)
}

#[test]
fn who_follows_it_elsewhere_has_not_said_what_it_holds() {
    let mut a = site(at(0), A, 3, true);
    let mut proxy = joined(&mut a, 1, 1, at(0));
    let away = moves(&mut a, at(10), T);
    let mut t = site(at(11), T, 3, false);
    let first = question(&wakes(&mut t, at(11)));
    let attach = proxy_hears(&mut proxy, at(11), &a, for_proxy(&away, 1));
    talk(&mut t, &mut proxy, 1, at(11), attach);
    let here = asks(&mut a, &mut t, at(12), first);
    let heard = proxy_hears(&mut proxy, at(12), &t, for_proxy(&here, 1));
    talk(&mut t, &mut proxy, 1, at(12), heard);
    hears(&mut t, at(13), 2, RoomInput::Detach);
    assert_eq!(t.entries().count(), 1, "as soon as T has its leave");

    // And back: the anchor's question is with the gateway before T's word is.
    let wish = question(&moves(&mut t, at(5000), A));
    let word = answer(&hears(&mut a, at(5000), 9, wish)).unwrap();
    let asked = wakes(&mut a, at(5000));
    let follows = proxy_hears(&mut proxy, at(5001), &a, for_proxy(&asked, 1));
    talk(&mut a, &mut proxy, 1, at(5001), follows);
    hears(&mut a, at(5001), 2, RoomInput::Detach);
    let away = told(&mut t, at(5002), word);
    let attach = proxy_hears(&mut proxy, at(5003), &t, for_proxy(&away, 1));
    talk(&mut a, &mut proxy, 1, at(5003), attach);
    assert_eq!((a.entries().count(), proxy.sessions()), (1, 1));
}

#[test]
fn a_room_that_comes_back_to_a_place_is_another_than_the_one_that_was_there() {
    let mut a = site(at(0), A, 3, true);
    let mut proxy = joined(&mut a, 1, 1, at(0));
    let away = moves(&mut a, at(10), T);
    let mut t = home(&mut a, T, at(11));
    // The gateway hears of T when the room is on its way back already, and of that when it is there.
    let wish = question(&moves(&mut t, at(300), A));
    let word = answer(&hears(&mut a, at(300), 9, wish)).unwrap();
    let attach = proxy_hears(&mut proxy, at(301), &a, for_proxy(&away, 1));
    for input in for_rooms(&attach) {
        hears(&mut t, at(301), 1, input);
    }
    let back = told(&mut t, at(302), word);
    hears(&mut a, at(302), 2, RoomInput::Detach);
    let attach = proxy_hears(&mut proxy, at(303), &t, for_proxy(&back, 1));
    let mut all = talk(&mut a, &mut proxy, 1, at(303), attach);
    for turn in 1..100 {
        let now = at(303 + turn * 100);
        let mut due = Vec::new();
        proxy.handle_timeout(now, &mut due);
        all.extend(talk(&mut a, &mut proxy, 1, now, due));
        let asked = wakes(&mut a, now);
        let heard = proxy_hears(&mut proxy, now, &a, for_proxy(&asked, 1));
        all.extend(talk(&mut a, &mut proxy, 1, now, heard));
        if turn == 50 {
            let mut out = Vec::new();
            proxy.handle_session(now, joins(3), &mut out);
            all.extend(talk(&mut a, &mut proxy, 1, now, out));
        }
    }
    assert!(is_let_in(&all, 3));
    assert_eq!((a.entries().count(), proxy.sessions()), (2, 2));
}

#[test]
fn what_a_former_site_of_the_place_has_asked_gives_this_one_no_leave() {
    let (mut a, mut t) = moved();
    detach_both(&mut t, at(13));
    let renewal = question(&wakes(&mut t, at(20_100)));
    let late = answer(&hears(&mut a, at(20_100), 9, renewal)).unwrap(); // on its way for long
    let wish = question(&moves(&mut t, at(20_200), U));
    asks(&mut a, &mut t, at(20_200), wish);
    assert!(t.is_over());
    let mut u = home(&mut a, U, at(20_201));
    detach_both(&mut u, at(20_203));
    joined(&mut u, 1, 1, at(20_300));
    assert_eq!(u.entries().count(), 1);

    // A late frame begins T anew, which asks; and the late answer comes.
    let mut t = site(at(20_400), T, 3, false);
    wakes(&mut t, at(20_400));
    told(&mut t, at(20_401), late);
    detach_both(&mut t, at(20_402));
    joined(&mut t, 2, 2, at(20_403));
    assert_eq!(t.entries().count(), 0, "both let people in");
}

#[test]
fn a_wish_to_move_proves_nothing_to_a_new_owner() {
    let (mut a, mut t) = moved();
    // T wishes to move to U, and its process stands still; the room goes on to U, and to V.
    let wish = question(&moves(&mut t, at(100), U));
    hears(&mut a, at(100), 9, wish);
    let mut u = home(&mut a, U, at(101));
    let wish = question(&moves(&mut u, at(110), V));
    asks(&mut a, &mut u, at(110), wish);
    let mut v = home(&mut a, V, at(111));
    detach_both(&mut v, at(112));

    // The anchor has another owner. T's process goes on, and is the first to speak.
    let mut b = site(at(500), A, 4, false);
    let mut out = Vec::new();
    view(at(501), 4, |view| t.handle_anchor_moved(view, &mut out));
    hears(&mut b, at(502), 9, question(&out));
    let mut u = site(at(503), U, 3, false);
    let first = question(&wakes(&mut u, at(503)));
    if let Some(answer) = answer(&hears(&mut b, at(503), 9, first)) {
        step(&mut u, at(503), |site, view, out| site.handle_home(view, Epoch(4), answer, out));
    }
    detach_both(&mut u, at(504));
    joined(&mut v, 1, 1, at(505));
    joined(&mut u, 2, 2, at(505));
    assert_eq!((v.entries().count(), u.entries().count()), (1, 0), "both let people in");
}

#[test]
fn a_late_wish_of_the_homes_former_owner_moves_nothing() {
    let (mut a, mut t) = moved();
    detach_both(&mut t, at(13));
    let late = question(&moves(&mut t, at(1000), U)); // on its way for long
    drop(t); // its shard moves, as planned
    let mut t = site(at(1200), T, 4, false);
    let first = question(&wakes(&mut t, at(1200)));
    asks(&mut a, &mut t, at(1201), first);
    detach_both(&mut t, at(1203));
    joined(&mut t, 1, 1, at(1204));
    hears(&mut a, at(1210), 8, late);
    let mut u = home(&mut a, U, at(1211));
    detach_both(&mut u, at(1213));
    joined(&mut u, 2, 2, at(1214));
    joined(&mut t, 2, 3, at(1215));
    assert_eq!((t.entries().count(), u.entries().count()), (2, 0), "both let people in");
}

#[test]
fn who_detached_before_there_was_a_leave_is_asked_again() {
    let mut a = site(at(0), A, 3, true);
    let mut t = site(at(5), T, 3, false);
    hears(&mut t, at(5), 2, RoomInput::Detach);
    // Somebody joins at the anchor by that gateway, before the room moves.
    let mut proxy = joined(&mut a, 2, 2, at(6));
    let away = moves(&mut a, at(10), T);
    let first = question(&wakes(&mut t, at(300)));
    asks(&mut a, &mut t, at(300), first);
    hears(&mut t, at(300), 1, RoomInput::Detach);
    wakes(&mut t, at(301));
    let attach = proxy_hears(&mut proxy, at(302), &a, for_proxy(&away, 2));
    talk(&mut t, &mut proxy, 2, at(302), attach);
    assert_eq!((t.entries().count(), proxy.sessions()), (1, 1));
}

#[test]
fn what_waits_for_a_leave_grows_old_meanwhile() {
    let mut a = site(at(0), A, 3, true);
    hears(&mut a, at(0), 1, RoomInput::attach());
    moves(&mut a, at(10), T);
    let mut t = site(at(11), T, 3, false);
    // A gateway comes with Ada, who joined a second ago; there is no leave for two seconds.
    let FromSession::Announce { mut member, .. } = joins(1) else { panic!() };
    member.profile.identity = Some(Identity::new("ada").unwrap());
    let mut entry = Entry { gateway: gateway(1), member, presented: Attach(0), age_ms: 1000 };
    entry.member.admitted = Some((Epoch(3), Change(1)));
    let held = Held { roster: vec![entry], ..Held::default() };
    hears(&mut t, at(1000), 1, RoomInput::Attach { held: Some(Box::new(held)), since: Since::default() });
    let first = question(&wakes(&mut t, at(3000)));
    asks(&mut a, &mut t, at(3000), first);
    hears(&mut t, at(3000), 2, RoomInput::attach());
    // She joined anew a second and a half ago, elsewhere.
    let FromSession::Announce { mut member, marks, presented, .. } = joins(2) else { panic!() };
    member.profile.identity = Some(Identity::new("ada").unwrap());
    let (peer, age_ms, attached_ms) = (member.seat.peer, 1500, 1500);
    let again = RoomInput::Announce { member, marks, presented, age_ms, attached_ms };
    hears(&mut t, at(3000), 2, again);
    assert!(t.entries().any(|entry| entry.member.seat.peer == peer));
}

#[test]
fn a_home_that_was_cut_off_and_is_the_home_again_asks_who_is_there() {
    let (mut a, mut t) = moved();
    detach_both(&mut t, at(13));
    joined(&mut t, 1, 1, at(14));
    // Two minutes and more without the anchor, which takes the room back, lets somebody in, and moves it again.
    let later = 130_000;
    wakes(&mut t, at(later));
    wakes(&mut a, at(later));
    detach_both(&mut a, at(later));
    let mut proxy = joined(&mut a, 2, 2, at(later + 1));
    assert_eq!(a.entries().count(), 1);
    let away = moves(&mut a, at(later + 1000), T);
    let again = question(&wakes(&mut t, at(later + 1300)));
    asks(&mut a, &mut t, at(later + 1300), again);
    let attach = proxy_hears(&mut proxy, at(later + 1300), &a, for_proxy(&away, 2));
    talk(&mut t, &mut proxy, 2, at(later + 1301), attach);
    assert_eq!(proxy.sessions(), 1);
}

/// What the proxy's sessions are told of what failed.
fn errors(out: &[proxy::Output]) -> Vec<(PeerId, ErrorCode, bool)> {
    let error = |output: &proxy::Output| match output {
        proxy::Output::Session(peer, ToSession::Error(refusal)) => {
            Some((*peer, refusal.code, refusal.retry_after_ms.is_some()))
        }
        _ => None,
    };
    out.iter().filter_map(error).collect()
}

/// An admin and somebody else in a room at its anchor; and the admin's proxy.
fn with_admin() -> (Site, Proxy, PeerId, PeerId) {
    let mut a = site(at(0), A, 3, true);
    let mut proxy = joined(&mut a, 1, 1, at(0));
    let FromSession::Announce { mut member, marks, presented, age } = joins(2) else { panic!() };
    member.seat.grants.admin = true;
    let (admin, other) = (member.seat.peer, PeerId::from_random([1; 15]));
    let mut out = Vec::new();
    proxy.handle_session(at(1), FromSession::Announce { member, marks, presented, age }, &mut out);
    talk(&mut a, &mut proxy, 1, at(1), out);
    assert_eq!(a.entries().count(), 2);
    (a, proxy, admin, other)
}

#[test]
fn a_kick_that_fails_after_its_room_has_moved_on_is_answered() {
    let (mut a, mut proxy, admin, other) = with_admin();
    let out = hears(&mut a, at(2), 1, RoomInput::Kick { by: admin, peer: other, ban: true });
    let [Output::Revoke(revocation)] = &out[..] else { panic!("{out:?}") };
    let mut away = Vec::new();
    for (now, committed) in [(3, false), (10, false), (12, false), (14, true)] {
        if now == 10 {
            away = moves(&mut a, at(now), T);
        } else if now == 12 {
            proxy_hears(&mut proxy, at(now), &a, for_proxy(&away, 1)); // the gateway knows it by now
        }
        let said = step(&mut a, at(now), |site, view, out| {
            site.handle_revoked(view, revocation, committed, out);
        });
        let told = errors(&proxy_hears(&mut proxy, at(now), &a, for_proxy(&said, 1)));
        let expected = [(admin, ErrorCode::Unavailable, true)];
        assert_eq!(told, expected[..usize::from(!committed)], "after {now} ms");
    }
}

#[test]
fn a_kick_that_comes_after_its_room_has_moved_on_is_answered() {
    let (mut a, mut proxy, admin, other) = with_admin();
    moves(&mut a, at(10), T);
    let said = hears(&mut a, at(11), 1, RoomInput::Kick { by: admin, peer: other, ban: false });
    let told = errors(&proxy_hears(&mut proxy, at(11), &a, for_proxy(&said, 1)));
    assert_eq!(told, [(admin, ErrorCode::Unavailable, true)]);
    assert_eq!(proxy.place().0, T, "and the gateway follows the room");
}

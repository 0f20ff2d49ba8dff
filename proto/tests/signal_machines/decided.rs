//! What operators decide of a room, under a site: the registry's rules reach it, and its time ends it.

use chappe_proto::id::NodeId;
use chappe_proto::signal::code::{ErrorCode, LeaveReason};
use chappe_proto::signal::member::{Muting, Rules, Withheld};
use chappe_proto::signal::room::Output;
use chappe_proto::signal::route::RoomChange;
use chappe_proto::signal::site::{Plan, Site, View};

use super::*;

fn view<T>(now: Now, full: bool, rules: Rules, step: impl FnOnce(View<'_>) -> T) -> T {
    let live = || vec![G1];
    let epoch = |_| Epoch(1);
    step(View { now, full, epoch: &epoch, live: &live, lost: &|_| false, revoked: &|_, _| false, rules })
}

/// A site that runs its room, with one gateway attached and peers 1 and 2 in it.
fn site(rules: Rules) -> Site {
    let plan = Plan {
        place: (SHARD, Epoch(1)),
        anchor: SHARD,
        node: NodeId(1),
        policy: Policy::default(),
        settled: true,
    };
    let mut site = view(START, true, rules, |view| Site::new(view, plan));
    for input in [attach(None), announce(member(1, 1), 0, 0, 0), announce(member(2, 1), 0, 0, 0)] {
        view(START, true, rules, |view| site.handle(view, G1, input, &mut Vec::new()));
    }
    site
}

fn refused(out: &[Output]) -> Option<ErrorCode> {
    out.iter().find_map(|output| match output {
        Output::To(_, ProxyInput::NotAdmitted { refusal, .. }) => Some(refusal.code),
        _ => None,
    })
}

fn closed(out: &[Output]) -> usize {
    let is_so = |output: &&Output| {
        matches!(output, Output::All(ProxyInput::Changed { change: RoomChange::Left { reason, .. }, .. })
            if *reason == LeaveReason::Closed)
    };
    out.iter().filter(is_so).count()
}

#[test]
fn a_change_of_the_rules_reaches_a_running_room_at_its_next_step() {
    let mut site = site(Rules::default());
    let (mut out, locked) = (Vec::new(), Rules { locked: true, ..Rules::default() });
    let join = |n| announce(member(n, 1), 0, 0, 0);
    view(START, true, locked, |view| site.handle(view, G1, join(3), &mut out));
    assert_eq!(refused(&out), Some(ErrorCode::Locked));
    let small = Rules { capacity: Some(2), ..Rules::default() };
    out.clear();
    view(START, true, small, |view| site.handle(view, G1, join(3), &mut out));
    assert_eq!(refused(&out), Some(ErrorCode::RoomFull));
    out.clear();
    view(START, true, Rules::default(), |view| site.handle(view, G1, join(3), &mut out));
    assert_eq!((refused(&out), site.entries().count()), (None, 3));
}

#[test]
fn a_room_ends_with_its_time_by_its_own_timer_and_lets_nobody_in_after_it() {
    let rules = Rules { expires: Some(START.unix + Duration::from_secs(60)), ..Rules::default() };
    let mut site = site(rules);
    assert_eq!(site.poll_timeout(START), START.mono + Duration::from_secs(60));
    let mut out = Vec::new();
    view(after(59_000), true, rules, |view| site.handle_timeout(view, &mut out));
    assert_eq!(closed(&out), 0);
    // An owner without its lease waits for it.
    view(after(60_000), false, rules, |view| site.handle_timeout(view, &mut out));
    assert_eq!((closed(&out), site.poll_timeout(after(60_000))), (0, Mono::NEVER));
    view(after(60_000), true, rules, |view| site.handle_timeout(view, &mut out));
    assert_eq!((closed(&out), site.entries().count()), (2, 0));
    let ends = out.iter().filter(|output| matches!(output, Output::End(_))).count();
    assert_eq!(ends, 2, "credentials end as on leave");
    out.clear();
    let join = announce(member(3, 1), 0, 0, 0);
    view(after(60_001), true, rules, |view| site.handle(view, G1, join, &mut out));
    assert_eq!(refused(&out), Some(ErrorCode::RoomClosed));
    // One that a former owner let in is told so too.
    out.clear();
    let back = announce(admitted(member(4, 2), 1, 1), 1, 0, 0);
    view(after(60_001), true, rules, |view| site.handle(view, G1, back, &mut out));
    assert!(out.iter().any(|output| matches!(output, Output::To(_, ProxyInput::Gone { .. }))), "{out:?}");
}

#[test]
fn a_frozen_room_is_neither_closed_nor_muted_nor_told_anything() {
    let mut site = site(Rules::default());
    let muting = Muting { publish: true, broadcast: false, on: true };
    let mut out = Vec::new();
    let done = view(START, false, Rules::default(), |view| {
        site.decide_in(view, &mut out, |room, out| {
            (
                room.close(START, out),
                room.announce_to_all(Json::NULL, out),
                room.mute(peer(1), muting, out),
                room.mute(peer(9), muting, out),
            )
        })
    });
    assert_eq!(done, Some((false, false, Some(false), None)));
    assert!(out.is_empty(), "{out:?}");
}

#[test]
fn of_two_words_on_what_is_withheld_the_later_is_true() {
    let mut owner = Owner::new(2);
    owner.0.expect_gateways(START, [G1, G2]);
    let withheld = |n| Withheld { publish: n % 2 == 1, broadcast: false, n };
    let told = |n| {
        let member = Member { withheld: withheld(n), ..admitted(member(1, 1), 1, 1) };
        let held = Held { roster: vec![entry(G1, member, 0)], ..Held::default() };
        attach(Some(held))
    };
    owner.hears(START, G1, told(3));
    owner.hears(START, G2, told(2));
    let has = |owner: &Owner| owner.0.entries().next().unwrap().member.withheld;
    assert_eq!(has(&owner), withheld(3));
    let older = Member { withheld: withheld(1), ..admitted(member(1, 1), 1, 1) };
    owner.hears(START, G1, announce(older, 0, 0, 0));
    assert_eq!(has(&owner), withheld(3), "its session has not heard of it yet");
    let newer = Member { withheld: withheld(4), ..admitted(member(1, 1), 1, 1) };
    let out = owner.hears(START, G1, announce(newer, 0, 0, 0));
    assert_eq!(has(&owner), withheld(4));
    let said = |output: &Output| {
        matches!(output, Output::All(ProxyInput::Changed { change: RoomChange::Withheld { withheld, .. }, .. })
            if withheld.n == 4)
    };
    assert!(out.iter().any(said), "{out:?}");
}

#[test]
fn a_gateway_that_missed_a_mute_learns_it_with_the_whole_room() {
    let mut gateway = Follower::of_two();
    let withheld = Withheld { publish: true, broadcast: true, n: 1 };
    let (ada, ben) = (admitted(member(1, 1), 1, 1), admitted(member(2, 1), 1, 2));
    let ada = Member { withheld, ..ada };
    let roster = vec![entry(G1, ada, 0), entry(G2, ben, 0)];
    let here = ProxyInput::Here { n: Change(3), roster, left: Vec::new(), broadcasts: 0 };
    let out = gateway.hears(START, 1, here);
    let told = out.iter().any(|output| {
        let text = match output {
            proxy::Output::Sessions(chappe_proto::signal::route::ToSession::Changed(news), _) => &news.text,
            _ => return false,
        };
        text.as_ref().is_some_and(|text| text.contains(r#""withheld":["publish","broadcast"]"#))
    });
    assert!(told, "{out:?}");
}

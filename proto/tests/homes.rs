//! Rooms that are homed away from their anchor's shard, frame by frame: two shards never let
//! people into one room.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use chappe_proto::id::{Attach, Change, Epoch, Generation, NodeId, PeerId, SessionId, Shard};
use chappe_proto::signal::frame::GoneReason;
use chappe_proto::signal::member::{Gateway, Grants, Member, Policy, Profile, Rules, Seat, Withheld};
use chappe_proto::signal::proxy::{self, Proxy};
use chappe_proto::signal::room::Output;
use chappe_proto::signal::route::{FromRoom, Home, ProxyInput, RoomChange, RoomInput, Since};
use chappe_proto::signal::site::{Plan, Site, View};
use chappe_proto::time::{Mono, Now, Unix};

const START: Now = Now { mono: Mono(Duration::from_secs(1000)), unix: Unix::from_secs(1_700_000_000) };
const ANCHOR: Shard = Shard(7);
const AWAY: Shard = Shard(8);
const FURTHER: Shard = Shard(9);

const fn gateway(node: u64) -> Gateway {
    Gateway { node: NodeId(node), generation: Generation(1) }
}

fn after(seconds: u64) -> Now {
    START.after(Duration::from_secs(seconds))
}

/// A site whose node may do all that its shard allows, in a cluster of two gateways; and whether a gateway's life
/// has ended lately.
struct Here(Site, bool);

impl Here {
    fn new(now: Now, shard: Shard, epoch: u64, settled: bool) -> Self {
        Self::after_loss(now, shard, epoch, settled, false)
    }

    fn after_loss(now: Now, shard: Shard, epoch: u64, settled: bool, lost: bool) -> Self {
        let place = (shard, Epoch(epoch));
        let (anchor, node, policy) = (ANCHOR, NodeId(9), Policy::default());
        let site =
            with_lost(now, lost, |view| Site::new(view, Plan { place, anchor, node, policy, settled }));
        Self(site, lost)
    }

    fn hears(&mut self, now: Now, from: u64, input: RoomInput) -> Vec<Output> {
        let mut out = Vec::new();
        with_lost(now, self.1, |view| self.0.handle(view, gateway(from), input, &mut out));
        out
    }

    fn told(&mut self, now: Now, asked: u64, home: Home) -> Vec<Output> {
        let mut out = Vec::new();
        with_lost(now, self.1, |view| self.0.handle_home(view, Epoch(3), (asked, home), &mut out));
        out
    }

    fn wakes(&mut self, now: Now) -> Vec<Output> {
        let mut out = Vec::new();
        with_lost(now, self.1, |view| self.0.handle_timeout(view, &mut out));
        out
    }

    fn moves(&mut self, now: Now, to: Shard) -> Vec<Output> {
        let mut out = Vec::new();
        assert!(with_lost(now, self.1, |view| self.0.move_to(view, to, &mut out)));
        out
    }

    fn asked(&mut self, now: Now) -> (bool, Vec<Output>) {
        let mut out = Vec::new();
        let answered = with_lost(now, self.1, |view| self.0.handle_asked(view, &mut out));
        (answered, out)
    }

    /// Whether one that a former owner let in, and that no gateway holds, may come back on the first gateway.
    fn takes_back(&mut self, now: Now, peer: u8) -> bool {
        let mut back = announce(peer);
        if let RoomInput::Announce { member, .. } = &mut back {
            member.admitted = Some((Epoch(1), Change(1)));
        }
        let out = self.hears(now, 1, back);
        let expired = out.iter().any(|output| {
            matches!(output, Output::To(_, ProxyInput::Gone { reason: GoneReason::Expired, .. }))
        });
        let joined = out.iter().any(|output| {
            matches!(output, Output::All(ProxyInput::Changed { change: RoomChange::Joined(_), .. }))
        });
        assert_ne!(expired, joined, "{out:?}");
        joined
    }

    /// Both gateways hold nothing of the room.
    fn hears_of_nobody(&mut self, now: Now) {
        self.hears(now, 1, RoomInput::attach());
        self.hears(now, 2, RoomInput::Detach);
    }

    /// Whether a newcomer on the first gateway gets in.
    fn admits(&mut self, now: Now, newcomer: u8) -> bool {
        self.hears(now, 1, RoomInput::attach());
        let out = self.hears(now, 1, announce(newcomer));
        out.iter().any(|output| {
            matches!(output, Output::All(ProxyInput::Changed { change: RoomChange::Joined(_), .. }))
        })
    }
}

fn with_view<T>(now: Now, step: impl FnOnce(View<'_>) -> T) -> T {
    with_lost(now, false, step)
}

fn with_lost<T>(now: Now, lost: bool, step: impl FnOnce(View<'_>) -> T) -> T {
    let live = || vec![gateway(1), gateway(2)];
    step(View {
        now,
        full: true,
        epoch: &|_| Epoch(3),
        live: &live,
        lost: &|_| lost,
        revoked: &|_, _| false,
        rules: Rules::default(),
    })
}

fn announce(n: u8) -> RoomInput {
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
    RoomInput::Announce { member, marks: BTreeMap::new(), presented: Attach(0), age_ms: 0, attached_ms: 0 }
}

/// The question for leave among these.
fn question(out: &[Output]) -> (u64, RoomInput) {
    let questions = out.iter().filter_map(|output| match output {
        Output::Anchor(input @ RoomInput::AtHome { asked, .. }) => Some((*asked, input.clone())),
        _ => None,
    });
    questions.last().unwrap_or_else(|| panic!("nothing is asked of the anchor: {out:?}"))
}

fn answer(out: &[Output]) -> Option<(u64, Home)> {
    out.iter().find_map(|output| match output {
        Output::To(_, ProxyInput::Home { asked, home, .. }) => Some((*asked, *home)),
        _ => None,
    })
}

fn homed(out: &[Output], to: u64) -> Option<(Shard, Since)> {
    out.iter().find_map(|output| match output {
        Output::To(gateway, ProxyInput::Homed { shard, since, .. }) if gateway.node.0 == to => {
            Some((*shard, *since))
        }
        _ => None,
    })
}

/// A room with one peer, moved away from its anchor; and its site there, with leave.
fn moved() -> (Here, Here) {
    let mut anchor = Here::new(START, ANCHOR, 1, true);
    assert!(anchor.admits(START, 1));
    let out = anchor.moves(START, AWAY);
    assert_eq!(homed(&out, 1).map(|(shard, _)| shard), Some(AWAY));

    let mut home = Here::new(START, AWAY, 3, false);
    home.hears(START, 1, RoomInput::attach());
    let (asked, input) = question(&home.wakes(after(1)));
    let (echoed, leave) = answer(&anchor.hears(after(1), 9, input)).unwrap();
    assert_eq!((echoed, leave.shard), (asked, AWAY));
    home.told(after(1), asked, leave);
    (anchor, home)
}

#[test]
fn a_room_is_at_its_anchor_unless_it_was_moved() {
    let mut anchor = Here::new(START, ANCHOR, 1, true);
    assert!(anchor.admits(START, 1));
    // Whoever asks elsewhere is sent here, and sends its followers here.
    let mut elsewhere = Here::new(START, AWAY, 3, false);
    let (asked, input) = question(&elsewhere.hears(START, 2, RoomInput::attach()));
    assert!(!elsewhere.admits(START, 2));
    let (_, home) = answer(&anchor.hears(START, 9, input)).unwrap();
    assert_eq!(home.shard, ANCHOR);
    let out = elsewhere.told(START, asked, home);
    assert_eq!(homed(&out, 2), Some((ANCHOR, home.since)));
    assert!(elsewhere.0.is_over());
}

#[test]
fn a_home_lets_people_in_once_it_has_leave_and_everybody_has_spoken() {
    let (mut anchor, mut home) = moved();
    assert!(!home.admits(after(1), 2));
    home.hears(after(1), 2, RoomInput::Detach);
    assert!(home.admits(after(1), 2));
    // The anchor sends all who come there, and keeps nobody.
    assert_eq!(homed(&anchor.hears(after(1), 2, RoomInput::attach()), 2).map(|(shard, _)| shard), Some(AWAY));
    assert!(!anchor.admits(after(2), 3));
    assert!(!anchor.0.is_idle());
}

#[test]
fn a_home_asks_gateways_with_the_word_that_made_it_the_home() {
    let (anchor, mut home) = moved();
    let since = anchor.0.homed().unwrap().since;
    let out = home.wakes(after(2));
    assert!(out.contains(&Output::To(gateway(2), ProxyInput::Ask { since })));
}

#[test]
fn a_new_owner_of_the_anchor_asks_where_the_room_is() {
    let (former, _) = moved();
    let home = former.0.homed().unwrap();
    let mut anchor = Here::new(after(2), ANCHOR, 2, false);
    assert!(!anchor.admits(after(2), 2)); // the first gateway has nothing to tell
    let out = anchor.hears(after(2), 2, RoomInput::Follows { home });
    assert_eq!(homed(&out, 1), Some((AWAY, home.since)));
    assert!(!anchor.admits(after(2), 3));
    assert_eq!(anchor.0.homed(), Some(home));
}

#[test]
fn the_latest_home_counts_whoever_speaks_first() {
    let mut anchor = Here::new(START, ANCHOR, 5, false);
    let home = |shard, n| Home { shard, since: Since(Epoch(4), n) };
    anchor.hears(START, 1, RoomInput::Follows { home: home(AWAY, 2) });
    anchor.hears(START, 2, RoomInput::Follows { home: home(FURTHER, 1) });
    assert_eq!(anchor.0.homed(), Some(home(AWAY, 2)));
}

#[test]
fn a_node_with_leave_speaks_for_its_proxy_too() {
    let (_, mut home) = moved();
    let (answered, out) = home.asked(after(2));
    assert!(answered);
    let follows =
        |output: &Output| matches!(output, Output::Anchor(RoomInput::Follows { home }) if home.shard == AWAY);
    assert!(out.iter().any(follows));
}

#[test]
fn a_former_owners_leave_is_void_once_a_new_one_has_asked() {
    let mut former = Here::new(START, ANCHOR, 1, true);
    former.hears(START, 1, RoomInput::attach());
    former.moves(START, AWAY);
    let mut site = Here::new(START, AWAY, 3, false);
    let (asked, input) = question(&site.hears(START, 1, RoomInput::attach()));
    let (_, leave) = answer(&former.hears(START, 9, input)).unwrap(); // on its way for long

    let (answered, again) = site.asked(after(1)); // by the new owner, to whom it says nothing
    assert!(!answered);
    site.told(after(1), asked, leave);
    site.hears(after(1), 2, RoomInput::Detach);
    assert!(!site.admits(after(1), 2));
    let (asked, _) = question(&again);
    site.told(after(1), asked, leave);
    site.hears(after(1), 2, RoomInput::Detach);
    assert!(site.admits(after(1), 2));
}

#[test]
fn a_leave_that_is_not_renewed_ends_before_the_anchor_takes_the_room_back() {
    let (mut anchor, mut home) = moved();
    home.hears(after(1), 2, RoomInput::Detach);
    assert!(home.admits(after(1 + 59), 2));
    assert!(!home.admits(after(1 + 60), 3)); // no word from the anchor since it asked at 1

    anchor.wakes(after(1 + 119));
    assert!(anchor.0.homed().is_some());
    anchor.wakes(after(1 + 120));
    assert!(anchor.0.homed().is_none());
    assert!(!anchor.admits(after(121), 3)); // the home's gateways may hold peers
    anchor.hears(after(121), 2, RoomInput::Follows { home: Home { shard: AWAY, since: home.0.since() } });
    assert!(!anchor.admits(after(121), 3)); // nor has that one said what it holds
    anchor.hears(after(121), 2, RoomInput::attach());
    assert!(anchor.admits(after(121), 3));
    // And the site that comes back finds its leave given up.
    let (asked, input) = question(&home.wakes(after(122)));
    let (_, here) = answer(&anchor.hears(after(122), 9, input)).unwrap();
    assert!(
        home.told(after(122), asked, here)
            .iter()
            .any(|output| matches!(output, Output::To(_, ProxyInput::Homed { .. })))
    );
    assert!(home.0.is_over());
}

#[test]
fn a_home_that_asks_again_keeps_its_leave() {
    let (mut anchor, mut home) = moved();
    home.hears(after(1), 2, RoomInput::Detach);
    for turn in 1..10 {
        let now = after(1 + 20 * turn);
        let (asked, input) = question(&home.wakes(now));
        let (_, same) = answer(&anchor.hears(now, 9, input)).unwrap();
        home.told(now, asked, same);
        anchor.wakes(now);
    }
    assert!(home.admits(after(200), 2));
}

#[test]
fn a_home_moves_on_when_the_anchor_has_taken_note() {
    let (mut anchor, mut home) = moved();
    home.hears(after(1), 2, RoomInput::Detach);
    let (before, renewal) = question(&home.wakes(after(30)));
    let (_, still) = answer(&anchor.hears(after(30), 9, renewal)).unwrap();

    let (asked, input) = question(&home.moves(after(30), FURTHER));
    assert!(!home.admits(after(30), 2));
    home.told(after(30), before, still); // said before it asked to move
    assert!(!home.admits(after(30), 2));

    let (_, further) = answer(&anchor.hears(after(30), 9, input.clone())).unwrap();
    assert_eq!(further.shard, FURTHER);
    // What is said again has a number of its own; the same once more is late.
    let again = question(&home.wakes(after(31))).1;
    assert_eq!(answer(&anchor.hears(after(31), 9, again)).map(|(_, home)| home), Some(further));
    assert_eq!(answer(&anchor.hears(after(31), 9, input)), None);
    assert_eq!(homed(&home.told(after(30), asked, further), 1), Some((FURTHER, further.since)));
    assert!(home.0.is_over());
}

#[test]
fn a_room_moves_back_to_its_anchor_with_all_who_are_in_it() {
    let (mut anchor, mut home) = moved();
    home.hears(after(1), 2, RoomInput::Detach);
    home.hears(after(1), 1, RoomInput::attach());
    let former = home.0.since();
    let (asked, input) = question(&home.moves(after(2), ANCHOR));
    let (_, here) = answer(&anchor.hears(after(2), 9, input)).unwrap();
    assert_eq!(homed(&home.told(after(2), asked, here), 1), Some((ANCHOR, here.since)));
    assert!(!anchor.admits(after(2), 2)); // the other gateway has not spoken
    // That one has not heard of it: it says where it is, not what it holds, and is asked again.
    anchor.hears(after(2), 2, RoomInput::Follows { home: Home { shard: AWAY, since: former } });
    assert!(!anchor.admits(after(2), 2));
    let asks = anchor.wakes(after(3));
    let newer = |output: &Output| matches!(output, Output::To(to, ProxyInput::Ask { since }) if *to == gateway(2) && *since > here.since);
    assert!(asks.iter().any(newer), "{asks:?}");
    anchor.hears(after(3), 2, RoomInput::attach());
    assert!(anchor.admits(after(3), 2));
    assert_eq!(anchor.0.homed(), None);
}

#[test]
fn who_may_come_back_is_known_where_no_life_has_ended() {
    let mut anchor = Here::after_loss(START, ANCHOR, 2, false, false);
    anchor.hears_of_nobody(START);
    assert!(!anchor.takes_back(START, 1));
}

#[test]
fn a_gateway_whose_life_ended_leaves_peers_who_come_back_within_a_grace() {
    let grace = Policy::default().grace.as_secs();
    let mut anchor = Here::after_loss(START, ANCHOR, 2, false, true);
    anchor.hears_of_nobody(START);
    assert!(anchor.takes_back(START, 1));
    assert!(anchor.takes_back(after(grace - 1), 2));
    assert!(!anchor.takes_back(after(grace), 3));
}

#[test]
fn a_home_and_an_anchor_that_takes_its_room_back_wait_for_them_too() {
    for lost in [false, true] {
        let mut anchor = Here::after_loss(START, ANCHOR, 1, true, lost);
        anchor.hears(START, 1, RoomInput::attach());
        anchor.moves(START, AWAY);
        let mut home = Here::after_loss(START, AWAY, 3, false, lost);
        let (asked, input) = question(&home.hears(START, 1, RoomInput::attach()));
        let (_, leave) = answer(&anchor.hears(START, 9, input)).unwrap();
        home.told(START, asked, leave);
        home.hears_of_nobody(START);
        assert_eq!(home.takes_back(START, 1), lost);

        anchor.wakes(after(120)); // the home is silent
        anchor.hears_of_nobody(after(120));
        assert_eq!(anchor.takes_back(after(120), 1), lost);
    }
}

#[test]
fn an_owner_without_its_lease_gives_no_leave() {
    let mut anchor = Here::new(START, ANCHOR, 1, true);
    let mut site = Here::new(START, AWAY, 3, false);
    let (_, input) = question(&site.hears(START, 1, RoomInput::attach()));
    let mut out = Vec::new();
    with_view(START, |view| anchor.0.handle(View { full: false, ..view }, gateway(9), input, &mut out));
    assert_eq!(answer(&out), None);
}

// ----------------------------------------------------------------------------------------- proxies

struct Follower(Proxy);

impl Follower {
    fn new() -> Self {
        Self(Proxy::new(START, gateway(1), ANCHOR, Epoch(1), &mut Vec::new()))
    }

    fn hears(&mut self, shard: Shard, epoch: u64, body: ProxyInput) -> Vec<proxy::Output> {
        let room = serde_json::from_value(serde_json::json!({"app": "dev", "room": "r"})).unwrap();
        let mut out = Vec::new();
        self.0.handle_room(START, FromRoom { room, shard, epoch: Epoch(epoch), body }, &mut out);
        out
    }
}

fn to(shard: Shard, n: u64) -> ProxyInput {
    ProxyInput::Homed { shard, epoch: Epoch(3), since: Since(Epoch(1), n) }
}

#[test]
fn a_proxy_follows_the_room_home_and_says_so() {
    let mut proxy = Follower::new();
    let out = proxy.hears(ANCHOR, 1, to(AWAY, 5));
    assert!(matches!(out.last(), Some(proxy::Output::Room(RoomInput::Attach { since: Since(_, 5), .. }))));
    assert_eq!(proxy.0.place(), (AWAY, Epoch(3)));
    // A new owner of the anchor asks, knowing nothing.
    let out = proxy.hears(ANCHOR, 2, ProxyInput::Ask { since: Since::default() });
    let home = Home { shard: AWAY, since: Since(Epoch(1), 5) };
    let follows = |output: &proxy::Output| matches!(output, proxy::Output::Asker((ANCHOR, Epoch(2)), RoomInput::Follows { home: said }) if *said == home);
    assert!(out.iter().any(follows));
    assert_eq!(proxy.0.place(), (AWAY, Epoch(3)));
}

#[test]
fn of_two_homes_the_later_is_followed() {
    let mut proxy = Follower::new();
    proxy.hears(ANCHOR, 1, to(AWAY, 5));
    proxy.hears(ANCHOR, 1, to(FURTHER, 4)); // late
    assert_eq!(proxy.0.place().0, AWAY);
    proxy.hears(FURTHER, 3, ProxyInput::Ask { since: Since(Epoch(1), 6) });
    assert_eq!(proxy.0.place().0, FURTHER);
    // Whoever has the room knows where it goes.
    proxy.hears(FURTHER, 3, to(ANCHOR, 0));
    assert_eq!(proxy.0.place().0, ANCHOR);
}

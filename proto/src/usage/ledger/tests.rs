//! What is heard, in every order.

use super::*;
use crate::mesh::uplink::Traffic;

fn at(secs: u64) -> Mono {
    Mono(Duration::from_secs(secs))
}

fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 15])
}

fn room(app: &str, room: &str) -> RoomKey {
    RoomKey { app: AppId::new(app).unwrap(), room: RoomName::new(room).unwrap() }
}

fn relayed(packets: u64) -> Relayed {
    let sent = Traffic { packets, bytes: 100 * packets };
    Relayed { sent, received: Traffic::default() }
}

fn tally(packets: u64) -> Tally {
    Tally { relayed: relayed(packets), ..Tally::default() }
}

fn usage(series: u64, user: u8, packets: u64) -> Usage {
    let Relayed { sent, received } = relayed(packets);
    Usage { series, session: Some(session(user)), name: None, sent, received, by: None }
}

fn of(ledger: &Ledger, of: &UsageOf) -> (u64, Vec<(String, u64)>) {
    let page = ledger.page(of, None);
    let parts = page.parts.into_iter().map(|(name, tally)| (name, tally.relayed.sent.packets));
    (page.relayed.relayed.sent.packets, parts.collect())
}

#[test]
fn what_is_heard_twice_or_late_counts_once() {
    let mut ledger = Ledger::default();
    ledger.handle_session(at(0), session(1), room("a", "r"));
    let told = ledger.handle_usage(at(1), &[usage(7, 1, 5)]);
    assert_eq!(told, [(session(1), room("a", "r"))]);
    assert!(ledger.handle_usage(at(2), &[usage(7, 1, 9)]).is_empty(), "the others know");
    for late in [5, 9, 0] {
        ledger.handle_usage(at(3), &[usage(7, 1, late)]);
    }
    ledger.handle_usage(at(3), &[usage(7, 2, 50)]); // a series has one user
    ledger.handle_usage(at(4), &[usage(8, 1, 1)]);
    assert_eq!(of(&ledger, &UsageOf::Apps), (10, vec![("a".into(), 10)]));
    assert_eq!(of(&ledger, &UsageOf::App(AppId::new("a").unwrap())), (10, vec![("r".into(), 10)]));
    assert_eq!(of(&ledger, &UsageOf::Room(room("a", "r"))), (10, vec![(session(1).to_string(), 10)]));
    let again = at(1) + limits::USAGE_ROOM_TOLD_EVERY;
    assert_eq!(ledger.handle_usage(again, &[usage(8, 1, 2)]).len(), 1, "who is new here hears of it too");
}

#[test]
fn a_room_gets_what_was_relayed_before_it_was_known() {
    let mut ledger = Ledger::default();
    ledger.handle_usage(at(1), &[usage(7, 1, 5)]);
    assert_eq!(of(&ledger, &UsageOf::Apps), (5, vec![]));
    ledger.handle_rooms(at(2), &[(session(1), room("a", "r")), (session(2), room("a", "s"))]);
    // A session never is of another room; and what is told of it may come before what it relayed.
    ledger.handle_rooms(at(2), &[(session(1), room("b", "r"))]);
    ledger.handle_usage(at(3), &[usage(7, 1, 6), usage(9, 2, 1)]);
    assert_eq!(of(&ledger, &UsageOf::Apps), (7, vec![("a".into(), 7)]));
    let rooms = vec![("r".into(), 6), ("s".into(), 1)];
    assert_eq!(of(&ledger, &UsageOf::App(AppId::new("a").unwrap())), (7, rooms));
}

#[test]
fn sessions_are_forgotten_and_rooms_keep_what_they_relayed() {
    let mut ledger = Ledger::default();
    ledger.handle_session(at(0), session(1), room("a", "r"));
    ledger.handle_usage(at(1), &[usage(7, 1, 5)]);
    let later = at(1) + limits::USAGE_KEPT;
    ledger.handle_timeout(later - Duration::from_secs(1), |_| true, |_| false);
    ledger.handle_usage(later, &[usage(7, 1, 5)]);
    assert_eq!(of(&ledger, &UsageOf::Room(room("a", "r"))).1.len(), 1);
    ledger.handle_timeout(later, |_| true, |_| false);
    assert_eq!(of(&ledger, &UsageOf::Room(room("a", "r"))), (5, vec![]));
    assert!(ledger.series.is_empty() && ledger.users.is_empty());
    // It relays again, in another series, and its node knows it still.
    assert_eq!(ledger.handle_usage(later, &[usage(8, 1, 2)]).len(), 1);
    assert_eq!(of(&ledger, &UsageOf::Room(room("a", "r"))), (7, vec![(session(1).to_string(), 2)]));
    ledger.handle_timeout(later + limits::USAGE_KEPT, |_| false, |_| false);
    assert!(ledger.here.is_empty());
}

#[test]
fn what_an_issued_credential_relayed_is_told_as_long_as_it_is_there() {
    let mut ledger = Ledger::default();
    ledger.handle_session(at(0), session(2), room("a", "r"));
    ledger.handle_usage(at(1), &[usage(7, 1, 5), usage(8, 2, 3)]);
    let (issued, later) = (session(1), at(1) + 2 * limits::USAGE_KEPT);
    assert_eq!((ledger.room_of(&issued), ledger.room_of(&session(2))), (None, Some(&room("a", "r"))));
    ledger.handle_timeout(later, |_| false, |session| *session == issued);
    assert_eq!(of(&ledger, &UsageOf::Session(issued)), (5, vec![]));
    assert_eq!(of(&ledger, &UsageOf::Session(session(2))), (0, vec![]));
    ledger.handle_usage(later, &[usage(9, 1, 2)]);
    assert_eq!(of(&ledger, &UsageOf::Session(issued)), (7, vec![]));
    ledger.handle_timeout(later + limits::USAGE_KEPT, |_| false, |_| false);
    assert!(ledger.users.is_empty());
}

#[test]
fn users_that_are_no_sessions_are_told_by_name_and_by_pages() {
    let mut ledger = Ledger::default();
    let name = |n: usize| Usage { session: None, name: Some(format!("{n:05}")), ..usage(n as u64, 0, 1) };
    let all: Vec<_> = (0..=limits::USAGE_PAGE).map(name).collect();
    assert!(ledger.handle_usage(at(1), &all).is_empty());
    ledger.handle_usage(at(1), &[Usage { session: None, name: None, ..usage(1 << 40, 0, 1) }]);
    let first = ledger.page(&UsageOf::Names, None);
    assert_eq!((first.relayed, first.parts.len()), (tally(1025), limits::USAGE_PAGE));
    let last = ledger.page(&UsageOf::Names, first.parts.last().map(|(name, _)| name.as_str()));
    assert_eq!(last.parts, [("01024".to_owned(), tally(1))]);
    assert_eq!(of(&ledger, &UsageOf::Apps), (1025, vec![]));
}

#[test]
fn of_too_many_rooms_the_oldest_go_and_their_app_keeps_what_they_relayed() {
    let mut ledger = Ledger::default();
    for n in 0..=limits::USAGE_ROOMS_MAX {
        let at = at(n as u64 / 1000);
        ledger.count_room(at, &room("a", &format!("r{n}")), None, &tally(1));
    }
    let app = &ledger.apps[&AppId::new("a").unwrap()];
    assert_eq!(app.relayed, tally(limits::USAGE_ROOMS_MAX as u64 + 1));
    assert_eq!(app.rooms.len(), ledger.rooms);
    assert!(ledger.rooms < limits::USAGE_ROOMS_MAX && ledger.rooms > limits::USAGE_ROOMS_MAX * 9 / 10);
    assert!(ledger.room(&room("a", "r100000")).is_some() && ledger.room(&room("a", "r0")).is_none());
}

fn by(edge: &str, region: &str, usage: Usage) -> Usage {
    Usage { by: Some((EdgeId::new(edge).unwrap(), Region::new(region).unwrap())), ..usage }
}

/// A name, its bytes by region, and those whose region is not known.
type Told = (String, Vec<(String, u64)>, u64);

fn regions(ledger: &Ledger, of: &UsageOf) -> Vec<Told> {
    let page = ledger.page(of, None);
    let all = [("all".to_owned(), page.relayed)].into_iter().chain(page.parts);
    let by_region = |tally: &Tally| tally.regions.iter().map(|(name, n)| (name.to_string(), *n)).collect();
    all.map(|(name, tally)| (name, by_region(&tally), tally.elsewhere())).collect()
}

#[test]
fn each_figure_is_told_apart_by_the_regions_of_edges() {
    let mut ledger = Ledger::default();
    ledger.handle_usage(at(1), &[by("e1", "eu", usage(7, 1, 5)), by("e2", "us", usage(8, 1, 2))]);
    ledger.handle_usage(at(1), &[usage(9, 1, 1)]); // of whichever edge
    ledger.handle_rooms(at(2), &[(session(1), room("a", "r"))]);
    ledger.handle_usage(at(3), &[by("e1", "eu", usage(7, 1, 6)), by("e1", "eu", usage(7, 1, 6))]);
    let both = || vec![("eu".to_owned(), 600), ("us".to_owned(), 200)];
    let told = |part: &str| vec![("all".to_owned(), both(), 100), (part.to_owned(), both(), 100)];
    assert_eq!(regions(&ledger, &UsageOf::Apps), told("a"));
    assert_eq!(regions(&ledger, &UsageOf::App(AppId::new("a").unwrap())), told("r"));
    assert_eq!(regions(&ledger, &UsageOf::Room(room("a", "r"))), told(&session(1).to_string()));
    assert_eq!(regions(&ledger, &UsageOf::Session(session(1))), told("")[..1]);
    assert_eq!(regions(&ledger, &UsageOf::Rooms), told("a/r"));
    let edge = |name: &str, region: &str, bytes| (name.to_owned(), vec![(region.to_owned(), bytes)], 0);
    let edges = [("all".to_owned(), both(), 100), edge("e1", "eu", 600), edge("e2", "us", 200)];
    assert_eq!(regions(&ledger, &UsageOf::Edges), edges);
}

#[test]
fn of_very_many_rooms_those_that_relayed_most_are_ranked() {
    let mut ledger = Ledger::default();
    let many = limits::USAGE_PAGE as u64 + 9;
    for n in 0..many {
        let mut bytes = [0; 15];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let session = SessionId::from_random(bytes);
        let said = Usage { session: Some(session), ..usage(n, 0, n + 1) };
        ledger.handle_rooms(at(1), &[(session, room("a", &format!("r{n}")))]);
        ledger.handle_usage(at(1), &[said]);
    }
    let page = ledger.page(&UsageOf::Rooms, None);
    let least = page.parts.iter().map(|(_, tally)| tally.relayed.sent.packets).min();
    assert_eq!((page.parts.len(), least), (limits::USAGE_PAGE, Some(10)));
    assert_eq!(page.relayed.relayed.sent.packets, many * (many + 1) / 2, "all of it is in the whole");
    assert!(ledger.page(&UsageOf::Rooms, Some("a/r1")).parts.is_empty(), "there is no second page");
}

#[test]
fn of_too_many_regions_the_rest_is_in_the_whole_alone() {
    let mut tally = Tally::default();
    for n in 0..=limits::USAGE_REGIONS_MAX {
        tally.add(relayed(1), Some(&Region::new(&format!("r{n}")).unwrap()));
    }
    tally.add(relayed(1), Some(&Region::new("r0").unwrap()));
    assert_eq!((tally.regions.len(), tally.elsewhere()), (limits::USAGE_REGIONS_MAX, 100));
    let mut other = tally.clone();
    other.raise(&Tally::default());
    assert_eq!(other, tally);
    other.join(&tally);
    assert_eq!((other.relayed.bytes(), other.regions.get(&Region::new("r0").unwrap())), (13_200, Some(&400)));
}

//! Calls of real browsers while the network, the browser or the server fails.
#![allow(clippy::print_stderr, reason = "what was measured")]

use std::time::Duration;

use chappe_tests::chromium::Browser;
use chappe_tests::lan_server::{HTTP, LanServer};
use chappe_tests::netns::{Lan, Namespace, now, turn, wait};
use chappe_tests::page::{CallPage, Guest};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(20);
/// A picture stands still no longer than this while only signaling is cut: a busy machine's hiccup.
const STILL: Duration = Duration::from_secs(3);
/// A stopped browser's session has ended on the server within this: its grace, and what finds it silent.
const GIVEN_UP: Duration = Duration::from_secs(75);
/// After a restart of node and edge together the pictures move again within this.
const RECOVERED: Duration = Duration::from_secs(15);

const ADA: Guest<'_> = Guest { name: "Ada", relay: true, token: None };
const GRACE: Guest<'_> = Guest { name: "Grace", relay: true, token: None };

/// Everything that each said, the other heard: once, in order.
fn assert_nothing_lost(one: &CallPage, other: &CallPage) {
    one.fall_silent(SOON);
    other.fall_silent(SOON);
    let (one, other) = (one.talked(), other.talked());
    for (sender, receiver) in [(&one, &other), (&other, &one)] {
        assert_eq!(sender.refused, []);
        assert_eq!(sender.delivered, sender.sent);
        let all: Vec<u64> = (1..=sender.sent).collect();
        assert_eq!(receiver.heard, all);
    }
}

/// Two in a call talk while `cut` breaks the first one's signaling; it is healed once `until` returns.
fn cut_while_talking(cut: impl Fn(&Namespace), until: impl Fn(&CallPage, &CallPage)) {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let (host, other_host) = (lan.host(), lan.host());
    let (browser, other_browser) = (Browser::start(&host, &[]), Browser::start(&other_host, &[]));
    let ada = CallPage::join(&browser, &server, "tea", ADA);
    let grace = CallPage::join(&other_browser, &server, "tea", GRACE);
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    let before = (ada.id(), grace.id());
    for call in [&ada, &grace] {
        call.watch();
        call.talk();
    }
    ada.page.until("window.talk.heard.length > 10", SOON);
    cut(&host);
    until(&ada, &grace);
    for call in [&ada, &grace] {
        // A session that is reset is found so before the next word is due.
        call.until_said(call.talked().sent + 1, SOON);
        let talk = call.talked();
        assert!(talk.delivered < talk.sent, "{}: in flight", call.name);
    }
    host.heal();
    let healed = now();
    ada.page.until("window.chappe.room.state === 'connected'", SOON);
    eprintln!("resumed {:?} after it was healed", now() - healed);
    assert_nothing_lost(&ada, &grace);
    assert_eq!((ada.id(), grace.id()), before, "the sessions are the same");
    for call in [&ada, &grace] {
        let events = call.events();
        assert!(!events.iter().any(|e| e[0] == "peer-left" || e[0] == "peer-joined"), "{events:?}");
        assert!(!events.iter().any(|e| e[0] == "restart"), "media was well: {events:?}");
        let gap = call.longest_gap();
        eprintln!("{}: the picture stood still for {gap:?} at most", call.name);
        assert!(gap < STILL, "{}: the picture stood still for {gap:?}", call.name);
        call.assert_well();
    }
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
}

#[test]
fn a_black_holed_session_resumes_with_nothing_lost_or_doubled() {
    cut_while_talking(|host| host.black_hole(HTTP), |ada, _| ada.until_event("state", "reconnecting", SOON));
}

#[test]
fn a_session_cut_one_way_resumes_with_nothing_lost_or_doubled() {
    // What it sent was taken, and it could not know: a client that only sent again would double it.
    cut_while_talking(|host| host.deafen(HTTP), |ada, _| ada.until_event("state", "reconnecting", SOON));
    // And the other way round, for what the node sent.
    cut_while_talking(|host| host.gag(HTTP), |ada, _| ada.until_event("state", "reconnecting", SOON));
}

#[test]
fn a_reset_session_resumes_with_nothing_lost_or_doubled() {
    cut_while_talking(
        |host| host.reset(HTTP),
        |ada, grace| {
            ada.until_event("state", "reconnecting", SOON);
            // The node saw the reset too, and says at once who is away.
            wait("Grace to see that Ada is away", SOON, || grace.sees("Ada").away.then_some(()));
        },
    );
}

#[test]
fn a_call_survives_a_change_of_address() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let (mut host, other_host) = (lan.host(), lan.host());
    let (browser, other_browser) = (Browser::start(&host, &[]), Browser::start(&other_host, &[]));
    // Relayed, and direct.
    for (room, relay) in [("tea", true), ("milk", false)] {
        let ada = CallPage::join(&browser, &server, room, Guest { relay, ..ADA });
        let grace = CallPage::join(&other_browser, &server, room, Guest { relay, ..GRACE });
        ada.until_moving(&["Grace"], SOON);
        grace.until_moving(&["Ada"], SOON);
        let before = ada.id();
        for call in [&ada, &grace] {
            call.watch();
        }
        host.readdress(if relay { 70 } else { 71 });
        ada.until_event("state", "reconnecting", SOON);
        ada.page.until("window.chappe.room.state === 'connected'", SOON);
        ada.until_moving(&["Grace"], RECOVERED);
        grace.until_moving(&["Ada"], RECOVERED);
        assert_eq!(ada.id(), before, "the session is the same");
        for call in [&ada, &grace] {
            let gap = call.longest_gap();
            eprintln!("{room}, {}: the picture stood still for {gap:?}", call.name);
            assert!(gap < RECOVERED, "{gap:?}");
            let events = call.events();
            eprintln!("{events:?}");
            assert!(!events.iter().any(|e| e[0] == "peer-left"), "nobody has left: {events:?}");
            call.assert_well();
        }
        for call in [ada, grace] {
            call.page.close();
        }
    }
}

#[test]
fn a_browser_that_slept_beyond_its_grace_joins_again_by_itself() {
    let Some(lan) = Lan::new() else { return };
    let busy = turn();
    let server = LanServer::start(&lan);
    let (host, other_host) = (lan.host(), lan.host());
    let (browser, other_browser) = (Browser::start(&host, &[]), Browser::start(&other_host, &[]));
    let ada = CallPage::join(&browser, &server, "tea", ADA);
    let grace = CallPage::join(&other_browser, &server, "tea", GRACE);
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    grace.watch();
    let before = ada.id();
    host.signal(Signal::STOP);
    // Others may take their turn while this one sleeps.
    drop(busy);
    grace.until_event("peer-left", "Ada", GIVEN_UP);
    let left = grace.events();
    assert!(left.iter().any(|e| e[0] == "peer-updated" && e[2] == "away"), "first it is away: {left:?}");
    assert!(left.iter().any(|e| e[0] == "peer-left" && e[2] == "lost"), "then lost: {left:?}");
    let _turn = turn();
    host.signal(Signal::CONT);
    let woken = now();
    grace.until_event("peer-joined", "Ada", SOON);
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    eprintln!("a call again {:?} after it woke", now() - woken);
    assert_ne!(ada.id(), before);
    assert_eq!(server.overview()["peers"], 2, "no ghost");
    ada.assert_well();
}

#[test]
fn a_restarted_server_finds_the_call_again() {
    let _turn = turn();
    let Some(lan) = Lan::new() else { return };
    let mut server = LanServer::start(&lan);
    let (host, other_host) = (lan.host(), lan.host());
    let (browser, other_browser) = (Browser::start(&host, &[]), Browser::start(&other_host, &[]));
    let ada = CallPage::join(&browser, &server, "tea", ADA);
    let grace = CallPage::join(&other_browser, &server, "tea", GRACE);
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    for call in [&ada, &grace] {
        call.watch();
        call.talk();
    }
    ada.page.until("window.talk.heard.length > 10", SOON);
    // What Ada says arrives (as much as TCP sends unacknowledged), and she does not learn of it: she will
    // say it again to the next server.
    host.deafen(HTTP);
    wait("Grace to have heard what Ada does not know of", SOON, || {
        (grace.talked().heard.len() as u64 > ada.talked().delivered + 2).then_some(())
    });
    server.restart();
    host.heal();
    for call in [&ada, &grace] {
        call.page.until(
            "window.chappe.room.state === 'connected' && window.chappe.room.peers.size === 1",
            RECOVERED,
        );
    }
    ada.until_moving(&["Grace"], RECOVERED);
    grace.until_moving(&["Ada"], RECOVERED);
    assert_nothing_lost(&ada, &grace);
    for call in [&ada, &grace] {
        let events = call.events();
        assert!(!events.iter().any(|e| e[0] == "peer-left"), "nobody has left: {events:?}");
        // The start of the server is part of it.
        let gap = call.longest_gap();
        eprintln!("{}: the picture stood still for {gap:?}", call.name);
        assert!(gap > Duration::from_millis(500), "its relay was gone, yet the picture moved: {gap:?}");
        assert!(gap < RECOVERED, "{gap:?}");
        call.assert_well();
    }
    assert_eq!(server.overview()["peers"], 2, "no ghost");
}

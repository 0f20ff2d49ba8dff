//! Calls of real browsers over a fleet of edges in three regions, while edges and their uplinks fail.
#![allow(clippy::print_stderr, reason = "what was measured")]

use std::time::Duration;

use chappe_tests::chromium::Browser;
use chappe_tests::client::ByHand;
use chappe_tests::fleet::Fleet;
use chappe_tests::netns::{Namespace, eventually, now, turn, wait};
use chappe_tests::page::{CallPage, Guest};
use chappe_tests::process::until;
use chappe_tests::turn::{Turn, credentials};
use serde_json::json;

/// Where nodes serve clients.
const NODES: u16 = 8080;
/// What takes a quiet machine up to 14 s: a page looks where its media goes every second or so, and moves one connection
/// after the other.
const SOON: Duration = Duration::from_secs(40);
/// A connection that was begun over a farther edge, since a busy machine's first round trips misled the node, is drawn to
/// the nearest one within a minute (the SDK's `CLOSER_MS`).
const DRAWN: Duration = Duration::from_secs(90);
/// Media is to flow again within 8 s of an edge's end; a busy machine has half as much again. Who waits for an ICE
/// agent to call the path failed takes 15 s and more.
const AGAIN: Duration = Duration::from_secs(12);
/// A picture that nothing has happened to stands still no longer than this: a busy machine's hiccup.
const STILL: Duration = Duration::from_secs(2);
/// A kick takes a second; a busy machine has longer. Nothing else would end it this soon.
const REVOKED: Duration = Duration::from_secs(5);
/// A credential of the first call lasts this long, and the call more than twice as long.
const CREDENTIAL_TTL: Duration = Duration::from_secs(8);
/// Allocations that Grace's edge takes: some more than she has.
const FEW: u32 = 12;
/// So much of a call shows that nobody restarted it late: longer than any patience of the SDK.
const A_WHILE: u64 = 60;

/// Two people in a call over relays.
struct Call {
    ada: CallPage,
    grace: CallPage,
}

impl Call {
    /// Ada, in Europe, and Grace, in America, who may kick her. Nobody says where Grace is: she has found the node
    /// that is near.
    fn start(fleet: &Fleet, ada: &Browser, grace: &Browser, relay: bool) -> Self {
        let room = if relay { "tea" } else { "milk" };
        let join = |browser, name, node, options: &[&str]| {
            let token = fleet.token(room, options);
            let guest = Guest { name, relay, token: Some(&token) };
            let page = CallPage::join_at(browser, &fleet.origin(node), room, guest);
            page.watch();
            page.count_refreshes();
            page
        };
        let admin = ["--grant", "join", "--grant", "create", "--grant", "admin"];
        let grace = join(grace, "Grace", "us", &admin);
        let ada = join(ada, "Ada", "eu", &["--grant", "join", "--region", "eu"]);
        let call = Self { ada, grace };
        call.until_moving();
        call
    }

    fn close(self) {
        for (page, _) in self.both() {
            page.assert_well();
            page.page.close();
        }
    }

    fn both(&self) -> [(&CallPage, &'static str); 2] {
        [(&self.ada, "Grace"), (&self.grace, "Ada")]
    }

    fn until_moving(&self) {
        for (page, other) in self.both() {
            page.until_moving(&[other], SOON);
        }
    }

    fn watch(&self) {
        for (page, _) in self.both() {
            page.watch();
        }
    }

    /// The edge that somebody's media goes over.
    fn edge(page: &CallPage, other: &str) -> String {
        page.sees(other).edge.unwrap_or_default()
    }

    /// Restarts that something was wrong for: not the gentle ones, to a nearer edge.
    fn restarts(&self) -> usize {
        let events = self.both().map(|(page, _)| page.events()).concat();
        events.iter().filter(|event| event[0] == "restart" && event[2] != "move").count()
    }

    /// Waits until the first one's media goes over another edge than that one, and all moves again. The longest
    /// that a picture stood still.
    fn until_moved(&self, (page, other): (&CallPage, &str), from: &str) -> Duration {
        let left = eventually(SOON, || {
            let edge = Self::edge(page, other);
            (!edge.is_empty() && edge != from).then_some(())
        });
        let events = self.both().map(|(page, _)| (&page.name, page.events()));
        assert!(left.is_some(), "{} is still on {from}: {events:?}", page.name);
        self.until_moving();
        self.ada.longest_gap().max(self.grace.longest_gap())
    }
}

#[test]
fn calls_over_a_fleet_whose_edges_and_uplinks_fail() {
    let _turn = turn();
    let began = now();
    let Some(mut fleet) = Fleet::of_four() else { return };
    fleet.edge("us-1").capacity = Some(FEW);
    fleet.launch();
    let ttl = CREDENTIAL_TTL.as_secs().to_string();
    let _ = fleet.cluster.nodes[0].told(&["credential-ttl", "default", &ttl]);
    eprintln!("the fleet is up after {:?}", now() - began);
    let (ada_host, grace_host) = (fleet.wan.behind_nat("eu"), fleet.wan.host("us"));
    // Grace's host candidates in the clear: multicast names reach nobody beyond her own network.
    let clear = "--disable-features=WebRtcHideLocalIpsWithMdns";
    let ada_browser = Browser::start(&ada_host.host, &[]);
    let grace_browser = Browser::start(&grace_host, &[clear]);
    who_has_measured_is_given_the_nearest_edge(&fleet, &ada_browser);
    let joins = now();
    let call = Call::start(&fleet, &ada_browser, &grace_browser, true);
    let moving = now();
    eprintln!("pictures move after {:?}", moving - joins);

    everybody_is_on_the_nearest_edge(&fleet, &call);
    a_cut_uplink_moves_nobody(&mut fleet, &call);
    a_full_edge_keeps_whom_it_has(&mut fleet, &call);
    // From here on a restart may have taken either to an edge of another region.
    let firewalled = a_firewalled_edge_is_left(&mut fleet, &call);
    an_edge_that_is_killed_is_replaced(&mut fleet, &call);
    let drained = a_drained_edge_is_left_gently(&fleet, &call);
    the_call_outlives_its_credentials(&call, now() - moving);
    who_is_kicked_is_relayed_no_longer(&fleet, &call, &ada_host.host, &firewalled);
    a_drained_edge_says_that_it_is_empty(&fleet, &drained);
    call.close();

    let call = Call::start(&fleet, &ada_browser, &grace_browser, false);
    who_is_kicked_has_no_direct_path_either(&call, &ada_host.host);
    call.close();
    eprintln!("all of it took {:?}", now() - began);
}

/// Behind a NAT, where browsers can measure: she has found the node that is farthest, and nobody says where she is.
/// While no edge is newer than others, which would be a reason to send her on.
fn who_has_measured_is_given_the_nearest_edge(fleet: &Fleet, browser: &Browser) {
    let joins = now();
    let token = fleet.token("milk", &["--grant", "join", "--grant", "create"]);
    let guest = Guest { name: "Mary", relay: false, token: Some(&token) };
    let mary = CallPage::join_at(browser, &fleet.origin("asia"), "milk", guest);
    mary.watch();
    let offered = || {
        let events = mary.events();
        let last = events.iter().rfind(|event| event[0] == "ice-servers")?;
        last[3][0].as_str().map(str::to_owned)
    };
    let own = eventually(SOON, || offered().filter(|edge| edge.starts_with("eu-")));
    assert!(own.is_some(), "she is not offered an edge of her own region: {:?}", mary.events());
    eprintln!("{own:?} is offered first, {:?} after the join at the farthest node", now() - joins);
    mary.assert_well();
    mary.page.close();
}

/// With NAT and without; and the two edges reach each other, relay to relay.
fn everybody_is_on_the_nearest_edge(fleet: &Fleet, call: &Call) {
    for (page, other) in call.both() {
        let region = if other == "Grace" { "eu" } else { "us" };
        let near = eventually(DRAWN, || (page.sees(other).region.as_deref() == Some(region)).then_some(()));
        assert!(near.is_some(), "{}'s edge is not of {region}: {:?}", page.name, page.events());
        let seen = page.sees(other);
        assert_eq!((seen.local.as_deref(), seen.remote.as_deref()), (Some("relay"), Some("relay")));
        let edge = Call::edge(page, other);
        let before = fleet.relayed(&edge);
        wait("its counter to grow", SOON, || (fleet.relayed(&edge) > before + 20_000).then_some(()));
    }
}

/// By an operator's word: who is on it goes elsewhere while both work. Which was drained.
fn a_drained_edge_is_left_gently(fleet: &Fleet, call: &Call) -> String {
    let before = Call::edge(&call.ada, "Grace");
    call.watch();
    let drained = now();
    let told = fleet.cluster.nodes[0].told(&["edge", "drain", &before]);
    assert!(told.contains("takes no new allocations"), "{told}");
    let gap = call.until_moved((&call.ada, "Grace"), &before);
    let gap = gap.max(call.until_moved((&call.grace, "Ada"), &before));
    eprintln!("{before} drained: left after {:?}, pictures stood still for {gap:?}", now() - drained);
    assert!(gap < STILL, "{gap:?}");
    assert_eq!(call.restarts(), 0, "nothing was wrong: {:?} {:?}", call.ada.events(), call.grace.events());
    before
}

/// Browsers keep what they allocated and use no more for most of a minute; a kick does not.
fn a_drained_edge_says_that_it_is_empty(fleet: &Fleet, drained: &str) {
    fleet.until_said(drained, "draining", Some("draining, and empty: it can be stopped"));
    assert!(fleet.cluster.nodes[0].told(&["edge", "resume", drained]).contains("again"));
    // One that was firewalled before counts as degraded until probers have reached it again.
    wait("it to drain no more", SOON, || {
        (fleet.seen(drained)["condition"]["state"] != "draining").then_some(())
    });
}

/// So many allocations that no more are taken: Grace stays, and who comes then is sent elsewhere.
fn a_full_edge_keeps_whom_it_has(fleet: &mut Fleet, call: &Call) {
    let before = Call::edge(&call.grace, "Ada");
    assert_eq!(before, "us-1");
    let (host, edge, node) = (fleet.wan.host("us"), fleet.edge(&before).at(), fleet.cluster.nodes[0].http);
    let token = fleet.token("others", &["--region", "us", "--grant", "join", "--grant", "create"]);
    call.watch();
    let join = json!({ "room": "others", "token": token });
    let (taken, first) = host.run(async || {
        let mut filler = ByHand::open(node).await;
        let welcome = filler.join(join.clone()).await;
        let mut taken = 0;
        while Turn::from(host.address().into(), edge, &credentials(&welcome)).await.allocate().await.is_ok() {
            taken += 1;
        }
        let mut first = before.clone();
        let elsewhere = async || {
            let welcome = ByHand::open(node).await.join(join.clone()).await;
            first = welcome["edges"][0]["edge"].as_str().unwrap_or_default().to_owned();
            !first.is_empty() && first != before
        };
        until("newcomers are sent elsewhere", SOON, elsewhere).await;
        // Its allocations end with it.
        filler.say(json!({ "type": "leave" })).await;
        assert_eq!(filler.hear_a("closed").await["code"], "left");
        (taken, first)
    });
    assert!((1..FEW).contains(&taken), "{taken}");
    let told = call.grace.sees("Ada").frames;
    wait("more of the picture", SOON, || (call.grace.sees("Ada").frames > told + A_WHILE).then_some(()));
    assert_eq!(call.restarts(), 0, "media was well: {:?} {:?}", call.ada.events(), call.grace.events());
    assert_eq!(Call::edge(&call.grace, "Ada"), before);
    eprintln!("{before} full after {taken} more allocations: who comes is sent to {first}");
}

fn the_call_outlives_its_credentials(call: &Call, lasted: Duration) {
    assert!(lasted > 2 * CREDENTIAL_TTL, "{lasted:?}");
    let refreshes = call.both().map(|(page, _)| page.refreshes());
    eprintln!("credentials of {CREDENTIAL_TTL:?} were refreshed {refreshes:?} times in {lasted:?}");
    assert!(refreshes.iter().all(|times| *times >= 2), "{refreshes:?}");
}

/// An edge that no node hears any more goes on relaying the calls that it has, and their people stay there.
fn a_cut_uplink_moves_nobody(fleet: &mut Fleet, call: &Call) {
    let before = call.both().map(|(page, other)| Call::edge(page, other));
    call.watch();
    let nodes = fleet.nodes();
    let cut = now();
    fleet.edge(&before[0]).host.cut(&nodes);
    call.ada.until_event("ice-servers", "edge_lost", SOON);
    eprintln!("a cut uplink: {} said to be lost after {:?}", before[0], now() - cut);
    let told = call.ada.sees("Grace").frames;
    wait("more of the picture", SOON, || (call.ada.sees("Grace").frames > told + A_WHILE).then_some(()));
    assert_eq!(call.restarts(), 0, "media was well: {:?} {:?}", call.ada.events(), call.grace.events());
    assert_eq!(call.both().map(|(page, other)| Call::edge(page, other)), before);
    for (page, _) in call.both() {
        let gap = page.longest_gap();
        assert!(gap < STILL, "{}: the picture stood still for {gap:?}", page.name);
    }
    fleet.edge(&before[0]).host.heal();
    fleet.until_offered(&["eu-1", "eu-2", "us-1", "asia-1"]);
}

fn a_firewalled_edge_is_left(fleet: &mut Fleet, call: &Call) -> String {
    let before =
        another_edge_serves(call, (&call.ada, "Grace"), "firewalled", |edge| fleet.edge(edge).firewall());
    fleet.edge(&before).host.heal();
    before
}

fn an_edge_that_is_killed_is_replaced(fleet: &mut Fleet, call: &Call) {
    another_edge_serves(call, (&call.grace, "Ada"), "killed", |edge| fleet.edge(edge).kill());
}

/// Strikes the edge of somebody's picture, and waits until it comes over another. Which was struck.
fn another_edge_serves(call: &Call, of: (&CallPage, &str), what: &str, strike: impl FnOnce(&str)) -> String {
    let before = Call::edge(of.0, of.1);
    call.watch();
    strike(&before);
    let gap = call.until_moved(of, &before);
    let edge = Call::edge(of.0, of.1);
    eprintln!("{before} {what}: pictures stood still for {gap:?}, then went over {edge}");
    assert!(gap > Duration::from_secs(1), "its edge was {what}, yet the picture moved: {gap:?}");
    assert!(gap < AGAIN, "{gap:?}");
    before
}

/// Kicks Ada, whose page can be told nothing: what ends is ended by others. When her picture of Grace stood still.
fn kick_the_unreachable(call: &Call, host: &Namespace) -> Duration {
    call.watch();
    host.black_hole(NODES);
    let kicked = now();
    assert_eq!(call.grace.kick("Ada"), "done");
    wait("a picture that stands still", SOON, || (call.ada.gap() > STILL).then_some(()));
    let stood = (now() - kicked).saturating_sub(call.ada.gap());
    assert!(stood < REVOKED, "{stood:?}");
    call.grace.page.until("window.chappe.room.peers.size === 0", SOON);
    stood
}

/// What Grace gave up while an edge was `firewalled` it has not heard of: that ends by itself, in ten minutes.
fn who_is_kicked_is_relayed_no_longer(fleet: &Fleet, call: &Call, host: &Namespace, firewalled: &str) {
    let allocations = || fleet.allocations(firewalled);
    assert!(allocations() >= 2);
    let stood = kick_the_unreachable(call, host);
    eprintln!("a kicked one's relayed picture stood still {stood:?} after the kick");
    // Her page does not know, and goes on refreshing hers.
    let none = eventually(SOON, || (allocations() == 0).then_some(()));
    assert!(none.is_some(), "allocations are left:\n{}", fleet.cluster.nodes[0].told(&["edges"]));
    host.heal();
    call.ada.page.until("document.getElementById('over-title').textContent === 'You were removed'", SOON);
}

fn who_is_kicked_has_no_direct_path_either(call: &Call, host: &Namespace) {
    for (page, other) in call.both() {
        wait("a direct path", SOON, || (page.sees(other).path.as_deref() == Some("direct")).then_some(()));
    }
    let stood = kick_the_unreachable(call, host);
    eprintln!("a kicked one's direct picture stood still {stood:?} after the kick");
    host.heal();
}

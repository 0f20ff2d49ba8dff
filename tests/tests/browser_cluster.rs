//! A call of real browsers over several nodes, while nodes are killed.
#![allow(clippy::print_stderr, reason = "what was measured")]
#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::time::Duration;

use chappe_tests::chromium::Browser;
use chappe_tests::cluster::Cluster;
use chappe_tests::netns::{Lan, now, turn};
use chappe_tests::page::{CallPage, Guest};

const SOON: Duration = Duration::from_secs(30);
/// A picture stands still no longer than this: a busy machine's hiccup, since media does not pass the nodes.
const STILL: Duration = Duration::from_secs(3);

const ADA: Guest<'_> = Guest { name: "Ada", relay: false, token: None };
const GRACE: Guest<'_> = Guest { name: "Grace", relay: false, token: None };

/// The room's node, and those of the two who call: none leads, and at most one votes.
fn roles(cluster: &Cluster) -> (u64, [u64; 2]) {
    let status = cluster.status(&[]);
    let of = |role: &str| -> Vec<u64> {
        let members = status["members"].as_array().unwrap().iter();
        members.filter(|member| member["role"] == role).filter_map(|member| member["node"].as_u64()).collect()
    };
    let (voters, others) = (of("voter"), of("stand-by"));
    (voters[0], [others[0], others[1]])
}

#[test]
fn a_call_outlives_its_rooms_node_and_then_a_gateway() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let mut cluster = Cluster::on(&lan, 5);
    let (owner, [first, second]) = roles(&cluster);
    let room = cluster.room_of(owner);
    let origin = |node| format!("http://{}", cluster.at(node));
    let (host, other_host) = (lan.host(), lan.host());
    let (browser, other_browser) = (Browser::start(&host, &[]), Browser::start(&other_host, &[]));
    let ada = CallPage::join_at(&browser, &origin(first), &room, ADA);
    let grace = CallPage::join_at(&other_browser, &origin(second), &room, GRACE);
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    let before = (ada.id(), grace.id());
    for call in [&ada, &grace] {
        call.watch();
        call.talk();
    }
    ada.page.until("window.talk.heard.length > 10", SOON);

    // The node that runs the room; neither is connected to it.
    cluster.node(owner).kill();
    let heard = ada.talked().heard.len();
    ada.page.until(&format!("window.talk.heard.length > {}", heard + 40), SOON);
    assert!(ada.events().iter().chain(&grace.events()).all(|e| e[0] != "state"), "neither socket was lost");

    // Ada's own.
    let killed = now();
    cluster.node(first).kill();
    ada.until_event("state", "reconnecting", SOON);
    ada.page.until("window.chappe.room.state === 'connected'", SOON);
    eprintln!("resumed on another node {:?} after the gateway was killed", now() - killed);
    let heard = (ada.talked().heard.len(), grace.talked().heard.len());
    ada.page.until(&format!("window.talk.heard.length > {}", heard.0 + 20), SOON);
    grace.page.until(&format!("window.talk.heard.length > {}", heard.1 + 20), SOON);

    let (one, other) = (ada.fall_silent(SOON), grace.fall_silent(SOON));
    for (sender, receiver) in [(&one, &grace.talked()), (&other, &ada.talked())] {
        assert_eq!(sender.refused, []);
        let all: Vec<u64> = (1..=sender.sent).collect();
        assert_eq!(receiver.heard, all, "once, and in order");
    }
    assert_eq!((ada.id(), grace.id()), before, "they are who they were");
    for (call, who) in [(&ada, "Grace"), (&grace, "Ada")] {
        let events = call.events();
        assert!(!events.iter().any(|e| e[0] == "peer-left" || e[0] == "peer-joined"), "{events:?}");
        assert!(!events.iter().any(|e| e[0] == "restart"), "media was well: {events:?}");
        let gap = call.longest_gap();
        eprintln!("{}: the picture stood still for {gap:?} at most", call.name);
        assert!(gap < STILL, "{}: the picture stood still for {gap:?}", call.name);
        assert!(!call.sees(who).away, "nobody is away");
        call.until_moving(&[who], SOON);
    }
}

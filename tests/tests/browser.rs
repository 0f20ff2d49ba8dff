//! Calls of real browsers over the shipped page and SDK, through `chappe dev`, each in a network of
//! its own.

use std::time::Duration;

use chappe_tests::chromium::{Browser, Page};
use chappe_tests::lan_server::{HTTPS, LanServer};
use chappe_tests::netns::{Lan, Namespace, SERVER, now, turn, wait};
use chappe_tests::page::{CallPage, Guest};

/// A picture moves within this of the last one's join.
const SOON: Duration = Duration::from_secs(20);
/// The same for one behind a firewall that drops all UDP.
const WITHOUT_UDP: Duration = Duration::from_secs(10);
/// A loudness between that of beeps (0.47 to 0.58 here) and of silence (0; 0.003 on a busy machine).
const QUIET: f64 = 0.02;

const ADA: Guest<'_> = Guest { name: "Ada", relay: false, token: None };
const GRACE: Guest<'_> = Guest { name: "Grace", relay: false, token: None };
const HEDY: Guest<'_> = Guest { name: "Hedy", relay: false, token: None };

fn relayed(guest: Guest<'_>) -> Guest<'_> {
    Guest { relay: true, ..guest }
}

/// Two clients, each in a namespace with a browser.
struct Two {
    first: Browser,
    second: Browser,
    first_host: Namespace,
    second_host: Namespace,
}

impl Two {
    fn on(lan: &Lan) -> Self {
        let (first_host, second_host) = (lan.host(), lan.host());
        let (first, second) = (Browser::start(&first_host, &[]), Browser::start(&second_host, &[]));
        Self { first, second, first_host, second_host }
    }
}

/// Waits until the edge has relayed that much more.
fn until_relayed(server: &LanServer<'_>, bytes: u64) {
    let before = server.relayed_bytes();
    wait("the edge's byte counter to grow", SOON, || {
        (server.relayed_bytes() >= before + bytes).then_some(())
    });
}

#[test]
fn two_pages_call_through_the_relay_over_udp() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let two = Two::on(&lan);
    let ada = CallPage::join(&two.first, &server, "tea", relayed(ADA));
    let grace = CallPage::join(&two.second, &server, "tea", relayed(GRACE));
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    for seen in [ada.sees("Grace"), grace.sees("Ada")] {
        assert_eq!((seen.local.as_deref(), seen.remote.as_deref()), (Some("relay"), Some("relay")));
        assert_eq!(seen.relay_protocol.as_deref(), Some("udp"));
        assert_eq!(seen.path.as_deref(), Some("relay"));
    }
    assert!(server.allocations() >= 2);
    until_relayed(&server, 50_000);
    ada.page.until("document.getElementById('grid').innerText.includes('relay dev-edge · udp')", SOON);

    // Leaving ends the call on both sides, and the allocations with it.
    ada.page.evaluate("document.getElementById('leave').click()");
    grace.page.until("window.chappe.room.peers.size === 0", SOON);
    wait("the allocations to end", SOON, || (server.allocations() == 0).then_some(()));
    for call in [ada, grace] {
        call.assert_well();
    }
}

#[test]
fn behind_a_firewall_that_drops_all_udp_a_call_goes_over_tcp() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let two = Two::on(&lan);
    two.first_host.drop_udp();
    // One side's firewall, and nothing that the page was told of it.
    let ada = CallPage::join(&two.first, &server, "tea", ADA);
    let grace = CallPage::join(&two.second, &server, "tea", GRACE);
    let began = now();
    ada.until_moving(&["Grace"], WITHOUT_UDP);
    grace.until_moving(&["Ada"], WITHOUT_UDP);
    eprintln!("one side without UDP: both pictures move {:?} after the joins", now() - began);
    let seen = ada.sees("Grace");
    assert_eq!((seen.local.as_deref(), seen.relay_protocol.as_deref()), (Some("relay"), Some("tcp")));
    drop((ada, grace));

    // Both sides', and relays only.
    two.second_host.drop_udp();
    let ada = CallPage::join(&two.first, &server, "milk", relayed(ADA));
    let grace = CallPage::join(&two.second, &server, "milk", relayed(GRACE));
    let began = now();
    ada.until_moving(&["Grace"], WITHOUT_UDP);
    grace.until_moving(&["Ada"], WITHOUT_UDP);
    eprintln!("both sides without UDP: both pictures move {:?} after the joins", now() - began);
    for seen in [ada.sees("Grace"), grace.sees("Ada")] {
        assert_eq!((seen.local.as_deref(), seen.remote.as_deref()), (Some("relay"), Some("relay")));
        assert_eq!(seen.relay_protocol.as_deref(), Some("tcp"));
    }
    until_relayed(&server, 50_000);
}

#[test]
fn two_windows_on_the_machine_of_chappe_dev_have_a_call() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let host = lan.host();
    let server = LanServer::start_on_loopback(&host);
    let browser = Browser::start(&host, &[]);
    for (room, policy, path) in [("tea", ADA, "direct"), ("milk", relayed(ADA), "relay")] {
        let ada = CallPage::join(&browser, &server, room, policy);
        let grace = CallPage::join(&browser, &server, room, Guest { relay: policy.relay, ..GRACE });
        ada.until_moving(&["Grace"], SOON);
        grace.until_moving(&["Ada"], SOON);
        ada.page.until(&format!("[...window.chappe.room.peers.values()][0].path?.kind === '{path}'"), SOON);
        for call in [ada, grace] {
            call.assert_well();
            call.page.close();
        }
    }
}

#[test]
fn three_in_a_room_see_each_other() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let two = Two::on(&lan);
    let ada = CallPage::join(&two.first, &server, "tea", ADA);
    let grace = CallPage::join(&two.second, &server, "tea", relayed(GRACE));
    let hedy = CallPage::join(&two.second, &server, "tea", HEDY);
    ada.until_moving(&["Grace", "Hedy"], 2 * SOON);
    grace.until_moving(&["Ada", "Hedy"], 2 * SOON);
    hedy.until_moving(&["Ada", "Grace"], 2 * SOON);
    for call in [ada, grace, hedy] {
        call.page.until("document.querySelectorAll('#grid > :not(.waiting)').length === 3", SOON);
        call.page.until("document.getElementById('people-toggle').innerText.includes('3')", SOON);
        call.assert_well();
    }
}

#[test]
fn two_who_can_reach_each_other_need_no_relay() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let two = Two::on(&lan);
    let ada = CallPage::join(&two.first, &server, "tea", ADA);
    let grace = CallPage::join(&two.second, &server, "tea", GRACE);
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    wait("both to have a direct path", SOON, || {
        let direct = |call: &CallPage, name: &str| call.sees(name).path.as_deref() == Some("direct");
        (direct(&ada, "Grace") && direct(&grace, "Ada")).then_some(())
    });
    // Media no longer costs the edge anything.
    let before = server.relayed_bytes();
    ada.until_moving(&["Grace"], SOON);
    let meanwhile = server.relayed_bytes() - before;
    assert!(meanwhile < 10_000, "{meanwhile} bytes were relayed");
    ada.page.until("document.getElementById('grid').innerText.includes('direct · udp')", SOON);
}

#[test]
fn a_reloaded_page_takes_its_own_place() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let two = Two::on(&lan);
    let ada = CallPage::join(&two.first, &server, "tea", relayed(ADA));
    let grace = CallPage::join(&two.second, &server, "tea", relayed(GRACE));
    ada.until_moving(&["Grace"], SOON);
    grace.watch();
    let before = ada.id();
    ada.page.reload();
    grace.until_event("peer-joined", "Ada", SOON);
    ada.until_joined(SOON);
    assert_ne!(ada.id(), before, "a peer's id is never used again");
    let order: Vec<_> =
        grace.events().into_iter().filter(|e| e[0] == "peer-left" || e[0] == "peer-joined").collect();
    assert_eq!(order.len(), 2, "{order:?}");
    assert_eq!(order[0][0], "peer-left", "{order:?}");
    assert!(order[0][2] == "left" || order[0][2] == "replaced", "{order:?}");
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    assert_eq!(server.overview()["peers"], 2, "no ghost");

    // The same person in another window, while the first still has its place: the newest wins.
    let own = ada.page.evaluate("sessionStorage.getItem('chappe-identity')");
    let window = two.first.page(&server.url("/"), (800, 600));
    window.until("document.readyState === 'complete'", SOON);
    window.evaluate(&format!("sessionStorage.setItem('chappe-identity', {own})"));
    window.go(&server.url("/r/tea?pattern=1&autojoin=1&name=Ada&policy=relay"));
    ada.page
        .until("document.getElementById('over-title').textContent === 'You are here from elsewhere'", SOON);
    let newest = CallPage { page: window, name: "Ada".to_owned() };
    newest.until_joined(SOON);
    newest.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    let left = grace.events();
    assert!(left.iter().any(|e| e[0] == "peer-left" && e[2] == "replaced"), "{left:?}");
    assert_eq!(server.overview()["peers"], 2, "no ghost");
}

#[test]
fn who_is_kicked_is_told_and_relayed_no_longer() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let two = Two::on(&lan);
    let admin = server.token("tea", &["join", "create", "admin"]);
    let plain = server.token("tea", &["join"]);
    let ada = CallPage::join(&two.first, &server, "tea", Guest { token: Some(&admin), ..relayed(ADA) });
    let grace = CallPage::join(&two.second, &server, "tea", Guest { token: Some(&plain), ..relayed(GRACE) });
    let hedy = CallPage::join(&two.first, &server, "tea", Guest { token: Some(&plain), ..relayed(HEDY) });
    ada.until_moving(&["Grace", "Hedy"], 2 * SOON);
    grace.until_moving(&["Ada", "Hedy"], SOON);
    hedy.until_moving(&["Ada", "Grace"], SOON);
    assert_eq!(ada.page.evaluate("location.hash"), "", "the token is out of sight");

    let refused = hedy.kick("Grace");
    assert_eq!(refused, "forbidden", "kicking needs the grant");

    // Grace's page can be told nothing, so nothing on her side ends it: the edge does.
    let pairs = server.allocations();
    two.second_host.black_hole(chappe_tests::lan_server::HTTP);
    let began = now();
    assert_eq!(ada.kick("Grace"), "done");
    wait("the allocations of the kicked one to end", Duration::from_secs(5), || {
        (server.allocations() <= pairs / 3).then_some(())
    });
    eprintln!("the allocations of a kicked one were gone {:?} after the kick", now() - began);
    ada.until_moving(&["Hedy"], SOON);
    hedy.until_moving(&["Ada"], SOON);
    two.second_host.heal();
    grace.page.until("document.getElementById('over-title').textContent === 'You were removed'", 2 * SOON);

    assert_eq!(ada.kick("Hedy"), "done");
    hedy.page.until("document.getElementById('over-title').textContent === 'You were removed'", SOON);
    ada.page.until("window.chappe.room.peers.size === 0", SOON);
    wait("no allocation to be left", SOON, || (server.allocations() == 0).then_some(()));
}

#[test]
fn camera_microphone_and_screen_as_a_person_uses_them() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start(&lan);
    let (host, other_host) = (lan.host(), lan.host());
    // As over HTTPS: a page gets a camera.
    let secure =
        format!("--unsafely-treat-insecure-origin-as-secure={}", server.url("").trim_end_matches('/'));
    let tab = "--auto-select-tab-capture-source-by-title=Chappe";
    let (browser, other) = (Browser::start(&host, &[&secure]), Browser::start(&other_host, &[&secure, tab]));
    let (ada, grace) = (person(&browser, &server, "Ada"), person(&other, &server, "Grace"));
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    let name = |call: &CallPage, text: &str| {
        call.page.until(&format!("document.querySelector('#grid').innerText.includes('{text}')"), SOON);
    };
    name(&ada, "Grace");

    wait("sound to be heard", SOON, || (loudness(&ada) > QUIET).then_some(()));
    press(&grace, "mic");
    ada.page.until("[...window.chappe.room.peers.values()][0].metadata.audio === false", SOON);
    // What was under way may still arrive.
    wait("silence", SOON, || (loudness(&ada) < QUIET).then_some(()));
    press(&grace, "mic");
    wait("sound to be heard again", SOON, || (loudness(&ada) > QUIET).then_some(()));

    press(&grace, "camera");
    ada.page.until("[...window.chappe.room.peers.values()][0].metadata.video === false", SOON);
    press(&grace, "camera");
    ada.page.until("[...window.chappe.room.peers.values()][0].metadata.video === true", SOON);
    ada.until_moving(&["Grace"], SOON);

    press(&grace, "screen");
    ada.page.until("document.querySelectorAll('#grid video').length === 3", SOON);
    name(&ada, "Grace: screen");
    ada.page
        .until("[...document.querySelectorAll('#grid video')].every((video) => video.videoWidth > 0)", SOON);
    press(&grace, "screen");
    ada.page.until("document.querySelectorAll('#grid video').length === 2", SOON);
    ada.until_moving(&["Grace"], SOON);
    for call in [ada, grace] {
        call.assert_well();
    }
}

#[test]
fn a_phone_on_the_lan_finds_the_secure_page_and_has_a_camera_there() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let server = LanServer::start_for_phones(&lan);
    let (host, other_host) = (lan.host(), lan.host());
    // Instead of trusting the CA that the page offers, which is a person's part.
    let trust = "--ignore-certificate-errors";
    let (browser, other) = (Browser::start(&host, &[trust]), Browser::start(&other_host, &[trust]));
    let phone = browser.page(&server.url("/phone"), (360, 740));
    phone.until("document.getElementById('secure')?.href?.startsWith('https:')", SOON);
    phone.until(
        "fetch('/ca.crt').then((answer) => answer.text()).then((text) => text.includes('BEGIN CERTIFICATE'))",
        SOON,
    );
    phone.evaluate("document.getElementById('secure').click()");
    phone.until("isSecureContext && location.protocol === 'https:'", SOON);
    // From here on that one port is enough: TURN over TLS is there too, by the same certificate.
    host.only_tcp(HTTPS);
    let phone = enter(phone, "Ada");
    let desk = enter(other.page(&format!("https://{SERVER}:{HTTPS}/"), (1280, 800)), "Grace");
    phone.until_moving(&["Grace"], SOON);
    desk.until_moving(&["Ada"], SOON);
    let seen = phone.sees("Grace");
    assert_eq!((seen.local.as_deref(), seen.relay_protocol.as_deref()), (Some("relay"), Some("tls")));
    for call in [phone, desk] {
        call.assert_well();
    }
}

/// Comes by the home page, looks at the own picture, and joins.
fn person(browser: &Browser, server: &LanServer<'_>, name: &str) -> CallPage {
    enter(browser.page(&server.url("/"), (1280, 800)), name)
}

/// The same, from the home page on.
fn enter(page: Page, name: &str) -> CallPage {
    page.until("document.getElementById('room')?.value.length > 0", SOON);
    page.evaluate("document.getElementById('room').value = 'tea'");
    page.evaluate("document.querySelector('#form [type=submit]').click()");
    page.until("location.pathname === '/r/tea' && document.getElementById('preview')?.videoWidth > 0", SOON);
    page.evaluate(&format!("document.getElementById('name').value = '{name}'"));
    let call = CallPage { page, name: name.to_owned() };
    press(&call, "join");
    call.until_joined(SOON);
    call
}

/// How loud the one peer was over two seconds, in which the fake microphone beeps twice: 1 is full scale.
///
/// From what was decoded, so what a jitter buffer makes up for a late packet is in it: silence is not
/// always zero.
fn loudness(call: &CallPage) -> f64 {
    let heard = "(async () => {
        const [peer] = window.chappe.room.peers.values();
        const report = [...(await peer.connection.getStats()).values()];
        const audio = report.find((s) => s.type === 'inbound-rtp' && s.kind === 'audio');
        return [audio?.totalAudioEnergy ?? 0, audio?.totalSamplesDuration ?? 0];
    })()";
    let figures = || {
        let read = call.page.evaluate(heard);
        let figure = |index: usize| read[index].as_f64().unwrap_or(f64::NAN);
        (figure(0), figure(1))
    };
    let (energy, duration) = figures();
    wait("two seconds of sound", SOON, || {
        let (later_energy, later) = figures();
        (later >= duration + 2.0).then(|| ((later_energy - energy) / (later - duration)).sqrt())
    })
}

/// Presses a button once it can be pressed.
fn press(call: &CallPage, button: &str) {
    call.page.until(&format!("!document.getElementById('{button}').disabled"), SOON);
    call.page.evaluate(&format!("document.getElementById('{button}').click()"));
}

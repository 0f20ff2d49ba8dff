//! The console in a real browser, as operators use it.
#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::time::Duration;

use chappe_tests::chromium::{Browser, Page};
use chappe_tests::console::{SOON, WIDE, shoot};
use chappe_tests::fleet::{Fleet, TURN};
use chappe_tests::lan_server::LanServer;
use chappe_tests::netns::{Lan, turn, wait};
use serde_json::json;

/// Where a firewall drops UDP each of its URLs takes ten seconds, and what comes after it some more.
const TESTED_WITHIN: Duration = Duration::from_secs(45);

/// A window that is logged in to a node's console, at that page: by the cluster's own token, since a login's cookie is
/// for HTTPS alone.
fn logged_in(browser: &Browser, token: &str, url: &str) -> Page {
    let page = browser.page("about:blank", WIDE);
    let headers = json!({ "Authorization": format!("Bearer {token}") });
    page.command("Network.enable", &json!({}));
    page.command("Network.setExtraHTTPHeaders", &json!({ "headers": headers }));
    page.go(url);
    page
}

/// Tests once, to its end.
fn tested(page: &Page) {
    page.until("document.getElementById('test-begin')?.matches(':enabled:not([hidden])') === true", SOON);
    page.evaluate("document.getElementById('test-begin').click()");
    page.until("document.getElementById('test').dataset.state === 'done'", TESTED_WITHIN);
}

/// How a URL of an edge or a node did, and what is said of it.
fn found(page: &Page, name: &str, way: &str) -> (String, String) {
    let row = format!("document.querySelector('tr[data-name=\"{name}\"][data-way={way}]')");
    let text = |expression: String| page.evaluate(&expression).as_str().unwrap().to_owned();
    (text(format!("{row}.dataset.state")), text(format!("{row}.nextElementSibling.innerText")))
}

fn summary(page: &Page) -> String {
    page.evaluate("document.getElementById('test-summary').innerText").as_str().unwrap().to_owned()
}

#[test]
fn an_operator_tests_the_own_connection_and_learns_of_a_firewall() {
    let _turn = turn();
    let Some(mut fleet) = Fleet::found(&["eu"], &[("eu-1", "eu"), ("us-1", "us")]) else { return };
    fleet.launch();
    let at = fleet.edge("us-1").host.address();
    fleet.edge("us-1").host.close_udp(TURN);
    let ada = fleet.wan.behind_nat("eu");
    let browser = Browser::start(&ada.host, &[]);
    let token = std::fs::read_to_string(fleet.cluster.nodes[0].dir().join("admin-token")).expect("a token");
    let page = logged_in(&browser, token.trim(), &format!("{}/admin/test", fleet.origin("eu")));
    page.until(
        "document.querySelector('.nav [aria-current=page]')?.innerText === 'Test my connection'",
        SOON,
    );
    shoot(&page, "before");
    tested(&page);
    shoot(&page, "firewall");

    for (name, way) in
        [("eu-1", "stun"), ("eu-1", "udp"), ("eu-1", "tcp"), ("us-1", "tcp"), ("node 1", "signal")]
    {
        assert_eq!(found(&page, name, way), ("good".to_owned(), String::new()), "{name} {way}");
    }
    let (state, told) = found(&page, "us-1", "stun");
    assert_eq!(state, "bad", "{told}");
    assert!(told.contains(&format!("Open UDP {TURN} to {at} ")), "{told}");
    assert!(told.contains("Other edges answer by UDP"), "{told}");
    assert_eq!(found(&page, "us-1", "udp"), ("bad".to_owned(), String::new()), "it is said once");
    let words = summary(&page);
    let reach = "You reach 1 of 2 edges by UDP, and 1 more by TCP or TLS alone; fastest eu-1 in ";
    assert!(words.starts_with(reach) && words.contains(" NAT"), "{words}");
    assert!(words.ends_with("Its node answers signaling."), "{words}");
    let report = page.evaluate("document.getElementById('test-text').value");
    let report = report.as_str().expect("text");
    assert!(
        report.contains(&words) && report.contains("relay by udp") && report.contains("Mbit/s"),
        "{report}"
    );

    // The firewall is mended, and two edges tell what kind of NAT there is.
    fleet.edge("us-1").host.heal();
    tested(&page);
    page.evaluate("for (const part of document.querySelectorAll('#test details')) part.open = true");
    shoot(&page, "mended");
    assert_eq!(found(&page, "us-1", "udp").0, "good");
    let words = summary(&page);
    assert!(words.starts_with("You reach 2 of 2 edges by UDP; fastest eu-1 in "), "{words}");
    // Linux's keeps the port where it is free, and the browser hides its own address.
    assert!(words.contains("behind no NAT, or one that keeps this machine’s ports: most calls"), "{words}");
    wait("the allocations of the test to end", SOON, || (fleet.allocations("") == 0).then_some(()));

    // A credential that the edge does not know is told by its code, as every other one of TURN's.
    let wrong = page.evaluate(&format!(
        "import('/admin/ui/connection-probe.js').then(({{ turn }}) => turn({{ url: 'turn:{at}:{TURN}?transport=udp' }}, {{
            username: '9999999999:nobody', credential: 'wrong', cancelled: new AbortController().signal,
            say() {{}}, alone: (job) => job() }})).then(({{ fault }}) => [fault.kind, fault.code])"
    ));
    assert_eq!(wrong, json!(["code", 401]));

    // Whoever has enough of it cancels.
    page.evaluate("document.getElementById('test-begin').click()");
    page.until("document.getElementById('test-rows').childElementCount > 0", SOON);
    page.evaluate("document.getElementById('test-cancel').click()");
    page.until("document.getElementById('test').dataset.state === 'done'", SOON);
    assert!(summary(&page).ends_with("cancelled before its end."), "{}", summary(&page));
    let wrong: Vec<_> = page
        .said()
        .into_iter()
        .filter(|line| line.starts_with("uncaught") || line.contains("Content Security Policy"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_certificate_that_the_browser_does_not_trust_is_named() {
    let _turn = turn();
    let Some(lan) = Lan::new() else { return };
    let server = LanServer::start_for_phones(&lan);
    let host = lan.host();
    let browser = Browser::start(&host, &[]);
    let page = logged_in(&browser, &server.admin_token(), &server.url("/admin/test"));
    tested(&page);
    page.evaluate("for (const part of document.querySelectorAll('#test details')) part.open = true");
    shoot(&page, "certificate");
    let (state, told) = found(&page, "dev-edge", "tls");
    assert!(state == "bad" && told.contains("the certificate is not trusted by this browser"), "{told}");
    for way in ["stun", "udp", "tcp"] {
        assert_eq!(found(&page, "dev-edge", way), ("good".to_owned(), String::new()), "{way}");
    }
    let words = summary(&page);
    assert!(words.contains("You reach 1 of 1 edge by UDP") && words.contains("behind no NAT"), "{words}");
}

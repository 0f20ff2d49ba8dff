//! Calls of real browsers over a fleet of edges in three regions.
#![allow(clippy::print_stderr, reason = "what was measured")]

use std::time::Duration;

use chappe_tests::chromium::Browser;
use chappe_tests::fleet::Fleet;
use chappe_tests::netns::{now, turn};
use chappe_tests::page::{CallPage, Guest};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn calls_over_a_fleet() {
    let _turn = turn();
    let began = now();
    let Some(fleet) = Fleet::start() else { return };
    eprintln!("fleet up after {:?}", now() - began);
    let (ada_host, grace_host) = (fleet.wan.behind_nat("eu"), fleet.wan.host("us"));
    let (ada_browser, grace_browser) =
        (Browser::start(&ada_host.host, &[]), Browser::start(&grace_host, &[]));
    eprintln!("browsers up after {:?}", now() - began);
    let ada = Guest { name: "Ada", relay: true, token: Some(&fleet.token("tea", &["--region", "eu"])) };
    let grace = Guest { name: "Grace", relay: true, token: Some(&fleet.token("tea", &["--region", "us"])) };
    let ada = CallPage::join_at(&ada_browser, &fleet.origin("eu"), "tea", ada);
    let grace = CallPage::join_at(&grace_browser, &fleet.origin("us"), "tea", grace);
    eprintln!("joined after {:?}", now() - began);
    ada.until_moving(&["Grace"], SOON);
    grace.until_moving(&["Ada"], SOON);
    eprintln!("moving after {:?}", now() - began);
    eprintln!("{:?} {:?}", ada.seen(), grace.seen());
}

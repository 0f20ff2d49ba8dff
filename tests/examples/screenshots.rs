//! Pictures of the pages, in a real browser in a real call: `cargo run -p chappe-tests --example
//! screenshots -- DIRECTORY`, as root. The README's is `call.png`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a tool of the project's own")]

use std::path::Path;
use std::time::Duration;

use chappe_tests::chromium::{Browser, Page};
use chappe_tests::lan_server::LanServer;
use chappe_tests::netns::Lan;
use chappe_tests::page::{CallPage, Guest};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);
const DESK: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (360, 740);

fn main() {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("Which directory should they go to?");
        std::process::exit(2);
    };
    let Some(lan) = Lan::new() else { std::process::exit(1) };
    let server = LanServer::start(&lan);
    let (host, other_host) = (lan.host(), lan.host());
    // As on localhost or over HTTPS: with a camera, and without what the page says where there is none.
    let secure =
        format!("--unsafely-treat-insecure-origin-as-secure={}", server.url("").trim_end_matches('/'));
    let browser = Browser::start(&host, &[&secure]);
    let other = Browser::start(&other_host, &[&secure, "--auto-select-tab-capture-source-by-title=Chappe"]);
    let keep = |name: &str, page: &Page| {
        std::fs::write(Path::new(&directory).join(name), page.screenshot()).unwrap();
    };
    std::fs::create_dir_all(&directory).unwrap();

    for (size, suffix) in [(DESK, ""), (PHONE, "-phone")] {
        for (scheme, shade) in [("light", ""), ("dark", "-dark")] {
            let page = browser.page("about:blank", size);
            prefer(&page, scheme);
            page.go(&server.url("/"));
            page.until("document.getElementById('room')?.value.length > 0", SOON);
            keep(&format!("home{suffix}{shade}.png"), &page);
            page.go(&server.url("/r/tea?name=Ada"));
            page.until("document.getElementById('preview')?.videoWidth > 0", SOON);
            keep(&format!("lobby{suffix}{shade}.png"), &page);
            page.close();
        }
    }

    let ada = CallPage::join(&browser, &server, "tea", Guest { name: "Ada", relay: true, token: None });
    let grace = CallPage::join(&other, &server, "tea", Guest { name: "Grace", relay: true, token: None });
    ada.page.until("document.querySelector('#grid').innerText.includes('relay dev-edge')", SOON);
    sharp(&ada, &["Grace"]);
    keep("call.png", &ada.page);
    prefer(&ada.page, "dark");
    keep("call-dark.png", &ada.page);
    ada.page.resize(PHONE);
    keep("call-phone-dark.png", &ada.page);
    prefer(&ada.page, "light");
    keep("call-phone.png", &ada.page);
    ada.page.resize(DESK);
    let hedy = CallPage::join(&other, &server, "tea", Guest { name: "Hedy", relay: true, token: None });
    sharp(&ada, &["Grace", "Hedy"]);
    ada.page.evaluate("document.getElementById('people-toggle').click()");
    ada.page.until("document.getElementById('people-list').innerText.includes('relay dev-edge')", SOON);
    keep("three.png", &ada.page);
    ada.page.resize(PHONE);
    keep("three-phone-people.png", &ada.page);
    ada.page.evaluate("document.getElementById('people-close').click()");
    keep("three-phone.png", &ada.page);
    grace.page.evaluate("document.getElementById('screen').click()");
    ada.page.until("document.querySelectorAll('#grid video').length === 4", SOON);
    sharp(&ada, &["Grace", "Hedy"]);
    keep("screen-phone.png", &ada.page);
    ada.page.resize(DESK);
    keep("screen.png", &ada.page);
    drop((grace, hedy));
    ada.page.evaluate("document.getElementById('leave').click()");
    ada.page.until("!document.getElementById('over').hidden", SOON);
    keep("over.png", &ada.page);
    let alone = CallPage::join(&browser, &server, "milk", Guest { name: "Ada", relay: true, token: None });
    keep("alone.png", &alone.page);
}

fn prefer(page: &Page, scheme: &str) {
    let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    page.command("Emulation.setEmulatedMedia", &json!({ "features": features }));
}

/// Waits until the others' pictures have the size that is sent: senders begin small.
fn sharp(call: &CallPage, others: &[&str]) {
    call.until_moving(others, SOON);
    call.page.until(
        "[...document.querySelectorAll('#grid video')].every((video) => video.videoWidth >= 640 && video.currentTime > 2)",
        SOON,
    );
}

//! A day of an operator at the console, in a real browser, by mouse and keyboard: the first login, a call that is
//! watched and acted on, credentials, secrets, edges, webhooks, rooms, somebody who may only look, and the log of it all.
//! And how each page looks and whom it shuts out.
#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

mod access;
mod hooks;
mod looks;
mod rooms;
mod signals;
mod turn;

use std::time::Duration;

use chappe_tests::chromium::Browser;
use chappe_tests::console::{Console, SOON, WIDE, shoot};
use chappe_tests::lan_server::LanServer;
use chappe_tests::netns::{Lan, Namespace, turn, wait};
use chappe_tests::page::{CallPage, Guest};
use serde_json::{Value, json};

/// A page shows by itself what has changed within this: it looks every second or two.
const LIVE: Duration = Duration::from_secs(8);
/// Nobody in a call notices less than this.
const UNNOTICED: Duration = Duration::from_secs(2);

const PASSWORD: &str = "horse battery staple";

const fn relayed(name: &str) -> Guest<'_> {
    Guest { name, relay: true, token: None }
}

/// The day.
struct Day<'a> {
    host: &'a Namespace,
    server: &'a LanServer<'a>,
    browser: &'a Browser,
    ada: Console,
    /// Refusals that are meant: the browser tells of each on its console.
    meant: Vec<&'static str>,
}

impl Day<'_> {
    fn change(&self, method: &str, path: &str, body: &Value) -> Value {
        // On a busy machine the cluster is without a leader now and then, and says: try again.
        let asked = || Some(self.ada.call(method, path, body)).filter(|(status, _)| *status != 503);
        let (status, answer) = wait(&format!("{method} {path}"), SOON, asked);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// The link makes the first owner, once.
    fn first_login(&mut self) {
        let (console, link) = (&self.ada, self.server.owner_link());
        console.go("/admin/rooms");
        assert_eq!(console.text("h1"), "Log in", "nobody looks without a login");
        shoot(&console.page, "login");
        console.go(&link);
        console.fill("input[name=name]", "ada");
        console.fill("input[name=password]", PASSWORD);
        console.press("button", "Set it and log in");
        console.until_at("/admin");
        assert!(console.text(".who").contains("ada"), "{}", console.text(".who"));

        console.press(".who button", "Log out");
        console.until_at("/admin/login");
        console.go(&link);
        self.meant.push("404");
        assert!(console.text("main").contains("it was used"), "{}", console.text("main"));

        console.go("/admin/login");
        console.fill("input[name=name]", "ada");
        console.fill("input[name=password]", "wrong horse");
        console.press("button", "Log in");
        console.until_says(".problem", "password", SOON);
        self.meant.push("401");
        console.fill("input[name=password]", PASSWORD);
        console.press("button", "Log in");
        console.until_at("/admin");
    }

    /// Two who talk through a relay come to be seen without that a page is loaded again.
    fn call(&self) -> (CallPage, CallPage) {
        let console = &self.ada;
        console.go("/admin/rooms");
        console.page.evaluate("window.same = true");
        let origin = self.server.url("");
        let grace = CallPage::join_at(self.browser, &origin, "tea", relayed("Grace"));
        let hedy = CallPage::join_at(self.browser, &origin, "tea", relayed("Hedy"));
        console.until_says("#room-dev-tea [data-label=People]", "2", LIVE);
        assert_eq!(console.page.evaluate("window.same"), true, "the page was loaded again");
        console.press("#room-dev-tea th a", "tea");
        console.until_at("/admin/apps/dev/rooms/tea");
        grace.until_moving(&["Hedy"], SOON);
        hedy.until_moving(&["Grace"], SOON);
        console.until_says("#live", "Grace", LIVE);
        grace.watch();
        (grace, hedy)
    }

    fn row(peer: &CallPage) -> String {
        format!("[id=\"{}\"]", peer.id())
    }

    /// The row of what has that name.
    fn row_of(name: &str) -> String {
        format!(
            "[...document.querySelectorAll('#live tbody tr')].find((row) => row.innerText.includes('{name}'))"
        )
    }

    /// Clicks a button in the row of what has that name.
    fn press_in_row(&self, name: &str, words: &str) {
        let buttons = format!("{}?.querySelectorAll('button') ?? []", Self::row_of(name));
        self.ada.click(&format!("[...{buttons}].find((one) => one.innerText.trim() === '{words}')"));
    }

    /// Waits until a toast says so.
    fn until_told(&self, words: &str) {
        self.ada.until_says("#toasts", words, SOON);
    }

    /// Who is muted learns of it, and so does the other one.
    fn mute(&self, grace: &CallPage, hedy: &CallPage) {
        let (console, row) = (&self.ada, Self::row(hedy));
        let muted =
            "[...window.chappe.room.peers.values()].some(({ withheld }) => withheld.includes('publish'))";
        console.go("/admin/apps/dev/rooms/tea");
        console.press(&format!("{row} button"), "Mute");
        hedy.page.until("window.chappe.room.muted", SOON);
        grace.page.until(muted, SOON);
        console.until_says(&row, "muted", LIVE);
        console.press(&format!("{row} button"), "Unmute");
        hedy.page.until("!window.chappe.room.muted", SOON);
        grace.page.until(&format!("!{muted}"), SOON);
        grace.until_moving(&["Hedy"], SOON);
    }

    /// An edge is drained and takes clients again; its badge tells.
    fn drain(&self, grace: &CallPage) {
        let console = &self.ada;
        console.go("/admin/edges");
        let edge = console.text("tbody tr:last-of-type th a");
        console.press("tbody th a", &edge);
        console.until_at(&format!("/admin/edges/{edge}"));
        console.press(".head button", "Drain");
        console.confirm();
        console.until_says("#live .badge", "draining", LIVE);
        console.press(".head button", "Take clients again");
        console.until_says("#live .badge", "up", LIVE);
        console.press(".nav a", "Edges");
        console.until_at("/admin/edges");
        console.until_says(&format!("[id=\"edge-{edge}\"] .badge"), "up", LIVE);
        grace.until_moving(&["Hedy"], SOON);
    }

    /// One after the other is sent to another room: their pages follow, and the call goes on there.
    fn moves(&self, grace: &CallPage, hedy: &CallPage) {
        let (console, place) = (&self.ada, "/apps/dev/rooms/tea/peers");
        let path = self.change("GET", &format!("{place}/{}", hedy.id()), &Value::Null)["path"].clone();
        assert_eq!(path["relays"][0]["in_use"], true, "{path}");
        console.go(&format!("/admin{place}/{}", hedy.id()));
        for told in ["Grace", "connected", "relayed"] {
            console.until_says("[aria-labelledby=connections] tbody", told, LIVE);
        }
        for guest in [hedy, grace] {
            console.go(&format!("/admin{place}/{}", guest.id()));
            console.until_says("#live", "The path of its media", LIVE);
            console.press("button", "Move to room…");
            console.fill("dialog[open] input[name=room]", "coffee");
            console.press("dialog[open] button", "Move");
            console.until_at("/admin/apps/dev/rooms/tea");
            guest
                .page
                .until("location.pathname === '/r/coffee' && document.title.startsWith('coffee')", SOON);
            guest.until_joined(SOON);
        }
        grace.until_moving(&["Hedy"], SOON);
        hedy.until_moving(&["Grace"], SOON);
    }

    /// What the nodes say: all of it, a part of it, and more of it for a while.
    fn logs(&self) {
        let console = &self.ada;
        console.go("/admin/logs");
        console.until_says("#lines", "lease held", SOON);
        console.fill("#which [name=target]", "chappe_edge");
        console.press("#which button", "Filter");
        console.until_says("#lines", "uplink up", SOON);
        assert!(!console.text("#lines").contains("chappe_cluster"));
        let export = "document.getElementById('export-text').href";
        let lines = console.page.evaluate(&format!("fetch({export}).then((answer) => answer.text())"));
        assert!(lines.as_str().unwrap().contains("INFO chappe_edge"), "{lines}");
        console.press(".head button", "Log more…");
        console.press("#louder button", "Log more");
        console.until_says("#changed", "It logs debug until", SOON);
        console.press("#changed button", "End it now");
        console.page.until("document.getElementById('changed').hidden", SOON);
        // An edge is asked over its uplink.
        console.go("/admin/logs?edge=dev-edge");
        console.until_says("#lines", "uplink up", SOON);
        assert!(console.text("#state").starts_with("dev-edge, "));
    }

    /// It ends for who is kicked, and for nobody else.
    fn kick(&self, grace: &CallPage, hedy: &CallPage) {
        let (console, row) = (&self.ada, Self::row(hedy));
        console.go("/admin/apps/dev/rooms/coffee");
        console.press(&format!("{row} button"), "Kick");
        console.confirm();
        hedy.page.until("document.getElementById('over-title').textContent === 'You were removed'", SOON);
        grace.page.until("window.chappe.room.peers.size === 0", SOON);
        console.page.until(&format!("!document.querySelector({})", json!(row)), LIVE);
    }

    /// The log tells all of it, of whoever did it.
    fn audit(&self) {
        let console = &self.ada;
        console.go("/admin/audit");
        let all = console.text("#live");
        for told in [
            "became owner by a one-time link",
            "logged out",
            "logged in",
            "admitted the edge",
            "took publish of",
            "gave back publish of",
            "rotated the shared secret of TURN credentials",
            "closed the allocation",
            "issued the TURN credential \"camera 3\"",
            "revoked the TURN credential \"camera 3\"",
            "drained the edge",
            "became viewer by a one-time link",
            "from the room dev/tea to the room coffee",
            "set the log of node 1 to debug for 300 s",
            "kicked",
            "the chain is whole",
        ] {
            assert!(all.contains(told), "{told:?} is missing in:\n{all}");
        }
    }
}

#[test]
fn an_operator_does_the_daily_work_at_the_console() {
    let Some(lan) = Lan::new() else { return };
    let _turn = turn();
    let host = lan.host();
    let server = LanServer::start_cluster_on_loopback(&host);
    let browser = Browser::start(&host, &[]);
    browser.allow(&["clipboardReadWrite", "clipboardSanitizedWrite"]);
    let ada = Console::of(browser.page("about:blank", WIDE), &server.url(""));
    let mut day = Day { host: &host, server: &server, browser: &browser, ada, meant: vec!["503"] };
    day.first_login();
    day.empty_pages();
    let mut till = day.add_webhook();
    let (grace, hedy) = day.call();
    day.deliveries(&mut till);
    day.mute(&grace, &hedy);
    day.find();
    day.watch_signals(&hedy);
    day.rotate(&grace, &hedy);
    day.credential();
    day.logs();
    day.decide_of_a_room();
    day.access_token();
    day.filled_pages(&hedy);
    day.drain(&grace);
    let viewer = day.viewer(&hedy);
    day.forged();
    day.moves(&grace, &hedy);
    day.kick(&grace, &hedy);
    day.audit();

    // Each page in turn, for what a developer's console says of it.
    for link in day
        .ada
        .page
        .evaluate("[...document.querySelectorAll('.nav a')].map((a) => a.pathname)")
        .as_array()
        .unwrap()
    {
        day.ada.go(link.as_str().unwrap());
    }
    for console in [&day.ada, &viewer] {
        let errors = console.errors(&day.meant);
        assert!(errors.is_empty(), "{errors:#?}");
    }
    grace.assert_well();
    hedy.assert_well();
}

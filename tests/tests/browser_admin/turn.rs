//! Credentials and secrets.

use std::time::Duration;

use chappe_tests::console::SOON;
use chappe_tests::netns::wait;
use chappe_tests::page::CallPage;
use chappe_tests::process::Process;
use serde_json::Value;

use super::{Day, LIVE, UNNOTICED};

/// What is revoked relays no more after this.
const DEAD_WITHIN: Duration = Duration::from_secs(5);

impl Day<'_> {
    /// No call notices another secret.
    pub(super) fn rotate(&self, grace: &CallPage, hedy: &CallPage) {
        let console = &self.ada;
        grace.watch();
        console.go("/admin/turn/secrets");
        let before =
            console.page.evaluate("document.querySelectorAll('#live tbody tr').length").as_u64().unwrap();
        console.press(".head button", "Rotate");
        console.press("#rotate button", "Rotate");
        self.until_told("A new secret issues.");
        console
            .page
            .until(&format!("document.querySelectorAll('#live tbody tr').length === {}", before + 1), LIVE);
        grace.until_moving(&["Hedy"], SOON);
        hedy.until_moving(&["Grace"], SOON);
        assert!(grace.longest_gap() < UNNOTICED, "the picture stood for {:?}", grace.longest_gap());
    }

    fn allocations(&self, id: &str) -> usize {
        let page = self.change("GET", &format!("/turn/allocations?session={id}"), &Value::Null);
        page["allocations"].as_array().unwrap().len()
    }

    /// Three clicks: open, issue, copy. Gives what is pasted as `iceServers`.
    fn issue(&self) -> Value {
        let console = &self.ada;
        console.go("/admin/turn");
        console.press(".head button", "Issue a credential");
        console.fill("#issue [name=label]", "camera 3");
        console.choose("#issue [name=app]", "dev");
        console.press("#issue button", "Issue it");
        console.page.command("Page.bringToFront", &serde_json::json!({}));
        console.press("#issue button", "Copy as iceServers");
        self.until_told("Copied.");
        let servers: Value = serde_json::from_str(&console.clipboard()).unwrap();
        console.press("#issue button", "Copy as URL");
        console.page.until("navigator.clipboard.readText().then((text) => text.startsWith('turn://'))", SOON);
        let code = "document.querySelector('#issue .qr svg').getBoundingClientRect().width";
        assert!(console.page.evaluate(code).as_f64().unwrap() > 150.0, "no phone reads a code so small");
        console.press("#issue summary", "Show what is copied");
        assert!(console.text("#issued-link").starts_with("turn://"), "{}", console.text("#issued-link"));
        console.press("#issue button", "Close");
        // It was shown once.
        console.page.until("document.getElementById('issued-ice').textContent === ''", SOON);
        servers
    }

    /// A camera relays by a credential until that is revoked.
    pub(super) fn credential(&self) {
        let (console, servers) = (&self.ada, self.issue());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let port = text(&servers[0]["urls"][0]).split(['?', ':']).nth(2).unwrap().to_owned();
        let mut command = self.host.command("turnutils_uclient");
        command.args(["-c", "-y", "-m", "2", "-l", "400", "-z", "10", "-n", "10000", "-p", &port]);
        command.args([
            "-u",
            &text(&servers[0]["username"]),
            "-w",
            &text(&servers[0]["credential"]),
            "127.0.0.1",
        ]);
        let run = Process::start(&mut command);

        console.press("#live th a", "camera 3");
        console.page.until("location.pathname.startsWith('/admin/turn/credentials/s_')", SOON);
        let id = text(&console.page.evaluate("location.pathname.split('/').pop()"));
        wait("the camera to relay", SOON, || (self.allocations(&id) == 3).then_some(()));
        console.until_says("#live .figures a", "3", LIVE);
        self.close_one(&id);

        console.go(&format!("/admin/turn/credentials/{id}"));
        console.press(".head button", "Revoke");
        console.confirm();
        wait("its allocations to die", DEAD_WITHIN, || (self.allocations(&id) == 0).then_some(()));
        console.until_says("#live .badge", "revoked", LIVE);
        drop(run);
    }

    /// Of what all edges relay those of one are found, and one of them is closed.
    fn close_one(&self, id: &str) {
        let (console, rows) = (&self.ada, "document.querySelectorAll('#live tbody tr').length");
        console.go("/admin/allocations");
        let all = console.page.evaluate(rows).as_u64().unwrap();
        assert!(all >= 5, "the call's, too: {all}");
        console.fill(".filters [name=session]", id);
        console.press(".filters button", "Filter");
        console.page.until(&format!("location.search.includes('{id}') && {rows} === 3"), SOON);
        console.press("#live td button", "Close");
        console.confirm();
        self.until_told("It is closed.");
        console.page.until(&format!("{rows} === 2"), LIVE);
        assert_eq!(self.allocations(id), 2);
    }
}

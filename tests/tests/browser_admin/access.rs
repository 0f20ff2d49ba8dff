//! Who may do what, and what nobody may who is not here; and finding one's way.

use chappe_tests::chromium::Page;
use chappe_tests::console::{Console, SOON, WIDE};
use chappe_tests::page::CallPage;
use serde_json::{Value, json};

use super::{Day, LIVE, PASSWORD};

impl Day<'_> {
    /// Everything is found by the keyboard alone.
    pub(super) fn find(&self) {
        let console = &self.ada;
        console.go("/admin/settings");
        console.key("/");
        console.page.until("document.getElementById('search').open", SOON);
        console.page.command("Input.insertText", &json!({ "text": "tea" }));
        console.until_says("#found", "room of dev", SOON);
        console.key("Enter");
        console.until_at("/admin/apps/dev/rooms/tea");

        console.key("/");
        console.page.command("Input.insertText", &json!({ "text": "node" }));
        let chosen = |words: &str| {
            console.until_says("#found [aria-selected=true]", words, SOON);
        };
        chosen("Nodes and shards");
        console.key("ArrowDown");
        chosen("Node 1");
        console.key("ArrowDown");
        console.key("ArrowUp");
        chosen("Node 1");
        console.key("Escape");
        console.page.until("!document.getElementById('search').open", SOON);
        console.until_at("/admin/apps/dev/rooms/tea");
    }

    /// A program does by a token what its maker may, until the token is removed.
    pub(super) fn access_token(&self) {
        let console = &self.ada;
        console.go("/admin/operators");
        console.press(".head button", "Make an access token");
        console.fill("#token [name=label]", "nightly report");
        console.press("#token button", "Make it");
        console.page.command("Page.bringToFront", &json!({}));
        console.press("#token button", "Copy");
        self.until_told("Copied.");
        let token = console.clipboard();
        assert!(token.starts_with("chappe_at_"), "{token}");
        let me = format!(
            "fetch('/admin/api/v1/me', {{ credentials: 'omit', headers: {{ Authorization: 'Bearer {token}' }} }})
                .then((answer) => answer.status)"
        );
        assert_eq!(console.page.evaluate(&me), 200);
        console.press("#token button", "Close");
        // It was shown once.
        console.page.until("document.getElementById('made-token').textContent === ''", SOON);
        self.press_in_row("nightly report", "Remove");
        console.confirm();
        console.page.until(&format!("!{}", Self::row_of("nightly report")), LIVE);
        assert_eq!(console.page.evaluate(&me), 401);
    }

    /// A link for an operator, by a dialog.
    fn invite(&self, role: &str, name: &str) -> String {
        let console = &self.ada;
        console.go("/admin/operators");
        console.press("button", "Invite an operator");
        console.choose("#invite [name=role]", role);
        console.fill("#invite [name=name]", name);
        console.press("#invite button", "Make a link");
        console.until_says("#invited-path", "http", SOON);
        let link = console.text("#invited-path");
        console.press("#invite button", "Close");
        link
    }

    /// Who may look alone sees the same, and changes nothing, whatever is tried.
    pub(super) fn viewer(&mut self, hedy: &CallPage) -> Console {
        let withdrawn = self.invite("owner", "mallory");
        self.press_in_row("mallory", "Withdraw");
        self.ada.page.until(&format!("!{}", Self::row_of("mallory")), LIVE);
        let link = self.invite("viewer", "");
        let grace = Console::of(self.browser.private_page("about:blank", WIDE), &self.server.url(""));
        grace.go(&withdrawn);
        assert!(grace.text("main").contains("withdrawn"), "{}", grace.text("main"));
        grace.go(&link);
        grace.fill("input[name=name]", "grace");
        grace.fill("input[name=password]", PASSWORD);
        grace.press("button", "Set it and log in");
        grace.until_at("/admin");
        for (_, place) in self.places(hedy) {
            grace.go(&place);
            // Of oneself one decides: logins, tokens, the password.
            let changes = "[...document.querySelectorAll('main [data-api], #page ~ dialog [data-api]')]
                .map((one) => one.dataset.api).filter((api) => !/access-tokens|logins|me.password/.test(api)).join()";
            assert_eq!(grace.page.evaluate(changes), "", "{place} offers a viewer to change something");
        }
        grace.go("/admin/apps/dev/rooms/tea");
        grace.until_says("#people ~ *, #live", "Hedy", LIVE);
        let (status, told) = grace.call("DELETE", "/apps/dev/rooms/tea", &Value::Null);
        assert_eq!(status, 403, "{told}");
        self.meant.push("403");
        grace
    }

    /// A change needs the proof that a page of the console makes it.
    pub(super) fn forged(&self) {
        let console = &self.ada;
        let bare = "fetch('/admin/api/v1/logout', { method: 'POST' }).then(({ status }) => status)";
        assert_eq!(console.page.evaluate(bare), 403, "without the proof");

        // Another origin on this host: its requests carry the cookie.
        let elsewhere = self.server.nodes().pop().unwrap();
        assert_ne!(elsewhere, self.server.url(""));
        let foreign: Page = self.browser.page("about:blank", WIDE);
        foreign.command("Page.setBypassCSP", &json!({ "enabled": true }));
        foreign.go(&elsewhere);
        foreign.until("document.readyState === 'complete' && location.protocol === 'http:'", SOON);
        let forged = format!(
            "fetch('{}', {{ method: 'POST', mode: 'no-cors', credentials: 'include' }}).catch(() => 'withheld')",
            self.server.url("/admin/api/v1/logout")
        );
        assert_eq!(foreign.evaluate(&forged), "withheld", "a foreign page sees an answer");
        foreign.close();
        assert_eq!(console.call("GET", "/me", &Value::Null).0, 200, "it was logged out by a foreign page");
    }
}

//! How each page looks: in both themes, from a phone's width to a wall's; and whom it shuts out.

use chappe_tests::axe;
use chappe_tests::chromium::Page;
use chappe_tests::console::{SOON, WIDE, shoot, shoot_as_it_is};
use chappe_tests::page::CallPage;
use serde_json::{Value, json};

use super::Day;

/// Widths of windows: of a phone, a tablet, a laptop, a wall.
const WIDTHS: [u32; 4] = [360, 768, 1280, 2560];
const PHONE: (u32, u32) = (360, 900);

/// What reaches beyond the window, but for what scrolls by itself; and tables that do so where they should be stacked.
const OVERFLOWS: &str = "(() => {
    const wide = document.documentElement.clientWidth;
    const inside = (one) => one.closest('.scroll, .tabs, textarea, .visually-hidden, .skip, [data-wide], #explorer');
    const out = document.documentElement.scrollWidth <= wide ? [] : [...document.querySelectorAll('body *')]
        .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > wide + 1 && !inside(one));
    const scrolled = wide > 400 ? [] : [...document.querySelectorAll('.scroll:not([data-wide])')]
        .filter((one) => one.scrollWidth > one.clientWidth + 1);
    return [...out, ...scrolled].map((one) => one.outerHTML.slice(0, 160));
})()";

/// Lines of prose that are too long to find the way back from: more than some 100 letters (WCAG 2.2, 1.4.8 has 80).
const LONG_LINES: &str =
    "[...document.querySelectorAll('main p:not(.pager), main .pager > small, main li')].filter((one) => {
    const letters = document.createRange();
    letters.selectNodeContents(one);
    const { width } = letters.getBoundingClientRect();
    return one.checkVisibility() && width > 62 * parseFloat(getComputedStyle(one).fontSize);
}).map((one) => one.outerHTML.slice(0, 160))";

fn scheme(page: &Page, scheme: &str) {
    let features = json!([
        { "name": "prefers-color-scheme", "value": scheme },
        { "name": "prefers-reduced-motion", "value": "reduce" },
    ]);
    page.command("Emulation.setEmulatedMedia", &json!({ "features": features }));
}

impl Day<'_> {
    fn held_by_axe() -> bool {
        std::env::var_os("CHAPPE_WITHOUT_AXE").is_none()
    }

    /// Each page, by its name.
    pub(super) fn places(&self, hedy: &CallPage) -> Vec<(String, String)> {
        let edge =
            self.change("GET", "/edges", &Value::Null)["items"][0]["edge"].as_str().unwrap().to_owned();
        let all = self.change("GET", "/turn/credentials?state=revoked", &Value::Null);
        let credential = all["credentials"][0]["id"].as_str().unwrap().to_owned();
        let places = [
            ("overview", "/admin"),
            ("rooms", "/admin/rooms"),
            ("room", "/admin/apps/dev/rooms/tea"),
            ("person", &format!("/admin/apps/dev/rooms/tea/peers/{}", hedy.id())),
            ("signals", "/admin/apps/dev/rooms/tea/signals"),
            ("apps", "/admin/apps"),
            ("app", "/admin/apps/dev"),
            ("edges", "/admin/edges"),
            ("edge", &format!("/admin/edges/{edge}")),
            ("nodes", "/admin/nodes"),
            ("node", "/admin/nodes/1"),
            ("shards", "/admin/shards"),
            ("configuration", "/admin/configuration"),
            ("logs", "/admin/logs"),
            ("costs", "/admin/costs"),
            ("test", "/admin/test"),
            ("turn", "/admin/turn"),
            ("credential", &format!("/admin/turn/credentials/{credential}")),
            ("secrets", "/admin/turn/secrets"),
            ("users", "/admin/turn/users"),
            ("allocations", "/admin/allocations"),
            ("webhooks", "/admin/webhooks"),
            ("audit", "/admin/audit"),
            ("operators", "/admin/operators"),
            ("settings", "/admin/settings"),
            ("api", "/admin/api"),
        ];
        places.map(|(name, place)| (name.to_owned(), place.to_owned())).to_vec()
    }

    /// What is wrong with the page that is open: the first element of a line is where.
    fn look(&self, name: &str, wrong: &mut Vec<String>) {
        let page = &self.ada.page;
        let mut note = |what: &str, found: Vec<String>| {
            wrong.extend(found.into_iter().map(|line| format!("{name}, {what}: {line}")));
        };
        let lines = |found: Value| -> Vec<String> { serde_json::from_value(found).unwrap() };
        for width in WIDTHS {
            page.resize((width, 900));
            shoot_as_it_is(page, &format!("{name}-{width}"));
            note(&format!("{width} wide, reaches out"), lines(page.evaluate(OVERFLOWS)));
        }
        note("2560 wide, long lines", lines(page.evaluate(LONG_LINES)));
        if Self::held_by_axe() {
            page.resize(WIDE);
            note("axe, light", axe::serious(page));
            page.resize(PHONE);
            scheme(page, "dark");
            note("axe, dark", axe::serious(page));
            scheme(page, "light");
        }
        page.resize(WIDE);
    }

    /// The same of each dialog that a page opens by a button.
    fn look_at_dialogs(&self, name: &str, wrong: &mut Vec<String>) {
        let page = &self.ada.page;
        let ids = page.evaluate(
            "[...new Set([...document.querySelectorAll('[data-open]')].map((one) => one.dataset.open))]",
        );
        for id in ids.as_array().unwrap() {
            let id = id.as_str().unwrap();
            if id == "search" && name != "overview" {
                continue;
            }
            page.evaluate(&format!("document.getElementById('{id}').showModal()"));
            page.evaluate(&format!(
                "for (const part of document.querySelectorAll('#{id} :is(.secret, details)')) part.hidden = !(part.open = true)"
            ));
            shoot_as_it_is(page, &format!("{name}-{id}"));
            page.resize(PHONE);
            scheme(page, "dark");
            let out = page.evaluate(OVERFLOWS);
            wrong.extend(out.as_array().unwrap().iter().map(|line| format!("{name} #{id}: {line}")));
            if Self::held_by_axe() {
                wrong.extend(axe::serious(page).into_iter().map(|line| format!("{name} #{id}: {line}")));
            }
            scheme(page, "light");
            page.resize(WIDE);
            page.evaluate(&format!("document.getElementById('{id}').close()"));
        }
    }

    /// Before anything has happened.
    pub(super) fn empty_pages(&self) {
        let mut wrong = Vec::new();
        for place in [
            "/admin",
            "/admin/rooms",
            "/admin/turn",
            "/admin/turn/users",
            "/admin/allocations",
            "/admin/webhooks",
            "/admin/nodes/99",
        ] {
            self.ada.go(place);
            self.look(&format!("empty{}", place.replace('/', "-")), &mut wrong);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Each page and each dialog, with something to see on it.
    pub(super) fn filled_pages(&self, hedy: &CallPage) {
        let mut wrong = Vec::new();
        for (name, place) in self.places(hedy) {
            self.ada.go(&place);
            if name == "api" {
                self.ada.page.until("Boolean(document.querySelector('.opblock'))", SOON);
            }
            shoot(&self.ada.page, &name);
            self.look(&name, &mut wrong);
            self.look_at_dialogs(&name, &mut wrong);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

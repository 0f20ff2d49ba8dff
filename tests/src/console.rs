//! The admin console in a browser, as operators use it: they go, type, press, and look.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chromium::Page;

/// A debug build on a busy machine shows what was asked for within this.
pub const SOON: Duration = Duration::from_secs(20);

/// The window of operators.
pub const WIDE: (u32, u32) = (1280, 1100);

/// What the Content Security Policy forbids is told on the console, however it is told elsewhere.
const TELL: &str = "addEventListener('securitypolicyviolation', (event) => console.error(
    `Content Security Policy: ${event.effectiveDirective} forbids ${event.blockedURI} on ${location}`))";

/// A window of the console.
#[derive(Debug)]
pub struct Console {
    /// Its page.
    pub page: Page,
    /// What the addresses of its pages begin with.
    origin: String,
}

impl Console {
    /// Of that node, in a page that is anywhere.
    #[must_use]
    pub fn of(page: Page, origin: &str) -> Self {
        page.command("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": TELL }));
        Self { page, origin: origin.to_owned() }
    }

    /// Goes to a page, or to an address, and waits until it works.
    pub fn go(&self, place: &str) {
        let url = if place.starts_with('/') { format!("{}{place}", self.origin) } else { place.to_owned() };
        // The page that was there before is not taken for it.
        self.page.evaluate("window.left = true");
        self.page.go(&url);
        self.page.until("!window.left && document.readyState === 'complete'", SOON);
    }

    /// Waits until it is at a page, of its own accord or by a link.
    pub fn until_at(&self, path: &str) {
        let there = format!("location.pathname === '{path}' && document.readyState === 'complete'");
        self.page.until(&there, SOON);
    }

    /// Types into a field.
    pub fn fill(&self, field: &str, text: &str) {
        self.page.evaluate(&format!("document.querySelector({}).focus()", json!(field)));
        self.page.command("Input.insertText", &json!({ "text": text }));
    }

    /// Presses the first button or link that a selector finds and that has these words, once it is there.
    pub fn press(&self, selector: &str, words: &str) {
        let find = format!(
            "[...document.querySelectorAll({})].find((one) => one.innerText.trim() === {})",
            json!(selector),
            json!(words)
        );
        // Before its scripts have run, a page's forms do nothing.
        self.page.until(&format!("document.readyState === 'complete' && Boolean({find})"), SOON);
        self.page.evaluate(&format!("{find}.click()"));
    }

    /// Says yes to what is asked before something that cannot be taken back.
    pub fn confirm(&self) {
        self.page.until("Boolean(document.querySelector('dialog[open] button[value=yes]'))", SOON);
        self.page.evaluate("document.querySelector('dialog[open] button[value=yes]').click()");
    }

    /// The text that is seen of an element; empty where there is none.
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        let text = format!("document.querySelector({})?.innerText ?? ''", json!(selector));
        self.page.evaluate(&text).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element says that, among other things.
    pub fn until_says(&self, selector: &str, words: &str, within: Duration) {
        let (selector, words) = (json!(selector), json!(words));
        self.page.until(&format!("document.querySelector({selector})?.innerText.includes({words})"), within);
    }

    /// A call of the API as the console's own modules make it: the status and the answer.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u64, Value) {
        let call = format!(
            "import('/admin/ui/api.js').then(({{ call }}) => call('{method}', '/admin/api/v1{path}', {}))",
            if body.is_null() { "undefined".to_owned() } else { body.to_string() }
        );
        let said = self.page.evaluate(&call);
        (said["status"].as_u64().expect("a status"), said["answer"].clone())
    }

    /// What a developer would call an error of a page so far, but for the refusals that hold these words.
    #[must_use]
    pub fn errors(&self, but: &[&str]) -> Vec<String> {
        let wrong = |line: &String| {
            ["uncaught", "error", "warning", "console.error", "console.warning"]
                .iter()
                .any(|kind| line.starts_with(kind))
                || line.contains("Content Security Policy")
        };
        let said = self.page.said().into_iter().filter(wrong);
        said.filter(|line| !but.iter().any(|words| line.contains(words))).collect()
    }
}

/// Leaves pictures of the page in the folder `CHAPPE_SHOTS`, where there is one: light and dark, wide and narrow.
///
/// # Panics
/// When they cannot be written.
pub fn shoot(page: &Page, name: &str) {
    let Ok(folder) = std::env::var("CHAPPE_SHOTS") else { return };
    for scheme in ["light", "dark"] {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        page.command("Emulation.setEmulatedMedia", &json!({ "features": features }));
        for size in [WIDE, (360, 1600)] {
            page.resize(size);
            let file = Path::new(&folder).join(format!("{name}-{scheme}-{}.png", size.0));
            std::fs::write(file, page.screenshot()).expect("a picture is written");
        }
    }
    let usual = json!([{ "name": "prefers-color-scheme", "value": "light" }]);
    page.command("Emulation.setEmulatedMedia", &json!({ "features": usual }));
    page.resize(WIDE);
}

//! The admin console in a browser, as operators use it: they go, type, press, and look.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chromium::Page;
use crate::netns::{eventually, wait};

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

    /// An element that is there, once the page's scripts have run: before, its forms do nothing.
    fn ready(&self, selector: &str) -> String {
        let one = format!("document.querySelector({})", json!(selector));
        self.page.until(&format!("document.readyState === 'complete' && Boolean({one})"), SOON);
        one
    }

    /// Types into a field, over what is in it.
    pub fn fill(&self, field: &str, text: &str) {
        let field = self.ready(field);
        self.page.evaluate(&format!("{field}.focus(), {field}.select()"));
        self.page.command("Input.insertText", &json!({ "text": text }));
    }

    /// Chooses of a list, or sets a time: what a browser draws itself, a test cannot click.
    pub fn choose(&self, field: &str, value: &str) {
        let (field, value) = (self.ready(field), json!(value));
        self.page.evaluate(&format!(
            "(() => {{ const field = {field}; field.value = {value};
                field.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
        ));
    }

    /// Presses a key: as `DevTools` calls it, or a letter.
    pub fn key(&self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { key };
        let mut down = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if text.chars().count() == 1 {
            down["text"] = text.into();
        }
        self.page.command("Input.dispatchKeyEvent", &down);
        self.page.command(
            "Input.dispatchKeyEvent",
            &json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }),
        );
    }

    /// What somebody would paste.
    #[must_use]
    pub fn clipboard(&self) -> String {
        self.page.evaluate("navigator.clipboard.readText()").as_str().unwrap_or_default().to_owned()
    }

    /// Presses the first button or link that a selector finds and that has these words, once it is there.
    pub fn press(&self, selector: &str, words: &str) {
        let find = format!(
            "[...document.querySelectorAll({})].find((one) => one.innerText.trim() === {})",
            json!(selector),
            json!(words)
        );
        self.click(&find);
    }

    /// Clicks by the mouse what an expression finds, once it is there and nothing covers it; again, where a page that
    /// is alive has moved it away meanwhile.
    pub fn click(&self, find: &str) {
        wait(&format!("a click on {find}"), SOON, || {
            let place = format!(
                "document.readyState === 'complete' && (() => {{
                    const one = {find};
                    one?.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                    const box = one?.getClientRects()[0];
                    if (!box) return null;
                    const at = [box.x + box.width / 2, box.y + box.height / 2];
                    if (!one.contains(document.elementFromPoint(...at))) return null;
                    window.landed = false;
                    const land = ({{ target }}) => (window.landed = one.contains(target));
                    document.addEventListener('click', land, {{ capture: true, once: true }});
                    return at;
                }})()"
            );
            let at = self.page.try_evaluate(&place).ok().filter(Value::is_array)?;
            for (kind, button, pressed) in
                [("mouseMoved", "none", 0), ("mousePressed", "left", 1), ("mouseReleased", "left", 0)]
            {
                let mouse = json!({
                    "type": kind, "x": at[0], "y": at[1], "button": button, "buttons": pressed, "clickCount": 1,
                });
                self.page.command("Input.dispatchMouseEvent", &mouse);
            }
            // A page that has gone elsewhere knows nothing of it.
            (self.page.try_evaluate("window.landed") != Ok(Value::Bool(false))).then_some(())
        });
    }

    /// Says yes to what is asked before something that cannot be taken back.
    pub fn confirm(&self) {
        self.click("document.querySelector('dialog[open] button[value=yes]')");
    }

    /// The text that is seen of an element; empty where there is none.
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        let text = format!("document.querySelector({})?.innerText ?? ''", json!(selector));
        self.page.evaluate(&text).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element says that, among other things.
    ///
    /// # Panics
    /// When it never does in time.
    pub fn until_says(&self, selector: &str, words: &str, within: Duration) {
        let says =
            format!("document.querySelector({})?.innerText.includes({})", json!(selector), json!(words));
        let says = || (self.page.try_evaluate(&says) == Ok(Value::Bool(true))).then_some(());
        if eventually(within, says).is_none() {
            panic!("{selector} never said {words:?}, but {:?}", self.text(selector));
        }
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
    if std::env::var_os("CHAPPE_SHOTS").is_none() {
        return;
    }
    for scheme in ["light", "dark"] {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        page.command("Emulation.setEmulatedMedia", &json!({ "features": features }));
        for size in [WIDE, (360, 1600)] {
            page.resize(size);
            shoot_as_it_is(page, &format!("{name}-{scheme}-{}", size.0));
        }
    }
    let usual = json!([{ "name": "prefers-color-scheme", "value": "light" }]);
    page.command("Emulation.setEmulatedMedia", &json!({ "features": usual }));
    page.resize(WIDE);
}

/// The same of the page as it is.
///
/// # Panics
/// When it cannot be written.
pub fn shoot_as_it_is(page: &Page, name: &str) {
    let Ok(folder) = std::env::var("CHAPPE_SHOTS") else { return };
    let file = Path::new(&folder).join(format!("{name}.png"));
    std::fs::write(file, page.screenshot()).expect("a picture is written");
}

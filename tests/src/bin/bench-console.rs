//! How smooth the console is in a real browser: `ops/console` runs it beside `chappe bench console`, which gives it the
//! console's address, the file of a token for it, an app and the name of its busiest room.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool of the project's own")]

use std::time::Duration;

use chappe_tests::chromium::{Browser, Page};
use serde::Deserialize;
use serde_json::json;

/// A page is there within this.
const SOON: Duration = Duration::from_secs(60);
/// The window of operators.
const WIDE: (u32, u32) = (1280, 900);

/// Counts what comes live, and how long the page is busy with it.
const WATCH: &str = "(() => {
    const seen = (window.seen = { events: 0, bytes: 0, morph: 0, morphs: 0, task: 0, paints: {} });
    new PerformanceObserver((list) => list.getEntries().forEach(({ name, startTime }) => (seen.paints[name] = startTime)))
        .observe({ type: 'paint', buffered: true });
    new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (seen.task = Math.max(seen.task, duration))))
        .observe({ type: 'longtask', buffered: true });
    window.EventSource = class extends EventSource {
        addEventListener(name, then, ...rest) {
            super.addEventListener(name, (event) => {
                const begun = performance.now();
                then(event);
                const took = performance.now() - begun;
                seen.events += 1;
                seen.bytes += event.data?.length ?? 0;
                seen.morph = Math.max(seen.morph, took);
            }, ...rest);
        }
    };
})()";

/// Scrolls down and up for four seconds, and answers how long each frame took.
const SCROLL: &str = "new Promise((resolve) => {
    const page = document.scrollingElement, far = page.scrollHeight - page.clientHeight;
    const frames = [], begun = performance.now();
    let last;
    const frame = (now) => {
        if (last !== undefined) frames.push(now - last);
        last = now;
        const passed = (performance.now() - begun) / 1000;
        if (passed >= 4) return resolve(frames);
        page.scrollTop = far * Math.abs(1 - ((passed + 1) % 2));
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
})";

/// What was loaded, and how large the page is.
const LOADED: &str = "(() => {
    const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    return {
        first: window.seen.paints['first-paint'] ?? null,
        content: window.seen.paints['first-contentful-paint'] ?? null,
        whole: performance.getEntriesByType('navigation')[0].loadEventEnd,
        page: performance.getEntriesByType('navigation')[0].transferSize,
        all: entries.reduce((sum, { transferSize }) => sum + transferSize, 0),
        elements: document.getElementsByTagName('*').length,
        height: document.scrollingElement.scrollHeight,
        task: window.seen.task,
    };
})()";

#[derive(Debug, Deserialize)]
struct Loaded {
    first: Option<f64>,
    content: Option<f64>,
    whole: f64,
    page: f64,
    all: f64,
    elements: u32,
    height: f64,
    task: f64,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [origin, token, app, room] = &words[..] else {
        println!("It is run by ops/console.");
        std::process::exit(2);
    };
    let token = std::fs::read_to_string(token).unwrap();
    let browser = Browser::start_here(&[]);
    let page = browser.page("about:blank", WIDE);
    let headers = json!({ "headers": { "Authorization": format!("Bearer {}", token.trim()) } });
    page.command("Network.enable", &json!({}));
    page.command("Network.setExtraHTTPHeaders", &headers);
    page.command("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": WATCH }));
    let busy = format!("/admin/apps/{app}/rooms/{room}");
    println!(
        "{:<26} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "page",
        "paint",
        "content",
        "loaded",
        "kB",
        "kB/all",
        "frame50",
        "frame99",
        "frameMax",
        "events/s",
        "kB/s",
        "longest",
        "elements"
    );
    // The first visit of all has an empty cache.
    for (name, path) in [
        ("overview, first visit", "/admin".to_owned()),
        ("overview", "/admin".to_owned()),
        ("rooms", "/admin/rooms".to_owned()),
        ("rooms with a text", "/admin/rooms?q=77".to_owned()),
        ("rooms with people", "/admin/rooms?people=yes".to_owned()),
        ("room", busy.clone()),
        ("signals of a busy room", format!("{busy}/signals")),
    ] {
        visit(&page, origin, name, &path);
    }
    links(&page, origin, &busy);
    let wrong: Vec<String> = page.said().into_iter().filter(|line| line.starts_with("uncaught")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!(
        "milliseconds; kB of the page and of all that it loads; longest: the longest work for one event, and the longest task"
    );
}

/// Opens a page, scrolls it while it is alive, and tells.
fn visit(page: &Page, origin: &str, name: &str, path: &str) {
    go(page, &format!("{origin}{path}"));
    let loaded: Loaded = serde_json::from_value(page.evaluate(LOADED)).unwrap();
    page.evaluate("Object.assign(window.seen, { events: 0, bytes: 0, morph: 0, begun: performance.now() })");
    let mut frames: Vec<f64> = serde_json::from_value(page.evaluate(SCROLL)).unwrap();
    frames.sort_by(f64::total_cmp);
    let at = |part: usize| {
        frames.get((frames.len() * part / 100).min(frames.len() - 1)).copied().unwrap_or_default()
    };
    // Live parts come every two seconds: a few of them.
    let live: Vec<f64> = serde_json::from_value(page.evaluate(
        "new Promise((resolve) => setTimeout(resolve, 6000)).then(() => {
            const { events, bytes, morph, task, begun } = window.seen;
            const passed = (performance.now() - begun) / 1000;
            return [events / passed, bytes / passed / 1000, morph, task];
        })",
    ))
    .unwrap();
    println!(
        "{name:<26} {:>7.0} {:>7.0} {:>7.0} {:>7.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>9.1} {:>4.1}/{:<4.0} {:>9}",
        loaded.first.unwrap_or(f64::NAN),
        loaded.content.unwrap_or(f64::NAN),
        loaded.whole,
        loaded.page / 1000.0,
        loaded.all / 1000.0,
        at(50),
        at(99),
        frames.last().copied().unwrap_or_default(),
        live[0],
        live[1],
        live[2],
        live[3].max(loaded.task),
        format!("{} in {:.0} px", loaded.elements, loaded.height),
    );
}

fn go(page: &Page, url: &str) {
    page.evaluate("window.left = true");
    page.go(url);
    page.until("!window.left && document.readyState === 'complete' && Boolean(window.seen?.paints['first-contentful-paint'])", SOON);
}

/// From the list to its next pages, into a room, to a person, and by the search.
fn links(page: &Page, origin: &str, busy: &str) {
    go(page, &format!("{origin}/admin/rooms"));
    for step in 1..=3 {
        press(
            page,
            &format!("next page of rooms, {step}"),
            "[...document.querySelectorAll('.pager a')].pop()",
        );
    }
    press(page, "a room of it", "document.querySelector('#live tbody th a')");
    go(page, &format!("{origin}{busy}"));
    press(page, "a person of a room", "document.querySelector('#live tbody th a')");
    let search = "new Promise((resolve) => {
        document.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true }));
        const input = document.querySelector('#search input'), found = document.getElementById('found');
        setTimeout(() => {
            const begun = performance.now();
            new MutationObserver(() => {
                if (found.textContent.includes('room-00077')) resolve(performance.now() - begun);
            }).observe(found, { childList: true, subtree: true });
            input.value = 'room-00077';
            input.dispatchEvent(new Event('input'));
        }, 1000);
    })";
    println!("{:<26} {:>7.0}", "search, until found", page.evaluate(search).as_f64().unwrap());
}

fn press(page: &Page, name: &str, link: &str) {
    page.until(&format!("Boolean({link}?.href)"), SOON);
    let url = page.evaluate(&format!("{link}.href")).as_str().unwrap().to_owned();
    go(page, &url);
    let loaded: Loaded = serde_json::from_value(page.evaluate(LOADED)).unwrap();
    println!(
        "{name:<26} {:>7.0} {:>7.0} {:>7.0} {:>7.1}",
        loaded.first.unwrap_or(f64::NAN),
        loaded.content.unwrap_or(f64::NAN),
        loaded.whole,
        loaded.page / 1000.0
    );
}

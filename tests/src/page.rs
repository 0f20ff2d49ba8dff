//! The call page, as a person in a call: who is seen and heard, and over what path.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::chromium::{Browser, Page};
use crate::lan_server::LanServer;
use crate::netns::wait;

/// So many more frames decoded are a picture that moves.
const GROWN: u64 = 10;

/// What a page knows of another person.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    /// The peer's id.
    pub id: String,
    /// Frames of its video that were decoded, of the present connection.
    pub frames: u64,
    /// `new`, `connecting`, `connected`, ... or `none`.
    pub state: String,
    /// Whether it has no socket right now.
    pub away: bool,
    /// The SDK's words for the path: `direct`, `relay`.
    pub path: Option<String>,
    /// One's own edge, or where one has none the other's.
    pub edge: Option<String>,
    /// And its region.
    pub region: Option<String>,
    /// The selected pair's own candidate: `relay`, `host`, ...
    pub local: Option<String>,
    /// What is spoken to the relay: `udp`, `tcp`, `tls`.
    pub relay_protocol: Option<String>,
    /// The selected pair's remote candidate.
    pub remote: Option<String>,
}

const SEEN: &str = "(async () => {
    const seen = {};
    for (const peer of window.chappe.room.peers.values()) {
        const stats = await peer.stats();
        seen[peer.name] = {
            id: peer.id, frames: stats?.framesDecoded ?? 0, state: peer.connectionState, away: peer.away,
            path: peer.path?.kind ?? null, edge: peer.path?.edge ?? null, region: peer.path?.region ?? null, local: stats?.local?.candidateType ?? null,
            relay_protocol: stats?.local?.relayProtocol ?? null, remote: stats?.remote?.candidateType ?? null,
        };
    }
    return seen;
})()";

/// Notes each room event, each offer of relays, and the longest time in which no frame of a peer was decoded.
const WATCH: &str = "(() => {
    const { room } = window.chappe;
    const watch = (window.watch = { events: [], gap: 0, longest: 0 });
    for (const type of ['peer-joined', 'peer-left', 'peer-updated', 'state', 'closed']) {
        room.on(type, (...about) => watch.events.push([type, ...about.map((a) => a?.name ?? a?.peer?.name ?? a?.code ?? a)]));
    }
    room.on('restart', ({ peer, how }) => watch.events.push(['restart', peer.name ?? null, how]));
    room.on('ice-servers', ({ reason, lost, edges }) => {
        watch.events.push(['ice-servers', reason, lost ?? null, edges.map(({ edge }) => edge)]);
    });
    let frames = -1, grown = performance.now();
    const look = async () => {
        let sum = 0;
        for (const stats of (await room.stats()).values()) sum += stats?.framesDecoded ?? 0;
        const now = performance.now();
        if (sum !== frames) grown = now;
        frames = sum;
        watch.gap = now - grown;
        watch.longest = Math.max(watch.longest, watch.gap);
    };
    setInterval(look, 100);
})()";

/// Notes when the first frame of the first other one was decoded, in milliseconds of Unix time.
const FIRST_PICTURE: &str = "(() => {
    window.firstPicture = (async () => {
        for (;;) {
            const [peer] = window.chappe.room.peers.values();
            if (((await peer?.stats())?.framesDecoded ?? 0) > 0) return Date.now();
            await new Promise((resolve) => setTimeout(resolve, 10));
        }
    })();
})()";

/// Sends numbers to everybody, twenty a second, and notes what comes.
const TALK: &str = "(() => {
    const { room } = window.chappe;
    const talk = (window.talk = { sent: 0, delivered: 0, refused: [], heard: [] });
    room.on('signal', ({ kind, payload }) => kind === 'count' && talk.heard.push(payload));
    talk.timer = setInterval(() => {
        for (const peer of room.peers.values()) {
            const n = ++talk.sent;
            room.send(peer, 'count', n).then(() => { talk.delivered += 1; }, (error) => talk.refused.push([n, error.code]));
        }
    }, 50);
})()";

/// What was said with [`CallPage::talk`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Talk {
    /// How many signals were handed to the SDK.
    pub sent: u64,
    /// How many of them it called delivered.
    pub delivered: u64,
    /// Those that it called undeliverable, with why.
    pub refused: Vec<(u64, String)>,
    /// The payloads that came, in order.
    pub heard: Vec<u64>,
}

/// How a page takes part.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guest<'a> {
    /// The name that others see.
    pub name: &'a str,
    /// Only through a relay.
    pub relay: bool,
    /// What an app's server gave it.
    pub token: Option<&'a str>,
}

/// A call page.
#[derive(Debug)]
pub struct CallPage {
    /// Its window.
    pub page: Page,
    /// Its name in the call.
    pub name: String,
}

impl CallPage {
    /// Opens the call page and joins with a test pattern.
    pub fn join(browser: &Browser, server: &LanServer<'_>, room: &str, guest: Guest<'_>) -> Self {
        Self::join_at(browser, &server.url(""), room, guest)
    }

    /// The same at any node, by what its pages' addresses begin with.
    pub fn join_at(browser: &Browser, origin: &str, room: &str, guest: Guest<'_>) -> Self {
        let Guest { name, relay, token } = guest;
        let policy = if relay { "&policy=relay" } else { "" };
        let token = token.map(|token| format!("#token={token}")).unwrap_or_default();
        let path = format!("/r/{room}?pattern=1&autojoin=1&name={name}{policy}{token}");
        let page = browser.page(&format!("{origin}{path}"), (1280, 800));
        let call = Self { page, name: name.to_owned() };
        call.until_joined(Duration::from_secs(20));
        call
    }

    /// Waits until it is in the call.
    pub fn until_joined(&self, within: Duration) {
        self.page.until(
            "window.chappe?.room.state === 'connected' && !document.getElementById('call').hidden",
            within,
        );
    }

    /// Everybody else, by name.
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        serde_json::from_value(self.page.evaluate(SEEN)).expect("what the page knows")
    }

    /// What it knows of one, who must be there.
    pub fn sees(&self, name: &str) -> Seen {
        self.seen().remove(name).unwrap_or_else(|| panic!("{} does not know of {name}", self.name))
    }

    /// Waits until the pictures of just these people move: frames decoded grow.
    pub fn until_moving(&self, others: &[&str], within: Duration) {
        let mut first: BTreeMap<String, Seen> = BTreeMap::new();
        let mut last = BTreeMap::new();
        let what = format!("{} sees {others:?} move", self.name);
        wait(&what, within, || {
            last = self.page.try_evaluate(SEEN).ok().and_then(|seen| serde_json::from_value(seen).ok())?;
            let all: BTreeMap<String, Seen> = last.clone();
            if all.len() != others.len() || !others.iter().all(|name| all.contains_key(*name)) {
                return None;
            }
            let mut moving = true;
            for (name, seen) in all {
                let before = first.entry(name).or_insert_with(|| seen.clone());
                // Another connection counts from the start.
                if seen.id != before.id || seen.frames < before.frames {
                    *before = seen.clone();
                }
                moving &= seen.frames >= before.frames + GROWN;
            }
            moving.then_some(())
        });
    }

    /// Begins to look for the first picture.
    pub fn expect_picture(&self) {
        self.page.evaluate(FIRST_PICTURE);
    }

    /// When the first picture since [`Self::expect_picture`] was decoded, in Unix time; waits for it.
    pub fn first_picture(&self) -> Duration {
        let at = self.page.evaluate("window.firstPicture").as_f64().expect("a time");
        Duration::from_secs_f64(at / 1000.0)
    }

    /// When the page was asked for, in Unix time: before everything that joining takes.
    pub fn opened(&self) -> Duration {
        let at = self.page.evaluate("performance.timeOrigin").as_f64().expect("a time");
        Duration::from_secs_f64(at / 1000.0)
    }

    /// Begins to send numbers to the other one.
    pub fn talk(&self) {
        self.page.evaluate(TALK);
    }

    /// What was said so far.
    pub fn talked(&self) -> Talk {
        serde_json::from_value(self.page.evaluate("({ ...window.talk, timer: undefined })"))
            .expect("what was said")
    }

    /// Waits until that many signals were handed to the SDK.
    pub fn until_said(&self, count: u64, within: Duration) {
        self.page.until(&format!("window.talk.sent >= {count}"), within);
    }

    /// Says no more, and waits until everything said has arrived.
    pub fn fall_silent(&self, within: Duration) -> Talk {
        self.page.evaluate("clearInterval(window.talk.timer)");
        self.page.until("window.talk.delivered + window.talk.refused.length === window.talk.sent", within);
        self.talked()
    }

    /// One's own peer id.
    pub fn id(&self) -> String {
        self.page.evaluate("window.chappe.room.me.id").as_str().expect("an id").to_owned()
    }

    /// Waits for an event of that type since [`Self::watch`], about that name or word.
    pub fn until_event(&self, event: &str, about: &str, within: Duration) {
        let what = format!("{}: {event} {about}", self.name);
        wait(&what, within, || self.events().iter().any(|e| e[0] == event && e[1] == about).then_some(()));
    }

    /// Begins to note events and gaps in the picture.
    pub fn watch(&self) {
        self.page.evaluate(WATCH);
    }

    /// The room's events since [`Self::watch`]: type, then whom or what they name.
    pub fn events(&self) -> Vec<Vec<serde_json::Value>> {
        serde_json::from_value(self.page.evaluate("window.watch.events")).expect("events")
    }

    /// The longest time without a new frame since [`Self::watch`].
    pub fn longest_gap(&self) -> Duration {
        Duration::from_secs_f64(
            self.page.evaluate("window.watch.longest").as_f64().unwrap_or(f64::MAX) / 1000.0,
        )
    }

    /// Kicks somebody: the answer's code, or `done`.
    pub fn kick(&self, name: &str) -> String {
        let kick = format!(
            "(() => {{
                const {{ room }} = window.chappe;
                const peer = [...room.peers.values()].find((peer) => peer.name === '{name}');
                return room.kick(peer).then(() => 'done', (error) => error.code);
            }})()"
        );
        self.page.evaluate(&kick).as_str().unwrap_or_default().to_owned()
    }

    /// How long no frame has been decoded, as of now; since [`Self::watch`].
    pub fn gap(&self) -> Duration {
        Duration::from_secs_f64(self.page.evaluate("window.watch.gap").as_f64().unwrap_or(0.0) / 1000.0)
    }

    /// Begins to count how often its credentials are refreshed.
    pub fn count_refreshes(&self) {
        self.page.evaluate(
            "(() => {
                window.refreshes = 0;
                window.chappe.room.on('ice-servers', ({ reason }) => { window.refreshes += reason === 'expiring'; });
            })()",
        );
    }

    /// How often they were since.
    pub fn refreshes(&self) -> u64 {
        self.page.evaluate("window.refreshes").as_u64().expect("a number")
    }

    /// Whether the page has thrown, or was refused one of its files.
    pub fn assert_well(&self) {
        let problems: Vec<String> = self
            .page
            .said()
            .into_iter()
            .filter(|line| {
                line.starts_with("uncaught") || line.contains("404") || line.contains("Content Security")
            })
            .collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", self.name);
    }
}

impl Drop for CallPage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- {}'s page said: {:#?}", self.name, self.page.said());
        }
    }
}

//! Two clients that signal to each other all the time, and what they know afterwards.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chappe_tests::client::Client;
use serde_json::{Value, json};

/// The time between two signals.
const EVERY: Duration = Duration::from_millis(20);
/// All that was said has arrived within this.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// What happened meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The longest that neither heard anything of the other.
    pub(crate) longest: Duration,
    /// News of each other: `peer_left` and the like.
    pub(crate) news: Vec<Value>,
    /// How often their sessions were resumed.
    pub(crate) resumed: usize,
}

/// Two in a room.
pub(crate) struct Talk {
    one: Client,
    other: Client,
    ids: (String, String),
}

impl Talk {
    /// Both join, each over a node of its own.
    pub(crate) async fn join(room: &str, one: SocketAddr, other: SocketAddr) -> Self {
        let one = Client::join(one, json!({ "room": room })).await;
        let mut other = Client::join(other, json!({ "room": room })).await;
        let ids = (one.peer.clone(), other.peer.clone());
        // Both know each other before anything is said.
        if other.welcome["roster"].as_array().is_none_or(Vec::is_empty) {
            other.hear_a("peer_joined").await;
        }
        Self { one, other, ids }
    }

    /// Both talk until `done`; everything arrives once and in order, and both are who they were.
    pub(crate) async fn during(&mut self, done: impl Future<Output = ()>) -> Heard {
        let mut done = std::pin::pin!(done);
        let (mut sent, mut over) = (0_u64, false);
        let (mut heard, mut next) = ([0_u64; 2], tokio::time::interval(EVERY));
        let mut told = Heard::default();
        let (mut last, mut ended) = (Instant::now(), None);
        while !over || heard != [sent; 2] {
            tokio::select! {
                () = &mut done, if !over => {
                    over = true;
                    ended = Some(Instant::now());
                }
                _ = next.tick(), if !over => {
                    sent += 1;
                    self.one.signal(&self.ids.1, sent).await;
                    self.other.signal(&self.ids.0, sent).await;
                }
                event = self.one.hear() => note(event, &mut heard[0], &mut told, &mut last),
                event = self.other.hear() => note(event, &mut heard[1], &mut told, &mut last),
            }
            let late = ended.is_some_and(|ended| ended.elapsed() > SETTLED_WITHIN);
            assert!(!late, "of {sent} signals {heard:?} have arrived; {told:?}");
        }
        assert_eq!((&self.one.peer, &self.other.peer), (&self.ids.0, &self.ids.1), "they are who they were");
        told
    }
}

fn note(mut event: Value, heard: &mut u64, told: &mut Heard, last: &mut Instant) {
    match event["type"].as_str().unwrap_or_default() {
        "signal" => {
            *heard += 1;
            assert_eq!(event["payload"].take(), *heard, "once, and in order");
            told.longest = told.longest.max(last.elapsed());
            *last = Instant::now();
        }
        "delivered" | "error" | "moving" => {}
        "closed" if event["resume"] == true => {}
        "resumed" | "rebuilt" => told.resumed += 1,
        "peer_updated" | "peer_left" | "peer_joined" => told.news.push(event),
        _ => panic!("{event}"),
    }
}

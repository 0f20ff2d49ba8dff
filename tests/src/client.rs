//! Two signaling clients: [`ByHand`], and one that keeps PROTOCOL.md section 6 through lost sockets, as a good
//! client does.

mod by_hand;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

pub use by_hand::{ByHand, connect, reset, typed};

use crate::process::WITHIN;

/// A client asks a silent server after this long, and gives it as long again.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A client over its pace looks again after this.
const PACE: Duration = Duration::from_millis(20);
const BACKOFF: [u64; 5] = [0, 100, 300, 1000, 2000];

enum Command {
    Signal(String, Value),
    Say(Value),
    Reset,
}

/// A client whose signals arrive once and in order, whatever happens to its sockets.
pub struct Client {
    /// Its peer id.
    pub peer: String,
    /// The last `welcome`, `resumed` or `rebuilt`.
    pub welcome: Value,
    /// The last `delivered` of each receiver.
    delivered: BTreeMap<String, u64>,
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Value>,
}

impl Client {
    /// Joins with these fields of a `join`, and waits for the welcome.
    ///
    /// # Panics
    /// When there is none.
    pub async fn join(at: SocketAddr, fields: Value) -> Self {
        let (commands, told) = mpsc::channel(4096);
        let (tell, events) = mpsc::channel(65_536);
        let state = State {
            at,
            others: Vec::new(),
            fields,
            resume: None,
            marks: BTreeMap::new(),
            acks: BTreeSet::new(),
            boxes: BTreeMap::new(),
            window: 1,
            paused: None,
            pace: Pace::new(),
        };
        tokio::spawn(state.run(told, tell));
        let mut client =
            Self { peer: String::new(), welcome: Value::Null, delivered: BTreeMap::new(), commands, events };
        let first = client.hear().await;
        assert_eq!(first["type"], "welcome", "{first}");
        client
    }

    /// Signals `payload` to a peer: by and by, once, in order.
    ///
    /// # Panics
    /// When its task has ended.
    pub async fn signal(&self, to: &str, payload: impl Into<Value>) {
        assert!(self.commands.send(Command::Signal(to.to_owned(), payload.into())).await.is_ok());
    }

    /// Says a frame now, or when there is a socket again.
    ///
    /// # Panics
    /// When its task has ended.
    pub async fn say(&self, frame: Value) {
        assert!(self.commands.send(Command::Say(frame)).await.is_ok());
    }

    /// Resets its connection.
    ///
    /// # Panics
    /// When its task has ended.
    pub async fn reset(&self) {
        assert!(self.commands.send(Command::Reset).await.is_ok());
    }

    /// The next event: a frame of the server, signals once and in order. `end` when it is over.
    ///
    /// # Panics
    /// When nothing comes.
    pub async fn hear(&mut self) -> Value {
        let event = timeout(WITHIN, self.events.recv()).await.expect("an event");
        let event = event.unwrap_or_else(|| json!({ "type": "end" }));
        if matches!(event["type"].as_str(), Some("welcome" | "resumed" | "rebuilt")) {
            self.peer = event["peer"].as_str().unwrap().to_owned();
            self.welcome = event.clone();
        }
        if let (Some("delivered"), Some(to), Some(id)) =
            (event["type"].as_str(), event["to"].as_str(), event["id"].as_u64())
        {
            self.delivered.insert(to.to_owned(), id);
        }
        event
    }

    /// The next event of a type, passing over others.
    ///
    /// # Panics
    /// When it is over before.
    pub async fn hear_a(&mut self, kind: &str) -> Value {
        loop {
            let event = self.hear().await;
            if event["type"] == kind {
                return event;
            }
            assert_ne!(event["type"], "end", "before a {kind}: {event}");
        }
    }

    /// The payloads of the next `count` signals from a peer.
    pub async fn signals(&mut self, from: &str, count: usize) -> Vec<Value> {
        let mut got = Vec::new();
        while got.len() < count {
            let mut signal = self.hear_a("signal").await;
            if signal["from"] == from {
                got.push(signal["payload"].take());
            }
        }
        got
    }

    /// Waits until a peer has acknowledged everything up to `id`.
    ///
    /// # Panics
    /// When it is told that it is `undelivered`.
    pub async fn delivered(&mut self, to: &str, id: u64) {
        self.delivered_without(to, id, "undelivered").await;
    }

    /// The same, and nothing of the type `never` comes before it.
    ///
    /// # Panics
    /// When it does.
    pub async fn delivered_without(&mut self, to: &str, id: u64, never: &str) {
        while self.delivered.get(to).is_none_or(|last| *last < id) {
            let event = self.hear().await;
            let kind = &event["type"];
            assert!(kind != never && kind != "undelivered" && kind != "end", "{event}");
        }
    }
}

/// The addresses in URLs of nodes; tests run on loopback, without names.
fn nodes(urls: &Value) -> Vec<SocketAddr> {
    let urls = urls.as_array().map(Vec::as_slice).unwrap_or_default();
    let address = |url: &Value| url.as_str()?.split_once("://")?.1.split('/').next()?.parse().ok();
    urls.iter().filter_map(address).collect()
}

#[derive(Default)]
struct Outbox {
    /// Not delivered, from id `base + 1` on.
    held: VecDeque<Value>,
    base: u64,
    /// The last id sent on this socket.
    sent: u64,
}

/// Keeps a client below the node's limit of frames (`frames_burst`, `frames_per_sec`).
struct Pace {
    left: f64,
    burst: f64,
    per_sec: f64,
    since: Instant,
}

impl Pace {
    fn new() -> Self {
        Self { left: 1.0, burst: 1.0, per_sec: 1.0, since: Instant::now() }
    }

    /// What a welcome allows, and a part of it kept for what is not counted here.
    fn allow(&mut self, limits: &Value) {
        let first = self.burst <= 1.0;
        self.burst = limits["frames_burst"].as_f64().unwrap() / 2.0;
        self.per_sec = limits["frames_per_sec"].as_f64().unwrap() * 0.8;
        if first {
            self.left = self.burst;
        }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        self.left = (self.left + (now - self.since).as_secs_f64() * self.per_sec).min(self.burst);
        self.since = now;
        let free = self.left >= 1.0;
        if free {
            self.left -= 1.0;
        }
        free
    }
}

struct State {
    at: SocketAddr,
    /// Where else it may resume: of the last welcome.
    others: Vec<SocketAddr>,
    fields: Value,
    resume: Option<String>,
    marks: BTreeMap<String, u64>,
    /// Senders whose mark is to be acknowledged.
    acks: BTreeSet<String>,
    boxes: BTreeMap<String, Outbox>,
    window: u64,
    paused: Option<Instant>,
    pace: Pace,
}

enum End {
    /// Connect again.
    Lost,
    /// It is over.
    Over,
}

impl State {
    async fn run(mut self, mut told: mpsc::Receiver<Command>, tell: mpsc::Sender<Value>) {
        let mut attempt = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(BACKOFF[attempt.min(BACKOFF.len() - 1)])).await;
            attempt += 1;
            let Ok(Ok(mut socket)) = timeout(PATIENCE, connect(self.at)).await else {
                self.elsewhere();
                continue;
            };
            let mut fields = self.fields.clone();
            if let Some(resume) = &self.resume {
                fields["resume"] = resume.as_str().into();
                fields["marks"] = json!(self.marks);
            }
            socket.say(typed("join", fields)).await;
            let before = self.resume.clone();
            let end = self.serve(&mut socket, &mut told, &tell).await;
            reset(socket.socket.into_inner());
            self.elsewhere();
            if self.resume != before {
                attempt = 0;
            }
            if matches!(end, End::Over) {
                return;
            }
        }
    }

    async fn serve(
        &mut self,
        socket: &mut ByHand,
        told: &mut mpsc::Receiver<Command>,
        tell: &mpsc::Sender<Value>,
    ) -> End {
        let mut heard = Instant::now();
        let mut asked = false;
        let mut joined = false;
        let mut waits = false;
        loop {
            let silent = heard + if asked { 2 * PATIENCE } else { PATIENCE };
            let wake = self.paused.map_or(silent, |paused| paused.min(silent));
            let wake = if waits { wake.min(Instant::now() + PACE) } else { wake };
            tokio::select! {
                message = socket.socket.next() => {
                    let Some(Ok(message)) = message else { return End::Lost };
                    (heard, asked) = (Instant::now(), false);
                    let Message::Text(text) = message else { continue };
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    joined |= self.welcomed(&frame);
                    if !joined && frame["retry_after_ms"].is_u64() {
                        return End::Lost; // this node takes nobody in for now: the next one may
                    }
                    if let Some(end) = self.frame(frame, socket, tell).await {
                        return end;
                    }
                }
                command = told.recv(), if joined => match command {
                    Some(Command::Signal(to, payload)) => self.boxes.entry(to).or_default().held.push_back(payload),
                    Some(Command::Say(frame)) => socket.say(frame).await,
                    Some(Command::Reset) => return End::Lost,
                    None => return End::Over,
                },
                () = tokio::time::sleep_until(wake) => {
                    let now = Instant::now();
                    if self.paused.is_some_and(|paused| paused <= now) {
                        self.paused = None;
                        self.send_again();
                    }
                    if now >= silent {
                        if asked {
                            return End::Lost;
                        }
                        asked = true;
                        socket.say(json!({ "type": "ping" })).await;
                    }
                }
            }
            if joined {
                waits = self.pump(socket).await;
            }
        }
    }

    /// Takes what a welcome brings.
    fn welcomed(&mut self, frame: &Value) -> bool {
        let welcome = matches!(frame["type"].as_str(), Some("welcome" | "resumed" | "rebuilt"));
        if welcome {
            self.resume = frame["resume"].as_str().map(str::to_owned);
            self.others = nodes(&frame["nodes"]);
            self.others.retain(|other| *other != self.at);
            self.window = frame["limits"]["unacked_max"].as_u64().unwrap();
            self.paused = None;
            self.pace.allow(&frame["limits"]);
            self.send_again();
        }
        welcome
    }

    /// The next time it tries another node, if it knows one.
    fn elsewhere(&mut self) {
        if !self.others.is_empty() {
            let next = self.others.remove(0);
            self.others.push(std::mem::replace(&mut self.at, next));
        }
    }

    fn send_again(&mut self) {
        for outbox in self.boxes.values_mut() {
            outbox.sent = outbox.base;
        }
    }

    /// Sends what has not been sent. Whether there is more for when the pace allows it.
    async fn pump(&mut self, socket: &mut ByHand) -> bool {
        while let Some(from) = self.acks.first().cloned() {
            if !self.pace.take() {
                return true;
            }
            self.acks.remove(&from);
            socket.say(json!({ "type": "ack", "from": from, "id": self.marks[&from] })).await;
        }
        if self.paused.is_some() {
            return false;
        }
        for (to, outbox) in &mut self.boxes {
            let last = outbox.base + self.window.min(outbox.held.len() as u64);
            while outbox.sent < last {
                if !self.pace.take() {
                    return true;
                }
                let at = usize::try_from(outbox.sent - outbox.base).unwrap();
                outbox.sent += 1;
                let payload = &outbox.held[at];
                let frame = json!({ "to": to, "id": outbox.sent, "kind": "n", "payload": payload });
                socket.say(typed("signal", frame)).await;
            }
        }
        false
    }

    async fn frame(&mut self, frame: Value, socket: &mut ByHand, tell: &mpsc::Sender<Value>) -> Option<End> {
        let id = frame["id"].as_u64().unwrap_or(0);
        let text = |field: &str| frame[field].as_str().unwrap_or_default().to_owned();
        match frame["type"].as_str().unwrap() {
            "ping" => socket.say(json!({ "type": "pong" })).await,
            "pong" => {}
            "signal" => {
                let mark = self.marks.entry(text("from")).or_default();
                *mark = frame["settled"].as_u64().map_or(*mark, |settled| settled.max(*mark));
                if id > *mark + 1 {
                    return None;
                }
                let fresh = id == *mark + 1;
                *mark = id.max(*mark);
                self.acks.insert(text("from"));
                if fresh {
                    tell.send(frame).await.ok()?;
                }
            }
            "delivered" | "undelivered" => {
                if let Some(outbox) = self.boxes.get_mut(&text("to")) {
                    while outbox.base < id && outbox.held.pop_front().is_some() {
                        outbox.base += 1;
                    }
                    outbox.sent = outbox.sent.max(outbox.base);
                }
                tell.send(frame).await.ok()?;
            }
            "error" if frame["retry_after_ms"].is_u64() => {
                let wait = Duration::from_millis(frame["retry_after_ms"].as_u64().unwrap());
                self.paused = Some(Instant::now() + wait);
            }
            "gone" => {
                tell.send(frame).await.ok()?;
                return Some(End::Over);
            }
            "moving" => {
                let mut to = nodes(&frame["to"]);
                self.others.retain(|other| !to.contains(other));
                to.append(&mut self.others);
                self.others = to;
                tell.send(frame).await.ok()?;
                return Some(End::Lost);
            }
            "closed" => {
                let end = if frame["resume"] == true { End::Lost } else { End::Over };
                tell.send(frame).await.ok()?;
                return Some(end);
            }
            _ => tell.send(frame).await.ok()?,
        }
        None
    }
}

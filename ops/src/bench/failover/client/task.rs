//! What a client does from its join until it leaves.

use std::rc::Rc;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_proto::time::Mono;
use futures_util::future::OptionFuture;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::super::log::Event;
use super::frame::{Frame, Welcome, signal_url, urls};
use super::outbox::{Inbox, Outboxes};
use super::socket::{Entered, Socket, enter};
use super::{ANSWER_WITHIN, Say, Shared, Who};

/// Silence after which a node is asked: as the browser SDK's.
const ASK_AFTER: Duration = Duration::from_secs(4);
/// Acknowledgements wait for so long for others to join them.
const ACK_AFTER: Duration = Duration::from_millis(10);
/// Waits before attempts to come back; the browser SDK's, without its jitter.
const BACKOFF: [u64; 5] = [0, 300, 1200, 2700, 4800];

/// What comes next for a client whose socket has ended.
enum Next {
    Back(Duration),
    Moved(Box<Socket>, String, Utf8Bytes),
    Over,
}

/// A socket that is being opened beside the present one.
type Mover = JoinHandle<(Entered, Vec<String>)>;

/// A client's one loop: it joins, serves its socket, and comes back.
pub(super) struct Task {
    who: Who,
    shared: Rc<Shared>,
    tell: Option<oneshot::Sender<String>>,
    resume: Option<String>,
    nodes: Vec<String>,
    sent_to: Vec<String>,
    failed: Vec<String>,
    live: Option<String>,
    out: Outboxes,
    inbox: Inbox,
    leaving: bool,
    mover: Option<Mover>,
    move_at: Option<Mono>,
}

impl Task {
    pub(super) fn new(who: Who, shared: Rc<Shared>, tell: oneshot::Sender<String>) -> Self {
        let (tell, nodes, sent_to, failed) = (Some(tell), Vec::new(), Vec::new(), Vec::new());
        let (out, inbox) = (Outboxes::default(), Inbox::default());
        Self {
            who,
            shared,
            tell,
            resume: None,
            nodes,
            sent_to,
            failed,
            live: None,
            out,
            inbox,
            leaving: false,
            mover: None,
            move_at: None,
        }
    }

    fn log(&self, event: Event) {
        self.shared.log.write(event);
    }

    pub(super) async fn run(mut self, mut told: mpsc::Receiver<Say>) {
        let (mut attempt, mut vain, mut wait) = (0, 0, Duration::ZERO);
        let mut moved = None;
        loop {
            let (socket, url, text) = if let Some(moved) = moved.take() {
                moved
            } else {
                let backoff = BACKOFF[attempt.min(BACKOFF.len() - 1)];
                tokio::time::sleep(wait.max(Duration::from_millis(backoff))).await;
                attempt += 1;
                let (join, resumes) = (self.join(), self.resume.is_some());
                let (entered, failed) =
                    enter(&self.targets(), &join, resumes, self.who.address(), vain).await;
                self.fail(failed);
                match entered {
                    Entered::In(url, socket, text) => (socket, url, text),
                    Entered::Later(until) => {
                        (vain, wait) = (vain + 1, until);
                        continue;
                    }
                    Entered::Gone => {
                        self.forget();
                        continue;
                    }
                    Entered::Never(why) => {
                        self.log(Event::Ended { client: self.who.number, why });
                        return;
                    }
                }
            };
            (attempt, vain) = (0, 0);
            if !self.welcomed(&url, &text) {
                continue;
            }
            match self.serve(*socket, &mut told).await {
                Next::Over => return,
                Next::Moved(socket, url, text) => moved = Some((socket, url, text)),
                Next::Back(until) => {
                    wait = until;
                    self.fail(vec![url]);
                    self.log(Event::Lost { client: self.who.number });
                }
            }
            self.live = None;
            (self.move_at, self.mover) = (
                None,
                self.mover.take().and_then(|mover| {
                    mover.abort();
                    None
                }),
            );
        }
    }

    /// What failed last is tried last.
    fn fail(&mut self, urls: Vec<String>) {
        self.failed.retain(|url| !urls.contains(url));
        self.failed.extend(urls);
    }

    fn targets(&self) -> Vec<String> {
        let mut targets: Vec<String> = Vec::new();
        for url in self.sent_to.iter().chain(&self.nodes).chain(&self.who.urls) {
            if !targets.contains(url) {
                targets.push(url.clone());
            }
        }
        if targets.len() > 1 {
            targets.retain(|url| Some(url) != self.live.as_ref());
        }
        targets.sort_by_key(|url| self.failed.iter().position(|failed| failed == url).map_or(0, |at| at + 1));
        targets
    }

    fn join(&mut self) -> String {
        let mut join = serde_json::json!({ "type": "join", "room": self.who.room.1 });
        match (&self.resume, &self.shared.token) {
            (Some(resume), _) => {
                join["resume"] = resume.as_str().into();
                join["marks"] = serde_json::json!(self.inbox.tell());
            }
            (None, Some(token)) => join["token"] = token.as_str().into(),
            (None, None) => {}
        }
        join.to_string()
    }

    /// The cluster knows nothing of the session any more.
    fn forget(&mut self) {
        self.log(Event::Gone { client: self.who.number });
        self.resume = None;
        (self.out, self.inbox) = (Outboxes::default(), Inbox::default());
    }

    fn welcomed(&mut self, url: &str, text: &str) -> bool {
        let Ok(welcome) = serde_json::from_str::<Welcome>(text) else { return false };
        let Who { number, room, .. } = &self.who;
        let node = self.shared.nodes.get(url).copied().unwrap_or(0);
        let peer = welcome.peer.clone();
        self.log(Event::In { client: *number, room: room.0, peer, node, how: welcome.how });
        self.resume = Some(welcome.resume);
        self.nodes = welcome.nodes.iter().map(|node| signal_url(node)).collect();
        self.sent_to.clear();
        self.failed.retain(|failed| failed != url);
        self.live = Some(url.to_owned());
        self.out.window = welcome.limits.unacked_max;
        self.out.rewind();
        self.inbox.catch_up();
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(welcome.peer); // nobody waits for it
        }
        true
    }

    /// One socket from its welcome to its end.
    async fn serve(&mut self, mut socket: Socket, told: &mut mpsc::Receiver<Say>) -> Next {
        let (mut heard, mut asked, mut ack_at) = (clock::mono(), false, Some(clock::mono()));
        loop {
            let now = clock::mono();
            if ack_at.is_some_and(|at| at <= now) {
                ack_at = None;
                while let Some(ack) = self.inbox.acknowledge() {
                    write(&mut socket, ack).await;
                }
            }
            while let Some(frame) = self.out.next(now) {
                write(&mut socket, frame).await;
            }
            if self.leaving && self.out.is_empty() {
                write(&mut socket, r#"{"type":"leave"}"#.to_owned()).await;
            }
            self.begin_to_move(now);
            let silent = heard + if asked { ASK_AFTER + ANSWER_WITHIN } else { ASK_AFTER };
            let wake = [Some(silent), ack_at, self.out.wake(), self.move_at].into_iter().flatten().min();
            let sleep = tokio::time::sleep(wake.unwrap_or(silent).since(now));
            tokio::select! {
                message = socket.next() => {
                    let Some(Ok(message)) = message else { return self.ended(Duration::ZERO).await };
                    (heard, asked) = (clock::mono(), false);
                    let Message::Text(text) = message else { continue };
                    if let Some(next) = self.frame(&text, &mut socket).await {
                        return next;
                    }
                    if self.inbox.is_due() && ack_at.is_none() {
                        ack_at = Some(heard + ACK_AFTER);
                    }
                }
                said = told.recv() => match said {
                    Some(Say::Signal(to, n)) => {
                        self.out.push(&to, format!("\"{n:010}{}\"", self.shared.filler));
                    }
                    Some(Say::Leave) => self.leaving = true,
                    None => return Next::Over,
                },
                Some(done) = OptionFuture::from(self.mover.as_mut()) => {
                    self.mover = None;
                    if let Some(next) = self.moved(done.ok()) {
                        return next;
                    }
                }
                () = sleep => {
                    let now = clock::mono();
                    if now >= silent && asked {
                        return self.ended(Duration::ZERO).await;
                    }
                    if now >= silent {
                        asked = true;
                        write(&mut socket, r#"{"type":"ping"}"#.to_owned()).await;
                    }
                }
            }
        }
    }

    /// The socket has ended. Where another is about to take over, that is waited for.
    async fn ended(&mut self, wait: Duration) -> Next {
        if self.leaving {
            return Next::Over;
        }
        if let Some(mover) = self.mover.take()
            && let Some(next) = self.moved(mover.await.ok())
        {
            return next;
        }
        Next::Back(wait)
    }

    fn begin_to_move(&mut self, now: Mono) {
        if self.mover.is_none() && self.move_at.is_some_and(|at| at <= now) {
            self.move_at = None;
            let (targets, join, from) = (self.targets(), self.join(), self.who.address());
            self.mover =
                Some(tokio::task::spawn_local(async move { enter(&targets, &join, true, from, 0).await }));
        }
    }

    /// What came of an attempt to move; where it failed, all goes on as it was, and it is tried again.
    fn moved(&mut self, done: Option<(Entered, Vec<String>)>) -> Option<Next> {
        let wait = match done {
            Some((Entered::In(url, socket, text), _)) => return Some(Next::Moved(socket, url, text)),
            Some((Entered::Later(wait), _)) => wait,
            _ => Duration::ZERO,
        };
        self.move_at = Some(clock::mono() + wait.max(Duration::from_secs(1)));
        None
    }

    async fn frame(&mut self, text: &str, socket: &mut Socket) -> Option<Next> {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else { return None };
        let number = self.who.number;
        let to = frame.to.as_ref().and_then(serde_json::Value::as_str);
        match (frame.kind, frame.id) {
            ("signal", Some(id)) => {
                let from = frame.from?;
                if self.inbox.take(from, id, frame.settled.unwrap_or(0)) {
                    let n = frame.payload.and_then(|text| text.get(..10)).and_then(|n| n.parse().ok());
                    self.log(Event::Took { client: number, from: from.to_owned(), n: n.unwrap_or(0) });
                }
            }
            ("delivered", Some(n)) if self.settle(to?, n) => {
                self.log(Event::Delivered { client: number, to: to?.to_owned(), n });
            }
            ("undelivered", Some(n)) if self.settle(to?, n) => {
                let reason = frame.reason.unwrap_or_default().to_owned();
                self.log(Event::Undelivered { client: number, to: to?.to_owned(), n, reason });
            }
            ("error", id) => {
                let wait = Duration::from_millis(frame.retry_after_ms.unwrap_or(250));
                let id = id.filter(|_| frame.code == Some("busy"));
                self.out.refused(to, id, clock::mono(), wait);
            }
            ("peer_left", _) if !self.leaving => {
                let reason = frame.reason.unwrap_or_default().to_owned();
                self.log(Event::Left { client: number, peer: frame.peer?.to_owned(), reason });
            }
            ("ping", _) => write(socket, r#"{"type":"pong"}"#.to_owned()).await,
            ("moving", _) => {
                self.sent_to = urls(frame.to.as_ref());
                // Spread by who it is, over two thirds of the time.
                let part = u64::from(number.wrapping_mul(2_654_435_761) >> 16) * frame.within_ms.unwrap_or(0);
                self.move_at = Some(clock::mono() + Duration::from_millis(part * 2 / 3 / 65_536));
            }
            ("closed", _) => return Some(self.closed(&frame).await),
            _ => {}
        }
        None
    }

    /// Whether anything was settled by that.
    fn settle(&mut self, to: &str, id: u64) -> bool {
        let settled = self.out.settle(to, id);
        self.shared.waiting.set(self.shared.waiting.get().saturating_sub(settled));
        settled > 0
    }

    async fn closed(&mut self, frame: &Frame<'_>) -> Next {
        let wait = Duration::from_millis(frame.retry_after_ms.unwrap_or(0));
        let code = frame.code.unwrap_or_default();
        if frame.resume == Some(true) || matches!(code, "lost" | "replaced") && self.mover.is_some() {
            return self.ended(wait).await;
        }
        if code == "lost" {
            self.forget();
            return Next::Back(wait);
        }
        if !self.leaving {
            self.log(Event::Ended { client: self.who.number, why: code.to_owned() });
        }
        Next::Over
    }
}

async fn write(socket: &mut Socket, text: String) {
    // A socket that has ended says so when it is read.
    let _ = socket.send(Message::text(text)).await;
}

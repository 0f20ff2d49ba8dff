//! A client of the native protocol in a call of two: it gets relays from its node, finds a pair of them that
//! works, sends a packet every 20 ms, and restarts by the rules of the browser SDK. It writes down what comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_proto::time::Mono;
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::allocation::{Allocation, News};
use super::frame::{Frame, relays};
use super::join::{Socket, Who, enter};
use super::path::{Local, Paths, Remote};
use super::record::Record;
use super::watch::Watch;

/// Fifty packets a second, as sound has them.
const PACKET_EVERY: Duration = Duration::from_millis(20);
/// Pairs that are not known to work are checked this often.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// What was used before a restart is given back so long after a new pair works.
const GIVEN_BACK_AFTER: Duration = Duration::from_secs(3);
/// An answer to a restart is a restart; one that was begun so lately is answer enough.
const GLARE: Duration = Duration::from_secs(4);
/// News of allocations, and words, that wait for a client.
const QUEUE: usize = 1024;

/// Who is over an edge that is being emptied moves within this, each at another time: as the browser SDK.
const MOVE_WITHIN: Duration = Duration::from_secs(2);

const CHECK: &[u8] = b"check";
const ANSWER: &[u8] = b"answer";
const MEDIA: &[u8; 160] = &[b'm'; 160];

enum Say {
    Frame(String),
    Leave,
}

/// A client that runs.
pub(super) struct Client {
    pub(super) record: Rc<RefCell<Record>>,
    say: mpsc::Sender<Say>,
    task: JoinHandle<()>,
}

impl Client {
    /// Begins to join.
    pub(super) fn start(who: Who) -> Self {
        let (say, told) = mpsc::channel(QUEUE);
        let record = Rc::new(RefCell::new(Record::default()));
        let kept = Rc::clone(&record);
        let task = tokio::task::spawn_local(async move {
            let ended = Task::run(who, Rc::clone(&kept), told).await;
            kept.borrow_mut().ended =
                Some(ended.map_or_else(|error| format!("{error:#}"), |()| "left".into()));
        });
        Self { record, say, task }
    }

    /// Sends a frame.
    pub(super) fn say(&self, frame: &serde_json::Value) {
        let _ = self.say.try_send(Say::Frame(frame.to_string())); // it has ended, and says so
    }

    /// Leaves, and waits until it has.
    pub(super) async fn leave(mut self) {
        let _ = self.say.send(Say::Leave).await; // ended already
        let _ = tokio::time::timeout(Duration::from_secs(2), &mut self.task).await; // then it is ended
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What both sides tell each other of their relayed addresses.
#[derive(Debug, Serialize, Deserialize)]
struct Candidate {
    generation: u32,
    relay: Option<(SocketAddr, usize)>,
}

struct Held {
    allocation: Allocation,
    edge: String,
    local: Local,
}

struct Task {
    socket: Socket,
    record: Rc<RefCell<Record>>,
    who: Who,
    news: mpsc::Sender<(u32, News)>,
    other: Option<String>,
    signals: u64,
    held: BTreeMap<u32, Held>,
    last_id: u32,
    paths: Paths,
    watch: Watch,
    gathered: Mono,
    settled: Option<Mono>,
    check_at: Mono,
    /// When to move off an edge that is being emptied.
    move_at: Option<Mono>,
}

impl Task {
    async fn run(who: Who, record: Rc<RefCell<Record>>, mut told: mpsc::Receiver<Say>) -> Result<()> {
        let (socket, welcome) = enter(&who).await?;
        let (news, mut heard) = mpsc::channel(QUEUE);
        let now = clock::mono();
        let mut task = Self {
            socket,
            record,
            who,
            news,
            other: None,
            signals: 0,
            held: BTreeMap::new(),
            last_id: 0,
            paths: Paths::default(),
            watch: Watch::new(now),
            gathered: Mono::default(),
            settled: None,
            check_at: now,
            move_at: None,
        };
        task.frame(&welcome).await?;
        let mut tick = tokio::time::interval(PACKET_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = task.socket.next() => match message.context("the socket has ended")?? {
                    Message::Text(text) => task.frame(&text).await?,
                    Message::Close(_) => bail!("the socket was closed"),
                    _ => {}
                },
                Some((id, news)) = heard.recv() => task.news(id, news).await?,
                _ = tick.tick() => task.tick().await?,
                said = told.recv() => match said {
                    Some(Say::Frame(frame)) => task.socket.send(Message::text(frame)).await?,
                    Some(Say::Leave) => {
                        task.socket.send(Message::text(r#"{"type":"leave"}"#)).await?;
                        while let Some(Ok(_)) = task.socket.next().await {}
                        return Ok(());
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    async fn frame(&mut self, text: &str) -> Result<()> {
        let frame: Frame = serde_json::from_str(text)?;
        match frame.kind.as_str() {
            "welcome" => {
                {
                    let mut record = self.record.borrow_mut();
                    (record.peer, record.relays) = (frame.peer.clone(), relays(&frame));
                }
                self.meet(frame.roster.first().map(|view| view.peer.clone())).await?;
            }
            "peer_joined" => self.meet(frame.peer).await?,
            "ice_servers" => self.offered(&frame),
            "signal" => {
                let (from, id) = (frame.from.context("a signal of nobody")?, frame.id);
                let ack = json!({ "type": "ack", "from": from, "id": id });
                self.socket.send(Message::text(ack.to_string())).await?;
                self.candidate(serde_json::from_value(frame.payload)?).await?;
            }
            "ping" => self.socket.send(Message::text(r#"{"type":"pong"}"#)).await?,
            "error" | "closed" | "gone" => bail!("{text}"),
            _ => {}
        }
        Ok(())
    }

    /// There is somebody to call.
    async fn meet(&mut self, other: Option<String>) -> Result<()> {
        if self.other.is_none() && other.is_some() {
            self.other = other;
            self.gather().await?;
        }
        Ok(())
    }

    /// Other relays are stored; that an edge is lost is a hint.
    fn offered(&mut self, frame: &Frame) {
        let now = clock::mono();
        let mut record = self.record.borrow_mut();
        record.relays = relays(frame);
        if record.edge.as_ref().is_some_and(|edge| frame.draining.contains(edge)) && self.move_at.is_none() {
            let part = u32::from(u16::from_le_bytes(clock::random()));
            self.move_at = Some(now + MOVE_WITHIN * part / u32::from(u16::MAX));
        }
        if frame.reason.as_deref() == Some("edge_lost") {
            record.told = Some(now);
            if frame.lost.is_some() && frame.lost == record.edge {
                self.watch.suspect(now);
            }
        }
    }

    /// Allocates at all relays that it was offered.
    async fn gather(&mut self) -> Result<()> {
        self.gathered = clock::mono();
        let relays = self.record.borrow().relays.clone();
        for (order, relay) in relays.iter().enumerate() {
            self.last_id += 1;
            let id = self.last_id;
            let allocation = Allocation::start(id, relay, self.who.from, &self.who.walls, self.news.clone());
            let local = Local { id, generation: self.paths.generation, order };
            self.held.insert(id, Held { allocation, edge: relay.edge.clone(), local });
        }
        self.signal(&Candidate { generation: self.paths.generation, relay: None }).await
    }

    async fn signal(&mut self, candidate: &Candidate) -> Result<()> {
        let Some(other) = &self.other else { return Ok(()) };
        self.signals += 1;
        let frame = json!({
            "type": "signal", "to": other, "id": self.signals, "kind": "relay", "payload": candidate,
        });
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    async fn candidate(&mut self, Candidate { generation, relay }: Candidate) -> Result<()> {
        if self.paths.hear(generation) {
            let now = clock::mono();
            self.watch.restarted(now);
            if now.since(self.gathered) > GLARE {
                self.paths.restart();
                self.gather().await?;
            }
        }
        if let Some((at, order)) = relay {
            self.paths.add_remote(Remote { at, generation, order });
            for held in self.held.values() {
                held.allocation.permit(vec![at]);
            }
        }
        Ok(())
    }

    async fn news(&mut self, id: u32, news: News) -> Result<()> {
        let Some(held) = self.held.get(&id) else { return Ok(()) };
        match news {
            News::Allocated(relayed) => {
                let local = held.local;
                let peers: Vec<_> = self.paths.remotes().map(|remote| remote.at).collect();
                if !peers.is_empty() {
                    held.allocation.permit(peers);
                }
                self.paths.add_local(local);
                let relay = Some((relayed, local.order));
                return self.signal(&Candidate { generation: local.generation, relay }).await;
            }
            News::Failed(_) => {
                self.held.remove(&id);
                self.paths.remove(id);
            }
            News::Data(from, data) if data == CHECK => held.allocation.send(from, ANSWER.to_vec()),
            News::Data(from, data) if data == ANSWER => {
                let edge = held.edge.clone();
                if self.paths.answered(id, from) {
                    self.record.borrow_mut().edge = Some(edge);
                    self.settled = Some(clock::mono());
                }
            }
            News::Data(..) => {
                self.watch.receive();
                self.record.borrow_mut().arrivals.push(clock::mono());
            }
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<()> {
        let now = clock::mono();
        if let Some((local, remote)) = self.paths.selected()
            && let Some(held) = self.held.get(&local.id)
        {
            held.allocation.send(remote.at, MEDIA.to_vec());
        }
        if self.check_at <= now {
            self.check_at = now + CHECK_EVERY;
            for (local, remote) in self.paths.to_check() {
                if let Some(held) = self.held.get(&local.id) {
                    held.allocation.send(remote.at, CHECK.to_vec());
                }
            }
        }
        if self.paths.is_settled() && self.settled.is_some_and(|at| now.since(at) > GIVEN_BACK_AFTER) {
            self.settled = None;
            let generation = self.paths.generation;
            self.held.retain(|id, held| {
                let stays = held.local.generation == generation;
                if !stays {
                    self.paths.remove(*id);
                }
                stays
            });
        }
        if self.move_at.is_some_and(|at| at <= now) {
            self.move_at = None;
            // What it goes over carries media until a new pair works.
            self.paths.restart();
            self.gather().await?;
        }
        // What was never connected is not restarted: it is waited for.
        if self.watch.poll_timeout() <= now && self.watch.look(now) && self.paths.selected().is_some() {
            self.record.borrow_mut().restarts.push(now);
            self.paths.restart();
            self.gather().await?;
        }
        Ok(())
    }
}

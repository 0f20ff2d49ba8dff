//! The load: pairs of peers, one of which sends to the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_proto::time::Mono;
use futures_util::SinkExt;
use hdrhistogram::Histogram;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::Args;
use super::peer::{Frame, Peer, Sink, Stream, next};
use super::server::Server;
use crate::bench::figures::micros_each;

/// A round is given up when nothing arrives for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest latency that is told from a longer one, in nanoseconds.
const LATENCY_MAX: u64 = 60_000_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;
/// What was not acknowledged for so long is, as by the browser SDK.
const ACK_AFTER: Duration = Duration::from_millis(20);
/// Connections that are opened at a time.
const AT_A_TIME: usize = 16;

/// What a pair's sender keeps.
struct Sender {
    sink: Sink,
    /// The receiver's id; empty on the floor.
    to: String,
    next: u64,
    /// How many more may be on their way.
    window: Rc<Semaphore>,
}

/// What has arrived, of all pairs.
struct Arrived {
    count: u64,
    times: Histogram<u64>,
    failed: Option<anyhow::Error>,
}

/// Pairs that are ready, and the tasks that read of their sockets.
pub(super) struct Pairs<'a> {
    server: &'a Server,
    senders: Vec<Sender>,
    filler: String,
    arrived: Rc<RefCell<Arrived>>,
    progress: Rc<Notify>,
    _readers: JoinSet<()>,
}

/// What a saturated round measured.
pub(super) struct Round {
    /// Microseconds of the server's processor for each signal.
    pub(super) cost: f64,
    busy: f64,
    rate: f64,
}

impl Round {
    pub(super) fn note(&self) -> String {
        format!("0 lost, {:.0} % busy, {:.1} k/s", self.busy * 100.0, self.rate / 1000.0)
    }
}

impl<'a> Pairs<'a> {
    /// Connects them. Of the native protocol, every so many signals are acknowledged by one frame.
    pub(super) async fn open(args: &Args, server: &'a Server, ack_every: u64) -> Result<Self> {
        let arrived =
            Arrived { count: 0, times: Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS)?, failed: None };
        let (arrived, progress) = (Rc::new(RefCell::new(arrived)), Rc::new(Notify::new()));
        let mut pairs = Self {
            server,
            senders: Vec::new(),
            filler: "x".repeat(usize::from(args.size).saturating_sub(STAMP)),
            arrived,
            progress,
            _readers: JoinSet::new(),
        };
        let run = u64::from_be_bytes(clock::random());
        for pair in 0..usize::from(args.pairs) {
            let room = format!("bench-{run:x}-{pair}");
            let one = Peer::join(server, &room).await?;
            let other = Peer::join(server, &room).await?;
            let window = Rc::new(Semaphore::new(args.window.into()));
            let native = server.is_native();
            let sender = Sender { sink: one.sink, to: other.id.clone(), next: 1, window: Rc::clone(&window) };
            pairs.senders.push(sender);
            let arrivals = pairs.reader();
            let (from, freed) = (one.id, Rc::clone(&window));
            pairs._readers.spawn_local(arrivals.watch(async move |arrivals| {
                receive(other, &from, native.then_some(ack_every), &freed, arrivals).await
            }));
            let arrivals = pairs.reader();
            pairs._readers.spawn_local(arrivals.watch(async move |_| confirm(one.stream, &window).await));
        }
        Ok(pairs)
    }

    fn reader(&self) -> Arrivals {
        Arrivals { arrived: Rc::clone(&self.arrived), progress: Rc::clone(&self.progress) }
    }

    /// Sends so many signals as fast as the windows let, and waits until all have arrived.
    pub(super) async fn saturate(&mut self, count: u64) -> Result<Round> {
        let server = self.server;
        let cpu = || server.process.map_or(Ok(clock::mono().0), |process| process.cpu());
        self.arrived.borrow_mut().count = 0;
        let (began, before) = (clock::mono(), cpu()?);
        let each = count / self.senders.len() as u64;
        let more = count % self.senders.len() as u64;
        let filler = &self.filler;
        let sending = self.senders.iter_mut().enumerate().map(async |(index, sender)| {
            for _ in 0..each + u64::from((index as u64) < more) {
                sender.window.acquire().await?.forget();
                sender.send(filler).await?;
            }
            anyhow::Ok(())
        });
        let sending = futures_util::future::try_join_all(sending);
        let arriving = all(&self.arrived, &self.progress, count);
        tokio::try_join!(sending, arriving)?;
        let (used, took) = (cpu()?.saturating_sub(before), clock::mono().since(began));
        let busy = used.as_secs_f64() / took.as_secs_f64();
        Ok(Round { cost: micros_each(used, count), busy, rate: 1e6 / micros_each(took, count) })
    }

    /// Sends so many a second, evenly spread over time and pairs, and answers how long each took, in
    /// nanoseconds.
    pub(super) async fn pace(&mut self, rate: u32, seconds: u32) -> Result<Histogram<u64>> {
        {
            let mut arrived = self.arrived.borrow_mut();
            arrived.count = 0;
            arrived.times.reset();
        }
        let count = u64::from(rate) * u64::from(seconds);
        let (gap, began) = (Duration::from_secs(1) / rate, clock::mono());
        let pairs = self.senders.len();
        let sending = async {
            for index in 0..count {
                let due = began + gap * u32::try_from(index)?;
                // Finer than a timer: what it measures is shorter than a timer's step.
                while clock::mono() < due {
                    tokio::task::yield_now().await;
                }
                let sender = &mut self.senders[usize::try_from(index)? % pairs];
                // A server that cannot keep up is seen by that: what waits here counts as its time.
                sender.window.acquire().await?.forget();
                sender.send_stamped(&self.filler, due).await?;
            }
            anyhow::Ok(())
        };
        let arriving = all(&self.arrived, &self.progress, count);
        tokio::try_join!(sending, arriving)?;
        Ok(self.arrived.borrow().times.clone())
    }
}

/// Digits of the time that a payload begins with.
const STAMP: usize = 20;

impl Sender {
    async fn send(&mut self, filler: &str) -> Result<()> {
        self.send_stamped(filler, clock::mono()).await
    }

    async fn send_stamped(&mut self, filler: &str, at: Mono) -> Result<()> {
        let (id, to) = (self.next, &self.to);
        self.next += 1;
        let payload = format!("{:0STAMP$}{filler}", at.0.as_nanos());
        let text = if to.is_empty() {
            payload
        } else {
            format!(r#"{{"type":"signal","to":"{to}","id":{id},"kind":"candidate","payload":"{payload}"}}"#)
        };
        Ok(self.sink.send(Message::text(text)).await?)
    }
}

/// Waits until so many have arrived.
async fn all(arrived: &RefCell<Arrived>, progress: &Notify, count: u64) -> Result<()> {
    loop {
        let so_far = {
            let mut arrived = arrived.borrow_mut();
            if let Some(error) = arrived.failed.take() {
                return Err(error);
            }
            arrived.count
        };
        if so_far >= count {
            return Ok(());
        }
        if tokio::time::timeout(PATIENCE, progress.notified()).await.is_err()
            && arrived.borrow().count == so_far
        {
            bail!("signals do not arrive: {so_far} of {count}");
        }
    }
}

/// Where readers note what arrives.
struct Arrivals {
    arrived: Rc<RefCell<Arrived>>,
    progress: Rc<Notify>,
}

impl Arrivals {
    fn note(&self, payload: &str) {
        let mut arrived = self.arrived.borrow_mut();
        arrived.count += 1;
        let sent = payload.get(..STAMP).and_then(|digits| digits.parse::<u64>().ok());
        if let Some(sent) = sent {
            let now = u64::try_from(clock::mono().0.as_nanos()).unwrap_or(u64::MAX);
            arrived.times.saturating_record(now.saturating_sub(sent));
        }
        self.progress.notify_one();
    }

    /// Runs a reader; its failure is the round's.
    async fn watch(self, reader: impl AsyncFnOnce(&Self) -> Result<()>) {
        if let Err(error) = reader(&self).await {
            self.arrived.borrow_mut().failed = Some(error);
            self.progress.notify_one();
        }
    }
}

/// The receiving end: counts, and acknowledges where the protocol does. Signals of the native protocol
/// come in order and once: the next id is the only one that is right.
async fn receive(
    peer: Peer,
    from: &str,
    ack_every: Option<u64>,
    window: &Semaphore,
    arrivals: &Arrivals,
) -> Result<()> {
    let Peer { mut stream, mut sink, .. } = peer;
    let (mut expected, mut acknowledged) = (1, 0);
    loop {
        let arriving = next(&mut stream);
        let text = if acknowledged + 1 == expected {
            arriving.await
        } else if let Ok(text) = tokio::time::timeout(ACK_AFTER, arriving).await {
            text
        } else {
            acknowledged = expected - 1;
            acknowledge(&mut sink, from, acknowledged).await?;
            continue;
        };
        let text = text?.context("the server closed a receiver's socket")?;
        let Some(ack_every) = ack_every else {
            arrivals.note(&text); // the floor
            window.add_permits(1);
            continue;
        };
        let frame = Frame::read(&text)?;
        match frame.kind {
            "signal" => {
                if frame.id != expected {
                    bail!("signal {} where {expected} was due", frame.id);
                }
                expected += 1;
                arrivals.note(frame.payload.context("a signal without a payload")?);
                if frame.id >= acknowledged + ack_every {
                    acknowledged = frame.id;
                    acknowledge(&mut sink, from, acknowledged).await?;
                }
            }
            "ping" => sink.send(Message::text(r#"{"type":"pong"}"#)).await?,
            "error" | "closed" | "undelivered" => bail!("a receiver was told {text}"),
            _ => {}
        }
    }
}

async fn acknowledge(sink: &mut Sink, from: &str, id: u64) -> Result<()> {
    let ack = format!(r#"{{"type":"ack","from":"{from}","id":{id}}}"#);
    Ok(sink.send(Message::text(ack)).await?)
}

/// The sending end's own reader: what is delivered makes room for more.
async fn confirm(mut stream: Stream, window: &Semaphore) -> Result<()> {
    let mut delivered = 0;
    loop {
        let text = next(&mut stream).await?.context("the server closed a sender's socket")?;
        let frame = Frame::read(&text)?;
        match frame.kind {
            "delivered" => {
                window.add_permits(usize::try_from(frame.id.saturating_sub(delivered))?);
                delivered = frame.id.max(delivered);
            }
            "error" | "closed" | "undelivered" => bail!("a sender was told {text}"),
            _ => {}
        }
    }
}

/// So many peers that join, two in a room, and do nothing.
pub(super) async fn crowd(server: &Server, count: u16) -> Result<Vec<Peer>> {
    let run = u64::from_be_bytes(clock::random());
    let mut peers: Vec<Peer> = Vec::with_capacity(count.into());
    while peers.len() < usize::from(count) {
        let from = peers.len();
        let joining = (from..usize::from(count).min(from + AT_A_TIME))
            .map(async |number| Peer::join(server, &format!("idle-{run:x}-{}", number / 2)).await);
        peers.extend(futures_util::future::try_join_all(joining).await?);
    }
    Ok(peers)
}

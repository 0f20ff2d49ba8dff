//! The people of `chappe bench console`: a process of its own holds as many of their sockets as a process may have.
#![allow(clippy::print_stdout)]

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::tungstenite::Message;

use crate::bench::failover::client::socket::{Entered, Socket, enter};
use crate::bench::process;

/// Joins that are under way at a time.
const JOINS_AT_A_TIME: usize = 32;
/// Joins that one source address makes: below what a node takes in a burst.
const JOINS_PER_SOURCE: u32 = 50;
/// Attempts of one who finds no node.
const ATTEMPTS: u32 = 20;
/// A machine under such a load is slow to open a socket: as after so many attempts in vain.
const PATIENT: u32 = 4;
/// A full room is asked again after this.
const GRACE: Duration = Duration::from_secs(5);
/// The time between two looks at who is to do something.
const TICK: Duration = Duration::from_millis(20);
/// The time between two words about how it stands.
const TELL: Duration = Duration::from_secs(1);
/// Signals a second in the room that is watched.
const BUSY: u32 = 50;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where clients find the nodes.
    #[arg(long, value_delimiter = ',')]
    urls: Vec<String>,
    /// What every join carries.
    #[arg(long)]
    token_file: PathBuf,
    /// The number of the first room.
    #[arg(long)]
    first: u32,
    /// Rooms.
    #[arg(long)]
    rooms: u32,
    /// People in each.
    #[arg(long)]
    peers: u32,
    /// People who leave and come back, a second.
    #[arg(long)]
    churn: u32,
    /// Signals a second, over all rooms in turn.
    #[arg(long)]
    signals: u32,
}

/// The name of a room.
pub(super) fn room(number: u32) -> String {
    format!("room-{number:05}")
}

/// What somebody is to do.
enum Order {
    /// To leave, and to come back.
    Leave,
    /// To signal to that peer.
    Signal(Rc<str>),
}

/// What all of them share.
struct Shared {
    urls: Vec<String>,
    token: String,
    first: u32,
    peers: u32,
    /// Who is there, by number.
    ids: RefCell<Vec<Option<Rc<str>>>>,
    here: Cell<u32>,
    joins: Semaphore,
    /// Source addresses so far, times their joins.
    connected: Cell<u32>,
    failed: RefCell<Option<anyhow::Error>>,
}

/// Runs until it is killed; each second it says how many are there.
pub(in crate::bench) fn run(args: &Args) -> Result<()> {
    process::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, crowd(args))
}

async fn crowd(args: &Args) -> Result<()> {
    let people = args.rooms * args.peers;
    let shared = Rc::new(Shared {
        urls: args.urls.clone(),
        token: fs::read_to_string(&args.token_file)?,
        first: args.first,
        peers: args.peers,
        ids: RefCell::new(vec![None; usize::try_from(people)?]),
        here: Cell::new(0),
        joins: Semaphore::new(JOINS_AT_A_TIME),
        connected: Cell::new(0),
        failed: RefCell::new(None),
    });
    let orders: Vec<_> = (0..people)
        .map(|number| {
            let (order, ordered) = mpsc::channel(8);
            tokio::task::spawn_local(person(Rc::clone(&shared), number, ordered));
            order
        })
        .collect();
    let mut ticks = tokio::time::interval(TICK);
    let (mut told, mut whole) = (clock::mono(), None);
    let mut done = [0_u64; 3];
    loop {
        ticks.tick().await;
        if let Some(error) = shared.failed.borrow_mut().take() {
            return Err(error);
        }
        let now = clock::mono();
        if now.since(told) >= TELL {
            told = now;
            println!("Here {}", shared.here.get());
        }
        if whole.is_none() && shared.here.get() == people {
            whole = Some(now);
            println!("Here {people}");
        }
        let Some(since) = whole else { continue };
        let passed = now.since(since).as_millis();
        let busy = if args.first == 0 { BUSY } else { 0 };
        for (index, rate) in [args.churn, args.signals, busy].into_iter().enumerate() {
            let due = u64::try_from(passed * u128::from(rate) / 1000)?;
            for n in done[index]..due {
                give(&shared, &orders, index, u32::try_from(n % u64::from(u32::MAX))?);
            }
            done[index] = due;
        }
    }
}

/// The `n`-th order of a kind: to leave, to signal in any room, to signal in the first.
fn give(shared: &Shared, orders: &[mpsc::Sender<Order>], kind: usize, n: u32) {
    let peers = shared.peers;
    let rooms = u32::try_from(orders.len()).unwrap_or(u32::MAX) / peers;
    // Who leaves is not always of the same room, and never of the first.
    let (room, one) = match kind {
        0 => (1 + n % rooms.saturating_sub(1).max(1), n / rooms.max(1)),
        1 => (n % rooms, n / rooms),
        _ => (0, n),
    };
    let number = |one: u32| usize::try_from(room.min(rooms - 1) * peers + one % peers).unwrap_or(0);
    let order = if kind == 0 {
        Order::Leave
    } else {
        match shared.ids.borrow()[number(one + 1)].clone() {
            Some(id) if peers > 1 => Order::Signal(id),
            _ => return,
        }
    };
    // Whoever is so far behind is left alone.
    let _ = orders[number(one)].try_send(order);
}

/// Is there, leaves when told to, and comes back.
async fn person(shared: Rc<Shared>, number: u32, mut orders: mpsc::Receiver<Order>) {
    loop {
        if let Err(error) = visit(&shared, number, &mut orders).await {
            *shared.failed.borrow_mut() = Some(error);
            return;
        }
    }
}

/// What is read of a frame.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    peer: Option<&'a str>,
    #[serde(default)]
    from: Option<&'a str>,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    code: Option<&'a str>,
}

async fn visit(shared: &Shared, number: u32, orders: &mut mpsc::Receiver<Order>) -> Result<()> {
    let (mut socket, id) = join(shared, number).await?;
    let at = usize::try_from(number)?;
    shared.ids.borrow_mut()[at] = Some(id);
    shared.here.set(shared.here.get() + 1);
    let ended = stay(&mut socket, orders).await;
    shared.here.set(shared.here.get() - 1);
    shared.ids.borrow_mut()[at] = None;
    ended?;
    let _ = socket.close(None).await; // it is left
    Ok(())
}

async fn join(shared: &Shared, number: u32) -> Result<(Socket, Rc<str>)> {
    let _turn = shared.joins.acquire().await?;
    let at = usize::try_from(number)? % shared.urls.len();
    let join = json!({
        "type": "join",
        "room": room(shared.first + number / shared.peers),
        "token": shared.token,
        "name": format!("Person {}", shared.first * shared.peers + number),
    })
    .to_string();
    for _ in 0..ATTEMPTS {
        let source = shared.connected.replace(shared.connected.get() + 1) / JOINS_PER_SOURCE;
        // Processes come from different networks.
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + shared.first * 64 + source);
        let entering = enter(&shared.urls[at..=at], &join, false, from, PATIENT);
        match entering.await.0 {
            Entered::In(_, socket, text) => {
                let welcome: Frame<'_> = serde_json::from_str(&text)?;
                return Ok((*socket, welcome.peer.context("a welcome without a peer")?.into()));
            }
            Entered::Later(wait) => tokio::time::sleep(wait.max(Duration::from_millis(250))).await,
            // A join that was given up may have come about: it keeps its seat for a grace.
            Entered::Never(why) if why.contains("room_full") => tokio::time::sleep(GRACE).await,
            Entered::Gone => bail!("a session that never was is gone"),
            Entered::Never(why) => bail!("{why}"),
        }
    }
    bail!("no node takes person {number} in")
}

/// Answers what is asked, until told to leave.
async fn stay(socket: &mut Socket, orders: &mut mpsc::Receiver<Order>) -> Result<()> {
    let (mut to, mut next) = (Rc::<str>::from(""), 1_u64);
    loop {
        tokio::select! {
            message = socket.next() => {
                let Message::Text(text) = message.context("a node closed a socket")?? else { continue };
                let frame: Frame<'_> = serde_json::from_str(&text)?;
                let answer = match (frame.kind, frame.from) {
                    ("ping", _) => json!({ "type": "pong" }),
                    ("signal", Some(from)) => json!({ "type": "ack", "from": from, "id": frame.id }),
                    ("error" | "closed", _) => bail!("somebody was told {:?}: {text}", frame.code),
                    _ => continue,
                };
                socket.send(Message::text(answer.to_string())).await?;
            }
            order = orders.recv() => match order {
                Some(Order::Signal(peer)) => {
                    if peer != to {
                        (to, next) = (peer, 1);
                    }
                    let candidate = "candidate:1 1 udp 2122260223 192.0.2.7 54321 typ host generation 0";
                    let signal = json!({
                        "type": "signal", "to": &*to, "id": next, "kind": "candidate",
                        "payload": { "candidate": candidate, "sdpMid": "0" },
                    });
                    next += 1;
                    socket.send(Message::text(signal.to_string())).await?;
                }
                Some(Order::Leave) | None => {
                    return Ok(socket.send(Message::text(r#"{"type":"leave"}"#)).await?);
                }
            }
        }
    }
}

//! The load of a round: rooms of two clients, one of which signals to the other at an even pace.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::timeout;

use super::client::{Client, Shared, Who};
use super::log::Event;
use super::roles::Plan;

/// Joins that are under way at a time.
const JOINS_AT_A_TIME: usize = 32;
/// A client of the load is in its room within this.
const JOINED_WITHIN: Duration = Duration::from_secs(30);
/// The time between two looks at what is due.
const TICK: Duration = Duration::from_millis(2);
/// All that was sent has arrived within this, or never does.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// A room of the load.
struct Room {
    sender: Client,
    receiver: Client,
    to: Rc<str>,
}

/// The rooms, and the clients in them.
pub(super) struct Load {
    rooms: Vec<Room>,
    shared: Rc<Shared>,
    next: usize,
}

/// Where each node is reached: its id, and its address first.
pub(super) type Urls = dyn Fn(u64) -> Vec<String>;

impl Load {
    /// Everybody joins.
    pub(super) async fn open(
        plan: &Plan,
        names: &[String],
        shared: &Rc<Shared>,
        urls: &Urls,
    ) -> Result<Self> {
        let opening = names.iter().enumerate().map(async |(number, name)| {
            let room = u32::try_from(number)?;
            shared.log.write(Event::Room { room, through: plan.through });
            let (sends, receives) = plan.gateways(number);
            let who =
                |side, node| Who { number: 2 * room + side, room: (room, name.clone()), urls: urls(node) };
            let (receiver, to) = Client::start(who(1, receives), Rc::clone(shared));
            let to = timeout(JOINED_WITHIN, to).await.context("a receiver does not get in")??;
            let (sender, joined) = Client::start(who(0, sends), Rc::clone(shared));
            timeout(JOINED_WITHIN, joined).await.context("a sender does not get in")??;
            anyhow::Ok(Room { sender, receiver, to: to.into() })
        });
        let rooms: Vec<Result<Room>> =
            stream::iter(opening).buffer_unordered(JOINS_AT_A_TIME).collect().await;
        let rooms = rooms.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Self { rooms, shared: Rc::clone(shared), next: 0 })
    }

    /// Signals so many a second, room after room, until told to stop.
    pub(super) async fn run(&mut self, rate: u32, stop: &Cell<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        let (began, mut done) = (clock::mono(), 0_u64);
        while !stop.get() {
            ticks.tick().await;
            let passed = clock::mono().since(began);
            let due = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX) / 1000 * u64::from(rate) / 1000;
            // What a pause of this process has missed is missed: a burst would be another load.
            done = done.max(due.saturating_sub(u64::from(rate) / 10));
            while done < due {
                done += 1;
                let index = self.next % self.rooms.len().max(1);
                self.next += 1;
                if let Some(room) = self.rooms.get_mut(index) {
                    room.sender.signal(&room.to);
                }
            }
        }
    }

    /// Waits until nothing is on its way any more, or will never be.
    pub(super) async fn settle(&self) {
        let settled = async {
            while self.shared.waiting.get() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(SETTLED_WITHIN, settled).await; // the checker finds what is missing
    }

    /// Everybody leaves.
    pub(super) async fn close(self) {
        let all = self.rooms.into_iter().flat_map(|room| [room.sender, room.receiver]);
        stream::iter(all).for_each_concurrent(JOINS_AT_A_TIME, Client::leave).await;
    }
}

/// Somebody who was not there asks to join a room.
pub(super) fn ask(number: u32, room: (u32, String), urls: Vec<String>, shared: &Rc<Shared>) -> Client {
    shared.log.write(Event::Asked { client: number });
    Client::start(Who { number, room, urls }, Rc::clone(shared)).0
}

/// A payload has this much besides its count.
pub(super) fn filler(size: u16) -> Result<String> {
    if size < 16 {
        bail!("a payload of {size} bytes holds no count");
    }
    Ok("x".repeat(usize::from(size) - 10))
}

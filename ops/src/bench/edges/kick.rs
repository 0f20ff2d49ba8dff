//! Revocation: somebody with an allocation on every edge is kicked, and the other one, who sends to all of
//! them, counts what still arrives.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_proto::time::Mono;
use serde_json::json;
use tokio::sync::mpsc;

use super::allocation::{Allocation, News, Relay, Walls};
use super::calls;
use super::fleet::Fleet;
use super::record::Record;
use super::round::Found;

/// A packet to each of them this often: what the figures may be too small by.
const PACKET_EVERY: Duration = Duration::from_millis(10);
/// All allocations are there, and carry, within this.
const CARRIES_WITHIN: Duration = Duration::from_secs(10);
/// They are listened to for so long after the kick: longer than they may live.
const LISTENED: Duration = Duration::from_secs(3);
/// News that wait.
const QUEUE: usize = 4096;
/// The number of the other one's allocation.
const OTHER: u32 = 1000;

/// One round.
pub(super) async fn run(fleet: &mut Fleet, number: u32, walls: &Walls, found: &mut Found) -> Result<()> {
    let calls = calls::start(fleet, 1, number, walls).await?;
    let [kicked, other] = &calls[0].both;
    let relay = |record: &Record| record.relays.first().cloned().context("no relay");
    let (theirs, others) = (relay(&kicked.record.borrow())?, relay(&other.record.borrow())?);
    let (news, mut heard) = mpsc::channel(QUEUE);
    let from = Ipv4Addr::new(127, 4, 0, 1);
    // Credentials are good at every edge.
    let everywhere = (0..).zip(&fleet.edges).map(|(id, edge)| {
        let relay = Relay { at: edge.at, edge: edge.name.clone(), ..theirs.clone() };
        Allocation::start(id, &relay, from, walls, news.clone())
    });
    let everywhere: Vec<Allocation> = everywhere.collect();
    let sender = Allocation::start(OTHER, &others, from, walls, news.clone());
    let mut relayed: BTreeMap<u32, SocketAddr> = BTreeMap::new();
    while relayed.len() <= everywhere.len() {
        let next = tokio::time::timeout(CARRIES_WITHIN, heard.recv()).await.context("no allocation")?;
        match next {
            Some((id, News::Allocated(at))) => relayed.insert(id, at),
            other => bail!("no allocation: {other:?}"),
        };
    }
    let source = relayed.remove(&OTHER).context("no allocation to send from")?;
    sender.permit(relayed.values().copied().collect());
    everywhere.iter().for_each(|allocation| allocation.permit(vec![source]));
    let mut listening = Listening { heard, relayed, sender, last: BTreeMap::new() };
    listening.until(CARRIES_WITHIN, |last, all| last.len() == all).await?;
    let struck = clock::mono();
    let peer = kicked.record.borrow().peer.clone().context("no peer id")?;
    other.say(&json!({ "type": "kick", "peer": peer }));
    listening.until(LISTENED, |_, _| false).await?;
    let over = clock::mono();
    let row = found.gaps.entry("kicked: dead on every edge").or_default();
    for last in listening.last.values() {
        let alive = over.since(*last) < LISTENED / 3;
        row.push((!alive).then(|| last.since(struck)));
    }
    calls::end(calls).await;
    Ok(())
}

struct Listening {
    heard: mpsc::Receiver<(u32, News)>,
    relayed: BTreeMap<u32, SocketAddr>,
    sender: Allocation,
    /// When something came over each.
    last: BTreeMap<u32, Mono>,
}

impl Listening {
    /// Sends to all of them, and notes what comes, until it is enough or the time is up.
    async fn until(
        &mut self,
        within: Duration,
        enough: impl Fn(&BTreeMap<u32, Mono>, usize) -> bool,
    ) -> Result<()> {
        let end = clock::mono() + within;
        let mut tick = tokio::time::interval(PACKET_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while clock::mono() < end && !enough(&self.last, self.relayed.len()) {
            tokio::select! {
                _ = tick.tick() => {
                    self.relayed.values().for_each(|at| self.sender.send(*at, b"media".to_vec()));
                }
                news = self.heard.recv() => match news {
                    Some((id, News::Data(..))) => {
                        self.last.insert(id, clock::mono());
                    }
                    Some((OTHER, News::Failed(why))) => bail!("the other one's allocation: {why}"),
                    _ => {}
                },
            }
        }
        if self.last.len() < self.relayed.len() {
            bail!("{} of {} allocations carry", self.last.len(), self.relayed.len());
        }
        Ok(())
    }
}

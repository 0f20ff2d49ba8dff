//! Filling an edge up with allocations.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use super::allocation::{Allocation, News, Relay, Walls};

/// Allocations that are asked for at the same time.
const AT_ONCE: u32 = 20;
/// No edge of a bench takes more.
const ALLOCATIONS_MAX: u32 = 2000;
/// It is full within this.
const FULL_WITHIN: Duration = Duration::from_secs(30);
/// News of them that wait.
const QUEUE: usize = 1024;

/// Allocates at an edge by one of these relays' credentials, which are good at every edge, until it takes no
/// more. They last until they are dropped.
pub(super) async fn fill(relays: &[Relay], at: SocketAddr, walls: &Walls) -> Result<Vec<Allocation>> {
    let relay = relays.first().context("nobody was offered a relay")?;
    let relay = Relay { at, ..relay.clone() };
    let (news, mut heard) = mpsc::channel(QUEUE);
    let start = |id: u32| {
        let from = Ipv4Addr::from_bits(Ipv4Addr::new(127, 3, 0, 1).to_bits() + id);
        Allocation::start(id, &relay, from, walls, news.clone())
    };
    let mut all: Vec<Allocation> = (0..AT_ONCE).map(start).collect();
    let filling = async {
        for id in AT_ONCE..ALLOCATIONS_MAX {
            match heard.recv().await {
                Some((_, News::Failed(_))) | None => return Ok(()),
                Some(_) => all.push(start(id)),
            }
        }
        bail!("it takes more than {ALLOCATIONS_MAX} allocations")
    };
    tokio::time::timeout(FULL_WITHIN, filling).await.context("it does not get full")??;
    Ok(all)
}

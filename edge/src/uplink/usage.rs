//! Usage: what users have relayed, said over one of the uplinks until a node has taken it.

use std::cell::Cell;

use chappe_proto::limits::{UPLINKS, USAGE_EVERY};
use chappe_proto::mesh::uplink::Up;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Shared;
use super::link::LinkError;
use crate::command::Command;

/// Which uplink says it: the next one after one whose node took nothing.
#[derive(Debug, Default)]
pub(super) struct Teller(Cell<usize>);

impl Shared {
    /// Whether this uplink is the one to say it. While that one is down any other may: said twice it counts once.
    fn tells_usage(&self, slot: usize) -> bool {
        let teller = self.teller.0.get();
        let held = self.held.borrow();
        slot == teller || !matches!(held.get(teller), Some(Some((_, true))))
    }
}

/// Says it every [`USAGE_EVERY`], where this uplink is to; `taken` is the number that the node has taken last.
pub(super) async fn say(
    shared: &Shared,
    slot: usize,
    says: &mpsc::Sender<Up>,
    mut taken: watch::Receiver<u64>,
) -> LinkError {
    let mut every = interval(USAGE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if !shared.tells_usage(slot) {
            continue;
        }
        match say_all(shared, says, &mut taken).await {
            Ok(true) => shared.teller.0.set(slot),
            Ok(false) => {
                tracing::debug!("a node does not take what users have relayed");
                shared.teller.0.set((slot + 1) % UPLINKS);
            }
            Err(error) => return error,
        }
    }
}

/// Says all that is not taken yet. Whether the node took it.
async fn say_all(
    shared: &Shared,
    says: &mpsc::Sender<Up>,
    taken: &mut watch::Receiver<u64>,
) -> Result<bool, LinkError> {
    while !shared.driver.ask(Command::ReadUsage).await? {}
    while let Some((seq, usage)) = shared.driver.ask(Command::OfferUsage).await? {
        says.send(Up::Usage { seq, usage }).await.map_err(|_| LinkError::Loop)?;
        match timeout(USAGE_EVERY, taken.wait_for(|taken| *taken == seq)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(LinkError::Loop),
            Err(_) => return Ok(false),
        }
        shared.driver.ask(|reply| Command::UsageTaken(seq, reply)).await?;
    }
    Ok(true)
}

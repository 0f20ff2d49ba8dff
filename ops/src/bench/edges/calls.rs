//! The calls of a round: two people each, one in the first region and one in the second, media both ways.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, bail};
use chappe_cluster::clock;
use chappe_proto::time::Mono;

use super::allocation::Walls;
use super::client::Client;
use super::fleet::Fleet;
use super::join::Who;

/// Media flows within this of the joins.
const FLOWS_WITHIN: Duration = Duration::from_secs(30);
/// The time between two looks at the records.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// The regions of the two.
const REGIONS: [&str; 2] = ["r0", "r1"];

/// Two people.
pub(super) struct Call {
    pub(super) both: [Client; 2],
    began: Mono,
}

impl Call {
    /// They begin to join a room; `number` is not used by another call.
    pub(super) fn start(fleet: &Fleet, number: u32, walls: &Walls) -> Result<Self> {
        let client = |side: usize| -> Result<Client> {
            let region = REGIONS[side];
            // The second one may kick.
            let grants: &[&str] = if side == 1 { &["join", "create", "admin"] } else { &["join", "create"] };
            let address = Ipv4Addr::new(127, 1, 0, 1).to_bits() + 2 * number + u32::try_from(side)?;
            Ok(Client::start(Who {
                url: fleet.cluster.near(region)?,
                room: format!("call-{number}"),
                token: fleet.cluster.token(region, grants)?,
                from: Ipv4Addr::from_bits(address),
                walls: walls.clone(),
            }))
        };
        Ok(Self { both: [client(0)?, client(1)?], began: clock::mono() })
    }

    /// Whether media comes, both ways.
    pub(super) fn flows(&self) -> bool {
        let now = clock::mono();
        let lately = |client: &Client| client.record.borrow().flows(now);
        self.both.iter().all(lately)
    }

    /// Whether somebody sends over that edge.
    pub(super) fn is_over(&self, edge: &str) -> bool {
        self.both.iter().any(|client| client.record.borrow().edge.as_deref() == Some(edge))
    }

    /// From the joins to the first packet, each way.
    pub(super) fn first(&self) -> [Option<Duration>; 2] {
        let first = |client: &Client| Some(client.record.borrow().arrivals.first()?.since(self.began));
        [first(&self.both[0]), first(&self.both[1])]
    }

    /// The longest silence that had not ended when it was struck, or began after that, each way; none where it
    /// has not ended.
    pub(super) fn gaps(&self, struck: Mono) -> [Option<Duration>; 2] {
        let now = clock::mono();
        let gap = |client: &Client| client.record.borrow().gap(struck, now);
        [gap(&self.both[0]), gap(&self.both[1])]
    }

    /// Restarts of both since then.
    pub(super) fn restarts(&self, since: Mono) -> usize {
        let count =
            |client: &Client| client.record.borrow().restarts.iter().filter(|at| **at >= since).count();
        self.both.iter().map(count).sum()
    }

    /// Why somebody is in it no more.
    pub(super) fn ended(&self) -> Option<String> {
        self.both.iter().find_map(|client| client.record.borrow().ended.clone())
    }
}

/// Starts so many, and waits until media flows in all of them.
pub(super) async fn start(fleet: &Fleet, count: u32, first: u32, walls: &Walls) -> Result<Vec<Call>> {
    let calls = (first..first + count).map(|number| Call::start(fleet, number, walls));
    let calls: Vec<Call> = calls.collect::<Result<_>>()?;
    until("media flows", FLOWS_WITHIN, || calls.iter().all(Call::flows)).await.map_err(|error| {
        let ended = calls.iter().find_map(Call::ended).unwrap_or_default();
        let silent = calls.iter().filter(|call| !call.flows()).count();
        error.context(format!("{silent} of {count} calls are silent {ended}"))
    })?;
    Ok(calls)
}

/// Everybody leaves.
pub(super) async fn end(calls: Vec<Call>) {
    let all = calls.into_iter().flat_map(|call| call.both);
    futures_util::future::join_all(all.map(Client::leave)).await;
}

/// Waits until it is so; no event tells of what all clients have written down.
pub(super) async fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = clock::mono() + within;
    while !holds() {
        if clock::mono() >= deadline {
            bail!("not within {} s: {what}", within.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

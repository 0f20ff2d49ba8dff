//! One round: a healthy cluster under load, a fault, its end, and what the clients' log says of it.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use super::book::End;
use super::checker::{Verdict, check};
use super::client::{Client, Shared};
use super::cluster::Cluster;
use super::fault::Fault;
use super::laps::Laps;
use super::load::{Load, Urls, ask, filler};
use super::log::{Event, Log, read};
use super::roles::{Plan, Role};

/// The load runs for so long before the fault. Its rate is that of the last second of it.
const BEFORE: Duration = Duration::from_millis(1500);
/// The time from the loss of the leader to that of the quorum: another leads by then.
const BETWEEN: Duration = Duration::from_secs(3);
/// The load goes on for so long without the victims once nothing waits for them any more.
const WITHOUT: Duration = Duration::from_millis(500);
/// And for so long after the cluster is well again. It ran all the time until then, too.
const AFTER: Duration = Duration::from_millis(500);

/// What is struck, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Strike {
    pub(super) fault: Fault,
    pub(super) role: Role,
}

/// How a round is loaded.
#[derive(Debug, Clone)]
pub(super) struct Size {
    pub(super) rooms: usize,
    pub(super) rate: u32,
    pub(super) joins: u32,
    pub(super) payload: u16,
    /// How long a SIGSTOP lasts.
    pub(super) stop: Duration,
    /// How long a black hole lasts at least.
    pub(super) hole: Duration,
}

/// Runs a round, and judges it by the log that it leaves: one that fails after its fault is judged too, so
/// that the gaps count which it leaves open.
pub(super) async fn run(
    cluster: &mut Cluster,
    cell: Strike,
    size: &Size,
    round: usize,
    file: &Path,
    laps: &mut Laps,
) -> End {
    match judged(cluster, cell, size, round, file, laps).await {
        Ok((verdict, Ok(()))) => End::Judged(verdict),
        Ok((verdict, Err(error))) => End::Failed { why: format!("{error:#}"), verdict: Some(verdict) },
        Err(error) => {
            laps.end("failed");
            End::Failed { why: format!("{error:#}"), verdict: None }
        }
    }
}

/// What the log says, and how the fault went.
async fn judged(
    cluster: &mut Cluster,
    cell: Strike,
    size: &Size,
    round: usize,
    file: &Path,
    laps: &mut Laps,
) -> Result<(Verdict, Result<()>)> {
    let view = cluster.until_well().await?;
    laps.end("well");
    let mut plan = Plan::of(cell.role, &view, round)?;
    // Rooms go where their people are: all of these are where the rooms' owners are, so that they stay there.
    let home = plan.owners.first().and_then(|owner| cluster.region(*owner));
    let home = home.context("nobody runs the rooms")?.to_owned();
    plan.owners.retain(|owner| cluster.region(*owner) == Some(&home));
    let token = cluster.token(&home, &["join", "create"])?;
    let prefix = format!("failover-{:x}", super::log::micros());
    let names = plan.rooms(&cluster.app()?, &view, &prefix, size.rooms)?;
    let log = Log::create(file)?;
    let nodes = cluster.urls();
    let shared = Rc::new(Shared {
        nodes: nodes.clone(),
        token: Some(token),
        log: log.clone(),
        filler: filler(size.payload)?,
        waiting: Cell::new(0),
    });
    let urls = move |first: u64| -> Vec<String> {
        let mut all: Vec<_> = nodes.iter().collect();
        all.sort_by_key(|(_, node)| (**node != first, **node));
        all.into_iter().map(|(url, _)| url.clone()).collect()
    };
    let mut load = Load::open(&plan, &names, &shared, &urls).await?;
    laps.end("joins");
    let (stop, mut joiners) = (Cell::new(false), Vec::new());
    let stage = Stage { cell, plan: &plan, size, names: &names, shared: &shared, urls: &urls };
    let faulty = async {
        let result = strike(cluster, &stage, &mut joiners, laps).await;
        if result.is_err() {
            laps.end("failed");
        }
        stop.set(true);
        result
    };
    let ((), struck) = tokio::join!(load.run(size.rate, &stop), faulty);
    load.settle().await;
    laps.end("settled");
    log.end()?;
    // Of a cluster that is not well nobody takes leave: each would wait in vain.
    if struck.is_ok() {
        load.close().await;
        for joiner in joiners {
            joiner.leave().await;
        }
    }
    laps.end("left");
    let verdict = check(&read(file)?)?;
    laps.end("judged");
    Ok((verdict, struck))
}

/// A round's load, and what is to be struck under it.
struct Stage<'a> {
    cell: Strike,
    plan: &'a Plan,
    size: &'a Size,
    names: &'a [String],
    shared: &'a Rc<Shared>,
    urls: &'a Urls,
}

/// The fault, from before it to after its end.
async fn strike(
    cluster: &mut Cluster,
    stage: &Stage<'_>,
    joiners: &mut Vec<Client>,
    laps: &mut Laps,
) -> Result<()> {
    let Stage { cell: Strike { fault, role }, plan, size, names, shared, urls } = *stage;
    tokio::time::sleep(BEFORE).await;
    laps.end("before");
    if fault != Fault::Upgrade {
        shared.log.write(Event::Fault { victims: plan.victims.clone() });
    }
    for (number, victim) in plan.victims.iter().enumerate() {
        if number > 0 && role == Role::Quorum {
            tokio::time::sleep(BETWEEN).await;
        }
        fault.begin(cluster, *victim).await?;
    }
    let first = u32::try_from(size.rooms)?;
    // Nobody can be admitted without a quorum.
    let joins = if role == Role::Quorum { 0 } else { size.joins };
    for number in 0..joins.min(first) {
        // The numbers of rooms and clients that the load has not.
        let room = (first + number, names[number as usize].clone());
        joiners.push(ask(2 * first + number, room, urls(plan.other(number as usize)), shared));
    }
    let (least, most) = fault.lasts(role, size.stop, size.hole);
    tokio::time::sleep(least).await;
    if most > least
        && let Ok(over) = timeout(most.saturating_sub(least), over(cluster, stage)).await
    {
        over?;
    }
    laps.end("fault");
    for victim in &plan.victims {
        fault.end(cluster, *victim)?;
    }
    cluster.until_well().await?;
    laps.end("well again");
    tokio::time::sleep(AFTER).await;
    laps.end("after");
    Ok(())
}

/// Waits until nothing waits for the victims any more, and for some time of that.
async fn over(cluster: &Cluster, stage: &Stage<'_>) -> Result<()> {
    stage.shared.log.closed().await;
    cluster.until_without(&stage.plan.victims).await?;
    tokio::time::sleep(WITHOUT).await;
    Ok(())
}

//! One round: a healthy cluster under load, a fault, its end, and what the clients' log says of it.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use chappe_proto::id::AppId;

use super::checker::{Verdict, check};
use super::client::Shared;
use super::cluster::Cluster;
use super::fault::Fault;
use super::load::{Load, ask, filler};
use super::log::{Event, Log, read};
use super::roles::{Plan, Role};

/// The load runs for so long before the fault.
const BEFORE: Duration = Duration::from_secs(3);
/// The time from the loss of the leader to that of the quorum: another leads by then.
const BETWEEN: Duration = Duration::from_secs(3);
/// And goes on for so long after the cluster is well again.
const AFTER: Duration = Duration::from_secs(2);

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
    pub(super) stopped: Duration,
}

/// Runs a round, and judges it by the log that it leaves.
pub(super) async fn run(
    cluster: &mut Cluster,
    cell: Strike,
    size: &Size,
    round: usize,
    file: &Path,
) -> Result<Verdict> {
    let view = cluster.until_well().await?;
    let plan = Plan::of(cell.role, &view, round)?;
    let (app, token) = cluster.access()?;
    let prefix = format!("failover-{:x}", super::log::micros());
    let names = plan.rooms(&AppId::new(&app)?, &view, &prefix, size.rooms)?;
    let log = Log::create(file)?;
    let nodes = cluster.urls();
    let shared = Rc::new(Shared {
        nodes: nodes.clone(),
        token,
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
    let stop = Cell::new(false);
    let faulty = async {
        let result = strike(cluster, cell, &plan, size, &names, &shared, &urls).await;
        stop.set(true);
        result
    };
    let ((), joiners) = tokio::join!(load.run(size.rate, &stop), faulty);
    let joiners = joiners?;
    load.settle().await;
    log.end()?;
    load.close().await;
    for joiner in joiners {
        joiner.leave().await;
    }
    check(&read(file)?)
}

/// The fault, from before it to after its end.
async fn strike(
    cluster: &mut Cluster,
    Strike { fault, role }: Strike,
    plan: &Plan,
    size: &Size,
    names: &[String],
    shared: &Rc<Shared>,
    urls: &super::load::Urls,
) -> Result<Vec<super::client::Client>> {
    tokio::time::sleep(BEFORE).await;
    if fault != Fault::Upgrade {
        shared.log.write(Event::Fault { victims: plan.victims.clone() });
    }
    for (number, victim) in plan.victims.iter().enumerate() {
        if number > 0 && role == Role::Quorum {
            tokio::time::sleep(BETWEEN).await;
        }
        fault.begin(cluster, *victim).await?;
    }
    let mut joiners = Vec::new();
    let first = u32::try_from(size.rooms)?;
    // Nobody can be admitted without a quorum.
    let joins = if role == Role::Quorum { 0 } else { size.joins };
    for number in 0..joins.min(first) {
        // The numbers of rooms and clients that the load has not.
        let room = (first + number, names[number as usize].clone());
        joiners.push(ask(2 * first + number, room, urls(plan.other(number as usize)), shared));
    }
    tokio::time::sleep(fault.lasts(size.stopped)).await;
    for victim in &plan.victims {
        fault.end(cluster, *victim)?;
    }
    cluster.until_well().await?;
    tokio::time::sleep(AFTER).await;
    Ok(joiners)
}

//! A round: calls, a fault, and what it cost them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use chappe_cluster::clock;
use chappe_proto::time::Mono;

use super::allocation::Walls;
use super::calls::{self, Call, until};
use super::fleet::Fleet;
use super::kick;

/// The load runs so long before a fault, and after it is over.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_millis(500);
/// A round waits no longer for its calls to flow again.
const AGAIN_WITHIN: Duration = Duration::from_secs(25);
/// Nodes call an edge lost within this.
const LOST_WITHIN: Duration = Duration::from_secs(15);
/// Nobody who was told of a lost edge restarts later than this.
const PATIENCE: Duration = Duration::from_secs(4);

/// What happens in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL to an edge.
    Kill,
    /// Clients do not reach an edge any more; its nodes do.
    Firewall,
    /// An edge and the nodes do not reach each other any more; its clients do.
    Cut,
    /// An edge is emptied.
    Drain,
    /// An edge has as many allocations as it takes.
    Overload,
    /// Somebody is kicked who has allocations on every edge.
    Kick,
}

impl Fault {
    /// All of them, as they are named.
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("killed", Self::Kill),
        ("firewalled", Self::Firewall),
        ("cut-off", Self::Cut),
        ("drained", Self::Drain),
        ("overloaded", Self::Overload),
        ("kicked", Self::Kick),
    ];
}

/// What a round found, each with what it was of: the gaps of one row of the table.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) gaps: BTreeMap<&'static str, Vec<Option<Duration>>>,
    /// What must not be.
    pub(super) wrong: Vec<String>,
}

/// Where the calls go.
pub(super) struct Round<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) calls: u32,
    /// No other round has the same.
    pub(super) number: u32,
}

impl Round<'_> {
    /// Runs it, and makes the fleet whole again.
    pub(super) async fn run(mut self, fault: Fault) -> Result<Found> {
        let walls = Walls::default();
        let mut found = Found::default();
        let ran = match fault {
            Fault::Kick => kick::run(self.fleet, self.first(), &walls, &mut found).await,
            _ => self.strike(fault, &walls, &mut found).await,
        };
        walls.borrow_mut().clear();
        self.fleet.cluster.cut(None)?;
        ran?;
        self.fleet.until_whole().await?;
        Ok(found)
    }

    /// The number of its first call: there are as many of its own and newcomers at most.
    fn first(&self) -> u32 {
        self.number * 2 * self.calls
    }

    async fn strike(&mut self, fault: Fault, walls: &Walls, found: &mut Found) -> Result<()> {
        let calls = calls::start(self.fleet, self.calls, self.first(), walls).await?;
        tokio::time::sleep(BEFORE).await;
        let victim = self.busiest(&calls)?;
        let struck = clock::mono();
        let over: Vec<&Call> = calls.iter().filter(|call| call.is_over(&victim)).collect();
        match fault {
            Fault::Kill => self.fleet.edge(&victim)?.kill(),
            Fault::Firewall => {
                walls.borrow_mut().insert(self.fleet.edge(&victim)?.ip());
            }
            Fault::Cut => {
                let process = self.fleet.edge(&victim)?.process()?;
                self.fleet.cluster.cut(Some(process))?;
            }
            Fault::Drain => self.tell(&victim, "drain").await?,
            Fault::Overload => self.overload(&victim, walls, found).await?,
            Fault::Kick => {}
        }
        match fault {
            Fault::Kill | Fault::Firewall | Fault::Drain => {
                let moved = || over.iter().all(|call| !call.is_over(&victim) && call.flows());
                // Those that do not flow are told by their gaps.
                let _ = until("media flows again", AGAIN_WITHIN, moved).await;
            }
            Fault::Cut => told(&over, struck).await?,
            Fault::Overload | Fault::Kick => {}
        }
        tokio::time::sleep(AFTER).await;
        judge(fault, &over, struck, found);
        let stayed = over.iter().filter(|call| call.is_over(&victim)).count();
        if matches!(fault, Fault::Kill | Fault::Firewall | Fault::Drain) && stayed > 0 {
            found.wrong.push(format!("{stayed} calls stayed"));
        }
        if fault == Fault::Drain {
            self.tell(&victim, "resume").await?;
        }
        calls::end(calls).await;
        Ok(())
    }

    /// Says what is to become of an edge.
    async fn tell(&self, edge: &str, what: &str) -> Result<()> {
        let node = self.fleet.cluster.ids().next().context("no nodes")?;
        let path = format!("/edges/{edge}/{what}");
        self.fleet.cluster.ask(node, "POST", &path, serde_json::Value::Null).await.map(drop)
    }

    /// The edge that most calls go over, of those in the first region.
    fn busiest(&self, calls: &[Call]) -> Result<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for call in calls {
            let edge = call.both[0].record.borrow().edge.clone().context("a call without an edge")?;
            *counts.entry(edge).or_default() += 1;
        }
        let busiest = counts.into_iter().max_by_key(|(_, count)| *count);
        Ok(busiest.context("no calls")?.0)
    }

    /// Fills an edge up, and has newcomers join who may be offered it all the same.
    async fn overload(&mut self, victim: &str, walls: &Walls, found: &mut Found) -> Result<()> {
        let at = self.fleet.edge(victim)?.at;
        let first = self.first() + self.calls;
        let filler = Call::start(self.fleet, first, walls)?;
        until("relays for who fills it up", LOST_WITHIN, || {
            !filler.both[0].record.borrow().relays.is_empty()
        })
        .await?;
        let relays = filler.both[0].record.borrow().relays.clone();
        let filling = super::fill::fill(&relays, at, walls).await?;
        let newcomers = (1..self.calls).map(|number| Call::start(self.fleet, first + number, walls));
        let newcomers: Vec<Call> = newcomers.collect::<Result<_>>()?;
        let _ = until("newcomers hear each other", AGAIN_WITHIN, || newcomers.iter().all(Call::flows)).await;
        let firsts = found.gaps.entry("an overloaded edge: newcomers, from the join").or_default();
        firsts.extend(newcomers.iter().flat_map(Call::first));
        drop(filling);
        calls::end(newcomers).await;
        calls::end(vec![filler]).await;
        Ok(())
    }
}

/// Waits until everybody is told that the edge is lost, and then for longer than anybody's patience.
async fn told(over: &[&Call], struck: Mono) -> Result<()> {
    let told = |call: &&Call| {
        call.both.iter().any(|client| client.record.borrow().told.is_some_and(|at| at > struck))
    };
    until("an edge that is cut off is called lost", LOST_WITHIN, || over.iter().all(told)).await?;
    tokio::time::sleep(PATIENCE).await;
    Ok(())
}

fn judge(fault: Fault, over: &[&Call], struck: Mono, found: &mut Found) {
    let row = match fault {
        Fault::Kill => "an edge killed",
        Fault::Firewall => "an edge firewalled",
        Fault::Cut => "an edge cut off from all nodes: those on it",
        Fault::Drain => "an edge drained: those on it",
        Fault::Overload => "an overloaded edge: those on it",
        Fault::Kick => return,
    };
    found.gaps.entry(row).or_default().extend(over.iter().flat_map(|call| call.gaps(struck)));
    let restarts: usize = over.iter().map(|call| call.restarts(struck)).sum();
    if matches!(fault, Fault::Cut | Fault::Drain | Fault::Overload) && restarts > 0 {
        found.wrong.push(format!("{restarts} restarts of healthy media"));
    }
    found.wrong.extend(over.iter().filter_map(|call| call.ended()).map(|why| format!("ended: {why}")));
}

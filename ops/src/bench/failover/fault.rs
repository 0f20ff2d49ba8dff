//! What strikes a process, and how it comes back.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::cluster::Cluster;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL.
    Kill,
    /// SIGKILL, and the process is started again at once: it has forgotten every room.
    Restart,
    /// SIGSTOP, and SIGCONT later.
    Stop,
    /// Nothing reaches the process or comes from it, and nobody is told.
    Hole,
    /// SIGTERM, which drains, and the process is started again once it has ended; one after another. No fault:
    /// nobody is to notice.
    Upgrade,
}

impl Fault {
    /// Those that strike each role.
    pub(super) const EACH: [(&'static str, Self); 4] =
        [("kill", Self::Kill), ("restart", Self::Restart), ("stop", Self::Stop), ("hole", Self::Hole)];

    /// How long it lasts at least: as long as clients may take to notice it, and to come back.
    pub(super) fn lasts(self, stopped: Duration) -> Duration {
        match self {
            Self::Kill | Self::Restart => Duration::from_secs(5),
            Self::Stop => stopped,
            Self::Hole => Duration::from_secs(12),
            Self::Upgrade => Duration::ZERO,
        }
    }

    /// Strikes.
    pub(super) async fn begin(self, cluster: &mut Cluster, victim: u64) -> Result<()> {
        match self {
            Self::Kill => cluster.kill(victim),
            Self::Restart => {
                cluster.kill(victim)?;
                cluster.restart(victim)
            }
            Self::Stop => signal(cluster, victim, Signal::STOP),
            Self::Hole => cluster.hole(victim, true),
            Self::Upgrade => {
                signal(cluster, victim, Signal::TERM)?;
                cluster.until_ended(victim).await?;
                cluster.restart(victim)?;
                cluster.until_well().await.map(drop)
            }
        }
    }

    /// It is over.
    pub(super) fn end(self, cluster: &mut Cluster, victim: u64) -> Result<()> {
        match self {
            Self::Kill => cluster.restart(victim),
            Self::Restart | Self::Upgrade => Ok(()),
            Self::Stop => signal(cluster, victim, Signal::CONT),
            Self::Hole => cluster.hole(victim, false),
        }
    }
}

fn signal(cluster: &Cluster, victim: u64, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(cluster.pid(victim)?.try_into()?).context("no process id")?;
    Ok(kill_process(pid, signal)?)
}

//! What strikes a process, and how it comes back.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::cluster::Cluster;
use super::roles::Role;

/// A process that is killed is started again after this, whatever is still open.
const KILLED: Duration = Duration::from_secs(5);

/// And a black hole may last so long: longer than clients take to notice it and to come back.
pub(super) const HOLE: Duration = Duration::from_secs(12);

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

    /// How long it lasts at least, where a stop and a black hole take what they are given; and at most, if
    /// gaps stay open so long. A process that is killed comes back once all are closed and the others have
    /// shared out what it ran.
    pub(super) fn lasts(self, role: Role, stop: Duration, hole: Duration) -> (Duration, Duration) {
        match self {
            // Nobody shares anything out without a quorum.
            Self::Kill if role == Role::Quorum => (KILLED, KILLED),
            Self::Kill => (Duration::ZERO, KILLED),
            // One that is back at once may be back before it was missed.
            Self::Restart => (KILLED, KILLED),
            Self::Stop => (stop, stop),
            Self::Hole => (hole, hole.max(HOLE)),
            Self::Upgrade => (Duration::ZERO, Duration::ZERO),
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

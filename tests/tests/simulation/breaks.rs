//! What the code under simulation does wrong on purpose, one thing at a time: each must be noticed within
//! a bounded number of seeds, or the invariant that is to notice it proves nothing.

use super::faults::Kind;
use super::invariants::Name;

/// A deliberate fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// An owner takes its lease for held long after the others have evicted it.
    LeaseOutlivesEviction,
    /// An owner looks at its lease when a timer says so, and not before each thing that it does.
    LooksAtItsLeaseByTimer,
    /// A new owner admits newcomers before every live node has said what it holds.
    AdmitsBeforeEveryoneAnswered,
    /// A new owner takes itself for one that nobody was before, and asks nobody.
    AsksNobody,
    /// A gateway never sends a signal a second time.
    DropsResends,
    /// A gateway does not say which signals nobody is to wait for.
    HidesSettled,
    /// Rooms and gateways let in whoever was kicked.
    ForgetsRevocations,
    /// A kick is answered before the registry has it.
    AnswersBeforeCommit,
    /// A room is not told that a gateway is gone.
    KeepsLostGateways,
    /// A member promises before its disk has flushed what it promises about.
    SkipsFsync,
    /// Each member stamps what it applies with its own clock.
    AppliesByWallClock,
    /// A node that drains keeps its clients.
    DrainsNobody,
    /// A new owner of a room's anchor does not hear that the room is elsewhere.
    ForgetsHomes,
    /// A new owner does not know that a gateway's life has ended, and so who may come back from it.
    ForgetsLostLives,
    /// A node that is no member of Raft follows no feed.
    FollowsNobody,
    /// Frames find their room by its name alone, whatever the app.
    CrossesRooms,
}

impl Break {
    /// The faults by which it shows soonest.
    pub(crate) const fn needs(self) -> &'static [Kind] {
        match self {
            Self::LeaseOutlivesEviction | Self::LooksAtItsLeaseByTimer => {
                &[Kind::Pauses, Kind::Partitions, Kind::Reloads]
            }
            Self::AdmitsBeforeEveryoneAnswered
            | Self::AsksNobody
            | Self::KeepsLostGateways
            | Self::DropsResends
            | Self::HidesSettled => &[Kind::Crashes, Kind::LostSockets],
            Self::ForgetsRevocations => &[Kind::Kicks, Kind::Crashes],
            Self::AnswersBeforeCommit => &[Kind::Kicks, Kind::SlowDisks],
            Self::ForgetsLostLives => &[Kind::Crashes],
            Self::ForgetsHomes => &[Kind::Moves, Kind::Crashes, Kind::Reloads],
            Self::SkipsFsync => &[Kind::Crashes, Kind::Drains],
            Self::DrainsNobody => &[Kind::Drains],
            Self::AppliesByWallClock | Self::CrossesRooms | Self::FollowsNobody => &[],
        }
    }
}

/// All of them, each with the invariants that are to notice it.
pub(crate) const ALL: [(Break, &[Name]); 16] = [
    (Break::LeaseOutlivesEviction, &[Name::OneOwner]),
    (Break::LooksAtItsLeaseByTimer, &[Name::OneOwner]),
    (Break::AdmitsBeforeEveryoneAnswered, &[Name::Answered]),
    (Break::AsksNobody, &[Name::Answered]),
    (Break::DropsResends, &[Name::Signals, Name::Roster]),
    (Break::HidesSettled, &[Name::Signals, Name::Roster]),
    (Break::ForgetsRevocations, &[Name::Revoked]),
    (Break::AnswersBeforeCommit, &[Name::Revoked]),
    (Break::KeepsLostGateways, &[Name::Roster]),
    (Break::SkipsFsync, &[Name::Registries, Name::Durable, Name::Runs]),
    (Break::AppliesByWallClock, &[Name::Registries]),
    (Break::DrainsNobody, &[Name::Drained]),
    (Break::ForgetsHomes, &[Name::OneOwner]),
    (Break::ForgetsLostLives, &[Name::Rebuilt]),
    (Break::FollowsNobody, &[Name::Roster]),
    (Break::CrossesRooms, &[Name::Apart]),
];

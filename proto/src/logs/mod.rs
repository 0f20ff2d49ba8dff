//! The last lines of a node's or an edge's log, as operators look at them: [`ring`] keeps them.

pub mod ring;

use serde::{Deserialize, Serialize};

pub use ring::Ring;

use crate::limits::LINES_PAGE;
use crate::time::Unix;

/// How bad it is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may stop working.
    Warn,
    /// What an operator may want to know.
    Info,
    /// What a developer may want to know.
    Debug,
    /// All there is; also what a newer release calls otherwise.
    #[serde(other)]
    Trace,
}

impl Level {
    /// All of them, the worst first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, one above that of the line before: a cursor.
    pub n: u64,
    /// When, by its process's clock.
    pub at: Unix,
    /// How bad it is.
    pub level: Level,
    /// The part of the program that says it, as `chappe_cluster::keeper`.
    pub target: String,
    /// What, with its fields; no control characters.
    pub text: String,
}

/// Which lines are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Those after this number; without it the last ones.
    #[serde(default)]
    pub after: Option<u64>,
    /// Those that are as bad or worse.
    #[serde(default)]
    pub level: Option<Level>,
    /// Those of parts whose names begin with this.
    #[serde(default)]
    pub target: Option<String>,
    /// Those with this in their text, in whatever case.
    #[serde(default)]
    pub contains: Option<String>,
    /// So many at most, and [`LINES_PAGE`].
    pub limit: u32,
}

impl Wanted {
    /// Whether a line is meant.
    #[must_use]
    pub fn takes(&self, line: &Line) -> bool {
        self.level.is_none_or(|level| line.level <= level)
            && self.target.as_ref().is_none_or(|target| line.target.starts_with(target.as_str()))
            && self.contains.as_ref().is_none_or(|text| {
                let text = text.to_lowercase();
                line.text.to_lowercase().contains(&text)
            })
    }

    fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX).clamp(1, LINES_PAGE)
    }
}

/// Lines of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// Oldest first.
    pub lines: Vec<Line>,
    /// What to ask after for what follows.
    pub next: u64,
    /// So many lines came after the number that was asked for and are held no more.
    #[serde(default)]
    pub missed: u64,
    /// Whether more is held after `next`.
    #[serde(default)]
    pub more: bool,
    /// That the process says more, or less, than it was told at its start.
    #[serde(default)]
    pub changed: Option<Changed>,
}

/// That a process says more, or less, than it was told at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Up to which level Chappe's own parts are heard.
    pub level: Level,
    /// Until when.
    pub until: Unix,
}

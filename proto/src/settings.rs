//! What a node or an edge runs with: its options as they are in force, and where each comes from. Secrets are said to be set,
//! and no more.

use serde::{Deserialize, Serialize};

/// An option of a node or an edge, as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name on the command line, as `workers`.
    pub name: String,
    /// Its value as text, several by commas; none where it is not set. Of a secret the word `set`. What is longer than
    /// [`crate::limits::SETTING_MAX`] is cut.
    #[serde(default)]
    pub value: Option<String>,
    /// What it is where nobody says anything.
    #[serde(default)]
    pub default: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
    /// Which nodes, or edges, are to have the same.
    #[serde(default)]
    pub scope: Scope,
    /// The environment variable that sets it, where there is one.
    #[serde(default)]
    pub variable: Option<String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The command line.
    Flag,
    /// An environment variable.
    Environment,
    /// What the data directory has kept, whatever the command line says now.
    File,
    /// One that a newer release knows.
    #[serde(other)]
    Unknown,
}

impl Origin {
    /// As operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Unknown => "unknown",
        }
    }
}

/// Which nodes, or edges, are to have the same value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All: where they differ, somebody has forgotten one.
    #[default]
    Shared,
    /// Each its own, as names and addresses.
    Own,
    /// It counts at the first start alone.
    Start,
    /// One that a newer release knows.
    #[serde(other)]
    Unknown,
}

impl Scope {
    /// As operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Own => "own",
            Self::Start => "start",
            Self::Unknown => "unknown",
        }
    }
}

//! Figures over the last hours, as nodes tell each other theirs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Region;
use crate::time::Unix;

/// A figure over one step of time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When the step began, in seconds since 1970.
    pub at: u64,
    /// The least that it was.
    pub min: f64,
    /// What it was on average, each sample alike.
    pub mean: f64,
    /// The most.
    pub max: f64,
    /// Samples that there were.
    pub samples: u32,
}

impl Point {
    /// Of one sample.
    #[must_use]
    pub const fn of(at: u64, value: f64) -> Self {
        Self { at, min: value, mean: value, max: value, samples: 1 }
    }

    /// Both together, one after the other: as of the step that this one is of.
    pub fn join(&mut self, later: &Self) {
        let (mine, theirs) = (f64::from(self.samples), f64::from(later.samples));
        self.mean = (self.mean * mine + later.mean * theirs) / (mine + theirs).max(1.0);
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.samples = self.samples.saturating_add(later.samples);
    }

    /// Both together, at the same time: what several have, each its own. The least and the most are sums too, so that
    /// what was is between them.
    pub fn add(&mut self, other: &Self) {
        self.min += other.min;
        self.mean += other.mean;
        self.max += other.max;
        self.samples = self.samples.saturating_add(other.samples);
    }
}

/// Which figures are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// By name, [`crate::limits::HISTORY_SERIES_ASKED`] at most; one that ends in `*` is all that begin with what is before
    /// it, [`Self::most`] of them.
    pub series: Vec<String>,
    /// From then on.
    pub since: Unix,
    /// In steps of so many seconds, or longer ones.
    pub step: u64,
    /// Of all that begin alike, those that were greatest of late: so many.
    pub most: u32,
    /// Of what is in this region alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Whether the names of all figures are told.
    pub names: bool,
}

/// What a node has sampled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampled {
    /// When it began.
    pub since: Unix,
    /// The names of all figures, where they were asked for.
    pub names: Vec<String>,
    /// Those figures that it has, oldest point first. A step without a sample is left out.
    pub series: BTreeMap<String, Vec<Point>>,
}

//! What a check found.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::diagnose::Diagnosis;

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// As it should.
    Ok,
    /// It works, and an operator should know something about it.
    Warning,
    /// It does not work.
    Failed,
    /// It was not tried, or there is no such thing and need not be.
    Skipped,
}

/// One step of a check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Step {
    /// What was tried.
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) took_ms: Option<f64>,
    /// What came of it, in a line or two.
    pub(super) text: String,
    /// Why it failed or what is to be known, in the protocol's terms, and the likely fix.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) diagnosis: Option<Diagnosis>,
    /// The same for programs.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) facts: Map<String, Value>,
}

impl Step {
    pub(super) fn new(name: &'static str, outcome: Outcome, text: impl Into<String>) -> Self {
        Self { name, outcome, took_ms: None, text: text.into(), diagnosis: None, facts: Map::new() }
    }

    pub(super) fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, Outcome::Ok, text)
    }

    pub(super) fn skipped(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skipped, text)
    }

    pub(super) fn failed(name: &'static str, text: impl Into<String>, diagnosis: Diagnosis) -> Self {
        Self { diagnosis: Some(diagnosis), ..Self::new(name, Outcome::Failed, text) }
    }

    pub(super) fn warning(name: &'static str, text: impl Into<String>, diagnosis: Diagnosis) -> Self {
        Self { diagnosis: Some(diagnosis), ..Self::new(name, Outcome::Warning, text) }
    }

    pub(super) fn took(mut self, took: Duration) -> Self {
        self.took_ms = Some(millis(took));
        self
    }

    pub(super) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}

/// Milliseconds with two decimals.
pub(super) fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 100_000.0).round() / 100.0
}

/// The check of one address of one URL.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Section {
    /// The server, as it was reached; none where its name has no address.
    pub(super) server: Option<SocketAddr>,
    /// How: `UDP`, `TCP`, `TLS`, `DTLS`.
    pub(super) transport: &'static str,
    pub(super) steps: Vec<Step>,
}

impl Section {
    /// Nothing failed.
    pub(super) fn is_ok(&self) -> bool {
        self.steps.iter().all(|step| step.outcome != Outcome::Failed)
    }
}

/// The check of one URL.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
    pub(super) ok: bool,
    /// Of its name and of each of its addresses.
    pub(super) sections: Vec<Section>,
}

/// Everything, for `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    /// Of this form.
    pub(super) version: u32,
    pub(super) ok: bool,
    pub(super) checks: &'a [Report],
}

//! The audit log: who changed what, searched and exported.

use std::time::Duration;

use askama::Template;
use chappe_proto::registry::verify;
use serde::Deserialize;

use super::frame::Frame;
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::api::audit::{AuditPage, Filter, page_of};
use crate::control::Fault;

/// The audit log.
#[derive(Template)]
#[template(path = "audit.html", blocks = ["live"])]
pub(crate) struct AuditLog {
    frame: Frame,
    ask: Ask,
    page: AuditPage,
    kept: usize,
    intact: bool,
}

/// Which lines, as the form asks: what is empty is not asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    who: String,
    text: String,
    refused: String,
    after: String,
}

impl Ask {
    fn filter(&self) -> Filter {
        let given = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Filter {
            who: given(&self.who),
            text: given(&self.text),
            refused: (self.refused == "yes").then_some(true),
            after: self.after.parse().ok().map(chappe_proto::id::Index),
            ..Filter::default()
        }
    }

    /// The address of the next page.
    fn next(&self, after: &chappe_proto::id::Index) -> String {
        let part = |text: &str| {
            askama::filters::urlencode_strict(text).map_or_else(|_| String::new(), |to| to.to_string())
        };
        format!(
            "/admin/audit?who={}&text={}&refused={}&after={after}",
            part(&self.who),
            part(&self.text),
            part(&self.refused)
        )
    }
}

impl View for AuditLog {
    type Place = ();
    type Ask = Ask;

    /// The whole chain is checked each time.
    const EVERY: Duration = Duration::from_secs(20);

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let log = mount.cluster.audit();
        let page = page_of(&log, &ask.filter()).map_err(|problem| Fault::Conflict(problem.to_string()))?;
        let intact = verify(&log.lines, log.begins).is_ok();
        let frame = Frame::of(visitor, "/admin/audit", "Audit log");
        Ok(Self { frame, ask, page, kept: log.lines.len(), intact })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

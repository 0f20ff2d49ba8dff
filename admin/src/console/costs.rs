//! Relayed traffic and what it costs: by rooms, edges, apps and regions.

use askama::Template;
use chappe_proto::registry::PRICED_BYTES;
use chappe_proto::usage::Tally;
use serde::Deserialize;

use super::frame::Frame;
use super::view::View;
use super::visitor::Visitor;
use super::words;
use crate::Mount;
use crate::api::costs::{By, Rank, UNKNOWN, ranked, report};
use crate::api::page::{Ask as PageAsk, Page};
use crate::api::usage::UsageReport;
use crate::control::Fault;

/// The menu's path of costs.
pub(super) const SECTION: &str = "/admin/costs";
/// Lines on a page.
const PAGE: usize = 50;

/// What one thing relayed, as the page has it.
pub(super) struct CostLine {
    pub(super) name: String,
    /// Where more is told of it; empty for nowhere.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// What it costs, short, and exact; none where there are no prices.
    pub(super) cost: Option<(String, String)>,
}

impl CostLine {
    pub(super) fn of(by: By, name: &str, tally: &Tally, report: &UsageReport) -> Self {
        let path = match by {
            By::Edges => format!("/admin/edges/{name}"),
            By::Apps => format!("/admin/apps/{name}"),
            By::Rooms => match name.split_once('/') {
                Some((app, room)) => format!("/admin/apps/{app}/rooms/{room}"),
                None => String::new(),
            },
            By::Regions => String::new(),
        };
        Self { name: name.to_owned(), path, bytes: tally.bytes(), cost: cost(tally, report) }
    }
}

/// What a tally costs, in words and exactly.
pub(super) fn cost(tally: &Tally, report: &UsageReport) -> Option<(String, String)> {
    let (money, currency) = (report.cost(tally).money, &report.prices.currency);
    let told = |amount: String| format!("{amount}\u{a0}{currency}");
    report.prices.is_set().then(|| (told(words::money(money)), told(money.to_string())))
}

/// The dearest of them.
pub(super) fn dearest(by: By, report: &UsageReport, most: usize) -> Vec<CostLine> {
    let of = |((.., name), tally): &(Rank, &Tally)| CostLine::of(by, name, tally, report);
    ranked(report).iter().take(most).map(of).collect()
}

/// Which costs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ask {
    by: By,
    after: String,
}

/// The costs.
#[derive(Template)]
#[template(path = "costs.html", blocks = ["live"])]
pub(crate) struct Costs {
    frame: Frame,
    acts: bool,
    ask: Ask,
    report: UsageReport,
    lines: Vec<CostLine>,
    next: Option<String>,
}

impl Costs {
    const TABS: [(By, &'static str); 4] =
        [(By::Rooms, "Rooms"), (By::Edges, "Edges"), (By::Apps, "Apps"), (By::Regions, "Regions")];

    fn path(by: &By, after: &str) -> String {
        words::address(SECTION, &[("by", by.name()), ("after", after)])
    }

    fn what(&self) -> &'static str {
        match self.ask.by {
            By::Rooms => "Room",
            By::Edges => "Edge",
            By::Apps => "App",
            By::Regions => "Region",
        }
    }

    fn cost(&self) -> Option<(String, String)> {
        cost(&self.report.relayed, &self.report)
    }

    /// Traffic that has no price, where some has one.
    fn unpriced(&self) -> Option<u64> {
        let bytes = self.report.cost(&self.report.relayed).unpriced;
        (self.report.prices.is_set() && bytes > 0).then_some(bytes)
    }

    /// A part of all of the traffic, in percent.
    fn share(&self, bytes: &u64) -> String {
        let all = u128::from(self.report.relayed.bytes().max(1));
        let tenths = u128::from(*bytes) * 1_000 / all;
        format!("{}.{}\u{a0}%", tenths / 10, tenths % 10)
    }

    fn is_unknown(name: &str) -> bool {
        name == UNKNOWN
    }
}

impl View for Costs {
    type Place = ();
    type Ask = Ask;

    async fn load(mount: &Mount, visitor: &Visitor, (): (), ask: Ask) -> Result<Self, Fault> {
        let report = report(mount, ask.by).await;
        let page = |after: &str| {
            let after = Some(after.to_owned()).filter(|after| !after.is_empty());
            Page::of(&PageAsk { after, limit: Some(PAGE) }, ranked(&report), |(rank, _)| rank.clone())
        };
        // What is no cursor begins at the first page.
        let page = page(&ask.after).or_else(|_| page("")).map_err(|_| Fault::NotThere("page"))?;
        let line = |((.., name), tally): &(Rank, &Tally)| CostLine::of(ask.by, name, tally, &report);
        Ok(Self {
            frame: Frame::of(visitor, SECTION, "Traffic and costs"),
            acts: visitor.acts,
            lines: page.items.iter().map(line).collect(),
            next: page.next,
            ask,
            report,
        })
    }

    fn live(&self) -> askama::Result<String> {
        self.as_live().render()
    }
}

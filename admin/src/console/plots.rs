//! The plots of the first page: of the cluster or of a region, drawn anew when there are new samples.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::history::{Point, Wanted};
use chappe_proto::id::{NodeId, Region};
use chappe_proto::limits::{HISTORY_EVERY, HISTORY_LINES};
use chappe_proto::time::Unix;

use super::plot::{self, Line, class_of};
use super::words;
use crate::Mount;
use crate::history::{merged, recent};

/// Lines of one plot at most: more cannot be told apart.
const LINES_MAX: usize = 6;
/// Points of a line.
const POINTS: u64 = 120;
/// Nodes sample in the middle of a step, and have it when this much of it has passed.
const SAMPLED_AT: Duration = Duration::from_secs(7);

/// A figure over time.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) title: &'static str,
    /// The drawing; none where nothing was counted yet.
    pub(super) svg: Option<String>,
    /// Names of its lines, each with the class that has its colour; one alone needs none.
    pub(super) legend: Vec<(&'static str, String)>,
}

/// The plots.
#[derive(Debug, Default)]
pub(super) struct Plots {
    pub(super) figures: Vec<Figure>,
    /// Nodes that did not answer: sums are missing while they are.
    pub(super) silent: Vec<NodeId>,
    /// Nodes that began within the time that is shown, and when: before it sums are missing, where they were there.
    pub(super) began: Vec<(NodeId, Unix)>,
}

/// How far back plots go, and of where.
type Of = (u64, Option<Region>);

/// The plots as they were drawn last, each with the step of time that it is of.
#[derive(Debug, Default)]
pub(crate) struct Drawn(Mutex<BTreeMap<Of, (u64, Arc<Plots>)>>);

impl Drawn {
    fn held(&self, of: &Of, step: u64) -> Option<Arc<Plots>> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(of).filter(|(at, _)| *at == step).map(|(_, plots)| Arc::clone(plots))
    }

    fn keep(&self, of: Of, step: u64, plots: &Arc<Plots>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, (at, _)| *at == step); // nobody looks at the others, or they are old
        held.insert(of, (step, Arc::clone(plots)));
    }
}

/// What is drawn.
struct Plot {
    title: &'static str,
    /// A figure, or all that begin alike.
    series: &'static str,
    /// How its values are said.
    words: fn(f64) -> String,
}

const fn plot_of(title: &'static str, series: &'static str, words: fn(f64) -> String) -> Plot {
    Plot { title, series, words }
}

const PLOTS: [Plot; 6] = [
    plot_of("People connected", "sessions", whole),
    plot_of("Rooms", "rooms", whole),
    plot_of("Relayed, by edge", "relayed_bytes.edge.*", bits),
    plot_of("Relayed, by app", "relayed_bytes.app.*", bits),
    plot_of("Signals a second", "signals", whole),
    plot_of("Refusals a second, by cause", "refused.*", whole),
];

fn whole(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

fn bits(bytes: f64) -> String {
    words::rate(bytes * 8.0)
}

/// The plots of so many hours.
pub(super) async fn plots(mount: &Mount, hours: u64, region: Option<Region>) -> Arc<Plots> {
    let now = mount.cluster.now().unix;
    let sampled = (now.0 + HISTORY_EVERY).saturating_sub(SAMPLED_AT).as_secs() / HISTORY_EVERY.as_secs();
    let of = (hours, region);
    if let Some(held) = mount.drawn.held(&of, sampled) {
        return held;
    }
    let plots = Arc::new(drawn(mount, now, &of).await);
    mount.drawn.keep(of, sampled, &plots);
    plots
}

async fn drawn(mount: &Mount, now: Unix, (hours, region): &Of) -> Plots {
    let since = Unix(now.0.saturating_sub(Duration::from_secs(hours * 3600)));
    let step = (hours * 3600 / POINTS).max(HISTORY_EVERY.as_secs());
    let wanted = Wanted {
        series: PLOTS.iter().map(|plot| plot.series.to_owned()).collect(),
        since,
        step,
        most: u32::try_from(HISTORY_LINES).unwrap_or(u32::MAX),
        region: region.clone(),
        names: false,
    };
    let histories = mount.cluster.histories(wanted, None).await;
    let counts = |of: &Region| region.as_ref().is_none_or(|region| region == of);
    let of_here = || histories.iter().filter(|one| counts(&one.region));
    let began = of_here().filter_map(|one| Some((one.node, one.sampled.as_ref()?.since)));
    let series = merged(&histories, region.as_ref());
    // Apps have no figures by region.
    let shown = PLOTS.iter().filter(|plot| region.is_none() || !plot.series.contains(".app."));
    Plots {
        figures: shown.map(|plot| draw(plot, &series, (since, now), step)).collect(),
        silent: of_here().filter(|one| one.sampled.is_none()).map(|one| one.node).collect(),
        began: began.filter(|(_, at)| *at > since + Duration::from_secs(step)).collect(),
    }
}

fn draw(
    Plot { title, series: name, words }: &Plot,
    series: &BTreeMap<String, Vec<Point>>,
    span: (Unix, Unix),
    step: u64,
) -> Figure {
    let short = |full: &str| match name.strip_suffix('*') {
        Some(prefix) => full.strip_prefix(prefix).map(str::to_owned),
        None => (full == *name).then(|| full.to_owned()),
    };
    let mut all: Vec<_> = series.iter().filter_map(|(full, points)| Some((short(full)?, points))).collect();
    // Those that matter most of late.
    all.sort_by(|(_, one), (_, other)| recent(other).total_cmp(&recent(one)));
    all.truncate(LINES_MAX);
    let lines: Vec<Line> = all.into_iter().map(|(name, points)| line(name, points, step)).collect();
    let svg = plot::draw(&lines, span, words);
    let many = lines.len();
    let named = lines.into_iter().enumerate().map(|(nth, line)| (class_of(nth, many), line.name));
    Figure { title, svg, legend: if many > 1 { named.collect() } else { Vec::new() } }
}

/// A line, with a gap where nothing was sampled in between.
fn line(name: String, held: &[Point], step: u64) -> Line {
    let mut points = Vec::with_capacity(held.len());
    let mut last: Option<u64> = None;
    for point in held {
        if last.is_some_and(|last| point.at > last + 3 * step) {
            points.push((Unix::from_secs(point.at), None));
        }
        last = Some(point.at);
        points.push((Unix::from_secs(point.at), Some(point.mean)));
    }
    Line { name, points }
}

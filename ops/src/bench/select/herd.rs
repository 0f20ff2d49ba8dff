//! Whether a crowd moves as one: joins upon joins at one region whose loads are reported once a second, from the
//! moment that one of its edges has come back empty. Each way to choose has the same joins.

use std::collections::BTreeSet;
use std::sync::Arc;

use chappe_proto::id::{EdgeId, Region};
use chappe_proto::select::{Catalog, Client, EdgeStatus, Measured, Place, Policy, draw_of};
use chappe_proto::time::Mono;

use super::net::Dice;

/// Seconds of joins.
const SECONDS: usize = 120;
/// Sessions last so long, in seconds, in the mean.
const LIFE: f64 = 60.0;
/// How full the region is in the mean.
const FULL: f64 = 0.6;

/// How an edge is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The least loaded.
    Least,
    /// The less loaded of two at random.
    TwoChoices,
    /// As Chappe does.
    Ours,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Herd {
    /// The most that one edge was given in one second, of what a fair part is,
    pub(super) surge: f64,
    /// and the same once all was even again: in the last quarter.
    pub(super) calm: f64,
    /// How far the highest load is above the mean, in the last quarter.
    pub(super) above: f64,
    /// Seconds until the edge that had come back empty had 0.9 of the mean load.
    pub(super) refilled: Option<usize>,
    /// The highest load of an edge.
    pub(super) load: f64,
}

/// So many edges, and so many joins a second.
pub(super) fn run(edges: usize, joins: usize, way: Way) -> Option<Herd> {
    let mut dice = Dice::new(&format!("herd {edges}"));
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let (count, rate) = (edges as f64, joins as f64);
    let capacity = rate * LIFE / FULL / count;
    let mut used = vec![capacity * FULL; edges];
    *used.first_mut()? = 0.0;
    let (mut herd, mut said) = (Herd::default(), used.clone());
    for second in 0..SECONDS {
        let catalog = catalog(&said, capacity)?;
        let mut given = vec![0.0; edges];
        for n in 0..joins {
            let nth = choose(&catalog, &said, way, &mut dice, second * joins + n)?;
            *given.get_mut(nth)? += 1.0;
        }
        for (used, given) in used.iter_mut().zip(&given) {
            *used = *used * (-1.0 / LIFE).exp() + given;
        }
        let mean = used.iter().sum::<f64>() / count;
        let highest = used.iter().copied().fold(0.0, f64::max);
        let most = given.iter().copied().fold(0.0, f64::max) * count / rate;
        herd.surge = herd.surge.max(most);
        herd.load = herd.load.max(highest / capacity);
        if second >= SECONDS / 4 * 3 {
            herd.calm = herd.calm.max(most);
            herd.above = herd.above.max(highest / mean - 1.0);
        }
        if herd.refilled.is_none() && used.first().is_some_and(|first| *first >= 0.9 * mean) {
            herd.refilled = Some(second + 1);
        }
        said.clone_from(&used); // told once a second, and late by up to one
    }
    Some(herd)
}

fn catalog(said: &[f64], capacity: f64) -> Option<Catalog> {
    let status = |(nth, used): (usize, &f64)| {
        let status =
            EdgeStatus::new(EdgeId::new(&format!("e{nth}")).ok()?, Region::new("r").ok()?, Vec::new());
        Some(EdgeStatus { load: used / capacity, ..status })
    };
    let edges: Option<Vec<_>> = said.iter().enumerate().map(status).collect();
    Some(Catalog::new(edges?, Arc::new(Policy::default()), Region::new("r").ok()))
}

fn choose(catalog: &Catalog, said: &[f64], way: Way, dice: &mut Dice, n: usize) -> Option<usize> {
    let load = |nth: &usize| said.get(*nth).copied().unwrap_or(0.0);
    match way {
        Way::Least => (0..said.len()).min_by(|a, b| load(a).total_cmp(&load(b))),
        Way::TwoChoices => {
            let first = dice.below(said.len());
            let second = (first + 1 + dice.below(said.len() - 1)) % said.len();
            Some(if load(&first) <= load(&second) { first } else { second })
        }
        Way::Ours => {
            let (place, measured, none) = (Place::default(), Measured::default(), BTreeSet::new());
            let client = Client {
                place: &place,
                app: None,
                draw: draw_of(&format!("join {n}")),
                measured: &measured,
                offered: &[],
                shunned: &none,
            };
            let choice = catalog.choose(Mono::default(), &client);
            let first = choice.best.first()?;
            catalog.edges().iter().position(|edge| edge.edge == first.edge.edge)
        }
    }
}

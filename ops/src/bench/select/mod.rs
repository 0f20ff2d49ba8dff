//! `chappe bench select`: how far from the best the choice of edges is, what happens when a region dies, and how
//! joins spread over the edges of one. A simulation of `chappe_proto::select` itself; nothing is sent anywhere.
#![allow(clippy::print_stdout)]

mod cities;
mod crowd;
mod herd;
mod net;

use anyhow::{Context, Result};
use crowd::{Extra, Outcome};
use herd::Way;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Clients, all over the globe.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000)]
    clients: usize,
    /// Joins a second: so many choose by one report of the loads.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    joins: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let outcome = crowd::run(args.clients, args.joins).context("the simulation's own names are bad")?;
    print!("{}", told(args.clients, &outcome));
    println!(
        "\n| edges | way | one edge's most in a second, of a fair part | the same when all is even | highest over mean load then | highest load | refilled after |"
    );
    println!("|---|---|---|---|---|---|---|");
    for edges in [2, 4, 10] {
        for (way, name) in
            [(Way::Least, "least loaded"), (Way::TwoChoices, "less loaded of two"), (Way::Ours, "Chappe")]
        {
            let herd = herd::run(edges, args.joins, way).context("the simulation's own names are bad")?;
            let refilled = herd.refilled.map_or_else(|| "-".to_owned(), |secs| format!("{secs} s"));
            println!(
                "| {edges} | {name} | {:.2} | {:.2} | {:+.1} % | {:.2} | {refilled} |",
                herd.surge,
                herd.calm,
                herd.above * 100.0,
                herd.load
            );
        }
    }
    Ok(())
}

fn told(clients: usize, outcome: &Outcome) -> String {
    let row = |name: &str, extra: &Extra| {
        format!(
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} |\n",
            extra.median, extra.p90, extra.p99, extra.mean
        )
    };
    let mut text = format!("{clients} clients, 40 regions. Milliseconds over the nearest region:\n\n");
    text += "| | median | p90 | p99 | mean |\n|---|---|---|---|---|\n";
    text += &row("by what is known of the place", &outcome.guessed);
    for (name, extra) in
        ["- place known (85 %)", "- unknown (10 %)", "- wrong (5 %)"].iter().zip(&outcome.by_place)
    {
        text += &row(name, extra);
    }
    text += &row("after the first measurements", &outcome.once);
    text += &row("after the last", &outcome.settled);
    for (name, extra) in ["- place known", "- unknown", "- wrong"].iter().zip(&outcome.settled_by_place) {
        text += &row(name, extra);
    }
    let death = &outcome.death;
    text += &row(&format!("{} is dead: its clients, over the best left", death.region), &death.extra);
    text += &format!(
        "\nEdges measured by a client: {:.1}. Moved by it: {:.1} %, more than once {:.2} %.\n",
        outcome.probes,
        outcome.moved * 100.0,
        outcome.again * 100.0
    );
    text += &format!(
        "{} dies with {} clients, {:.0} % of which had an edge elsewhere in hand; {} regions took over 1 % of them, \
         one {:.0} % at most; the highest load was {:.2}. Back again, {:.0} % of its newcomers go there at once, {:.0} % after \
         a minute, {:.0} % after two; of those who went {:.0} % are back with their next credential.\n",
        death.region,
        death.struck,
        death.in_hand * 100.0,
        death.takers,
        death.largest * 100.0,
        death.load,
        death.back[0] * 100.0,
        death.back[1] * 100.0,
        death.back[2] * 100.0,
        death.returned * 100.0
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_clients_get_the_nearest_region_and_a_dead_one_spreads() {
        let outcome = crowd::run(20_000, 1000).unwrap();
        let (guessed, settled, death) = (&outcome.guessed, &outcome.settled, &outcome.death);
        let [known, unknown, wrong] = &outcome.settled_by_place;
        assert!(settled.median < 1.0 && settled.mean < guessed.mean / 2.0, "{guessed:?} {settled:?}");
        assert!(known.p99 < 25.0 && unknown.p99 < 50.0, "{known:?} {unknown:?}");
        assert!(wrong.mean < outcome.by_place[2].mean / 2.0, "{wrong:?}");
        assert!(outcome.again < 0.05, "{}", outcome.again);
        assert!(death.extra.median < 15.0 && death.takers >= 2 && death.load < 1.05, "{death:?}");
        assert!(death.back[0] < death.back[1] && death.back[1] < death.back[2], "{death:?}");
        assert!(told(20_000, &outcome).contains("| after the last |"));
    }

    #[test]
    fn joins_spread_over_the_edges_of_a_region() {
        for edges in [2, 4, 10] {
            let (least, ours) =
                (herd::run(edges, 1000, Way::Least).unwrap(), herd::run(edges, 1000, Way::Ours).unwrap());
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let all = edges as f64;
            assert!((least.surge - all).abs() < 1e-9, "the least loaded takes all of a second");
            assert!(ours.surge < 2.5 && ours.calm < 1.5 && ours.above < 0.1, "{edges}: {ours:?}");
            assert!(ours.refilled.is_some(), "{edges}: {ours:?}");
        }
    }
}

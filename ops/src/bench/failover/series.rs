//! Round after round: which cell is next, and how far it has come.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chappe_cluster::clock;
use chappe_proto::time::Mono;

use super::book::{Book, Conditions, End, Round};
use super::cluster::{Cluster, Wish};
use super::laps::Laps;
use super::report::Cell;
use super::round::{self, Size, Strike};
use crate::bench::files::Files;
use crate::bench::report::progress;

/// A round takes this besides its fault, as far as is known before there was one: a round of `kill` takes 10 to 11.
const BESIDES: Duration = Duration::from_secs(15);

/// So many rounds in a row that come to no judgement end the run.
const FAILURES: usize = 3;

/// What is struck, how, and with what around it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) cell: String,
    pub(super) strike: Strike,
    pub(super) conditions: Conditions,
}

/// What a run is to do.
pub(super) struct Order {
    pub(super) targets: Vec<Target>,
    /// Rounds of each.
    pub(super) rounds: usize,
    /// No round begins that would end later.
    pub(super) until: Option<Mono>,
    pub(super) size: Size,
    pub(super) wish: Wish,
    /// Where the clients' logs are kept.
    pub(super) keep: Option<PathBuf>,
}

/// Runs what is missing in the book, and adds it.
pub(super) async fn run(order: &Order, book: &mut Book) -> Result<()> {
    for Target { cell, conditions, .. } in &order.targets {
        book.agrees(cell, conditions)?;
    }
    let files = Files::new()?;
    let (mut standing, mut failures) = (None, 0);
    loop {
        book.refresh()?;
        let left = order.until.map(|until| until.since(clock::mono()));
        let Some(target) = next(&order.targets, book, order.rounds, left) else { return Ok(()) };
        let mut cluster = match standing.take() {
            Some(cluster) => cluster,
            None => Cluster::start(&order.wish).await.context("the cluster")?,
        };
        let (cell, number) = (&target.cell, book.of(&target.cell).count());
        let file = match &order.keep {
            Some(directory) => directory.join(format!("{}-{number}.jsonl", cell.replace(':', "-"))),
            None => files.join("round.jsonl"),
        };
        let mut laps = Laps::begin();
        let end = round::run(&mut cluster, target.strike, &order.size, number, &file, &mut laps).await;
        match end {
            End::Judged(_) => (standing, failures) = (Some(cluster), 0),
            // The next round begins with another cluster.
            End::Failed { .. } => failures += 1,
        }
        let (conditions, took) = (target.conditions.clone(), laps.took());
        let round = Round { cell: cell.clone(), at: clock::unix().secs(), conditions, took, end };
        tell(&round, number);
        book.add(round)?;
        if number > 0 {
            let all = Cell::of(cell, book.of(cell));
            progress(&format!("{cell}, all {}: {}", number + 1, all.line()));
        }
        if failures >= FAILURES {
            bail!("{failures} rounds after one another came to no judgement");
        }
    }
}

/// Says how a round was.
fn tell(round: &Round, number: usize) {
    let line = Cell::of(&round.cell, [round]).line();
    let what = match &round.end {
        End::Judged(_) => line,
        End::Failed { why, verdict: Some(_) } => format!("FAILED: {why}; {line}"),
        End::Failed { why, verdict: None } => format!("FAILED: {why}"),
    };
    let took: Vec<String> = round.took.iter().map(|(phase, took)| format!("{phase} {took:.1}")).collect();
    let (cell, whole, took) = (&round.cell, round.whole().as_secs_f64(), took.join(", "));
    progress(&format!("{cell}, round {}: {what}; {whole:.1} s: {took}", number + 1));
}

/// The one with the fewest rounds that count, of those that lack some and that end in the time left. A round
/// that is void is made up for, though not without end.
fn next<'a>(targets: &'a [Target], book: &Book, wanted: usize, left: Option<Duration>) -> Option<&'a Target> {
    let done = |target: &Target| {
        let may_count = target.conditions.may_count();
        book.of(&target.cell).filter(|round| !(may_count && round.is_void())).count()
    };
    let lacks =
        |target: &&Target| done(target) < wanted && book.of(&target.cell).count() < wanted.saturating_mul(2);
    let fits = |target: &&Target| {
        let least = BESIDES + Duration::from_secs(target.conditions.lasts);
        let longest = book.of(&target.cell).map(Round::whole).fold(least, Duration::max);
        left.is_none_or(|left| longest < left)
    };
    targets.iter().filter(lacks).filter(fits).min_by_key(|target| done(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::failover::book::tests::{conditions, round};
    use crate::bench::failover::checker::Verdict;
    use crate::bench::failover::fault::Fault;
    use crate::bench::failover::roles::Role;

    fn targets() -> Vec<Target> {
        let strike = Strike { fault: Fault::Kill, role: Role::Owner };
        let target = |cell: &str| Target { cell: cell.to_owned(), strike, conditions: conditions() };
        ["a", "b"].map(target).to_vec()
    }

    fn judged(rate: f64) -> End {
        End::Judged(Verdict { rate, ..Verdict::default() })
    }

    #[test]
    fn cells_take_turns_and_what_the_book_has_counts() {
        let (targets, mut book) = (targets(), Book::default());
        book.add(round("a", judged(2400.0))).unwrap();
        let mut order = Vec::new();
        while let Some(target) = next(&targets, &book, 3, None) {
            order.push(target.cell.clone());
            book.add(round(&target.cell, judged(2400.0))).unwrap();
        }
        assert_eq!(order, ["b", "a", "b", "a", "b"]);
    }

    #[test]
    fn void_rounds_are_made_up_for_but_not_without_end() {
        let (targets, mut book) = (targets(), Book::default());
        let mut rounds = 0;
        while let Some(target) = next(&targets[..1], &book, 2, None) {
            book.add(round(&target.cell, judged(1000.0))).unwrap();
            rounds += 1;
        }
        assert_eq!(rounds, 4);
        // One that came to no judgement is no void one, and a load that can never count is not run twice.
        let mut book = Book::default();
        book.add(round("a", End::Failed { why: String::new(), verdict: None })).unwrap();
        assert!(next(&targets[..1], &book, 1, None).is_none());
        let mut small = targets;
        small[0].conditions.rooms = 20;
        let mut book = Book::default();
        let mut void = round("a", judged(100.0));
        void.conditions.rooms = 20;
        book.add(void).unwrap();
        assert!(next(&small[..1], &book, 1, None).is_none());
    }

    #[test]
    fn no_round_begins_that_would_end_too_late() {
        let (mut targets, mut book) = (targets(), Book::default());
        targets[1].conditions.lasts = 12;
        let cell = |book: &Book, millis| {
            next(&targets, book, 9, Some(Duration::from_millis(millis))).map(|target| target.cell.clone())
        };
        assert_eq!(cell(&book, 15_000), None, "what no round has told yet is taken to last a while");
        assert_eq!(cell(&book, 15_001).as_deref(), Some("a"));
        let mut long = round("a", judged(2400.0));
        long.took.push(("well again".to_owned(), 20.0));
        book.add(long).unwrap();
        assert_eq!(cell(&book, 23_700), None, "it took 23.75 s, and the other one takes 12 s more than 15");
        assert_eq!(cell(&book, 23_800).as_deref(), Some("a"));
        assert_eq!(cell(&book, 27_001).as_deref(), Some("b"));
        assert_eq!(cell(&book, 0), None);
    }
}

//! The figures of a bench, cell by cell.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::book::{End, Round};
use super::checker::Verdict;

/// A run with less than this passing the victim says nothing of a cluster that works.
pub(super) const RATE_MIN: f64 = 2000.0;
/// And with fewer rooms.
pub(super) const ROOMS_MIN: usize = 300;

/// Gaps of one kind. One that never ended counts as longer than any.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::bench) struct Gaps {
    /// How many there were.
    pub(in crate::bench) count: usize,
    /// How many never ended.
    pub(in crate::bench) never: usize,
    /// In milliseconds; none where that one never ended.
    pub(in crate::bench) p50: Option<f64>,
    /// The same.
    pub(in crate::bench) p99: Option<f64>,
    /// The same.
    pub(in crate::bench) max: Option<f64>,
}

impl Gaps {
    /// Of all rounds together.
    pub(in crate::bench) fn of(gaps: &[Option<Duration>]) -> Option<Self> {
        let mut ms: Vec<f64> =
            gaps.iter().map(|gap| gap.map_or(f64::INFINITY, |gap| gap.as_secs_f64() * 1000.0)).collect();
        ms.sort_by(f64::total_cmp);
        // The nearest rank: the least that so many parts of a hundred do not exceed.
        let rank = |percent: usize| {
            let at = (ms.len() * percent).div_ceil(100).max(1) - 1;
            ms.get(at).copied().filter(|ms| ms.is_finite())
        };
        let never = ms.iter().filter(|ms| ms.is_infinite()).count();
        (!ms.is_empty()).then(|| Self {
            count: ms.len(),
            never,
            p50: rank(50),
            p99: rank(99),
            max: rank(100),
        })
    }

    /// `p50 / p99 / max` in milliseconds.
    pub(in crate::bench) fn text(&self) -> String {
        let figure = |ms: Option<f64>| ms.map_or("never".to_owned(), |ms| format!("{ms:.0}"));
        format!("{} / {} / {}", figure(self.p50), figure(self.p99), figure(self.max))
    }
}

/// A cell: one fault in one role.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cell {
    /// Its name: fault and role.
    pub(super) cell: String,
    /// Rounds that came to their end.
    pub(super) rounds: usize,
    /// Of all, how many had too small a load to count, though what is wrong in them counts. The figures are
    /// those of the others, if there are any.
    pub(super) void: usize,
    /// Rounds that failed besides. What they left open once they were struck is in the figures.
    pub(super) failed: usize,
    /// Signals that were sent.
    pub(super) signals: u64,
    /// The least that passed the victim before a fault, in a second.
    pub(super) rate: f64,
    /// What must not be.
    pub(super) faults: BTreeMap<String, u64>,
    /// Signals among those present, in rooms between clients on nodes that live on.
    pub(super) present: Option<Gaps>,
    /// The same where one of both was on a victim.
    pub(super) through_gateway: Option<Gaps>,
    /// The longest that any signal of such a room took, of each.
    pub(super) longest: Option<Gaps>,
    /// Sessions that were on a victim, until they are resumed.
    pub(super) resumed: Option<Gaps>,
    /// Of those, how many were made anew from their tokens.
    pub(super) rebuilt: u64,
    /// Joins asked for right after the fault.
    pub(super) joined: Option<Gaps>,
}

impl Cell {
    /// Of a cell's rounds.
    pub(super) fn of<'a>(cell: &str, rounds: impl IntoIterator<Item = &'a Round>) -> Self {
        let (mut judged, mut ended, mut failed): (Vec<(bool, &Verdict)>, _, _) = (Vec::new(), 0, 0);
        for round in rounds {
            match &round.end {
                End::Judged(_) => ended += 1,
                End::Failed { .. } => failed += 1,
            }
            judged.extend(round.end.verdict().map(|verdict| (round.is_void(), verdict)));
        }
        let void = judged.iter().filter(|(void, _)| *void).count();
        let counts = judged.iter().filter(|(is_void, _)| !is_void || void == judged.len());
        let counts: Vec<&Verdict> = counts.map(|(_, verdict)| *verdict).collect();
        let all = |gaps: fn(&Verdict) -> &Vec<Option<Duration>>| {
            Gaps::of(&counts.iter().flat_map(|verdict| gaps(verdict)).copied().collect::<Vec<_>>())
        };
        let mut faults = BTreeMap::new();
        for (what, count) in judged.iter().flat_map(|(_, verdict)| &verdict.faults) {
            *faults.entry(what.clone()).or_default() += count;
        }
        let rate = counts.iter().map(|verdict| verdict.rate).fold(f64::INFINITY, f64::min);
        Self {
            cell: cell.to_owned(),
            rounds: ended,
            void,
            failed,
            signals: judged.iter().map(|(_, verdict)| verdict.sent).sum(),
            rate: if rate.is_finite() { rate } else { 0.0 },
            faults,
            present: all(|verdict| &verdict.present),
            through_gateway: all(|verdict| &verdict.through_gateway),
            longest: all(|verdict| &verdict.longest),
            resumed: all(|verdict| &verdict.resumed),
            rebuilt: counts.iter().map(|verdict| verdict.rebuilt).sum(),
            joined: all(|verdict| &verdict.joined),
        }
    }

    /// Whether anything in it must not be.
    pub(super) fn is_bad(&self) -> bool {
        self.failed > 0 || !self.faults.is_empty()
    }

    /// In a line.
    pub(super) fn line(&self) -> String {
        let gaps = [
            ("present", &self.present),
            ("with a lost gateway", &self.through_gateway),
            ("slowest signal", &self.longest),
            ("resumed", &self.resumed),
            ("joins", &self.joined),
        ];
        let gaps = gaps.iter().filter_map(|(name, gaps)| Some(format!("{name} {}", gaps.as_ref()?.text())));
        let gaps: Vec<String> = gaps.collect();
        format!("{:.0}/s, {}; {}", self.rate, gaps.join(", "), self.wrong())
    }

    /// What is wrong, in words.
    fn wrong(&self) -> String {
        let mut words: Vec<String> =
            self.faults.iter().map(|(what, count)| format!("{count} {what}")).collect();
        if self.void > 0 {
            words.push(format!(
                "{} of {} rounds VOID: too small a load",
                self.void,
                self.rounds + self.failed
            ));
        }
        if self.failed > 0 {
            words.push(format!("{} rounds FAILED", self.failed));
        }
        if words.is_empty() { "nothing lost or doubled".to_owned() } else { words.join(", ") }
    }
}

/// Writes the table, or JSON.
pub(super) fn print(cells: &[Cell], json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(cells)?);
        return Ok(());
    }
    let head = [
        "fault, role",
        "rounds",
        "signals",
        "per s",
        "present",
        "slowest signal",
        "with a lost gateway",
        "resumed",
        "joins",
        "",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    for cell in cells {
        let gaps = |gaps: &Option<Gaps>| gaps.as_ref().map_or("-".to_owned(), Gaps::text);
        lines.push([
            cell.cell.clone(),
            cell.rounds.to_string(),
            cell.signals.to_string(),
            format!("{:.0}", cell.rate),
            gaps(&cell.present),
            gaps(&cell.longest),
            gaps(&cell.through_gateway),
            gaps(&cell.resumed),
            gaps(&cell.joined),
            cell.wrong(),
        ]);
    }
    println!("p50 / p99 / max in ms, from the fault");
    print!("{}", crate::bench::report::aligned(&lines));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::failover::book::tests::round;

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    #[test]
    fn ranks_count_never_as_the_longest() {
        let all: Vec<_> = (1..=200).map(ms).collect();
        let gaps = Gaps::of(&all).unwrap();
        assert_eq!((gaps.p50, gaps.p99, gaps.max), (Some(100.0), Some(198.0), Some(200.0)));
        let mut some = all;
        (some[0], some[1]) = (None, None);
        let gaps = Gaps::of(&some).unwrap();
        assert_eq!((gaps.never, gaps.p99, gaps.max), (2, Some(200.0), None));
        some[2] = None;
        assert_eq!(Gaps::of(&some).unwrap().p99, None);
        assert_eq!(Gaps::of(&[]), None);
        assert_eq!(Gaps::of(&[ms(7)]).unwrap().text(), "7 / 7 / 7");
    }

    #[test]
    fn a_small_load_voids_a_round() {
        let of = |rate, rooms, through, gap| {
            let faults = BTreeMap::from([("lost".to_owned(), 1)]);
            let verdict = Verdict { rate, sent: 10, faults, present: vec![ms(gap)], ..Verdict::default() };
            let mut round = round("kill:owner", End::Judged(verdict));
            (round.conditions.rooms, round.conditions.through) = (rooms, through);
            round
        };
        let rounds = [of(2100.0, 300, true, 5), of(1999.0, 300, true, 9)];
        let cell = Cell::of("kill:owner", &rounds);
        assert_eq!((cell.rounds, cell.void, cell.signals, cell.faults["lost"]), (2, 1, 20, 2));
        assert_eq!(cell.wrong(), "2 lost, 1 of 2 rounds VOID: too small a load");
        assert_eq!(cell.present.unwrap().text(), "5 / 5 / 5");
        assert_eq!(Cell::of("", &[of(0.0, 300, false, 1)]).void, 0);
        let small = Cell::of("", &[of(2100.0, 299, true, 7)]);
        assert_eq!((small.void, small.present.unwrap().text()), (1, "7 / 7 / 7".to_owned()));
    }

    #[test]
    fn a_round_without_a_judgement_is_not_passed_over() {
        let good = End::Judged(Verdict { rate: 2400.0, ..Verdict::default() });
        let failed = End::Failed { why: "not well".to_owned(), verdict: None };
        let rounds = [good, failed].map(|end| round("stop:two", end));
        let cell = Cell::of("stop:two", &rounds);
        assert_eq!((cell.rounds, cell.failed, cell.is_bad()), (1, 1, true));
        assert!(cell.line().ends_with("1 rounds FAILED"));
        assert!(!Cell::of("stop:two", &rounds[..1]).is_bad());
    }

    #[test]
    fn what_a_failed_round_leaves_open_is_in_the_figures() {
        let verdict =
            |present| Verdict { rate: 2400.0, sent: 10, present, joined: vec![ms(9)], ..Verdict::default() };
        let failed = End::Failed { why: "not well".to_owned(), verdict: Some(verdict(vec![ms(7), None])) };
        let rounds = [End::Judged(verdict(vec![ms(5), ms(6)])), failed].map(|end| round("stop:two", end));
        let cell = Cell::of("stop:two", &rounds);
        assert_eq!((cell.rounds, cell.failed, cell.void, cell.signals), (1, 1, 0, 20));
        assert_eq!(
            (cell.present.clone().unwrap().text(), cell.is_bad()),
            ("6 / never / never".to_owned(), true)
        );
        assert_eq!(cell.joined.unwrap().count, 2);
    }
}

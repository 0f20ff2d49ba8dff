//! One figure over time: fine for an hour, coarse for two days.

use std::collections::VecDeque;

use chappe_proto::history::Point;
use chappe_proto::limits::HISTORY_LEVELS;

/// The steps of one length, the newest last. A step without a sample is left out: a gap is a gap.
#[derive(Debug, Default)]
struct Level(VecDeque<Point>);

impl Level {
    fn add(&mut self, (step, steps): (u64, usize), at: u64, value: f64) {
        let at = at - at % step;
        match self.0.back_mut() {
            Some(last) if last.at == at => last.join(&Point::of(at, value)),
            Some(last) if last.at > at => {} // the clock was set back: what it has told stays
            _ => self.0.push_back(Point::of(at, value)),
        }
        while self.0.front().is_some_and(|first| first.at + step * steps as u64 <= at) {
            self.0.pop_front();
        }
    }
}

/// One figure.
#[derive(Debug, Default)]
pub struct Series([Level; HISTORY_LEVELS.len()]);

impl Series {
    /// It is this now, in seconds since 1970. What is no number is skipped.
    pub fn add(&mut self, at: u64, value: f64) {
        if value.is_finite() {
            for (level, spec) in self.0.iter_mut().zip(HISTORY_LEVELS) {
                level.add(spec, at, value);
            }
        }
    }

    /// When it was sampled last.
    pub(super) fn last(&self) -> u64 {
        self.0[0].0.back().map_or(0, |point| point.at)
    }

    /// From `since` on in steps of so many seconds: of the finest steps that reach so far back and are no longer, put
    /// together; where none is as short, of the finest that reach.
    #[must_use]
    pub fn points(&self, now: u64, since: u64, step: u64) -> Vec<Point> {
        let reaches = |(length, steps): &(u64, usize)| now.saturating_sub(length * *steps as u64) <= since;
        let levels = || self.0.iter().zip(HISTORY_LEVELS);
        let level = levels().find(|(_, spec)| reaches(spec)).or_else(|| levels().next_back());
        let Some((level, (length, _))) = level else { return Vec::new() };
        let step = step.max(length).next_multiple_of(length);
        let mut points: Vec<Point> = Vec::new();
        for point in level.0.iter().filter(|point| point.at + length > since) {
            let at = point.at - point.at % step;
            match points.last_mut().filter(|last| last.at == at) {
                Some(last) => last.join(point),
                None => points.push(Point { at, ..*point }),
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn filled(secs: u64, value: impl Fn(u64) -> f64) -> Series {
        let mut series = Series::default();
        for at in (0..secs).step_by(10) {
            series.add(at, value(at));
        }
        series
    }

    #[test]
    fn an_hour_is_fine_and_two_days_are_coarse() {
        let series = filled(60 * HOUR, |at| at as f64);
        let now = 60 * HOUR - 10;
        let lengths: Vec<usize> = series.0.iter().map(|level| level.0.len()).collect();
        assert_eq!(lengths, [360, 360, 576]);
        let fine = series.points(now, now - HOUR + 10, 10);
        assert_eq!((fine.len(), fine[1].at - fine[0].at, fine[0].samples), (360, 10, 1));
        let minutes = series.points(now, now - 5 * HOUR, 10);
        assert_eq!((minutes[1].at - minutes[0].at, minutes[0].samples), (60, 6));
        let days = series.points(now, now - 40 * HOUR, 10);
        assert_eq!((days[1].at - days[0].at, days[0].samples), (300, 30));
        assert!(series.points(now, 0, 10).len() == 576, "what is older is not there");
    }

    #[test]
    fn what_is_put_together_keeps_least_mean_and_most() {
        let mut series = Series::default();
        for (at, value) in [(0, 5.0), (10, 1.0), (50, 3.0), (60, 100.0), (70, f64::NAN), (80, f64::INFINITY)]
        {
            series.add(at, value);
        }
        let points = series.points(60, 0, 60);
        let first = Point { at: 0, min: 1.0, mean: 3.0, max: 5.0, samples: 3 };
        assert_eq!(points, [first, Point::of(60, 100.0)]);
        // A mean of means counts samples, not steps.
        let whole = series.points(60, 0, 600);
        assert_eq!(whole, [Point { at: 0, min: 1.0, mean: 109.0 / 4.0, max: 100.0, samples: 4 }]);
        assert_eq!(series.points(60, 0, 15).iter().map(|point| point.at).collect::<Vec<_>>(), [0, 40, 60]);
    }

    #[test]
    fn a_gap_stays_a_gap_and_a_clock_that_goes_back_changes_nothing() {
        let mut series = filled(100, |_| 1.0);
        series.add(1_000, 2.0);
        let at: Vec<u64> = series.points(1_000, 80, 10).iter().map(|point| point.at).collect();
        assert_eq!(at, [80, 90, 1_000]);
        series.add(500, 9.0);
        assert_eq!(series.points(1_000, 0, 10).len(), 11);
        series.add(1_000 + 2 * HOUR, 3.0);
        assert_eq!(series.0[0].0.len(), 1, "nothing older than an hour is kept fine");
        assert_eq!(series.0[1].0.len(), 4);
    }
}

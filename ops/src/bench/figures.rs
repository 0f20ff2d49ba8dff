//! The arithmetic of a bench.

use serde::Serialize;

/// What several rounds of one measurement gave.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub(super) median: f64,
    /// The least.
    pub(super) min: f64,
    /// The most.
    pub(super) max: f64,
}

impl Spread {
    /// Of the rounds after the first, which warms caches and tables up; of all where there is one only.
    pub(super) fn of(rounds: &[f64]) -> Option<Self> {
        let mut kept = if rounds.len() > 1 { rounds[1..].to_vec() } else { rounds.to_vec() };
        kept.sort_by(f64::total_cmp);
        let (min, max) = (*kept.first()?, *kept.last()?);
        let upper = kept.len() / 2;
        let median =
            if kept.len() % 2 == 1 { kept[upper] } else { f64::midpoint(kept[upper - 1], kept[upper]) };
        Some(Self { median, min, max })
    }
}

/// How many times `base` this is; none where `base` is nothing.
pub(super) fn ratio(value: f64, base: f64) -> Option<f64> {
    (base > 0.0 && value.is_finite()).then(|| value / base)
}

/// Microseconds of `cpu` for each of `count`.
pub(super) fn micros_each(cpu: std::time::Duration, count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = count.max(1) as f64;
    cpu.as_secs_f64() * 1e6 / count
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_round_is_dropped() {
        let spread = Spread::of(&[100.0, 3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
        let even = Spread::of(&[100.0, 4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(even, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(&[7.0]), Some(Spread { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_ratio_needs_a_base() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(3.0, 0.0), None);
        assert_eq!(ratio(f64::NAN, 1.0), None);
    }

    #[test]
    fn costs_are_per_piece() {
        assert!((micros_each(Duration::from_millis(5), 1000) - 5.0).abs() < 1e-9);
        assert!((micros_each(Duration::from_micros(5), 0) - 5.0).abs() < 1e-9);
    }
}

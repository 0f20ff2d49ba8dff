//! When a certificate is asked for: pure, by a clock and dice that are given.

use std::time::Duration;

use chappe_proto::limits::{ACME_RETRY_FIRST, ACME_RETRY_MAX};

/// The part of a life after which a certificate is renewed, in thousandths: at two thirds, as Let's Encrypt and
/// certbot have it.
const RENEW_AT: u64 = 667;
/// Renewals are spread over this part of a life before that, in thousandths, so that a fleet that began together
/// does not ask together.
const SPREAD: u64 = 20;

/// A certificate is this old at least, in seconds, when its authority's word alone has it replaced.
const SUGGESTED_AFTER: u64 = 24 * 3600;

/// Longer than this no authority is obeyed: Let's Encrypt's longest limit is of a week.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Seconds since 1970.
pub(super) type Unix = u64;

/// From when to when a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Unix,
    pub(super) until: Unix,
}

/// A number between 0 and 1 in thousandths, drawn for each decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// This part of `whole`.
    const fn of(self, whole: u64) -> u64 {
        whole * self.0 / 1000
    }
}

/// When a certificate that was given at `given` is renewed: at two thirds of its life, or within the window that
/// its authority suggests (RFC 9773 section 4.2), but not before a third of what was left of it has passed, or a day:
/// nothing that an authority answers makes it be asked without end. One that was given when it was over already, as
/// by a clock that is wrong, waits as a failure does.
pub(super) fn renewal(given: Unix, validity: Validity, window: Option<(Unix, Unix)>, dice: Dice) -> Unix {
    let life = validity.until.saturating_sub(validity.from);
    let due = match window {
        Some((start, end)) => start.saturating_add(dice.of(end.saturating_sub(start))),
        None => validity.from + life * RENEW_AT / 1000 - dice.of(life * SPREAD / 1000),
    };
    let left = validity.until.saturating_sub(given);
    let rest = if left == 0 { ACME_RETRY_FIRST.as_secs() } else { (left / 3).min(SUGGESTED_AFTER) };
    due.min(validity.until).max(given + rest)
}

/// How long to wait after so many failures in a row, at least one: twice as long each time, a tenth of it by
/// chance, and no shorter than the authority says.
pub(super) fn pause(failures: u32, retry_after: Option<Duration>, dice: Dice) -> Duration {
    if let Some(said) = retry_after {
        // What an authority says is exact; a second more, so that its clock has surely come to it.
        return said.min(RETRY_AFTER_MAX) + Duration::from_millis(dice.of(1000));
    }
    let doubled = ACME_RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(ACME_RETRY_MAX);
    pause + pause / 10 * u32::try_from(dice.0).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;
    const NINETY: Validity = Validity { from: 1000 * DAY, until: 1090 * DAY };

    #[test]
    fn two_thirds_of_a_life_and_a_fleet_does_not_ask_at_once() {
        let latest = renewal(NINETY.from, NINETY, None, Dice(0));
        let first = renewal(NINETY.from, NINETY, None, Dice(1000));
        assert!((60 * DAY..61 * DAY).contains(&(latest - NINETY.from)));
        assert!((DAY..2 * DAY).contains(&(latest - first)));
    }

    #[test]
    fn the_authority_says_when_but_never_without_end() {
        let window = |start, end| Some((start, end));
        let (from, until) = (NINETY.from, NINETY.until);
        assert_eq!(
            renewal(from, NINETY, window(from + 50 * DAY, from + 52 * DAY), Dice(500)),
            from + 51 * DAY
        );
        assert_eq!(renewal(from, NINETY, window(0, 0), Dice(0)), from + DAY, "not at once, and again");
        assert_eq!(renewal(from, NINETY, window(u64::MAX, u64::MAX), Dice(0)), until);
        // An old certificate that is to be replaced now is.
        assert_eq!(renewal(from, NINETY, window(from + 40 * DAY, from + 40 * DAY), Dice(0)), from + 40 * DAY);
    }

    #[test]
    fn what_is_short_lived_or_over_is_renewed_in_time() {
        let short = Validity { from: 100, until: 118 };
        assert_eq!(renewal(112, short, None, Dice(0)), 114);
        let over = Validity { from: 100, until: 200 };
        assert!(renewal(100, over, None, Dice(0)) < 1000);
        assert_eq!(
            renewal(300, over, None, Dice(0)),
            300 + ACME_RETRY_FIRST.as_secs(),
            "it was over when it came"
        );
        let turned = Validity { from: 200, until: 100 };
        assert_eq!(renewal(300, turned, None, Dice(1000)), 300 + ACME_RETRY_FIRST.as_secs());
    }

    #[test]
    fn failures_wait_longer_and_an_authority_is_obeyed() {
        let minutes = |failures| pause(failures, None, Dice(0)).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 5].map(minutes), [2, 4, 8, 16, 32]);
        assert_eq!(pause(1000, None, Dice(0)), ACME_RETRY_MAX);
        assert!(pause(1000, None, Dice(999)) <= ACME_RETRY_MAX * 11 / 10);
        let said = Duration::from_secs(3 * DAY);
        assert!((said..=said + Duration::from_secs(1)).contains(&pause(1, Some(said), Dice(700))));
    }
}

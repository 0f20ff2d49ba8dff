//! What relayed traffic costs: a price for 10⁹ bytes by the region of the edge. Fixed-point, so that every node, and
//! every sum, agrees to the last digit.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Outcome, Refusal, State, Thing};
use crate::id::Region;
use crate::limits::{CURRENCY_MAX, PRICE_MAX, PRICES_MAX};
use crate::usage::Tally;

/// Bytes that a price is for: clouds bill traffic by decimal gigabytes.
pub const PRICED_BYTES: u64 = 1_000_000_000;

/// Digits behind the point.
const DIGITS: usize = 6;

/// An amount of money, in millionths of the currency's unit: as text `0.085`, with six digits behind the point at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(pub u64);

impl fmt::Display for Money {
    /// Two digits behind the point at least, as money is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, millionths) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let digits = format!("{millionths:06}");
        let kept = digits.trim_end_matches('0').len().max(2);
        write!(f, "{whole}.{}", digits.get(..kept).unwrap_or(&digits))
    }
}

/// What is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number as 0.085, with six digits behind the point at most")]
pub struct BadMoney;

impl FromStr for Money {
    type Err = BadMoney;

    fn from_str(text: &str) -> Result<Self, BadMoney> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > DIGITS {
            return Err(BadMoney);
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| BadMoney);
        let whole = number(whole)?.checked_mul(1_000_000).ok_or(BadMoney)?;
        let part = number(&format!("{part:0<DIGITS$}"))?;
        whole.checked_add(part).map(Self).ok_or(BadMoney)
    }
}

/// What 10⁹ bytes cost that an edge relays, by its region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prices {
    /// What the currency is called: `EUR`. Chappe converts nothing.
    pub currency: String,
    /// Of regions that are not named, and of traffic whose region is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Money>,
    /// Of each region, [`PRICES_MAX`] at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<Region, Money>,
}

/// What something costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// The amount, rounded once, half a millionth up.
    pub money: Money,
    /// Bytes that have no price, and are not in it.
    pub unpriced: u64,
}

impl Prices {
    /// Whether anything has a price.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.default.is_some() || !self.regions.is_empty()
    }

    /// What that costs. The whole is rounded, not each region's part: so of several costs the sum may differ from the
    /// cost of them together by half a millionth each.
    #[must_use]
    pub fn cost(&self, tally: &Tally) -> Cost {
        let (mut sum, mut unpriced) = (0_u128, 0_u64);
        let mut add = |bytes: u64, price: Option<Money>| match price {
            Some(price) => sum += u128::from(bytes) * u128::from(price.0),
            None => unpriced = unpriced.saturating_add(bytes),
        };
        for (region, bytes) in &tally.regions {
            add(*bytes, self.regions.get(region).copied().or(self.default));
        }
        add(tally.elsewhere(), self.default);
        let rounded = (sum + u128::from(PRICED_BYTES / 2)) / u128::from(PRICED_BYTES);
        Cost { money: Money(u64::try_from(rounded).unwrap_or(u64::MAX)), unpriced }
    }

    /// Whether they may be set.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), Refusal> {
        let (name, is_needed) = (&self.currency, self.is_set());
        if name.len() > CURRENCY_MAX
            || name.chars().any(char::is_control)
            || (name.trim().is_empty() && is_needed)
        {
            return Err(Refusal::Invalid(Thing::Currency));
        }
        if self.regions.len() > PRICES_MAX {
            return Err(Refusal::Full { thing: Thing::Price, max: PRICES_MAX as u64 });
        }
        if self.regions.values().chain(&self.default).any(|price| price.0 > PRICE_MAX) {
            return Err(Refusal::Invalid(Thing::Price));
        }
        Ok(())
    }
}

/// In a line, for the audit log, which is part of the state: it changes with the cluster's version alone.
impl fmt::Display for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.default {
            Some(price) => write!(f, "{price}")?,
            None => f.write_str("none")?,
        }
        for (region, price) in &self.regions {
            write!(f, ", {region} {price}")?;
        }
        if self.is_set() { write!(f, " {:?}", self.currency) } else { Ok(()) }
    }
}

impl State {
    /// What relayed traffic costs.
    #[must_use]
    pub const fn prices(&self) -> &Arc<Prices> {
        &self.prices
    }

    pub(super) fn prices_set(&mut self, prices: Prices) -> Result<Outcome, Refusal> {
        prices.check()?;
        self.prices = Arc::new(prices);
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Log;
    use super::super::{Command, Entry, Note};
    use super::*;
    use crate::id::Index;
    use crate::mesh::uplink::Traffic;
    use crate::usage::Relayed;

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn prices(default: Option<&str>, regions: &[(&str, &str)]) -> Prices {
        let regions = regions.iter().map(|(name, price)| (region(name), money(price))).collect();
        Prices { currency: "EUR".to_owned(), default: default.map(money), regions }
    }

    fn tally(all: u64, regions: &[(&str, u64)]) -> Tally {
        let sent = Traffic { packets: 1, bytes: all };
        let regions = regions.iter().map(|(name, bytes)| (region(name), *bytes)).collect();
        Tally { relayed: Relayed { sent, received: Traffic::default() }, regions }
    }

    #[test]
    fn money_is_read_and_written_to_the_last_digit() {
        for (text, millionths, told) in [
            ("0", 0, "0.00"),
            ("0.085", 85_000, "0.085"),
            ("12.5", 12_500_000, "12.50"),
            ("0.000001", 1, "0.000001"),
            ("18446744073709.551615", u64::MAX, "18446744073709.551615"),
        ] {
            assert_eq!((money(text), Money(millionths).to_string()), (Money(millionths), told.to_owned()));
            assert_eq!(money(told), Money(millionths));
        }
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000001", "18446744073709.551616", " 1"]
        {
            assert_eq!(bad.parse::<Money>(), Err(BadMoney), "{bad}");
        }
    }

    #[test]
    fn a_cost_is_rounded_once_and_what_has_no_price_is_told() {
        let told = prices(Some("0.05"), &[("eu", "0.000001"), ("us", "0.000003")]);
        let cost = |all, regions: &[(&str, u64)]| told.cost(&tally(all, regions)).money.0;
        assert_eq!(cost(1_000_000_000, &[]), 50_000, "where no region is known the default counts");
        assert_eq!(
            (cost(499_999_999, &[("eu", 499_999_999)]), cost(500_000_000, &[("eu", 500_000_000)])),
            (0, 1)
        );
        // Each part alone is below half of a millionth, both together are above.
        assert_eq!(cost(450_000_000, &[("eu", 300_000_000), ("us", 150_000_000)]), 1);
        assert_eq!(cost(3_000_000_000, &[("eu", 1_000_000_000), ("ap", 1_000_000_000)]), 100_001);
        let some = prices(None, &[("eu", "2")]);
        let told = some.cost(&tally(3_000_000_000, &[("eu", 1_000_000_000), ("ap", 500_000_000)]));
        assert_eq!(told, Cost { money: money("2"), unpriced: 2_000_000_000 });
        assert_eq!(Prices::default().cost(&tally(7, &[])), Cost { money: Money(0), unpriced: 7 });
        let most = Prices { default: Some(Money(PRICE_MAX)), ..some };
        assert_eq!(most.cost(&tally(u64::MAX, &[])).money, Money(u64::MAX), "and nothing overflows");
    }

    #[test]
    fn prices_are_set_audited_and_taken_away() {
        let mut log = Log::default();
        let mut set = |prices: Prices| {
            let note = Note { who: "ada".to_owned(), what: "set prices".to_owned(), from: String::new() };
            let (index, at) = (Index(log.0.index().0 + 1), log.0.now());
            log.0.apply(index, Entry { at, by: None, note: Some(note), command: Command::PricesSet(prices) });
            let line = log.0.audit().next_back().unwrap();
            (line.before.clone().unwrap_or_default(), line.after.clone().unwrap_or_default())
        };
        let some = prices(Some("0.05"), &[("eu", "0.02")]);
        assert_eq!(set(some.clone()), ("none".to_owned(), "0.05, eu 0.02 \"EUR\"".to_owned()));
        assert_eq!(set(Prices::default()), ("0.05, eu 0.02 \"EUR\"".to_owned(), "none".to_owned()));
        log.does(Command::PricesSet(some.clone()));
        assert_eq!(**log.0.prices(), some);
        assert_eq!(State::decode(&log.0.encode().unwrap()).unwrap(), log.0);
    }

    #[test]
    fn what_are_no_prices_is_refused_and_changes_nothing() {
        let mut log = Log::default();
        let held = prices(Some("1"), &[]);
        log.does(Command::PricesSet(held.clone()));
        let mut refuses = |prices: Prices, refusal: Refusal| {
            assert_eq!(log.says(Command::PricesSet(prices)), Outcome::Refused(refusal));
            assert_eq!(**log.0.prices(), held);
        };
        let currency = |name: &str| Prices { currency: name.to_owned(), ..held.clone() };
        for bad in ["", " ", "a\nb", "seventeen bytes!!"] {
            refuses(currency(bad), Refusal::Invalid(Thing::Currency));
        }
        let dear = Money(PRICE_MAX + 1);
        refuses(Prices { default: Some(dear), ..held.clone() }, Refusal::Invalid(Thing::Price));
        let regions = [(region("eu"), dear)].into();
        refuses(Prices { regions, ..held.clone() }, Refusal::Invalid(Thing::Price));
        let regions = (0..=PRICES_MAX).map(|n| (region(&format!("r{n}")), Money(1))).collect();
        refuses(
            Prices { regions, ..held.clone() },
            Refusal::Full { thing: Thing::Price, max: PRICES_MAX as u64 },
        );
    }
}

//! Figures and times as people read them.

use std::fmt;

use askama::filters::HtmlSafe;
use chappe_proto::registry::Money;
use chappe_proto::time::Unix;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A whole number, however templates hand it over.
pub(super) trait Whole {
    /// Its value.
    fn whole(&self) -> u64;
}

impl Whole for u64 {
    fn whole(&self) -> u64 {
        *self
    }
}

impl Whole for u32 {
    fn whole(&self) -> u64 {
        u64::from(*self)
    }
}

impl Whole for usize {
    fn whole(&self) -> u64 {
        u64::try_from(*self).unwrap_or(u64::MAX)
    }
}

impl<T: Whole> Whole for &T {
    fn whole(&self) -> u64 {
        (*self).whole()
    }
}

/// A value that templates hand over, by however many references.
pub(super) trait Given<T> {
    /// It.
    fn given(&self) -> T;
}

impl Given<Self> for f64 {
    fn given(&self) -> Self {
        *self
    }
}

impl Given<Self> for Unix {
    fn given(&self) -> Self {
        *self
    }
}

impl<T, G: Given<T>> Given<T> for &G {
    fn given(&self) -> T {
        (*self).given()
    }
}

/// A number with its thousands apart.
pub(super) fn count(n: impl Whole) -> String {
    let digits = n.whole().to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}'); // a narrow space, as ISO 80000 has it
        }
        out.push(digit);
    }
    out
}

/// Bytes in the greatest decimal unit that leaves a whole number: what relays cost is billed in those.
pub(super) fn bytes(n: impl Whole) -> String {
    scaled(n.whole(), &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// An amount, as short as money is read: the exact one is shown on hover.
pub(super) fn money(amount: Money) -> String {
    let digits = if amount.0 < 1_000_000 { 100 } else { 10_000 }; // millionths that are left out
    Money(amount.0.saturating_add(digits / 2) / digits * digits).to_string()
}

/// Bits a second.
pub(super) fn rate(bits: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no rate is negative, or near 2^63"
    )]
    let whole = bits.max(0.0).round() as u64;
    scaled(whole, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

fn scaled(n: u64, units: &[&str]) -> String {
    let (mut unit, mut scale) = (0, 1_u64);
    while unit + 1 < units.len() && n / scale >= 1000 {
        (unit, scale) = (unit + 1, scale * 1000);
    }
    let (whole, tenths) = (n / scale, n % scale * 10 / scale);
    let unit_name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 || whole >= 100 {
        format!("{whole}\u{a0}{unit_name}")
    } else {
        format!("{whole}.{tenths}\u{a0}{unit_name}")
    }
}

/// How long, in the unit that leaves a number below a hundred or so.
pub(super) fn span(ms: impl Whole) -> String {
    match ms.whole() {
        ms @ ..1_000 => format!("{ms}\u{a0}ms"),
        ms @ ..100_000 => format!("{}\u{a0}s", ms / 1_000),
        ms @ ..6_000_000 => format!("{}\u{a0}min", ms / 60_000),
        ms @ ..172_800_000 => format!("{}\u{a0}h", ms / 3_600_000),
        ms => format!("{}\u{a0}d", ms / 86_400_000),
    }
}

/// Milliseconds, one digit behind the point below ten.
pub(super) fn millis(ms: impl Given<f64>) -> String {
    let ms = ms.given();
    if ms < 10.0 { format!("{ms:.1}\u{a0}ms") } else { format!("{ms:.0}\u{a0}ms") }
}

/// Microseconds, as milliseconds.
pub(super) fn micros(us: impl Whole) -> String {
    let us = u32::try_from(us.whole()).unwrap_or(u32::MAX);
    millis(f64::from(us) / 1000.0)
}

/// A time: exact for machines and on hover, in words once the page runs.
pub(super) fn when(at: impl Given<Unix>) -> When {
    When(at.given())
}

/// See [`when`].
#[derive(Debug, Clone, Copy)]
pub(super) struct When(Unix);

impl HtmlSafe for When {}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = iso(self.0);
        let (day, time) = exact.split_at_checked(10).unwrap_or((&exact, ""));
        let time = time.trim_start_matches('T').trim_end_matches('Z');
        write!(f, "<time data-ago datetime=\"{exact}\">{day} {time} UTC</time>")
    }
}

/// An address with what follows its `?`; what is empty is left out.
pub(super) fn address(path: &str, ask: &[(&str, &str)]) -> String {
    let given = ask.iter().filter(|(_, value)| !value.is_empty());
    let parts: Vec<_> = given
        .map(|(name, value)| match askama::filters::urlencode_strict(value) {
            Ok(value) => format!("{name}={value}"),
            Err(_) => String::new(),
        })
        .collect();
    if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
}

/// RFC 3339, in UTC, to the second.
pub(crate) fn iso(at: Unix) -> String {
    let seconds = i64::try_from(at.0.as_secs()).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// FNV-1a: tells one text from another, no more.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_at_a_glance() {
        assert_eq!((count(7_u32).as_str(), count(1_234_567_u64).as_str()), ("7", "1\u{202f}234\u{202f}567"));
        let told = [0_u64, 999, 1_000, 12_345, 999_999, 1_500_000_000, u64::MAX].map(bytes);
        let told = told.each_ref().map(|text| text.replace('\u{a0}', " "));
        assert_eq!(told, ["0 B", "999 B", "1.0 kB", "12.3 kB", "999 kB", "1.5 GB", "18.4 EB"]);
    }

    #[test]
    fn money_is_short_and_rounded() {
        let told =
            [0, 49, 50, 123_449, 999_949, 999_950, 1_004_999, 1_005_000, 12_345_678].map(|n| money(Money(n)));
        assert_eq!(told, ["0.00", "0.00", "0.0001", "0.1234", "0.9999", "1.00", "1.00", "1.01", "12.35"]);
    }

    #[test]
    fn addresses_have_what_was_asked_for() {
        assert_eq!(address("/admin/rooms", &[("q", ""), ("app", "")]), "/admin/rooms");
        let told = address("/admin/rooms", &[("q", "a b&c"), ("app", ""), ("after", "dev/x")]);
        assert_eq!(told, "/admin/rooms?q=a%20b%26c&after=dev%2Fx");
    }

    #[test]
    fn times_are_exact_for_machines() {
        let when = when(Unix::from_secs(951_782_401)).to_string();
        assert_eq!(when, "<time data-ago datetime=\"2000-02-29T00:00:01Z\">2000-02-29 00:00:01 UTC</time>");
    }
}

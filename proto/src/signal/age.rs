//! How old sessions are, told between nodes whose clocks differ.

use std::time::Duration;

use crate::time::Mono;

/// Ages of the same thing that two nodes know differ by up to about this: what frames took on their way.
const BLUR: Duration = Duration::from_millis(100);
/// Added to this node's clock, so that what began long before the node did has a place on it too.
const BEFORE: Duration = Duration::from_secs(1 << 32);

/// When something began, on this node's clock. Nodes tell each other ages, so it is known a little late
/// elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Began(Duration);

impl Began {
    /// So long ago.
    #[must_use]
    pub fn ago(now: Mono, age: Duration) -> Self {
        Self((BEFORE + now.0).saturating_sub(age))
    }

    /// The same from milliseconds, as frames say it.
    #[must_use]
    pub fn ago_ms(now: Mono, age_ms: u64) -> Self {
        Self::ago(now, Duration::from_millis(age_ms))
    }

    /// How long ago that was.
    #[must_use]
    pub fn age(self, now: Mono) -> Duration {
        (BEFORE + now.0).saturating_sub(self.0)
    }

    /// How long ago that was, in milliseconds.
    #[must_use]
    pub fn age_ms(self, now: Mono) -> u64 {
        u64::try_from(self.age(now).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether this was before `other`; none where they are too close to tell.
    #[must_use]
    pub fn is_before(self, other: Self) -> Option<bool> {
        (self.0.abs_diff(other.0) > BLUR).then_some(self < other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_the_node_did_has_its_place() {
        let now = Mono(Duration::from_secs(10));
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        let (later, earlier) = (Began::ago(now, hour), Began::ago(now, day));
        assert_eq!(earlier.is_before(later), Some(true));
        assert_eq!(later.is_before(earlier), Some(false));
        assert_eq!(later.is_before(Began::ago_ms(now, 3_600_050)), None);
        assert_eq!(earlier.age(now), day);
        assert_eq!(Began::ago_ms(now, u64::MAX).is_before(earlier), Some(true));
    }
}

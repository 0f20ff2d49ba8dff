//! Whether to look at a socket again before asking the system which ones are ready.

/// Looks without asking in between, at most.
const ROUNDS: u8 = 16;
/// How much success is remembered.
const TRUST: u8 = 4;
/// Turns after which it is tried once more although it was in vain before.
const TRY_AGAIN: u8 = 32;

/// Where packets come faster than a turn takes, the socket that had the last ones has the next too, and
/// asking the system first costs as much as receiving. Where they come slower, looking is in vain. So
/// this learns which it is.
#[derive(Default)]
pub(super) struct Eager {
    /// Successes not yet used up by failures.
    trust: u8,
    /// Looks since the system was asked.
    rounds: u8,
    /// Turns without a look.
    turns: u8,
}

impl Eager {
    /// The system was asked.
    pub(super) fn asked(&mut self) {
        self.rounds = 0;
        self.turns = self.turns.saturating_add(1);
    }

    /// Whether to look at the socket again.
    pub(super) fn wants(&self) -> bool {
        self.rounds < ROUNDS && (self.trust > 0 || self.turns >= TRY_AGAIN)
    }

    /// Learns whether a look found anything.
    pub(super) fn learn(&mut self, found: bool) {
        self.turns = 0;
        self.rounds += 1;
        self.trust = if found { TRUST.min(self.trust + 1) } else { self.trust.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks `turns` turns take when each finds or does not.
    fn looks(eager: &mut Eager, turns: u32, found: bool) -> u32 {
        let mut looks = 0;
        for _ in 0..turns {
            eager.asked();
            while eager.wants() {
                eager.learn(found);
                looks += 1;
                if !found {
                    break;
                }
            }
        }
        looks
    }

    #[test]
    fn it_looks_where_that_helps_and_hardly_where_not() {
        let mut eager = Eager::default();
        assert!(looks(&mut eager, 3200, false) <= 100);
        assert!(looks(&mut eager, 100, true) > 16 * 60);
        assert!(looks(&mut eager, 3200, false) <= 104);
    }
}

//! Which keys seal resume tokens, and for how long: the newest seals for a day, the ones before it open until
//! the last token that they sealed has expired.

use std::sync::Arc;

use super::{Outcome, Refusal, State, Thing};
use crate::limits::{NUMBERED_SECRETS_MAX, RESUME_TTL, SEALING_KEY_BYTES, SEALING_KEY_FOR, SEALING_KEY_REST};
use crate::mesh::uplink::Secret;
use crate::time::Unix;

/// What is to be done about the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A new one of this number is to begin ([`super::Command::SealingKeyAdd`]).
    Begin(u64),
    /// No token of this one is left ([`super::Command::SealingKeyRemove`]).
    End(u64),
}

impl State {
    /// What is to be done about the sealing keys now, if anything.
    #[must_use]
    pub fn sealing_due(&self, now: Unix) -> Option<Due> {
        let began = |number: &u64| self.sealing_since.get(number).copied().unwrap_or_default();
        let numbers: Vec<u64> = self.sealing.all().keys().copied().collect();
        // A key seals until its successor begins, and on gateways that are cut off a while longer.
        let over =
            |pair: &&[u64]| matches!(pair, [_, next] if now >= began(next) + RESUME_TTL + SEALING_KEY_REST);
        if let Some([ended, _]) = numbers.windows(2).find(over) {
            return Some(Due::End(*ended));
        }
        let fresh = numbers.last().is_some_and(|newest| now < began(newest) + SEALING_KEY_FOR);
        (!fresh && numbers.len() < NUMBERED_SECRETS_MAX).then(|| Due::Begin(self.sealing.next()))
    }

    /// Whether the key of this number, which is not applied here, may have begun by `now`: the next one, once the
    /// newest is about to have sealed for as long as a key does; and so on, where this state is old. No key of
    /// another cluster is waited for.
    #[must_use]
    pub fn may_have_begun(&self, number: u64, now: Unix) -> bool {
        let Some(ahead) = number.checked_sub(self.sealing.next()) else { return false };
        let Some((newest, _)) = self.sealing.newest() else { return ahead == 0 };
        let began = self.sealing_since.get(&newest).copied().unwrap_or_default();
        let keys = u32::try_from(ahead).ok().and_then(|ahead| ahead.checked_add(1));
        let seal = keys.and_then(|keys| SEALING_KEY_FOR.checked_mul(keys));
        seal.is_some_and(|seal| now + SEALING_KEY_REST >= began + seal)
    }

    pub(super) fn sealing_key_add(&mut self, number: u64, key: Secret) -> Result<Outcome, Refusal> {
        if key.0.len() != SEALING_KEY_BYTES {
            return Err(Refusal::Invalid(Thing::Secret));
        }
        let added = Arc::make_mut(&mut self.sealing).add(Thing::SealingKey, number, key)?;
        Arc::make_mut(&mut self.sealing_since).insert(number, self.now);
        Ok(added)
    }

    pub(super) fn sealing_key_remove(&mut self, number: u64) -> Result<Outcome, Refusal> {
        let removed = Arc::make_mut(&mut self.sealing).remove(Thing::SealingKey, number)?;
        Arc::make_mut(&mut self.sealing_since).remove(&number);
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::Index;
    use crate::registry::{Command, Entry};

    const HOUR: Duration = Duration::from_secs(3600);

    fn apply(state: &mut State, now: Unix, command: Command) {
        let index = Index(state.index().0 + 1);
        state.apply(index, Entry { at: now, by: None, note: None, command }).accepted().unwrap();
    }

    #[test]
    fn a_key_seals_for_a_day_and_opens_until_its_last_token_has_expired() {
        let (mut state, began) = (State::default(), Unix::from_secs(1_800_000_000));
        let (mut now, mut longest) = (began, 0);
        // Tokens by the number of their key, sealed every hour: until when each is good.
        let mut tokens: Vec<(u64, Unix)> = Vec::new();
        for _ in 0..24 * 30 {
            while let Some(due) = state.sealing_due(now) {
                let command = match due {
                    Due::Begin(number) => {
                        let key = Secret(vec![u8::try_from(number).unwrap(); SEALING_KEY_BYTES]);
                        Command::SealingKeyAdd { number, key }
                    }
                    Due::End(number) => Command::SealingKeyRemove { number },
                };
                apply(&mut state, now, command);
            }
            let keys = state.sealing_keys().all();
            assert!(tokens.iter().all(|(number, until)| *until <= now || keys.contains_key(number)));
            longest = longest.max(keys.len());
            tokens.push((state.sealing_keys().newest().unwrap().0, now + RESUME_TTL));
            now = now + HOUR;
        }
        assert_eq!(state.sealing_keys().newest().unwrap().0, 30, "one a day");
        assert!(longest <= 3, "{longest}");
        assert_eq!(state.sealing_since.len(), state.sealing_keys().all().len());
    }

    #[test]
    fn only_a_key_that_can_have_begun_is_waited_for() {
        let (mut state, began) = (State::default(), Unix::from_secs(1_800_000_000));
        let key = Secret(vec![1; SEALING_KEY_BYTES]);
        apply(&mut state, began, Command::SealingKeyAdd { number: 1, key });
        let may = |number, hours| state.may_have_begun(number, began + HOUR * hours);
        assert_eq!(
            [0, 1, 2, 22, 23, 24].map(|hours| may(2, hours)),
            [false, false, false, false, true, true]
        );
        assert_eq!(
            [24, 46, 47].map(|hours| may(3, hours)),
            [false, false, true],
            "this node has long heard nothing"
        );
        assert!(!may(30, 48), "of another cluster");
        assert!(!may(0, 48) && !may(1, 48) && !may(u64::MAX, 48));
    }

    #[test]
    fn a_key_of_which_nobody_knows_when_it_began_is_replaced_and_opens_on() {
        let (mut state, now) = (State::default(), Unix::from_secs(1_800_000_000));
        let key = Secret(vec![1; SEALING_KEY_BYTES]);
        apply(&mut state, now, Command::SealingKeyAdd { number: 1, key });
        state.sealing_since = Arc::default(); // as an older release has left it
        assert_eq!(state.sealing_due(now), Some(Due::Begin(2)));
        let key = Secret(vec![2; SEALING_KEY_BYTES]);
        apply(&mut state, now, Command::SealingKeyAdd { number: 2, key });
        assert_eq!(state.sealing_due(now + RESUME_TTL), Some(Due::Begin(3)));
        assert_eq!(state.sealing_due(now + RESUME_TTL + SEALING_KEY_REST), Some(Due::End(1)));
    }
}

//! Who changed what, from where, when; each line chained to the one before by a hash, so that none can be changed or
//! left out unseen.
//!
//! A tenant must not push operators' lines out: what an app's key asks for in vain has no line, and neither has what
//! it changes while [`AUDIT_APP_MAX`] lines of its app, or [`AUDIT_KEYS_MAX`] of all apps' keys, are kept. How many
//! had none is said in the next line, and so is part of the chain.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cow::Ring;
use super::{Refusal, State, Thing};
use crate::id::{Index, KeyId};
use crate::limits::{AUDIT_APP_MAX, AUDIT_KEYS_MAX, AUDIT_MAX, AUDIT_TEXT_MAX, AUDIT_VALUE_MAX};
use crate::time::Unix;

/// Who asks for a change: goes with its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// An operator, an API key, a peer or a node.
    pub who: String,
    /// What they did, in words for operators. Never a secret.
    pub what: String,
    /// Their address, or the node that acted by itself.
    pub from: String,
}

impl Note {
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let fine = |text: &String| text.len() <= AUDIT_TEXT_MAX;
        if fine(&self.who) && fine(&self.what) && fine(&self.from) {
            Ok(())
        } else {
            Err(Refusal::Invalid(Thing::Note))
        }
    }

    /// The app, where an API key asks: `key k_… of APP`. No operator is named so: no name has a space in it, and
    /// what follows one (`… by token …`) is no key's id.
    fn app(&self) -> Option<&str> {
        let (key, app) = self.who.strip_prefix("key ")?.split_once(" of ")?;
        key.parse::<KeyId>().is_ok().then_some(app)
    }
}

/// The hash of a line and of all before it; zeros before the first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chain(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The entry that it came with: no two lines have the same.
    pub index: Index,
    /// When.
    pub at: Unix,
    /// Who did what, from where.
    pub note: Note,
    /// Why it was refused, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// What it was before, where something was changed that can be told shortly. Never a secret;
    /// [`AUDIT_VALUE_MAX`] bytes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Of the line before and of this one.
    #[serde(default)]
    pub hash: Chain,
}

impl Audit {
    /// Why it was refused, as the chain has it: by the wire's names, which never change, in JSON.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.refused.as_ref().map(|refusal| serde_json::to_string(refusal).unwrap_or_default())
    }

    /// The hash that this line has after one of hash `previous`: SHA-256 over that and eight fields in order:
    /// index, time in milliseconds, who, what, from, refusal, before, after. Each is its length in decimal digits,
    /// a colon, its bytes and a comma; one that is not there is a hyphen.
    #[must_use]
    pub fn chained(&self, previous: Chain) -> Chain {
        let mut hash = Sha256::new();
        hash.update(previous.0);
        let mut field = |text: Option<&str>| match text {
            None => hash.update(b"-"),
            Some(text) => {
                hash.update(text.len().to_string());
                hash.update(b":");
                hash.update(text);
                hash.update(b",");
            }
        };
        field(Some(&self.index.to_string()));
        field(Some(&self.at.millis().to_string()));
        for text in [&self.note.who, &self.note.what, &self.note.from] {
            field(Some(text));
        }
        field(self.refusal().as_deref());
        field(self.before.as_deref());
        field(self.after.as_deref());
        Chain(hash.finalize().into())
    }
}

/// A line that is not what follows the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line of entry {0} was changed, or one before it is missing")]
pub struct Broken(pub Index);

/// Whether lines, oldest first, are those that were chained after `previous`: the hash of the last one.
///
/// # Errors
/// [`Broken`] with the first line that is not.
pub fn verify<'a>(lines: impl IntoIterator<Item = &'a Audit>, previous: Chain) -> Result<Chain, Broken> {
    lines.into_iter().try_fold(previous, |previous, line| {
        if line.chained(previous) == line.hash { Ok(line.hash) } else { Err(Broken(line.index)) }
    })
}

/// At most [`AUDIT_VALUE_MAX`] bytes of a text, and that there was more.
fn cut(mut text: String) -> String {
    const MORE: &str = " …";
    if text.len() > AUDIT_VALUE_MAX {
        text.truncate(text.floor_char_boundary(AUDIT_VALUE_MAX - MORE.len()));
        text.push_str(MORE);
    }
    text
}

impl State {
    /// The latest [`AUDIT_MAX`] lines of the audit log, oldest first.
    pub fn audit(&self) -> impl DoubleEndedIterator<Item = &Audit> {
        self.audit.iter()
    }

    /// The hash that the oldest line of [`Self::audit`] follows.
    #[must_use]
    pub const fn audit_begins(&self) -> Chain {
        self.audit_begins
    }

    /// Whether a line of an app's key would be one too many, or tells of what was refused.
    fn is_beyond_share(&self, note: &Note, refused: Option<&Refusal>) -> bool {
        let Some(app) = note.app() else { return false };
        if refused.is_some() {
            return true;
        }
        let (mut keys, mut own) = (0, 0);
        for held in self.audit.iter().filter_map(|line| line.note.app()) {
            keys += 1;
            own += usize::from(held == app);
        }
        keys >= AUDIT_KEYS_MAX || own >= AUDIT_APP_MAX
    }

    /// Keeps a line, or counts it where it is of an app's key that has its share. Where nothing changed, nothing is
    /// said of what was there.
    pub(super) fn record(
        &mut self,
        mut note: Note,
        refused: Option<Refusal>,
        before: Option<String>,
        after: Option<String>,
    ) {
        if self.is_beyond_share(&note, refused.as_ref()) {
            self.audit_omitted = self.audit_omitted.saturating_add(1);
            return;
        }
        if self.audit_omitted > 0 {
            let omitted = std::mem::take(&mut self.audit_omitted);
            note.what.push_str(&format!(" (before it, {omitted} by API keys have no line)"));
        }
        let (before, after) = if before == after { (None, None) } else { (before.map(cut), after.map(cut)) };
        let (index, at) = (self.index, self.now);
        let line = Audit { index, at, note, refused, before, after, hash: Chain::default() };
        self.chain(line);
    }

    /// Puts a line at the end of the chain.
    fn chain(&mut self, mut line: Audit) {
        line.hash = line.chained(self.audit.iter().next_back().map_or(self.audit_begins, |last| last.hash));
        if self.audit.len() >= AUDIT_MAX
            && let Some(oldest) = self.audit.iter().next()
        {
            self.audit_begins = oldest.hash;
        }
        self.audit.push(line, AUDIT_MAX);
    }

    /// Chains the lines of a release that had no hashes: what becomes of them from now on shows. Where any line has
    /// one, none is made up for another: it was taken away.
    pub(super) fn chain_old_lines(&mut self) {
        let unhashed = self.audit_begins == Chain::default();
        if unhashed && self.audit.iter().all(|line| line.hash == Chain::default()) {
            let unchained: Ring<Audit> = std::mem::take(&mut self.audit);
            unchained.iter().for_each(|line| self.chain(line.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AppId;
    use crate::registry::{Command, Entry};

    const KEY: &str = "key k_000000000000000000000000 of ";

    fn asks(state: &mut State, who: &str, command: Command) {
        let note = Some(Note { who: who.to_owned(), what: "did".to_owned(), from: "::1".to_owned() });
        let index = Index(state.index().0 + 1);
        state.apply(index, Entry { at: Unix::from_secs(1), by: None, note, command });
    }

    fn does(state: &mut State, who: &str) {
        asks(state, who, Command::Note);
    }

    fn intact(state: &State) -> bool {
        verify(state.audit(), state.audit_begins()).is_ok()
    }

    #[test]
    fn an_apps_keys_have_their_share_of_the_lines_and_what_has_none_is_counted() {
        let mut state = State::default();
        does(&mut state, "ada");
        for _ in 0..AUDIT_APP_MAX + 7 {
            does(&mut state, &format!("{KEY}loud"));
        }
        let lines = |state: &State, who: &str| state.audit().filter(|line| line.note.who == who).count();
        assert_eq!(lines(&state, &format!("{KEY}loud")), AUDIT_APP_MAX);
        // What is refused has none, however few there are, but for operators'.
        let vain = || Command::AppRemove { app: AppId::new("none").unwrap() };
        asks(&mut state, &format!("{KEY}quiet"), vain());
        assert_eq!(lines(&state, &format!("{KEY}quiet")), 0);
        let held = State::decode(&state.encode().unwrap()).unwrap();
        assert_eq!(held, state, "the count is not lost");
        asks(&mut state, "ada", vain());
        assert_eq!(lines(&state, "ada"), 2);
        let what = |state: &State| state.audit().next_back().unwrap().note.what.clone();
        assert_eq!(what(&state), "did (before it, 8 by API keys have no line)");
        does(&mut state, &format!("{KEY}quiet"));
        assert_eq!((what(&state).as_str(), lines(&state, &format!("{KEY}quiet"))), ("did", 1));
        assert!(intact(&state));
    }

    #[test]
    fn the_keys_of_all_apps_leave_operators_their_half() {
        let mut state = State::default();
        does(&mut state, "ada");
        let first = state.audit().next().unwrap().clone();
        for n in 0..AUDIT_KEYS_MAX {
            // Put there, not asked for, so that the test is short.
            let note = Note { who: format!("{KEY}a{}", n / AUDIT_APP_MAX), ..first.note.clone() };
            state.chain(Audit { note, index: Index(n as u64 + 2), ..first.clone() });
        }
        does(&mut state, &format!("{KEY}other"));
        assert_eq!(state.audit().count(), AUDIT_KEYS_MAX + 1);
        // An operator is nobody's key, whatever its name and its token's.
        does(&mut state, "key by token \"x of y\"");
        assert_eq!(state.audit().count(), AUDIT_KEYS_MAX + 2);
        assert!(intact(&state) && state.audit().next().unwrap().note.who == "ada");
    }

    #[test]
    fn lines_of_a_release_without_hashes_are_chained_when_they_are_read() {
        let mut state = State::default();
        for _ in 0..3 {
            does(&mut state, "ada");
        }
        let all: Vec<_> = state.audit().cloned().collect();
        let without = |n: usize| {
            let mut old = state.clone();
            old.audit = Ring::default();
            for (i, line) in all.iter().enumerate() {
                let hash = if i < n { Chain::default() } else { line.hash };
                old.audit.push(Audit { hash, ..line.clone() }, AUDIT_MAX);
            }
            old
        };
        assert!(!intact(&without(3)));
        let mut read = State::decode(&without(3).encode().unwrap()).unwrap();
        assert_eq!(read, state);
        does(&mut read, "ada");
        assert!(intact(&read));
        let taken = State::decode(&without(1).encode().unwrap()).unwrap();
        assert!(!intact(&taken), "a hash that was taken away is not made up");
    }
}

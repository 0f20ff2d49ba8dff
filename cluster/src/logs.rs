//! The last lines of this process's log, for operators, and how much it says for a while.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::limits::LEVEL_FOR_MAX;
use chappe_proto::logs::{Changed, Level, LogPage, Ring, Wanted};

use crate::clock;

/// Makes Chappe's own parts heard up to a level; without one as the process was told at its start.
type Switch = Box<dyn Fn(Option<Level>) + Send + Sync>;

/// The log of this process. Nodes and edges of one process (`chappe dev`) share it.
#[derive(Default)]
pub struct Logs {
    ring: Mutex<Ring>,
    level: Mutex<Loudness>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Loudness {
    switch: Option<Switch>,
    now: Option<Changed>,
    /// Counts the changes: only the last one ends by itself.
    changes: u64,
}

impl Logs {
    /// How its level is changed: without this it stays as it is.
    pub fn switched_by(&self, switch: impl Fn(Option<Level>) + Send + Sync + 'static) {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).switch = Some(Box::new(switch));
    }

    /// A line was logged: a part of the program says this text.
    pub fn push(&self, level: Level, target: &str, text: &str) {
        let at = clock::unix();
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).push(at, level, target, text);
    }

    /// The lines that are asked for.
    #[must_use]
    pub fn page(&self, wanted: &Wanted) -> LogPage {
        let page = self.ring.lock().unwrap_or_else(PoisonError::into_inner).page(wanted);
        LogPage { changed: self.level.lock().unwrap_or_else(PoisonError::into_inner).now, ..page }
    }

    /// Says more or less for a time, up to [`LEVEL_FOR_MAX`]; none ends that now. Within a tokio runtime.
    pub fn set_level(self: &Arc<Self>, level: Option<Level>, within: Duration) {
        let within = within.min(LEVEL_FOR_MAX);
        let change = self.change(level.map(|level| Changed { level, until: clock::unix() + within }));
        if level.is_some() {
            let logs = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(within).await;
                logs.end(change);
            });
        }
    }

    fn change(&self, to: Option<Changed>) -> u64 {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.changes += 1;
        level.now = to;
        if let Some(switch) = &level.switch {
            switch(to.map(|changed| changed.level));
        }
        level.changes
    }

    /// A change has had its time: it ends, unless another one has come since.
    fn end(&self, change: u64) {
        if self.level.lock().unwrap_or_else(PoisonError::into_inner).changes == change {
            self.change(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Heard = Arc<Mutex<Vec<Option<Level>>>>;

    fn heard() -> (Arc<Logs>, Heard) {
        let (logs, heard) = (Arc::new(Logs::default()), Arc::new(Mutex::new(Vec::new())));
        let said = Arc::clone(&heard);
        logs.switched_by(move |level| said.lock().unwrap().push(level));
        (logs, heard)
    }

    fn now(logs: &Logs) -> Option<Level> {
        logs.page(&Wanted::default()).changed.map(|changed| changed.level)
    }

    #[actix_rt::test]
    async fn a_level_ends_by_itself_and_only_its_own() {
        let (logs, heard) = heard();
        logs.set_level(Some(Level::Debug), Duration::from_secs(60));
        logs.set_level(Some(Level::Trace), Duration::from_secs(60));
        logs.end(1);
        assert_eq!(now(&logs), Some(Level::Trace), "another one has come since");
        logs.end(2);
        assert_eq!(now(&logs), None);
        assert_eq!(*heard.lock().unwrap(), [Some(Level::Debug), Some(Level::Trace), None]);

        logs.set_level(Some(Level::Debug), Duration::MAX);
        let until = logs.page(&Wanted::default()).changed.unwrap().until;
        assert!(until.0 <= (clock::unix() + LEVEL_FOR_MAX).0, "whoever forgets it fills no disk");
        logs.set_level(None, Duration::ZERO);
        assert_eq!(now(&logs), None);
    }

    #[actix_rt::test]
    async fn after_its_time_a_level_is_what_it_was() {
        let (logs, heard) = heard();
        logs.set_level(Some(Level::Debug), Duration::ZERO);
        while heard.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(now(&logs), None);
    }

    #[test]
    fn lines_are_kept() {
        let logs = Logs::default();
        logs.push(Level::Warn, "chappe_cluster::keeper", "lease lost");
        let page = logs.page(&Wanted { limit: 1, ..Wanted::default() });
        assert_eq!((page.lines[0].text.as_str(), page.next), ("lease lost", 1));
    }
}

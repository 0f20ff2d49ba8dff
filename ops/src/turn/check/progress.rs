//! A line that says what is being waited for, on a terminal only.
#![allow(clippy::print_stderr)]

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::sync::watch;

use super::url::Url;

/// How often the line is written anew at most.
const EVERY: Duration = Duration::from_millis(100);
/// Its longest text, in characters.
const LINE: usize = 78;

/// Says what is being done.
#[derive(Clone)]
pub(super) struct Progress(watch::Sender<String>);

impl Progress {
    /// Begins, and shows what is said until the returned guard is dropped.
    pub(super) fn begin() -> (Self, Shown) {
        let (say, mut said) = watch::channel(String::new());
        let terminal = std::io::stderr().is_terminal();
        let task = terminal.then(|| {
            tokio::spawn(async move {
                while said.changed().await.is_ok() {
                    let text: String = said.borrow_and_update().chars().take(LINE).collect();
                    eprint!("\r\x1b[K{text}");
                    let _ = std::io::stderr().flush(); // nothing depends on it
                    tokio::time::sleep(EVERY).await;
                }
            })
        });
        (Self(say), Shown(task))
    }

    /// What is being done now, of which URL.
    pub(super) fn say(&self, url: &Url, step: &str) {
        self.0.send_replace(format!("{url}: {step} …"));
    }
}

/// The line, erased when this is dropped.
pub(super) struct Shown(Option<tokio::task::JoinHandle<()>>);

impl Shown {
    /// Makes room for other output.
    pub(super) fn erase(&self) {
        if self.0.is_some() {
            eprint!("\r\x1b[K");
            let _ = std::io::stderr().flush(); // nothing depends on it
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
        self.erase();
    }
}

//! What the clients of a round saw and did, line by line, in a file: all that the checker knows.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use chappe_cluster::clock;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::open::Open;

/// A line: when, in microseconds of this machine's clock since its start, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    /// When.
    pub(super) t: u64,
    /// What.
    #[serde(flatten)]
    pub(super) event: Event,
}

/// How a session answered a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    /// A fresh session.
    Welcome,
    /// The same session.
    Resumed,
    /// The same session, made anew from its token.
    Rebuilt,
}

/// What happened. Clients and rooms go by numbers of the bench, nodes by their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "snake_case")]
pub(super) enum Event {
    /// A room of the load. `through`: its signals pass a victim.
    Room {
        /// Its number.
        room: u32,
        /// Whether its signals pass a victim.
        through: bool,
    },
    /// A client is in its room.
    In {
        /// Who.
        client: u32,
        /// In which room.
        room: u32,
        /// Its peer id.
        peer: String,
        /// Over which node.
        node: u64,
        /// How.
        how: How,
    },
    /// A client's socket is lost.
    Lost {
        /// Whose.
        client: u32,
    },
    /// A client was told that its session is no more.
    Gone {
        /// Who.
        client: u32,
    },
    /// A client gives up: what it was told is final.
    Ended {
        /// Who.
        client: u32,
        /// What it was told.
        why: String,
    },
    /// A client was told that another has left.
    Left {
        /// Who was told.
        client: u32,
        /// Who left.
        peer: String,
        /// Why.
        reason: String,
    },
    /// The application gave a signal to its client.
    Sent {
        /// The sender.
        client: u32,
        /// The receiver.
        to: String,
        /// Counts this sender's signals to that receiver, from 1.
        n: u64,
    },
    /// A client took a signal, and acknowledges it.
    Took {
        /// The receiver.
        client: u32,
        /// The sender.
        from: String,
        /// The sender's count.
        n: u64,
    },
    /// The sender's client was told that all up to there have arrived.
    Delivered {
        /// The sender.
        client: u32,
        /// The receiver.
        to: String,
        /// The last one.
        n: u64,
    },
    /// The sender's client was told that all up to there that have not arrived never will.
    Undelivered {
        /// The sender.
        client: u32,
        /// The receiver.
        to: String,
        /// The last one.
        n: u64,
        /// Why.
        reason: String,
    },
    /// The fault begins.
    Fault {
        /// Whom it strikes.
        victims: Vec<u64>,
    },
    /// Somebody who was not there asks to join a room of a victim.
    Asked {
        /// Who.
        client: u32,
    },
    /// No more is sent, and all that is on its way has had its time.
    End,
}

/// Where all clients of a round write.
#[derive(Clone)]
pub(super) struct Log(Rc<Inner>);

struct Inner {
    file: RefCell<Option<BufWriter<File>>>,
    open: RefCell<Open>,
    closed: Notify,
}

impl Log {
    /// A new file.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Self(Rc::new(Inner {
            file: RefCell::new(Some(BufWriter::with_capacity(1 << 16, file))),
            open: RefCell::default(),
            closed: Notify::new(),
        })))
    }

    /// Adds what happens now. Behind the end nothing counts any more.
    pub(super) fn write(&self, event: Event) {
        let line = Line { t: micros(), event };
        let mut open = self.0.open.borrow_mut();
        open.follow(&line.event);
        if open.is_closed() {
            self.0.closed.notify_waiters();
        }
        if let Some(file) = self.0.file.borrow_mut().as_mut() {
            // A log that cannot be written is found by the checker, which misses its end.
            let _ = serde_json::to_writer(&mut *file, &line);
            let _ = file.write_all(b"\n");
        }
    }

    /// Waits until every gap that the fault has opened is closed.
    pub(super) async fn closed(&self) {
        loop {
            let closed = self.0.closed.notified();
            if self.0.open.borrow().is_closed() {
                return;
            }
            closed.await;
        }
    }

    /// No more is sent, and all that was on its way has had its time.
    pub(super) fn end(&self) -> Result<()> {
        self.write(Event::End);
        match self.0.file.borrow_mut().take() {
            Some(mut file) => Ok(file.flush()?),
            None => Ok(()),
        }
    }
}

/// The clock of a log.
pub(super) fn micros() -> u64 {
    u64::try_from(clock::mono().0.as_micros()).unwrap_or(u64::MAX)
}

/// Reads a log.
pub(super) fn read(path: &Path) -> Result<Vec<Line>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let lines = BufReader::new(file).lines().enumerate();
    lines
        .map(|(number, line)| {
            serde_json::from_str(&line?).with_context(|| format!("{}: line {}", path.display(), number + 1))
        })
        .collect()
}

//! raft's slog records, as tracing events of the target `raft`.
//!
//! raft tells at `info` what interests whoever debugs Raft, so it arrives a level lower here; the
//! driver itself tells of leaders and terms.

use std::fmt::{self, Write as _};

use slog::{Drain, Key, Level, Logger, Never, OwnedKVList, Record, Serializer};

/// A logger whose records become tracing events.
pub(super) fn logger() -> Logger {
    Logger::root(Bridge, slog::o!())
}

struct Bridge;

impl Drain for Bridge {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        // slog's macros ask nobody; and to write a record takes longer than to handle a message.
        if !self.is_enabled(record.level()) {
            return Ok(());
        }
        let line = text(record, values);
        match record.level() {
            Level::Critical | Level::Error | Level::Warning => tell(record.level(), &line),
            Level::Info | Level::Debug | Level::Trace => whisper(record.level(), &line),
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        match level {
            Level::Critical | Level::Error => tracing::enabled!(target: "raft", tracing::Level::ERROR),
            Level::Warning => tracing::enabled!(target: "raft", tracing::Level::WARN),
            Level::Info => tracing::enabled!(target: "raft", tracing::Level::DEBUG),
            Level::Debug | Level::Trace => tracing::enabled!(target: "raft", tracing::Level::TRACE),
        }
    }
}

// The level is part of an event's callsite, so each has its own.

fn tell(level: Level, line: &str) {
    if level == Level::Warning {
        tracing::warn!(target: "raft", "{line}");
    } else {
        tracing::error!(target: "raft", "{line}");
    }
}

fn whisper(level: Level, line: &str) {
    if level == Level::Info {
        tracing::debug!(target: "raft", "{line}");
    } else {
        tracing::trace!(target: "raft", "{line}");
    }
}

fn text(record: &Record<'_>, values: &OwnedKVList) -> String {
    let mut pairs = Pairs(record.msg().to_string());
    // A value that cannot be written is left out of its line.
    let _ = slog::KV::serialize(&record.kv(), record, &mut pairs);
    let _ = slog::KV::serialize(values, record, &mut pairs);
    pairs.0
}

struct Pairs(String);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(slog::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Counted<'a>(&'a Cell<u32>);

    impl fmt::Display for Counted<'_> {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }

    #[test]
    fn what_nobody_reads_is_not_written() {
        let written = Cell::new(0);
        let tell = || slog::info!(logger(), "{}", Counted(&written));
        tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), tell);
        assert_eq!(written.get(), 0);
    }
}

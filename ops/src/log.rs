//! What the terminal is told besides a command's own output: everything here goes to standard error. The last lines
//! are kept for operators too.
#![allow(clippy::print_stderr)]

use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::sync::Arc;

use chappe_cluster::logs::Logs;
use chappe_proto::logs::Level;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Unless told otherwise: warnings and worse. What raft warns of is its everyday.
pub(crate) const FILTER: &str = "warn,raft=error";

/// Unless told otherwise, more is kept for operators than goes to standard error: it takes no disk.
const KEPT: &str = "info,raft=error";

/// What Chappe's own parts begin with: what is said of them at run time leaves the others as they are.
const OWN: &str = "chappe";

/// Starts logging: what is kept of it.
pub(crate) fn init(filter: &str) -> Arc<Logs> {
    let logs = Arc::new(Logs::default());
    let filter = match EnvFilter::try_new(filter) {
        Ok(_) => filter.to_owned(),
        Err(error) => {
            eprintln!("chappe: --log: {error}; logging warnings");
            FILTER.to_owned()
        }
    };
    let kept = if filter == FILTER { KEPT.to_owned() } else { filter.clone() };
    let (told_by, told_switch) = reload::Layer::<_, Registry>::new(EnvFilter::new(&filter));
    let (kept_by, kept_switch) = reload::Layer::new(EnvFilter::new(&kept));
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(told_by);
    let keep = Keep(Arc::clone(&logs)).with_filter(kept_by);
    tracing_subscriber::registry().with(terminal).with(keep).init();
    logs.switched_by(move |level| {
        // They fail where nothing is logged any more.
        let _ = told_switch.reload(EnvFilter::new(with(&filter, level)));
        let _ = kept_switch.reload(EnvFilter::new(with(&kept, level)));
    });
    logs
}

/// A filter by which Chappe's own parts are heard up to a level.
fn with(filter: &str, level: Option<Level>) -> String {
    level.map_or_else(|| filter.to_owned(), |level| format!("{filter},{OWN}={}", level.name()))
}

/// Keeps lines.
struct Keep(Arc<Logs>);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (target, level) = (event.metadata().target(), *event.metadata().level());
        // What libraries say for developers has requests in it, with whatever is in these.
        if LevelFilter::from_level(level) > LevelFilter::INFO && !target.starts_with(OWN) {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.push(level_of(level), target, &text.0);
    }
}

const fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

/// A line's message and its fields, as the terminal has them.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let apart = if self.0.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{apart}{value:?}"),
            name => write!(self.0, "{apart}{name}={value:?}"),
        };
    }
}

/// Says why a command failed.
pub(crate) fn fail(error: &anyhow::Error) {
    eprintln!("chappe: {error:#}");
}

#[cfg(test)]
mod tests {
    use chappe_proto::logs::Wanted;

    use super::*;

    fn kept(say: impl FnOnce()) -> Vec<(Level, String)> {
        let logs = Arc::new(Logs::default());
        let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&logs)));
        tracing::subscriber::with_default(subscriber, say);
        let page = logs.page(&Wanted { limit: 100, ..Wanted::default() });
        page.lines.into_iter().map(|line| (line.level, line.text)).collect()
    }

    #[test]
    fn a_line_has_its_message_and_its_fields() {
        let lines = kept(|| tracing::warn!(node = 3, why = "it is late", error = %"lost", "link {}", "down"));
        assert_eq!(lines, [(Level::Warn, "link down node=3 why=\"it is late\" error=lost".to_owned())]);
    }

    #[test]
    fn what_libraries_say_for_developers_is_not_kept() {
        let lines = kept(|| {
            tracing::debug!(target: "actix_http::h1", "Authorization: Bearer secret");
            tracing::info!(target: "sled", "recovered");
            tracing::trace!(target: "chappe_cluster::feed", "an entry");
        });
        let levels: Vec<_> = lines.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::Info, Level::Trace], "{lines:?}");
    }

    #[test]
    fn secrets_are_not_written_by_whoever_logs_them() {
        let secret = chappe_proto::mesh::uplink::Secret(b"hidden".to_vec());
        let lines = kept(|| tracing::info!(?secret, "a secret"));
        assert!(!lines[0].1.contains("hidden") && lines[0].1.contains("Secret(..)"), "{lines:?}");
    }

    #[test]
    fn what_is_said_at_run_time_is_of_chappes_own_parts() {
        assert_eq!(with(FILTER, Some(Level::Debug)), "warn,raft=error,chappe=debug");
        assert_eq!(with("info,chappe=error", None), "info,chappe=error");
        for level in Level::ALL {
            assert!(EnvFilter::try_new(with(KEPT, Some(level))).is_ok());
        }
    }
}

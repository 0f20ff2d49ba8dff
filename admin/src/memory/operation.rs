//! How the nodes of a cluster in memory run: two that answer, and what they logged.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::logs::{Changed, Level, LogPage, Ring, Wanted};
use chappe_proto::mesh::probe::Prober;
use chappe_proto::registry::{Command, Note};
use chappe_proto::settings::{Origin, Scope, Setting};
use chappe_proto::time::Unix;

use super::Memory;
use crate::Answer;
use crate::control::Fault;
use crate::operation::{Operation, RoundTrip};

/// What of that a test changes.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) log: Mutex<Ring>,
    pub(crate) changed: Mutex<Option<Changed>>,
    pub(crate) round_trips: Mutex<Vec<RoundTrip>>,
}

/// An option that nobody has set.
pub(crate) fn unset(name: &str, scope: Scope, default: Option<&str>) -> Setting {
    let default = default.map(str::to_owned);
    Setting {
        name: name.to_owned(),
        value: default.clone(),
        default,
        origin: Origin::Default,
        scope,
        variable: Some(format!("CHAPPE_{}", name.to_uppercase())),
    }
}

/// Node 2 has forgotten `geoip` and has more workers.
fn settings(node: NodeId) -> Vec<Setting> {
    let set = |setting: Setting, value: String, origin| Setting { value: Some(value), origin, ..setting };
    let http = set(
        unset("http", Scope::Own, Some("127.0.0.1:8080")),
        format!("192.0.2.{}:80", node.0),
        Origin::Flag,
    );
    let join = set(unset("join", Scope::Start, None), "set".to_owned(), Origin::Environment);
    let (mut workers, mut geoip) =
        (unset("workers", Scope::Shared, Some("2")), unset("geoip", Scope::Own, None));
    match node.0 {
        2 => workers = set(workers, "4".to_owned(), Origin::Environment),
        _ => geoip = set(geoip, "/srv/city.mmdb".to_owned(), Origin::Flag),
    }
    vec![http, join, workers, geoip, unset("drain-within", Scope::Shared, Some("60"))]
}

impl Running {
    pub(crate) fn say(&self, level: Level, target: &str, text: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(Unix::from_secs(1), level, target, text);
    }
}

/// That one probes an edge, and how far it is.
pub(crate) fn round_trip(from: Prober, to: &str, rtt_ms: f64) -> RoundTrip {
    RoundTrip { from, to: EdgeId::new(to).unwrap(), rtt_ms, age: Duration::from_secs(7) }
}

impl Memory {
    /// Node 3 does not answer.
    fn answers(&self, node: NodeId) -> Result<(), Fault> {
        match self.members(|status| status.member(node).map(|member| member.node.0)) {
            None => Err(Fault::NotThere("node")),
            Some(3) => Err(Fault::Unavailable("node 3 does not answer".to_owned())),
            Some(_) => Ok(()),
        }
    }
}

impl Operation for Memory {
    fn settings(&self, node: NodeId) -> Answer<'_, Result<Vec<Setting>, Fault>> {
        let answer = self.answers(node).map(|()| settings(node));
        Box::pin(async { answer })
    }

    fn logs(&self, node: NodeId, wanted: Wanted) -> Answer<'_, Result<LogPage, Fault>> {
        let page = self.operation.log.lock().unwrap_or_else(PoisonError::into_inner).page(&wanted);
        let changed = *self.operation.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self.answers(node).map(|()| LogPage { changed, ..page });
        Box::pin(async { answer })
    }

    fn log_level(
        &self,
        node: NodeId,
        level: Option<Level>,
        within: Duration,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>> {
        let done = self.answers(node).and_then(|()| self.commit(Command::Note, note));
        if done.is_ok() {
            let until = self.time().unix + within;
            *self.operation.changed.lock().unwrap_or_else(PoisonError::into_inner) =
                level.map(|level| Changed { level, until });
        }
        Box::pin(async { done })
    }

    fn round_trips(&self) -> Answer<'_, Vec<RoundTrip>> {
        let all = self.operation.round_trips.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async { all })
    }
}

//! How the nodes and edges of a cluster in memory run: two of each that answer, and what they logged.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chappe_proto::id::{EdgeId, NodeId};
use chappe_proto::logs::{Changed, Level, LogPage, Ring, Wanted};
use chappe_proto::mesh::probe::Prober;
use chappe_proto::registry::{Command, EdgeState, Note};
use chappe_proto::settings::{Origin, Scope, Setting};
use chappe_proto::time::Unix;

use super::Memory;
use crate::Answer;
use crate::control::{EdgeReport, Fault};
use crate::operation::{OfEdges, Operation, Process, RoundTrip};

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

/// They differ in what an address is, and in a quota.
fn edge_settings(edge: &EdgeId) -> Vec<Setting> {
    let set = |setting: Setting, value: &str| Setting {
        value: Some(value.to_owned()),
        origin: Origin::Flag,
        ..setting
    };
    let (mut listen, mut quota) =
        (unset("listen", Scope::Own, Some("127.0.0.1:3478")), unset("user-quota", Scope::Shared, Some("64")));
    if edge.as_str() == "edge-us" {
        (listen, quota) = (set(listen, "192.0.2.2:3478"), set(quota, "8"));
    }
    vec![listen, quota, unset("realm", Scope::Shared, Some("chappe"))]
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
    /// Node 3 does not answer; nor do edges that are not heard, and `edge-old` does not tell.
    fn answers(&self, of: &Process) -> Result<(), Fault> {
        let silent = |why: &str| Err(Fault::Unavailable(format!("{of} {why}")));
        match of {
            Process::Node(node) => match self.members(|status| status.member(*node).map(|one| one.node.0)) {
                None => Err(Fault::NotThere("node")),
                Some(3) => silent("does not answer"),
                Some(_) => Ok(()),
            },
            Process::Edge(edge) => match self.held_edges().iter().find(|held| held.edge == *edge) {
                None => Err(Fault::NotThere("edge")),
                Some(held) if !held.alive => silent("does not answer"),
                Some(_) if edge.as_str() == "edge-old" => silent("does not tell: it is of an older build"),
                Some(_) => Ok(()),
            },
        }
    }

    fn held_edges(&self) -> Vec<EdgeReport> {
        let held = self.edges.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().filter(|edge| edge.state != EdgeState::Removed).cloned().collect()
    }

    /// Another edge joins, which is heard or not.
    pub(crate) fn edge_joins(&self, name: &str, alive: bool) {
        let edge = EdgeReport { edge: EdgeId::new(name).unwrap(), alive, ..super::an_edge() };
        self.edges.lock().unwrap_or_else(PoisonError::into_inner).push(edge);
    }
}

impl Operation for Memory {
    fn settings(&self, of: Process) -> Answer<'_, Result<Vec<Setting>, Fault>> {
        let answer = self.answers(&of).map(|()| match &of {
            Process::Node(node) => settings(*node),
            Process::Edge(edge) => edge_settings(edge),
        });
        Box::pin(async { answer })
    }

    fn edge_settings(&self) -> Answer<'_, Result<OfEdges<Vec<Setting>>, Fault>> {
        Box::pin(async {
            let mut all = Vec::new();
            for EdgeReport { edge, .. } in self.held_edges() {
                let settings = self.settings(Process::Edge(edge.clone())).await;
                all.push((edge, settings));
            }
            Ok(all)
        })
    }

    fn logs(&self, of: Process, wanted: Wanted) -> Answer<'_, Result<LogPage, Fault>> {
        let page = self.operation.log.lock().unwrap_or_else(PoisonError::into_inner).page(&wanted);
        let changed = *self.operation.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self.answers(&of).map(|()| LogPage { changed, ..page });
        Box::pin(async { answer })
    }

    fn log_level(
        &self,
        of: Process,
        level: Option<Level>,
        within: Duration,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>> {
        let done = self.answers(&of).and_then(|()| self.commit(Command::Note, note));
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

//! Usage: what this node has heard of it, told on to the other nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chappe_proto::id::{EdgeId, Region, RoomKey, SessionId};
use chappe_proto::limits::{USAGE_BYTES, USAGE_FRAME};
use chappe_proto::mesh::node::{Answer, Body, Lane};
use chappe_proto::mesh::uplink::Usage;
use chappe_proto::time::Unix;
use chappe_proto::usage::{Ledger, SWEEP_EVERY, Tally, UsageOf, pieces};

use crate::clock;
use crate::node::Node;

/// What this node has heard, since it began.
#[derive(Debug)]
pub struct Book {
    ledger: Mutex<Ledger>,
    since: Unix,
}

impl Default for Book {
    fn default() -> Self {
        Self { ledger: Mutex::default(), since: clock::unix() }
    }
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins here.
    pub(crate) fn begins(&self, session: SessionId, room: RoomKey) {
        self.lock().handle_session(clock::mono(), session, room);
    }

    /// An edge says it to this node, which says from then on whose word it is. The other nodes hear it, which is all that
    /// is done for them: one that misses it has less.
    pub(crate) fn take(&self, mut usage: Vec<Usage>, by: Option<&(EdgeId, Region)>, tell: impl Fn(Body)) {
        usage.truncate(USAGE_FRAME);
        for said in &mut usage {
            said.by = by.cloned();
        }
        self.hear(&usage, &tell);
        for piece in pieces(usage, USAGE_BYTES) {
            tell(Body::Usage(piece));
        }
    }

    /// An edge has said it, to this node or another.
    pub(crate) fn hear(&self, usage: &[Usage], tell: impl Fn(Body)) {
        let rooms = self.lock().handle_usage(clock::mono(), usage);
        for piece in pieces(rooms, USAGE_BYTES) {
            tell(Body::UsageRooms(piece));
        }
    }

    /// Another node says of which rooms its sessions are.
    pub(crate) fn hear_rooms(&self, rooms: &[(SessionId, RoomKey)]) {
        self.lock().handle_rooms(clock::mono(), rooms);
    }

    /// The room of a session that relays, as far as it is known here.
    pub(crate) fn room_of(&self, session: &SessionId) -> Option<RoomKey> {
        self.lock().room_of(session).cloned()
    }

    /// Its first parts by name.
    pub(crate) fn parts(&self, of: &UsageOf) -> BTreeMap<String, Tally> {
        self.lock().page(of, None).parts.into_iter().collect()
    }

    /// A page of it.
    pub(crate) fn answer(&self, of: &UsageOf, after: Option<&str>) -> Answer {
        Answer::Usage { since: self.since, page: self.lock().page(of, after) }
    }
}

/// Tells all other nodes.
pub(crate) fn tell(node: &Node, body: &Body) {
    for other in node.others() {
        let _ = node.mesh.send(other, Lane::Control, body.clone()); // it has less
    }
}

/// Forgets what is old, for as long as the node runs.
pub(crate) async fn run(node: Arc<Node>) {
    let mut missed = 0;
    loop {
        actix_rt::time::sleep(SWEEP_EVERY).await;
        let now = {
            let mut ledger = node.usage.lock();
            let state = node.registry.state();
            let is_issued = |session: &_| state.issued(session).is_some();
            ledger.handle_timeout(clock::mono(), |session| node.sessions.has(session), is_issued);
            ledger.missed()
        };
        if now > missed {
            tracing::warn!(counts = now - missed, "more users relay than this node can count one by one");
        }
        missed = now;
    }
}

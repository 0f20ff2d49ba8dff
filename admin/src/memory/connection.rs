//! What is tested of the cluster in memory.

use std::sync::atomic::{AtomicU8, Ordering};

use chappe_proto::id::SessionId;
use chappe_proto::registry::{Command, Note};
use chappe_proto::time::Unix;

use super::{Done, Memory};
use crate::connection::{Connection, ConnectionTest};
use crate::{Answer, Control as _};

/// Each test has another session.
static TESTS: AtomicU8 = AtomicU8::new(0);

impl Connection for Memory {
    fn connection_test(&self, note: Note) -> Answer<'_, Done<ConnectionTest>> {
        Box::pin(async move {
            let secret = self.with(|state| state.turn_secrets().all().values().next_back().cloned());
            let secret = secret.ok_or_else(ConnectionTest::no_secret)?;
            self.commit(Command::Note, note)?;
            let session = SessionId::from_random([TESTS.fetch_add(1, Ordering::Relaxed); 15]);
            let (status, edges) = (self.status().await, self.edges().await);
            Ok(ConnectionTest::new(&status, &edges, &secret, session, Unix::from_secs(1000)))
        })
    }
}

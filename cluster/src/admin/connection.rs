//! What operators' browsers test.

use chappe_admin::connection::{Connection, ConnectionTest};
use chappe_admin::control::Fault;
use chappe_admin::{Answer, Control as _};
use chappe_proto::id::SessionId;
use chappe_proto::registry::{Command, Note};
use futures_util::future::join;

use super::Admin;
use crate::clock;

impl Connection for Admin {
    fn connection_test(&self, note: Note) -> Answer<'_, Result<ConnectionTest, Fault>> {
        Box::pin(async move {
            let (status, edges) = join(self.status(), self.edges()).await;
            // The one that sessions are given credentials by.
            let secret = self.node.world().secret.clone();
            let secret = secret.ok_or_else(ConnectionTest::no_secret)?;
            self.commit(Command::Note, note).await?;
            let session = SessionId::from_random(clock::random());
            Ok(ConnectionTest::new(&status, &edges, &secret, session, clock::unix()))
        })
    }
}

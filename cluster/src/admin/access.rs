//! Who may operate, of the registry as this node has applied it.

use chappe_admin::control::Fault;
use chappe_admin::{Answer, AuditLog, Operators};
use chappe_proto::id::{KeyId, LoginId};
use chappe_proto::registry::access::{Access, AccessChange};
use chappe_proto::registry::{ApiKey, Command, Note};
use chappe_proto::time::Now;

use super::{Admin, REGISTRY_WITHIN};
use crate::clock;

impl Operators for Admin {
    fn now(&self) -> Now {
        clock::now()
    }

    fn access(&self) -> Access {
        self.node.registry.state().access().clone()
    }

    fn access_set(&self, change: AccessChange, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::Access(change), note).await.map(drop) })
    }

    fn noted(&self, note: Note) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move { self.commit(Command::Note, note).await.map(drop) })
    }

    fn login_seen(&self, id: LoginId) -> Answer<'_, Result<(), Fault>> {
        Box::pin(async move {
            let command = Command::Access(AccessChange::LoginSeen { id });
            let proposed = self.node.proposals.propose(command, REGISTRY_WITHIN).await;
            let applied = proposed.map_err(|missing| Fault::Unavailable(missing.to_string()))?;
            applied.outcome.accepted()?;
            Ok(())
        })
    }

    fn api_key(&self, key: KeyId) -> Option<ApiKey> {
        self.node.registry.state().key(&key).cloned()
    }

    fn audit(&self) -> AuditLog {
        let state = self.node.registry.state();
        AuditLog { begins: state.audit_begins(), lines: state.audit().cloned().collect() }
    }
}

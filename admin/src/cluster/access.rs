//! Who may operate a cluster, as the API and the console ask for it.

use chappe_proto::id::{KeyId, LoginId};
use chappe_proto::registry::access::{Access, AccessChange};
use chappe_proto::registry::{ApiKey, Audit, Chain, Note};
use chappe_proto::time::Now;

use super::Answer;
use super::control::Fault;

/// Who may do what. What is asked of it comes from what the node knows, without asking others: every request does.
pub trait Operators: Send + Sync + 'static {
    /// What both clocks say.
    fn now(&self) -> Now;
    /// Who may operate.
    fn access(&self) -> Access;
    /// Who may operate changes; committed, and known to this node, when it is answered.
    fn access_set(&self, change: AccessChange, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// What is about to be done, though nothing changes by it, is in the audit log when this is answered.
    fn noted(&self, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// A login is in use: written down, and not into the audit log.
    fn login_seen(&self, login: LoginId) -> Answer<'_, Result<(), Fault>>;
    /// An app's API key, disabled ones included.
    fn api_key(&self, key: KeyId) -> Option<ApiKey>;
    /// The lines of the audit log that are kept.
    fn audit(&self) -> AuditLog;
}

/// The lines of the audit log that are kept.
#[derive(Debug, Clone)]
pub struct AuditLog {
    /// The hash that the oldest follows.
    pub begins: Chain,
    /// The lines, oldest first.
    pub lines: Vec<Audit>,
}

//! Who may operate a cluster in memory, and what time it is there.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chappe_proto::id::{Index, KeyId, LoginId};
use chappe_proto::registry::access::{Access, AccessChange};
use chappe_proto::registry::{ApiKey, Command, Entry, Note};
use chappe_proto::time::Now;

use super::Memory;
use crate::control::Fault;
use crate::{Answer, AuditLog, Operators, asked};

impl Memory {
    pub(crate) fn time(&self) -> Now {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.after(time);
    }

    pub(crate) fn apply(&self, command: Command, note: Option<Note>) -> Result<(), Fault> {
        let at = self.time().unix;
        let quicker = self.overtaking.lock().unwrap_or_else(PoisonError::into_inner).pop();
        self.with(|state| -> Result<(), Fault> {
            if let Some(command) = quicker {
                let entry = Entry { at, by: None, note: None, command };
                state.apply(Index(state.index().0 + 1), entry).accepted()?;
            }
            let entry = Entry { at, by: asked::request_id(&command), note, command };
            Ok(state.apply(Index(state.index().0 + 1), entry).accepted().map(drop)?)
        })?;
        if self.lost.swap(false, Ordering::Relaxed) {
            return Err(Fault::Unavailable("the leader did not answer in time".to_owned()));
        }
        Ok(())
    }
}

impl Operators for Memory {
    fn now(&self) -> Now {
        self.time()
    }

    fn access(&self) -> Access {
        self.with(|state| state.access().clone())
    }

    fn access_set(&self, change: AccessChange, note: Note) -> Answer<'_, Result<(), Fault>> {
        let done = self.apply(Command::Access(change), Some(note));
        Box::pin(async { done })
    }

    fn noted(&self, note: Note) -> Answer<'_, Result<(), Fault>> {
        let done = self.commit(Command::Note, note);
        Box::pin(async { done })
    }

    fn login_seen(&self, id: LoginId) -> Answer<'_, Result<(), Fault>> {
        let done = self.apply(Command::Access(AccessChange::LoginSeen { id }), None);
        Box::pin(async { done })
    }

    fn api_key(&self, key: KeyId) -> Option<ApiKey> {
        self.with(|state| state.key(&key).cloned())
    }

    fn audit(&self) -> AuditLog {
        self.with(|state| AuditLog { begins: state.audit_begins(), lines: state.audit().cloned().collect() })
    }
}

//! The name that a program gave to the request which is answered right now: its `Idempotency-Key`.
//!
//! By it the registry knows a change that was asked for already, on whichever node: whoever was told that nobody knows
//! what became of a request asks again, and it is done once.

use std::cell::Cell;
use std::future::Future;

use chappe_proto::registry::access::AccessChange;
use chappe_proto::registry::{Command, RequestId};

tokio::task_local! {
    static ASKED: Asked;
}

struct Asked {
    /// A hash of who asks and of the name.
    name: [u8; 32],
    /// Changes that it has asked for.
    changes: Cell<u64>,
}

/// Answers a request of this name.
pub(crate) async fn by<T>(name: [u8; 32], answer: impl Future<Output = T>) -> T {
    ASKED.scope(Asked { name, changes: Cell::new(0) }, answer).await
}

/// What the next change that is committed for this request is called; nothing where the request has no name.
#[must_use]
pub fn request_id(command: &Command) -> Option<RequestId> {
    // Whoever logs in again gets another cookie: none is told twice. And a note says in itself nothing of what is done after
    // it: each is written down.
    if matches!(command, Command::Note | Command::Access(AccessChange::LoginAdd { .. })) {
        return None;
    }
    let named = |asked: &Asked| {
        let n = asked.changes.replace(asked.changes.get() + 1);
        RequestId::named(&asked.name, n, command).ok() // one that is too long is refused as such
    };
    ASKED.try_with(named).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn a_change_is_known_again_and_a_note_is_written_each_time() {
        let command = Command::EdgeForget { edge: chappe_proto::id::EdgeId::new("a").unwrap() };
        let asked = || {
            by([7; 32], async { (request_id(&command), request_id(&command), request_id(&Command::Note)) })
        };
        let (first, second, note) = asked().await;
        assert!(first.is_some() && first != second);
        assert_eq!(note, None, "two actions of one key are two lines of the audit log");
        assert_eq!(asked().await, (first, second, note), "on whichever node");
        assert_eq!(request_id(&command), None, "of no name");
    }
}

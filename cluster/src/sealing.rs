//! The keys of resume tokens change while the cluster runs, and shared secrets that were replaced end: whoever leads
//! sees to it.

use chappe_proto::limits::{SEALING_KEY_BYTES, SEALING_LOOK_EVERY};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::sealing::Due;
use chappe_proto::registry::{Command, Note};
use chappe_proto::time::Unix;

use crate::clock;
use crate::consensus::{Proposal, Registry};

/// Begins and ends keys as they are due, whenever this node leads, until the registry ends.
pub(crate) async fn run(registry: Registry) {
    let mut statuses = registry.watch_status();
    while statuses.wait_for(|status| status.in_office).await.is_ok() {
        turn(&registry, clock::unix()).await;
        end_secret(&registry, clock::unix()).await;
        tokio::time::sleep(SEALING_LOOK_EVERY).await; // nothing else tells of the time
    }
}

/// Does one thing that is due at a time. What fails is due still.
async fn turn(registry: &Registry, now: Unix) {
    let Some(due) = registry.state().sealing_due(now) else { return };
    let command = match due {
        Due::Begin(number) => {
            Command::SealingKeyAdd { number, key: Secret(clock::random::<SEALING_KEY_BYTES>().to_vec()) }
        }
        Due::End(number) => Command::SealingKeyRemove { number },
    };
    let done = match registry.propose(command).await {
        Ok(applied) => applied.outcome.accepted().map(drop).map_err(|refusal| refusal.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match done {
        Ok(()) => tracing::info!(?due, "the keys of resume tokens have changed"),
        Err(error) => tracing::info!(?due, error, "the keys of resume tokens stay as they are"),
    }
}

/// Ends a shared secret of TURN credentials whose overlap with its successor is over, one at a time.
async fn end_secret(registry: &Registry, now: Unix) {
    let Some(number) = registry.state().turn_secret_due(now) else { return };
    let note = Note {
        who: "the cluster".to_owned(),
        what: format!("ended the shared secret {number}, whose time was over"),
        from: String::new(),
    };
    let proposal = Proposal { note: Some(note), ..Command::TurnSecretRemove { number }.into() };
    let done = match registry.propose(proposal).await {
        Ok(applied) => applied.outcome.accepted().map(drop).map_err(|refusal| refusal.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match done {
        Ok(()) => tracing::info!(number, "a shared secret of TURN credentials has ended"),
        Err(error) => tracing::info!(number, error, "a shared secret of TURN credentials stays for now"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chappe_proto::id::NodeId;
    use chappe_proto::limits::{RESUME_TTL, SEALING_KEY_FOR, SEALING_KEY_REST};

    use super::*;
    use crate::consensus::Config;

    #[tokio::test]
    async fn a_secret_ends_with_its_overlap_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (registry, ended) = Registry::open(Config::alone(dir.path(), NodeId(1))).unwrap();
        registry.linearizable().await.unwrap();
        let (now, secret) = (clock::unix(), |n: u8| Secret(vec![n; 32]));
        let until = Some(now + Duration::from_secs(60));
        let add = Command::TurnSecretAdd { number: 1, secret: secret(1) };
        let rotate = Command::TurnSecretRotate { number: 2, secret: secret(2), until };
        for command in [add, rotate] {
            registry.propose(command).await.unwrap().outcome.accepted().unwrap();
        }
        let numbers = || registry.state().turn_secrets().all().keys().copied().collect::<Vec<_>>();
        end_secret(&registry, now).await;
        assert_eq!(numbers(), [1, 2]);
        for _ in 0..2 {
            end_secret(&registry, now + Duration::from_secs(60)).await;
            assert_eq!(numbers(), [2]);
        }
        let notes: Vec<_> = registry.state().audit().map(|line| line.note.what.clone()).collect();
        assert_eq!(notes, ["ended the shared secret 1, whose time was over"]);
        registry.stop();
        ended.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn whoever_leads_begins_and_ends_keys() {
        let dir = tempfile::tempdir().unwrap();
        let (registry, ended) = Registry::open(Config::alone(dir.path(), NodeId(1))).unwrap();
        registry.linearizable().await.unwrap();
        let numbers = || registry.state().sealing_keys().all().keys().copied().collect::<Vec<_>>();
        let now = clock::unix();
        turn(&registry, now).await;
        turn(&registry, now).await;
        assert_eq!(numbers(), [1]);
        turn(&registry, now + SEALING_KEY_FOR + Duration::from_secs(60)).await;
        assert_eq!(numbers(), [1, 2]);
        let keys: Vec<_> = registry.state().sealing_keys().all().values().cloned().collect();
        assert_ne!(keys[0], keys[1]);
        // That one began now, by the registry: the first one's last token has expired then.
        turn(&registry, now + RESUME_TTL + SEALING_KEY_REST + Duration::from_secs(60)).await;
        assert_eq!(numbers(), [2]);
        registry.stop();
        ended.await.unwrap().unwrap();
    }
}

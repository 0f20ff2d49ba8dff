//! The keys of resume tokens change while the cluster runs: whoever leads sees to it.

use chappe_proto::limits::{SEALING_KEY_BYTES, SEALING_LOOK_EVERY};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::Command;
use chappe_proto::registry::sealing::Due;
use chappe_proto::time::Unix;

use crate::clock;
use crate::consensus::Registry;

/// Begins and ends keys as they are due, whenever this node leads, until the registry ends.
pub(crate) async fn run(registry: Registry) {
    let mut statuses = registry.watch_status();
    while statuses.wait_for(|status| status.in_office).await.is_ok() {
        turn(&registry, clock::unix()).await;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chappe_proto::id::NodeId;
    use chappe_proto::limits::{RESUME_TTL, SEALING_KEY_FOR, SEALING_KEY_REST};

    use super::*;
    use crate::consensus::Config;

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

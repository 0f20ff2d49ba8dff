//! The registry as its users see it: on a real disk, through restarts, kills and losses, and among
//! other members.

// Clippy takes the helpers of an integration test for production code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod changes;
mod cluster;
mod common;
mod faults;
mod feed;
mod loss;
mod machine;
mod members;
mod order;
mod restore;

use chappe_cluster::consensus::{FirstApp, Founding, Proposal, ProposeError, Status, bootstrap};
use chappe_proto::id::{AppId, ClusterId, Region};
use chappe_proto::limits::{LOG_TRAIL, SNAPSHOT_EVERY};
use chappe_proto::registry::{AppPolicy, Command, Note, Outcome, Refusal, State, Thing};
use tokio::sync::watch;

use crate::common::{close, mark, marked, open, propose, propose_many};

async fn until(mut watched: watch::Receiver<Status>, what: impl Fn(&Status) -> bool) -> Status {
    watched.wait_for(|status| what(status)).await.unwrap().clone()
}

fn founding() -> Founding {
    Founding {
        cluster: ClusterId::from_random([1; 15]),
        name: "Test".into(),
        realm: "chappe".into(),
        region: Region::new("here").unwrap(),
        app: Some(FirstApp {
            app: AppId::new("dev").unwrap(),
            name: "Development".into(),
            policy: AppPolicy { anonymous: true, ..AppPolicy::default() },
        }),
    }
}

#[tokio::test]
async fn a_cluster_begins_once() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ended) = open(dir.path());
    assert!(bootstrap(&registry, &founding()).await.unwrap());
    let first = registry.state();
    close(registry, ended).await;

    let (registry, ended) = open(dir.path());
    assert!(!bootstrap(&registry, &founding()).await.unwrap());
    let second = registry.state();
    let app = AppId::new("dev").unwrap();
    assert_eq!(first.keys_of(&app).count(), 1);
    assert!(first.keys_of(&app).eq(second.keys_of(&app)), "the same key, with the same secret");
    assert_eq!(first.turn_secrets(), second.turn_secrets());
    assert_eq!(first.sealing_keys(), second.sealing_keys());
    assert_eq!(first.cluster(), second.cluster());
    close(registry, ended).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ended) = open(dir.path());
    propose_many(&registry, 0..50).await;
    let note = Some(Note { who: "op".into(), what: "removed app none".into(), from: "::1".into() });
    let command = Command::AppRemove { app: AppId::new("none").unwrap() };
    let applied = registry.propose(Proposal { command, by: None, note }).await.unwrap();
    assert_eq!(applied.outcome, Outcome::Refused(Refusal::Unknown(Thing::App)));
    assert_eq!(registry.state().index(), applied.index);
    let before = registry.state();
    close(registry.clone(), ended).await;
    assert_eq!(registry.propose(mark(50)).await, Err(ProposeError::Stopped));

    let (registry, ended) = open(dir.path());
    let after = registry.linearizable().await.unwrap();
    assert!((0..50).all(|n| marked(&after, n)));
    assert!(after.audit().eq(before.audit()));
    assert!(after.index() > before.index(), "the new term's first entry");
    close(registry, ended).await;
}

#[tokio::test]
async fn the_log_is_compacted_and_nothing_is_lost_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ended) = open(dir.path());
    let marks = 2 * SNAPSHOT_EVERY + 500;
    propose_many(&registry, 0..marks).await;
    let status = until(registry.watch_status(), |status| status.snapshot >= 2 * SNAPSHOT_EVERY).await;
    assert!(status.last > marks && status.snapshot <= status.applied);
    let before = registry.state();
    close(registry, ended).await;

    let (registry, ended) = open(dir.path());
    let after = registry.linearizable().await.unwrap();
    let status = until(registry.watch_status(), |status| status.applied >= after.index().0).await;
    let held = status.last - status.snapshot + LOG_TRAIL;
    assert!(status.log_bytes < usize::try_from(held).unwrap() * 256, "{status:?}");
    assert!((0..marks).all(|n| marked(&after, n)));
    let revoked = |state: &State| state.edge_view(&"e".parse().unwrap()).revoked;
    assert_eq!(revoked(&before), revoked(&after));
    close(registry, ended).await;
    // What sled puts into files of their own is never synced.
    assert_eq!(std::fs::read_dir(dir.path().join("db/blobs")).map_or(0, Iterator::count), 0);
}

#[tokio::test]
async fn an_entry_as_long_as_allowed_is_kept_and_a_longer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ended) = open(dir.path());
    let app = |origins: usize| Command::AppAdd {
        app: AppId::new("wide").unwrap(),
        name: "Wide".into(),
        policy: AppPolicy {
            origins: (0..origins).map(|n| format!("https://{n}{}", "a".repeat(490))).collect(),
            ..AppPolicy::default()
        },
    };
    propose(&registry, app(64)).await;
    assert_eq!(registry.propose(app(1_000)).await, Err(ProposeError::TooLong));
    let before = registry.state();
    close(registry, ended).await;
    let (registry, ended) = open(dir.path());
    assert!(registry.linearizable().await.unwrap().apps().eq(before.apps()));
    close(registry, ended).await;
}

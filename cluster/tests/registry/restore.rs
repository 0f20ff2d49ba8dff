//! Backups, and what is done when a quorum is lost for good.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chappe_cluster::consensus::backup::{self, BackupError, Restored};
use chappe_cluster::consensus::{Config, OpenError, RecoverError, Registry, bootstrap, inspect, recover};
use chappe_proto::id::{ClusterId, NodeId};
use chappe_proto::limits::HISTORY_GAP;
use raft::eraftpb::ConfChangeType;

use crate::cluster::{Cluster, change};
use crate::common::{close, mark, marked, open, propose, propose_many};
use crate::{founding, until};

#[tokio::test]
async fn a_backup_begins_another_cluster_with_all_that_was_agreed() {
    let dir = tempfile::tempdir().unwrap();
    let (file, second) = (dir.path().join("today.backup"), dir.path().join("second"));
    let (registry, ended) = open(&dir.path().join("first"));
    assert!(matches!(registry.backup(&file).await, Err(BackupError::NotBegun)));
    bootstrap(&registry, &founding()).await.unwrap();
    propose_many(&registry, 0..20).await;
    let info = registry.backup(&file).await.unwrap();
    assert_eq!((info.index, info.name.as_str()), (registry.state().index(), "Test"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(registry.backup(&file).await, Err(BackupError::Exists(_))), "over no other file");
    propose_many(&registry, 20..25).await;
    let before = registry.state();
    close(registry, ended).await;

    let Restored { from, cluster, member } = backup::restore(&file, &second, Some(info.cluster)).unwrap();
    assert_eq!(from, info);
    assert_ne!(cluster, info.cluster);
    assert!(member > NodeId(1));
    let (registry, ended) = Registry::open(Config::alone(&second, member)).unwrap();
    assert!(!bootstrap(&registry, &founding()).await.unwrap(), "its name and its keys are there");
    let state = registry.state();
    assert!((0..20).all(|n| marked(&state, n)) && !marked(&state, 20));
    assert_eq!(state.cluster().unwrap().id, cluster);
    assert_eq!(state.sealing_keys().all(), before.sealing_keys().all());
    assert_eq!(state.nodes().map(|(id, _)| id).collect::<Vec<_>>(), [member]);
    assert!(state.index().0 > info.index.0 + HISTORY_GAP);
    close(registry, ended).await;

    assert!(matches!(backup::restore(&file, &second, None), Err(BackupError::Exists(_))));
}

#[tokio::test]
async fn a_backup_that_is_not_whole_or_not_ours_restores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, ended) = open(&dir.path().join("first"));
    bootstrap(&registry, &founding()).await.unwrap();
    let whole = backup::encode(&registry.state()).unwrap();
    close(registry, ended).await;
    let target = dir.path().join("second");
    let refused = |bytes: &[u8], of| {
        let file = dir.path().join("file");
        fs::write(&file, bytes).unwrap();
        let error = backup::restore(&file, &target, of).unwrap_err();
        assert!(!target.exists(), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left over: {error}");
        error
    };
    for len in [16, 18, 20, 90, whole.len() / 2, whole.len() - 32, whole.len() - 1] {
        let error = refused(&whole[..len], None);
        assert!(matches!(error, BackupError::CutShort { .. }), "{len}: {error}");
    }
    assert!(matches!(refused(&whole[..9], None), BackupError::NotABackup));
    assert!(matches!(refused(b"PNG", None), BackupError::NotABackup));
    for at in [25, whole.len() / 2, whole.len() - 5] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        let error = refused(&flipped, None);
        assert!(matches!(error, BackupError::Damaged(_)), "{at}: {error}");
    }
    assert!(matches!(refused(&[&whole[..], b"more"].concat(), None), BackupError::Damaged(_)));
    let mut newer = whole.clone();
    newer[15] = 2;
    assert!(matches!(refused(&newer, None), BackupError::TooNew(_)));
    let other = ClusterId::from_random([9; 15]);
    let error = refused(&whole, Some(other));
    assert!(matches!(error, BackupError::Foreign { asked, .. } if asked == other), "{error}");
    assert!(matches!(
        backup::restore(&dir.path().join("none"), &target, None),
        Err(BackupError::File { .. })
    ));
}

fn dir(cluster: &Cluster, member: u64) -> std::path::PathBuf {
    cluster.dir.path().join(member.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_lost_quorum_goes_on_without_the_lost() {
    let mut cluster = Cluster::of(&[1]);
    let first = cluster.member(1);
    bootstrap(&first, &founding()).await.unwrap();
    for member in [2, 3, 4] {
        cluster.start(member, &[]);
        let region = founding().region;
        propose(&first, chappe_proto::registry::Command::NodeAdd { node: NodeId(member), region }).await;
        first.change_members(change(ConfChangeType::AddLearnerNode, &[member])).await.unwrap();
    }
    first.change_members(change(ConfChangeType::AddNode, &[2, 3])).await.unwrap();
    until(first.watch_status(), |status| status.voters.len() == 3 && status.outgoing.is_empty()).await;
    propose_many(&first, 0..20).await;
    cluster.has(2, 19).await;
    let known =
        |status: &chappe_cluster::consensus::Status| status.voters.len() == 3 && status.outgoing.is_empty();
    until(cluster.member(2).watch_status(), known).await;

    // The survivor misses what the others and the stand-by have; they are lost, it is not.
    cluster.stop(2).await;
    propose_many(&first, 20..40).await;
    cluster.has(4, 39).await;
    let ahead = cluster.member(4).state().index();
    drop(first);
    cluster.stop(1).await;
    cluster.stop(3).await;

    let (survivor, other) = (dir(&cluster, 2), dir(&cluster, 1));
    let left = inspect(&survivor).unwrap();
    assert_eq!((left.member, &left.voters[..]), (NodeId(2), &[1, 2, 3].map(NodeId)[..]));
    assert_eq!(left.learners, [NodeId(4)]);
    let better = inspect(&other).unwrap();
    assert!((better.last_term, better.last) > (left.last_term, left.last), "which has lost less");
    assert_eq!(recover(&survivor, false).unwrap(), left);
    assert!(matches!(recover(&survivor, false), Err(RecoverError::Alone(NodeId(2)))));

    cluster.start(2, &[]);
    let registry = cluster.member(2);
    let state = registry.linearizable().await.unwrap();
    assert!((0..20).all(|n| marked(&state, n)) && !marked(&state, 39));
    assert!(state.was_removed(NodeId(1)) && state.was_removed(NodeId(3)));
    assert!(state.node(NodeId(4)).is_some());
    assert!(state.index() > ahead);
    assert_eq!(registry.status().voters, [NodeId(2)]);
    assert!(state.audit().any(|line| line.note.what.contains("without voters 1, 3")));
    assert!(!bootstrap(&registry, &founding()).await.unwrap());

    // The stand-by, whose log is another history's, gets all of it anew.
    propose_many(&registry, 100..110).await;
    registry.change_members(change(ConfChangeType::AddLearnerNode, &[4])).await.unwrap();
    cluster.has(4, 109).await;
    propose(&registry, mark(110)).await;
    cluster.has(4, 110).await;
    let (ours, theirs) = (registry.state(), cluster.member(4).state());
    assert!(!marked(&theirs, 39), "what the survivor has not is gone everywhere");
    assert_eq!(ours.encode().unwrap(), theirs.encode().unwrap());
}

#[tokio::test]
async fn what_is_no_member_is_not_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let idle = Config { founders: Vec::new(), ..Config::alone(dir.path(), NodeId(7)) };
    let (registry, ended) = Registry::open(idle).unwrap();
    assert!(matches!(recover(dir.path(), false), Err(RecoverError::Open(OpenError::InUse { .. }))));
    close(registry, ended).await;
    assert!(matches!(recover(dir.path(), false), Err(RecoverError::NoMember(NodeId(7)))));
    let none = recover(Path::new("/nonexistent/registry"), false);
    assert!(matches!(none, Err(RecoverError::Open(OpenError::Damaged { .. }))));
}

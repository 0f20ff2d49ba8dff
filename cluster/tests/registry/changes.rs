//! Changes of the members, of who leads, of the timers.

use chappe_cluster::consensus::{ProposeError, Role, TransferError};
use chappe_proto::id::{AppId, NodeId};
use chappe_proto::limits::MESH_FRAME_MAX;
use chappe_proto::registry::profile::ProfileName;
use chappe_proto::registry::{AppPolicy, Command};
use raft::eraftpb::ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
use std::sync::atomic::Ordering;

use crate::cluster::{Cluster, change};
use crate::common::{mark, propose, propose_many};
use crate::until;

#[tokio::test(flavor = "multi_thread")]
async fn the_leadership_is_handed_to_another_voter() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    let first = cluster.leader().await;
    let (registry, next) = (cluster.member(first), first % 3 + 1);
    propose_many(&registry, 0..20).await;
    assert_eq!(registry.transfer(NodeId(9)).await, Err(TransferError::NoVoter));
    cluster.start(4, &[]);
    registry.change_members(change(AddLearnerNode, &[4])).await.unwrap();
    assert_eq!(registry.transfer(NodeId(4)).await, Err(TransferError::NoVoter), "a stand-by");
    assert_eq!(registry.transfer(NodeId(first)).await, Ok(()), "it leads already");
    let leader = Some(NodeId(first));
    assert_eq!(cluster.member(next).transfer(NodeId(next)).await, Err(TransferError::NoLeader { leader }));

    let term = registry.status().term;
    assert_eq!(registry.transfer(NodeId(next)).await, Ok(()));
    let status = until(cluster.member(next).watch_status(), |status| status.role == Role::Leader).await;
    assert_eq!(status.term, term + 1, "one election");
    let status = until(cluster.member(next).watch_status(), |status| status.in_office).await;
    assert!(status.applied > 21 && status.leader == Some(NodeId(next)), "{status:?}");
    propose_many(&cluster.member(next), 20..30).await;

    // To one that does not hear it: it goes on leading.
    let (registry, deaf) = (cluster.member(next), next % 3 + 1);
    cluster.net.part(deaf, true);
    assert_eq!(registry.transfer(NodeId(deaf)).await, Err(TransferError::Failed));
    propose(&registry, mark(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_removed_leads_no_longer() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    let first = cluster.leader().await;
    let registry = cluster.member(first);
    propose_many(&registry, 0..20).await;
    registry.change_members(change(RemoveNode, &[first])).await.unwrap();
    let status = until(registry.watch_status(), |status| status.role != Role::Leader).await;
    assert!(!status.voters.contains(&NodeId(first)));
    until(registry.watch_status(), |status| status.wants_feed).await;
    assert!(matches!(registry.propose(mark(99)).await, Err(ProposeError::NoLeader { .. })));

    let other = first % 3 + 1;
    let elected = |status: &chappe_cluster::consensus::Status| {
        status.voters.len() == 2 && status.leader.is_some_and(|leader| leader.0 != first)
    };
    let second = until(cluster.member(other).watch_status(), elected).await.leader.unwrap().0;
    propose_many(&cluster.member(second), 20..30).await;
    // It disturbs nobody, also when it comes back.
    let term = cluster.member(second).status().term;
    cluster.stop(first).await;
    cluster.start(first, &[]);
    propose_many(&cluster.member(second), 30..40).await;
    assert_eq!(cluster.member(second).status().term, term);
    assert!(cluster.member(first).status().role == Role::Follower);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_leaves_nobody_to_vote() {
    let cluster = Cluster::of(&[1]);
    cluster.leader().await;
    let registry = cluster.member(1);
    for bad in [change(RemoveNode, &[1]), change(AddLearnerNode, &[1]), change(AddNode, &[])] {
        let error = registry.change_members(bad).await.unwrap_err();
        assert!(matches!(error, ProposeError::Members(_)), "{error}");
    }
    propose(&registry, mark(1)).await;
    assert_eq!(registry.status().voters, [NodeId(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_by_is_caught_up_by_a_snapshot_longer_than_a_frame() {
    let mut cluster = Cluster::of(&[1]);
    let registry = cluster.member(1);
    let origins: Vec<_> = (0..64).map(|n| format!("https://{n}.{}", "a".repeat(480))).collect();
    for n in 0..300 {
        let policy = AppPolicy { origins: origins.clone(), ..AppPolicy::default() };
        let app = AppId::new(&format!("app-{n}")).unwrap();
        propose(&registry, Command::AppAdd { app, name: format!("App {n}"), policy }).await;
    }
    cluster.start(2, &[]);
    registry.change_members(change(AddLearnerNode, &[2])).await.unwrap();
    // What comes meanwhile follows it.
    propose_many(&registry, 0..20).await;
    for mark in 0..20 {
        cluster.has(2, mark).await;
    }
    let longest = cluster.net.longest.load(Ordering::Relaxed) as usize;
    assert!(longest > MESH_FRAME_MAX, "{longest}");
    let (ours, theirs) = (registry.state(), cluster.member(2).state());
    assert_eq!(ours.index(), theirs.index());
    assert!(ours.encode().unwrap() == theirs.encode().unwrap(), "one state");
    until(registry.watch_status(), |status| status.caught_up == [1, 2].map(NodeId)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timers_change_under_a_leader_that_goes_on() {
    let cluster = Cluster::of(&[1, 2, 3]);
    let leader = cluster.leader().await;
    let registry = cluster.member(leader);
    let term = registry.status().term;
    for (round, profile) in (0..).zip([ProfileName::Wan, ProfileName::Lan, ProfileName::Wan]) {
        propose(&registry, Command::ProfileSet { profile }).await;
        propose_many(&registry, round * 10..round * 10 + 10).await;
        let mut heartbeats = cluster.net.heartbeats.subscribe();
        let enough = *heartbeats.borrow() + 16;
        heartbeats.wait_for(|count| *count >= enough).await.unwrap();
    }
    for member in [1, 2, 3] {
        cluster.has(member, 29).await;
        let status = cluster.member(member).status();
        assert_eq!((status.leader, status.term), (Some(NodeId(leader)), term));
        assert_eq!(cluster.member(member).state().profile_name(), ProfileName::Wan);
    }
}

//! Members that are elected, join, restart.

use chappe_cluster::consensus::{ProposeError, Status};
use chappe_proto::id::NodeId;
use raft::eraftpb::ConfChangeType;

use crate::cluster::{Cluster, change};
use crate::common::{mark, marked, propose, propose_many};
use crate::until;

#[tokio::test(flavor = "multi_thread")]
async fn three_members_elect_replicate_and_survive_restarts() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    let leader = cluster.leader().await;
    propose_many(&cluster.member(leader), 0..200).await;
    let follower = leader % 3 + 1;
    let refused = cluster.member(follower).propose(mark(1)).await;
    assert_eq!(refused, Err(ProposeError::NoLeader { leader: Some(NodeId(leader)) }));
    let read = cluster.member(follower).linearizable().await.unwrap();
    assert!((0..200).all(|n| marked(&read, n)), "a linearizable read on a follower has all");

    // A follower misses some, then catches up.
    cluster.stop(follower).await;
    propose_many(&cluster.member(leader), 200..300).await;
    cluster.start(follower, &[]);
    cluster.has(follower, 299).await;

    // The leader goes: another is elected, and what was acknowledged is there.
    cluster.stop(leader).await;
    let second = cluster.leader().await;
    assert_ne!(second, leader);
    propose_many(&cluster.member(second), 300..310).await;
    cluster.start(leader, &[]);
    cluster.has(leader, 309).await;

    // All go.
    for member in [1, 2, 3] {
        cluster.stop(member).await;
    }
    for member in [1, 2, 3] {
        cluster.start(member, &[]);
    }
    let third = cluster.leader().await;
    let state = cluster.member(third).linearizable().await.unwrap();
    assert!((0..310).all(|n| marked(&state, n)));
    for member in [1, 2, 3] {
        let mut watch = cluster.member(member).watch();
        let theirs = watch.wait_for(|theirs| theirs.index() >= state.index()).await.unwrap().clone();
        assert_eq!(theirs.index(), state.index());
        assert_eq!(theirs.encode().unwrap(), state.encode().unwrap(), "one state");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_joins_gets_a_snapshot_and_then_votes() {
    let mut cluster = Cluster::of(&[1]);
    let leader = cluster.member(1);
    propose_many(&leader, 0..50).await;
    for member in [2, 3] {
        cluster.start(member, &[]);
        leader.change_members(change(ConfChangeType::AddLearnerNode, &[member])).await.unwrap();
        cluster.has(member, 49).await;
        let status = until(cluster.member(member).watch_status(), |status| status.snapshot > 1).await;
        assert!(status.voters == [NodeId(1)] && status.learners.contains(&NodeId(member)), "{status:?}");
    }
    // Both at once is a joint change, which Raft leaves by an entry of its own.
    leader.change_members(change(ConfChangeType::AddNode, &[2, 3])).await.unwrap();
    for member in [1, 2, 3] {
        let all = |status: &Status| status.voters.len() == 3 && status.learners.is_empty();
        until(cluster.member(member).watch_status(), all).await;
    }
    propose_many(&leader, 50..60).await;
    drop(leader);
    // The first goes: the two others are a majority, and know it after a restart.
    cluster.stop(1).await;
    let second = cluster.leader().await;
    propose_many(&cluster.member(second), 60..70).await;
    cluster.stop(5 - second).await;
    cluster.start(5 - second, &[]);
    cluster.has(5 - second, 69).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_stalls_goes_on_leading() {
    let cluster = Cluster::of(&[1, 2, 3]);
    let leader = cluster.leader().await;
    let registry = cluster.member(leader);
    propose(&registry, mark(0)).await;
    let before = registry.status();

    cluster.gates[&leader].shut(true);
    let waiting = tokio::spawn({
        let registry = registry.clone();
        async move { propose(&registry, mark(1)).await }
    });
    // The others are a majority without it.
    for member in [1, 2, 3].into_iter().filter(|member| *member != leader) {
        cluster.has(member, 1).await;
    }
    // Twice the longest election timeout of heartbeats to two followers.
    let mut heartbeats = cluster.net.heartbeats.subscribe();
    let enough = *heartbeats.borrow() + 2 * 2 * 900 / 50;
    heartbeats.wait_for(|count| *count >= enough).await.unwrap();
    for member in [1, 2, 3] {
        let status = cluster.member(member).status();
        assert_eq!((status.leader, status.term), (Some(NodeId(leader)), before.term));
    }
    assert!(!waiting.is_finished(), "what is not durable here is not answered here");
    assert!(!marked(&registry.state(), 1));

    cluster.gates[&leader].shut(false);
    waiting.await.unwrap();
    assert!(marked(&registry.state(), 1));
}

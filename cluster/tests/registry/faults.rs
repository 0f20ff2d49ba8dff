//! Members that are cut off, lost, slow, or have forgotten.

use std::time::Duration;

use chappe_cluster::consensus::{Config, OpenError, ProposeError, ReadError, Registry, Role, Status};
use chappe_proto::id::NodeId;
use chappe_proto::registry::State;
use chappe_proto::registry::profile::LAN;
use raft::eraftpb::{ConfChangeType, Message, MessageType};

use crate::cluster::{Cluster, change};
use crate::common::{mark, marked, propose, propose_many};
use crate::until;

/// Heartbeats of a leader to two followers for so long.
async fn beats(cluster: &Cluster, time: Duration) {
    let mut heartbeats = cluster.net.heartbeats.subscribe();
    let beats = u64::try_from(time.as_millis() / LAN.heartbeat.as_millis()).unwrap();
    let enough = *heartbeats.borrow() + 2 * beats;
    heartbeats.wait_for(|count| *count >= enough).await.unwrap();
}

fn others(member: u64) -> impl Iterator<Item = u64> {
    [1, 2, 3].into_iter().filter(move |other| *other != member)
}

/// Who leads the others of a member that they do not hear.
async fn successor(cluster: &Cluster, of: u64) -> u64 {
    let one = others(of).next().unwrap();
    let elected = |status: &Status| status.leader.is_some_and(|leader| leader.0 != of);
    until(cluster.member(one).watch_status(), elected).await.leader.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_acknowledges_nothing_and_answers_no_read() {
    let cluster = Cluster::of(&[1, 2, 3]);
    let first = cluster.leader().await;
    let former = cluster.member(first);
    propose_many(&former, 0..20).await;

    cluster.net.part(first, true);
    let lost = tokio::spawn({
        let former = former.clone();
        async move { former.propose(mark(100)).await }
    });
    assert!(matches!(former.linearizable().await, Err(ReadError::NoLeader)));
    assert!(matches!(former.read_index().await, Err(ReadError::NoLeader)));
    let status = until(former.watch_status(), |status| status.wants_feed).await;
    assert!(status.role != Role::Leader && status.leader.is_none(), "{status:?}");
    assert_eq!(former.propose(mark(101)).await, Err(ProposeError::NoLeader { leader: None }));

    let second = successor(&cluster, first).await;
    propose_many(&cluster.member(second), 20..40).await;
    assert!(!lost.is_finished() && !marked(&former.state(), 30), "it knows nothing of it");
    assert!(marked(&former.state(), 19), "and answers from what it has");

    cluster.net.part(first, false);
    assert_eq!(lost.await.unwrap(), Err(ProposeError::Replaced));
    let state = former.linearizable().await.unwrap();
    assert!((0..40).all(|n| marked(&state, n)) && !marked(&state, 100));
    let status = until(former.watch_status(), |status| status.leader == Some(NodeId(second))).await;
    assert!(!status.wants_feed);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_two_of_three_nothing_is_agreed_until_they_are_back() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    let leader = cluster.leader().await;
    propose_many(&cluster.member(leader), 0..20).await;
    // The leader first, then one of the two that are left.
    cluster.stop(leader).await;
    let second = successor(&cluster, leader).await;
    propose_many(&cluster.member(second), 20..30).await;
    cluster.stop(second).await;

    let last = 6 - leader - second;
    let alone = cluster.member(last);
    cluster.has(last, 29).await;
    assert!(matches!(alone.linearizable().await, Err(ReadError::NoLeader)));
    assert_eq!(alone.propose(mark(100)).await, Err(ProposeError::NoLeader { leader: None }));
    assert!((0..30).all(|n| marked(&alone.state(), n)), "its state is there to serve from");

    cluster.start(leader, &[]);
    propose_many(&cluster.member(successor(&cluster, second).await), 30..40).await;
    cluster.start(second, &[]);
    for member in [1, 2, 3] {
        cluster.has(member, 39).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_stalls_stops_nobody_and_catches_up() {
    let cluster = Cluster::of(&[1, 2, 3]);
    let leader = cluster.leader().await;
    let registry = cluster.member(leader);
    propose(&registry, mark(0)).await;
    let term = registry.status().term;
    let slow = others(leader).next().unwrap();
    cluster.gates[&slow].shut(true);
    propose_many(&registry, 1..50).await;
    beats(&cluster, 2 * LAN.election.1).await;
    assert!(!marked(&cluster.member(slow).state(), 49));
    propose_many(&registry, 50..60).await;

    cluster.gates[&slow].shut(false);
    cluster.has(slow, 59).await;
    // It heard its leader all the time, so that it has unseated nobody.
    let status = registry.status();
    assert_eq!((status.role, status.term), (Role::Leader, term));
    until(registry.watch_status(), |status| status.caught_up.len() == 3 && status.recent.len() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_knows_who_is_silent() {
    let cluster = Cluster::of(&[1, 2, 3]);
    let leader = cluster.leader().await;
    let registry = cluster.member(leader);
    until(registry.watch_status(), |status| status.recent.len() == 3 && status.caught_up.len() == 3).await;
    let silent = others(leader).next().unwrap();
    cluster.net.part(silent, true);
    let heard = |status: &Status| !status.recent.contains(&NodeId(silent));
    let status = until(registry.watch_status(), heard).await;
    assert_eq!((status.role, status.recent.len()), (Role::Leader, 2));
    cluster.net.part(silent, false);
    until(registry.watch_status(), |status| status.recent.len() == 3).await;
    let follower = cluster.member(silent).status();
    assert!(follower.recent.is_empty() && follower.caught_up.is_empty(), "only who leads knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_log_is_older_than_its_word_never_votes_and_joins_anew() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    let leader = cluster.leader().await;
    propose_many(&cluster.member(leader), 0..20).await;
    let forgetful = others(leader).next().unwrap();
    cluster.has(forgetful, 19).await;
    cluster.stop(forgetful).await;
    let dir = cluster.dir.path().join(forgetful.to_string());
    std::fs::remove_dir_all(dir.join("db")).unwrap();
    for accept_loss in [false, true] {
        let config = Config { founders: Vec::new(), accept_loss, ..Config::alone(&dir, NodeId(forgetful)) };
        let error = Registry::open(config).err().expect("it was opened");
        assert!(matches!(error, OpenError::Regressed { alone: false, .. }), "{error}");
        assert!(error.to_string().contains("join again as a new one"), "{error}");
    }

    let registry = cluster.member(leader);
    registry.change_members(change(ConfChangeType::RemoveNode, &[forgetful])).await.unwrap();
    cluster.start(4, &[]);
    registry.change_members(change(ConfChangeType::AddLearnerNode, &[4])).await.unwrap();
    until(registry.watch_status(), |status| status.caught_up.contains(&NodeId(4))).await;
    registry.change_members(change(ConfChangeType::AddNode, &[4])).await.unwrap();
    // It is as good as the former one: the majority without another.
    let third = others(leader).find(|member| *member != forgetful).unwrap();
    cluster.stop(third).await;
    propose_many(&registry, 20..30).await;
    cluster.has(4, 29).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_is_nearly_full_hands_over() {
    let cluster = Cluster::of(&[1, 2, 3]);
    let leader = cluster.leader().await;
    propose_many(&cluster.member(leader), 0..20).await;
    cluster.gates[&leader].low(true);
    let second = successor(&cluster, leader).await;
    propose_many(&cluster.member(second), 20..40).await;
    let full = cluster.member(leader);
    assert!(full.status().disk_low);
    // It follows still: what the others agree on is written here too.
    cluster.has(leader, 39).await;
    cluster.gates[&leader].low(false);
    until(full.watch_status(), |status| !status.disk_low).await;
    assert_eq!(full.propose(mark(99)).await, Err(ProposeError::NoLeader { leader: Some(NodeId(second)) }));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_restarts_in_a_row_lose_nothing() {
    let mut cluster = Cluster::of(&[1, 2, 3]);
    for round in 0..10 {
        let leader = cluster.leader().await;
        propose_many(&cluster.member(leader), round * 10..round * 10 + 10).await;
        // In turn the leader and a follower.
        let member = if round % 2 == 0 { leader } else { leader % 3 + 1 };
        cluster.stop(member).await;
        cluster.start(member, &[]);
        cluster.has(member, round * 10 + 9).await;
    }
    let leader = cluster.leader().await;
    let state = cluster.member(leader).linearizable().await.unwrap();
    assert!((0..100).all(|n| marked(&state, n)));
    for member in [1, 2, 3] {
        cluster.has(member, 99).await;
        let theirs = cluster.member(member).linearizable().await.unwrap();
        assert_eq!(theirs.encode().unwrap(), state.encode().unwrap(), "one state");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_cut_short_is_refused_and_told_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (told, mut heard) = tokio::sync::mpsc::channel(8);
    let refused = Box::new(move |from: NodeId, why: &str| told.try_send((from, why.to_owned())).unwrap());
    let config = Config { founders: Vec::new(), refused, ..Config::alone(dir.path(), NodeId(2)) };
    let (registry, ended) = Registry::open(config).unwrap();
    let whole = State::default().encode().unwrap();
    let mut message = Message { from: 1, to: 2, term: 5, ..Message::default() };
    message.set_msg_type(MessageType::MsgSnapshot);
    let snapshot = message.mut_snapshot();
    (snapshot.mut_metadata().index, snapshot.mut_metadata().term) = (9, 5);
    snapshot.mut_metadata().mut_conf_state().voters = vec![1, 2];
    snapshot.data = whole[..whole.len() / 2].to_vec().into();
    registry.deliver(message.clone()).unwrap();
    let (from, _) = heard.recv().await.unwrap();
    assert_eq!(from, NodeId(1));
    // Whole, and of another entry than it says.
    message.mut_snapshot().data = whole.into();
    registry.deliver(message).unwrap();
    let (_, why) = heard.recv().await.unwrap();
    assert!(why.contains("entry 0"), "{why}");
    assert_eq!((registry.state().index().0, registry.status().term), (0, 0), "nothing of it was taken");
    registry.stop();
    ended.await.unwrap().unwrap();
}

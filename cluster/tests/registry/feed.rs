//! Nodes that are no members, and what they follow.

use chappe_cluster::consensus::{
    Config, FeedError, FeedReader, Follower, ProposeError, ReadError, Registry, Role,
};
use chappe_proto::id::{ClusterId, Index, NodeId};
use chappe_proto::limits::FEED_ENTRIES_MAX;
use chappe_proto::mesh::node::Feed;
use chappe_proto::registry::{Command, State};
use raft::eraftpb::ConfChangeType;

use crate::cluster::{Cluster, change};
use crate::common::{close, mark, open, propose, propose_many};
use crate::until;

fn id(n: u8) -> ClusterId {
    ClusterId::from_random([n; 15])
}

async fn begin(registry: &Registry) {
    propose(registry, Command::ClusterBegin { id: id(1), name: "Test".into(), realm: "chappe".into() }).await;
}

/// Frames until the state is at `index`; whether a snapshot was among them.
async fn follow(reader: &mut FeedReader, follower: &mut Follower, at: &Registry, index: Index) -> bool {
    let mut snapshot = false;
    while at.state().index() < index {
        let frame = reader.next().await.unwrap();
        snapshot |= matches!(frame, Feed::Snapshot { .. });
        follower.handle(frame).await.unwrap();
    }
    snapshot
}

fn same(one: &State, other: &State) {
    assert_eq!(one.index(), other.index());
    assert!(one.encode().unwrap() == other.encode().unwrap(), "one state");
}

fn idle(dir: &std::path::Path, node: u64) -> Config {
    Config { founders: Vec::new(), ..Config::alone(dir, NodeId(node)) }
}

#[tokio::test]
async fn a_node_that_is_no_member_has_the_members_state() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (member, ended) = open(first.path());
    begin(&member).await;
    propose_many(&member, 0..50).await;
    let (node, node_ended) = Registry::open(idle(second.path(), 9)).unwrap();
    until(node.watch_status(), |status| status.wants_feed).await;
    assert_eq!(node.propose(mark(1)).await, Err(ProposeError::NoLeader { leader: None }));
    assert!(matches!(node.linearizable().await, Err(ReadError::NoLeader)));
    assert!(node.feed(Index(0)).next().await.is_none(), "who must be fed feeds nobody");

    let mut follower = node.follow(id(1));
    assert_eq!(follower.opening(), Feed::Follow { after: Index(0) });
    let mut reader = member.feed(Index(0));
    assert!(follow(&mut reader, &mut follower, &node, member.state().index()).await, "a snapshot first");
    same(&node.state(), &member.state());
    // Then each entry.
    propose_many(&member, 50..60).await;
    let target = member.state().index();
    assert!(!follow(&mut reader, &mut follower, &node, target).await);
    same(&node.state(), &member.state());
    let status = until(node.watch_status(), |status| status.leader == Some(NodeId(1))).await;
    assert_eq!((status.role, status.applied), (Role::Follower, 0));
    assert_eq!(node.propose(mark(1)).await, Err(ProposeError::NoLeader { leader: Some(NodeId(1)) }));

    // Another feed goes on where this one ended: entries only.
    drop((reader, follower));
    until(node.watch_status(), |status| status.leader.is_none()).await;
    propose_many(&member, 60..70).await;
    let mut follower = node.follow(id(1));
    let Feed::Follow { after } = follower.opening() else { panic!("a follower follows") };
    assert_eq!(after, target);
    let mut reader = member.feed(after);
    assert!(!follow(&mut reader, &mut follower, &node, member.state().index()).await);
    same(&node.state(), &member.state());

    // Who reads too slowly gets all of it anew.
    propose_many(&member, 100..100 + FEED_ENTRIES_MAX as u64 + 10).await;
    assert!(follow(&mut reader, &mut follower, &node, member.state().index()).await);
    same(&node.state(), &member.state());
    close(node, node_ended).await;
    close(member, ended).await;
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn a_feed_that_is_not_whole_or_not_ours_is_refused() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (member, ended) = open(first.path());
    begin(&member).await;
    propose_many(&member, 0..9).await;
    let (node, node_ended) = Registry::open(idle(second.path(), 9)).unwrap();
    let index = member.state().index();
    let bytes = member.state().encode().unwrap();
    let snapshot = |index, piece: &[u8], last| Feed::Snapshot { index, piece: piece.to_vec(), last };
    let refused = async |cluster, frames: Vec<Feed>| {
        let mut follower = node.follow(id(cluster));
        let mut last = Ok(());
        for frame in frames {
            assert!(last.is_ok(), "refused too early: {last:?}");
            last = follower.handle(frame).await;
        }
        assert_eq!(node.state().index(), Index(0), "nothing of it is here");
        last.unwrap_err()
    };
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    let cut = vec![snapshot(index, half, false), Feed::Entry { index: Index(index.0 + 1), data: vec![] }];
    assert!(matches!(refused(1, cut).await, FeedError::CutShort));
    let mixed = vec![snapshot(index, half, false), snapshot(Index(1), rest, true)];
    assert!(matches!(refused(1, mixed).await, FeedError::CutShort));
    assert!(matches!(refused(1, vec![snapshot(index, half, true)]).await, FeedError::Damaged(_)));
    assert!(matches!(refused(1, vec![snapshot(Index(3), &bytes, true)]).await, FeedError::Damaged(_)));
    assert!(matches!(refused(2, vec![snapshot(index, &bytes, true)]).await, FeedError::Foreign));
    let gap = vec![Feed::Entry { index: Index(5), data: vec![] }];
    assert!(matches!(refused(1, gap).await, FeedError::Gap { .. }));
    let unknown = vec![Feed::Entry { index: Index(1), data: vec![0xc1] }];
    assert!(matches!(refused(1, unknown).await, FeedError::Fatal(_)));
    assert!(matches!(refused(1, vec![Feed::Follow { after: index }]).await, FeedError::NoFeed));
    close(node, node_ended).await;
    close(member, ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_fed_becomes_a_member_and_one_no_more() {
    let mut cluster = Cluster::of(&[1]);
    let leader = cluster.member(1);
    begin(&leader).await;
    propose_many(&leader, 0..20).await;
    cluster.start(2, &[]);
    let node = cluster.member(2);
    let fed = |from: &Registry| {
        let (mut follower, from) = (node.follow(id(1)), from.clone());
        let Feed::Follow { after } = follower.opening() else { panic!("a follower follows") };
        tokio::spawn(async move {
            let mut reader = from.feed(after);
            while let Some(frame) = reader.next().await {
                follower.handle(frame).await.unwrap();
            }
        })
    };
    let feeding = fed(&leader);
    cluster.has(2, 19).await;

    // Both sources at once, then Raft alone.
    leader.change_members(change(ConfChangeType::AddLearnerNode, &[2])).await.unwrap();
    propose_many(&leader, 20..40).await;
    until(node.watch_status(), |status| !status.wants_feed && status.applied >= 40).await;
    feeding.abort();
    assert!(feeding.await.unwrap_err().is_cancelled());
    propose_many(&leader, 40..60).await;
    cluster.has(2, 59).await;
    same(&node.linearizable().await.unwrap(), &leader.state());

    // It is removed; the feed goes on where Raft has ended.
    leader.change_members(change(ConfChangeType::RemoveNode, &[2])).await.unwrap();
    until(node.watch_status(), |status| status.wants_feed).await;
    let feeding = fed(&leader);
    propose_many(&leader, 60..80).await;
    cluster.has(2, 79).await;
    // And a member once more, on the log that it has kept.
    leader.change_members(change(ConfChangeType::AddLearnerNode, &[2])).await.unwrap();
    let last = leader.state().index();
    until(node.watch_status(), |status| !status.wants_feed && status.applied >= last.0).await;
    feeding.abort();
    propose(&leader, mark(80)).await;
    cluster.has(2, 80).await;
    same(&node.linearizable().await.unwrap(), &leader.state());
}

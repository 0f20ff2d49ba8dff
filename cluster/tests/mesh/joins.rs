//! A cluster is founded, and nodes join it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chappe_cluster::clock;
use chappe_cluster::mesh::identity::IdentityDir;
use chappe_cluster::mesh::join::invite;
use chappe_cluster::mesh::pki::Authority;
use chappe_cluster::mesh::{Config, JoinError, Refusal, join_cluster};
use chappe_proto::id::{ClusterId, NodeId, Region};
use chappe_proto::limits::JOIN_ATTEMPTS_BURST;
use chappe_proto::mesh::join::{ALPN, JoinRefusal, Token};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{NodeAddresses, State};
use chappe_proto::time::Unix;

use crate::common::{Peer, SOON, apply, cluster, region, registry, socket};
use crate::raw::{connect, write};

/// The first node of a cluster, which has the authority in its registry, and where it is.
fn founder(data: &Path) -> (Peer, SocketAddr) {
    let dir = IdentityDir::of(data);
    let identity = dir.found(cluster(), region(), clock::unix()).unwrap();
    let (socket, address) = socket();
    let mut state = registry(&[address]);
    let authority = dir.authority_to_add(&state).unwrap().unwrap();
    apply(&mut state, authority);
    (Peer::of(Config::of(identity, dir, socket), &state), address)
}

fn later() -> Unix {
    clock::unix() + Duration::from_secs(3600)
}

/// A token for one node, whose invitation the registry of `peer` has.
fn token(peer: &Peer, address: SocketAddr, region: Option<Region>, until: Unix) -> Token {
    let state = Arc::clone(&peer.states.borrow());
    let (command, token) = invite(&state, vec![address], region, None, until).unwrap();
    peer.states.send_modify(|state| apply(Arc::make_mut(state), command));
    token
}

fn at(address: SocketAddr) -> NodeAddresses {
    NodeAddresses { mesh: vec![address], public: Vec::new() }
}

async fn refused(token: &Token, data: &Path) -> JoinRefusal {
    let (_socket, address) = socket();
    match join_cluster(token, &region(), &at(address), &IdentityDir::of(data), SOON).await {
        Err(JoinError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_one_node_in_and_it_is_linked() {
    let (first, second, third) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, address) = founder(first.path());
    let token = token(&one, address, None, later());
    let token: Token = token.to_string().parse().unwrap();
    let (mine, at_mine) = socket();
    let dir = IdentityDir::of(second.path());
    let identity = join_cluster(&token, &region(), &at(at_mine), &dir, SOON).await.unwrap();
    assert_eq!((identity.node, identity.cluster), (NodeId(2), cluster()));
    assert_eq!(identity.peers, [(NodeId(1), vec![address])]);
    // It begins with what it keeps, and knows no registry yet.
    let kept = dir.load().unwrap().unwrap();
    assert_eq!(kept.credentials.certificate, identity.credentials.certificate);
    let two = Peer::of(Config::of(kept, dir, mine), &State::default());
    one.linked(2).await;
    two.linked(1).await;

    assert_eq!(refused(&token, third.path()).await, JoinRefusal::Used { node: NodeId(2) });
    assert!(one.states.borrow().node(NodeId(3)).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_again_since_the_answer_was_lost_is_the_same_node() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, address) = founder(first.path());
    let token = token(&one, address, None, later());
    let dir = IdentityDir::of(second.path());
    let key = second.path().join("identity/joining.pem");
    let (_socket, mine) = socket();
    // It dies between the answer and its disk: its key is all that it has kept.
    std::fs::create_dir_all(key.parent().unwrap()).unwrap();
    let kept = {
        let other = tempfile::tempdir().unwrap();
        let dir = IdentityDir::of(other.path());
        join_cluster(&token, &region(), &at(mine), &dir, SOON).await.unwrap();
        std::fs::read_to_string(other.path().join("identity/node.pem")).unwrap()
    };
    std::fs::write(&key, &kept[kept.find("-----BEGIN PRIVATE").unwrap()..]).unwrap();
    let again = join_cluster(&token, &region(), &at(mine), &dir, SOON).await.unwrap();
    assert_eq!(again.node, NodeId(2));
    assert!(!key.exists());
    assert!(one.states.borrow().node(NodeId(3)).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_tells_the_joiner_why_and_operators_too() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut one, address) = founder(first.path());
    let good = token(&one, address, None, later());

    let guessed = Token { secret: Secret(vec![0; 32]), ..good.clone() };
    assert_eq!(refused(&guessed, second.path()).await, JoinRefusal::Invalid);
    let (_, unknown) = invite(&one.states.borrow(), vec![address], None, None, later()).unwrap();
    assert_eq!(refused(&unknown, second.path()).await, JoinRefusal::Invalid);

    let there = Region::new("there").unwrap();
    let elsewhere = token(&one, address, Some(there.clone()), later());
    assert_eq!(refused(&elsewhere, second.path()).await, JoinRefusal::OtherRegion { invited: there });

    let brief = token(&one, address, None, clock::unix() + Duration::from_millis(1));
    tokio::time::timeout(SOON, async {
        while clock::unix() < brief_end(&one, &brief) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(refused(&brief, second.path()).await, JoinRefusal::Expired);
    // None of them has used anything up.
    let identity =
        join_cluster(&good, &region(), &at(address), &IdentityDir::of(second.path()), SOON).await.unwrap();
    assert_eq!(identity.node, NodeId(2));

    // It is good once.
    let third = tempfile::tempdir().unwrap();
    let used = JoinRefusal::Used { node: NodeId(2) };
    assert_eq!(refused(&good, third.path()).await, used);
    // Of who has not shown an invitation's secret no name is told: it may be another one each time.
    one.refuses(&Refusal::Join { invitation: None, refusal: JoinRefusal::Invalid }).await;
    one.refuses(&Refusal::Join { invitation: Some(brief.invitation), refusal: JoinRefusal::Expired }).await;
    one.refuses(&Refusal::Join { invitation: Some(good.invitation), refusal: used }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_cannot_be_read_is_told_too_and_not_in_its_own_words() {
    let first = tempfile::tempdir().unwrap();
    let (mut one, address) = founder(first.path());
    let authority = Authority::newest(&one.states.borrow()).unwrap().unwrap();
    let (_endpoint, connection) = connect(&authority, NodeId(9), NodeId(1), address, ALPN).await;
    let (mut asks, _answer) = connection.open_bi().await.unwrap();
    write(&mut asks, &BTreeMap::from([("a later form", 2)])).await;
    let unread = JoinRefusal::Refused("it is no join that this release can read".to_owned());
    one.refuses(&Refusal::Join { invitation: None, refusal: unread }).await;
}

fn brief_end(peer: &Peer, token: &Token) -> Unix {
    peer.states.borrow().invitation(&token.invitation).unwrap().until
}

/// Whoever listens at a token's address without the authority's key learns nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_tells_its_secret_to_its_cluster_alone() {
    let (first, second, third) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, address) = founder(first.path());
    // Another cluster by the same id.
    let (_other, foreign) = founder(second.path());
    let token = Token { addresses: vec![foreign], ..token(&one, address, None, later()) };
    let dir = IdentityDir::of(third.path());
    let within = Duration::from_secs(1);
    let error = join_cluster(&token, &region(), &at(address), &dir, within).await.unwrap_err();
    assert!(matches!(error, JoinError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains(&foreign.to_string()), "{error}");
    // One of the addresses is enough.
    let token = Token { addresses: vec![foreign, address], ..token };
    assert_eq!(join_cluster(&token, &region(), &at(address), &dir, SOON).await.unwrap().node, NodeId(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_slowed_down() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, address) = founder(first.path());
    let good = token(&one, address, None, later());
    let dir = IdentityDir::of(second.path());
    let begun = clock::mono();
    // So many at once, and then one a second.
    let burst = u8::try_from(JOIN_ATTEMPTS_BURST).unwrap();
    for n in 0..burst + 3 {
        let guess = Token { secret: Secret(vec![n; 32]), ..good.clone() };
        match join_cluster(&guess, &region(), &at(address), &dir, SOON).await {
            Err(JoinError::Refused(JoinRefusal::Invalid)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(clock::mono().since(begun) >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_cluster_is_told_so() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, address) = founder(first.path());
    let token = Token { cluster: ClusterId::from_random([9; 15]), ..token(&one, address, None, later()) };
    let (_socket, mine) = socket();
    let within = Duration::from_millis(500);
    let dir = IdentityDir::of(second.path());
    let error = join_cluster(&token, &region(), &at(mine), &dir, within).await.unwrap_err();
    // Its names are not those of the certificate there: it does not come to words.
    assert!(matches!(&error, JoinError::Unreachable(why) if why.contains("not valid for name")), "{error}");
    assert!(matches!(one.states.borrow().invitations().next(), Some((_, open)) if open.used.is_none()));
}

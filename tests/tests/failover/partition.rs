//! Links between nodes that carry nothing, in network namespaces: one link, a node cut off both ways, a node
//! that is not heard, a node that hears nothing.

use std::net::Ipv4Addr;
use std::time::Duration;

use chappe_tests::cluster::Cluster;
use chappe_tests::netns::{Lan, Namespace, turn};

use crate::talk::{Heard, Talk};

/// A link is noticed to be dead, and a way around it taken, within this.
const AROUND: Duration = Duration::from_secs(4);
/// A client of a node that is cut off is elsewhere within this: three seconds without a lease, and what it takes
/// to go.
const ELSEWHERE: Duration = Duration::from_secs(12);

/// Nodes by what they are to a talk: the first client's, which runs the room; the second's; and the one that
/// leads, which is neither.
struct Roles {
    first: u64,
    second: u64,
    leads: u64,
}

fn roles(cluster: &Cluster) -> Roles {
    let leads = cluster.leader(&[]).expect("a leader");
    let mut others = (1..=3).filter(|node| *node != leads);
    let mut next = || others.next().expect("three nodes");
    Roles { first: next(), second: next(), leads }
}

fn address(cluster: &mut Cluster, node: u64) -> Ipv4Addr {
    cluster.node(node).host.as_ref().expect("it has a host").address()
}

/// Two talk while `cut` breaks something around the first one's node.
fn talk_while(
    cut: impl Fn(&Namespace, &[Ipv4Addr]) + Send + Sync,
    whom: impl Fn(&Roles) -> Vec<u64>,
) -> Option<(Heard, Heard)> {
    let lan = Lan::new()?;
    let _turn = turn();
    let mut cluster = Cluster::on(&lan, 3);
    let roles = roles(&cluster);
    let room = cluster.room_of(roles.first);
    let (one, other) = (cluster.at(roles.first), cluster.at(roles.second));
    let others: Vec<Ipv4Addr> = whom(&roles).into_iter().map(|node| address(&mut cluster, node)).collect();
    let host = cluster.node(roles.first).host.take().expect("it has a host");
    let during = lan.server().within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut talk = Talk::join(&room, one, other).await;
            // Nothing to wait for: how long all is well, the link is cut, and all is well again.
            talk.during(tokio::time::sleep(Duration::from_secs(1))).await;
            let during = talk
                .during(async {
                    cut(&host, &others);
                    tokio::time::sleep(Duration::from_secs(10)).await;
                })
                .await;
            host.heal();
            let after = talk.during(tokio::time::sleep(Duration::from_secs(5))).await;
            (during, after)
        })
    });
    cluster.node(roles.first).host = Some(host);
    cluster.until_well();
    eprintln!("cut: {during:?}");
    Some(during)
}

fn nobody_left(heard: &Heard) {
    assert!(heard.news.iter().all(|news| news["type"] != "peer_left"), "{:?}", heard.news);
}

#[test]
fn a_dead_link_between_two_nodes_harms_nobody() {
    let Some((during, after)) = talk_while(Namespace::cut, |roles| vec![roles.second]) else { return };
    assert_eq!((during.resumed, after.resumed), (0, 0), "both stay where they are");
    assert!(during.news.is_empty(), "nobody noticed: {:?}", during.news);
    assert!(during.longest < AROUND, "{:?}", during.longest);
}

#[test]
fn clients_of_a_node_that_is_cut_off_go_on_elsewhere() {
    let Some((during, _)) = talk_while(Namespace::cut, |roles| vec![roles.second, roles.leads]) else {
        return;
    };
    assert!(during.resumed > 0);
    assert!(during.longest < ELSEWHERE, "{:?}", during.longest);
    nobody_left(&during);
}

#[test]
fn clients_of_a_node_that_is_not_heard_go_on_elsewhere() {
    let Some((during, _)) = talk_while(Namespace::mute, |roles| vec![roles.second, roles.leads]) else {
        return;
    };
    assert!(during.resumed > 0);
    assert!(during.longest < ELSEWHERE, "{:?}", during.longest);
    nobody_left(&during);
}

#[test]
fn clients_of_a_node_that_hears_nothing_go_on_elsewhere() {
    let Some((during, _)) = talk_while(Namespace::deaf, |roles| vec![roles.second, roles.leads]) else {
        return;
    };
    assert!(during.resumed > 0);
    assert!(during.longest < ELSEWHERE, "{:?}", during.longest);
    nobody_left(&during);
}

//! Connections that are reset, or go silent, while signals are in flight both ways.

use chappe_tests::client::Client;
use chappe_tests::forwarder::Forwarder;
use chappe_tests::process::Chappe;
use serde_json::{Value, json};

const COUNT: u64 = 300;

/// Both sides signal all the time; `fault` strikes again and again. Nothing is lost, doubled or reordered.
async fn through(fault: fn(&Forwarder), times: usize) {
    let dir = tempfile::tempdir().unwrap();
    let node = Chappe::dev(dir.path());
    let (north, south) = (Forwarder::to(node.http).await, Forwarder::to(node.http).await);
    let mut ada = Client::join(north.at, json!({ "room": "room" })).await;
    let mut ben = Client::join(south.at, json!({ "room": "room" })).await;
    let mut cleo = Client::join(node.http, json!({ "room": "room" })).await;
    let (a, b) = (ada.peer.clone(), ben.peer.clone());
    for n in 0..COUNT {
        ada.signal(&b, n).await;
        ben.signal(&a, n).await;
    }
    let step = usize::try_from(COUNT).unwrap() / (times + 1);
    let mut got = (Vec::new(), Vec::new());
    for time in 0..times {
        got.0.extend(ada.signals(&b, step).await);
        got.1.extend(ben.signals(&a, step).await);
        fault(if time % 2 == 0 { &north } else { &south });
        if time == times / 2 {
            // Both at once.
            fault(&north);
            fault(&south);
        }
    }
    let all: Vec<Value> = (0..COUNT).map(Value::from).collect();
    let left = all.len() - got.0.len();
    got.0.extend(ada.signals(&b, left).await);
    let left = all.len() - got.1.len();
    got.1.extend(ben.signals(&a, left).await);
    assert_eq!(got.0, all);
    assert_eq!(got.1, all);
    ada.delivered(&b, COUNT).await;
    ben.delivered(&a, COUNT).await;
    // Nobody left: the third saw them away and back, and that is all.
    cleo.signal(&a, "still there?").await;
    cleo.delivered_without(&a, 1, "peer_left").await;
    assert_eq!(ada.welcome["type"], "resumed");
    assert_eq!((ada.peer, ben.peer), (a, b));
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_lose_and_double_nothing() {
    through(Forwarder::reset, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn black_holes_lose_and_double_nothing() {
    through(Forwarder::swallow, 3).await;
}

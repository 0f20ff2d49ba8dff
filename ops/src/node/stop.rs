//! How a node stops: clients go elsewhere first, within a time, unless somebody is in a hurry.

use std::time::Duration;

use chappe_cluster::clock;
use chappe_cluster::start::Running;
use chappe_proto::time::Mono;

use crate::signals::Signals;

/// What is left is said this often.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Drains the node and stops it; at the next signal it stops at once.
pub(super) async fn in_order(node: Running, signals: &mut Signals, within: Duration) {
    if !within.is_zero() {
        println!("draining, for {} s at most; Ctrl-C stops at once", within.as_secs());
        let mut due = Mono::default();
        let mut empty = true;
        let drained = node.drain(within, |left| {
            empty = left.is_nothing();
            if !empty && clock::mono() >= due {
                due = clock::mono() + SAY_EVERY;
                println!("  {} shards, {} sessions left", left.shards, left.sessions);
            }
        });
        tokio::select! {
            () = drained => if !empty {
                println!("not everything has moved in time; stopping");
            },
            () = signals.next() => println!("stopping at once"),
        }
    }
    node.stop().await;
    println!("stopped");
}

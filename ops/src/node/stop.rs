//! How a node stops: clients go elsewhere first, within a time, unless somebody is in a hurry.

use std::time::Duration;

use chappe_cluster::start::Running;

use crate::signals::Signals;

/// Drains the node and stops it; at the next signal it stops at once.
pub(super) async fn in_order(node: Running, signals: &mut Signals, within: Duration) {
    if !within.is_zero() {
        println!("draining, for {} s at most; Ctrl-C stops at once", within.as_secs());
        tokio::select! {
            () = node.drain(within, |_| ()) => {}
            () = signals.next() => println!("stopping at once"),
        }
    }
    node.stop().await;
    println!("stopped");
}

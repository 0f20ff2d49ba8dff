//! How the edge is, said once a second over one uplink.

use chappe_proto::limits::HEALTH_EVERY;
use chappe_proto::mesh::uplink::{Health, Up};
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::link::LinkError;
use crate::health;

/// Says how the edge is, until the connection ends.
pub(super) async fn run(
    shared: &Shared,
    connection: &Connection,
    says: &mpsc::Sender<Up>,
    up: impl Fn(u32),
) -> LinkError {
    let rtt = || u32::try_from(connection.rtt().as_micros()).unwrap_or(u32::MAX);
    // The first tick may take its time.
    up(rtt());
    let mut is_long = false;
    let mut every = tokio::time::interval(HEALTH_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seq = 0;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            // A listener that begins to fail is told at once, as one that begins to work.
            () = shared.health.changed() => {}
            error = connection.closed() => return error.into(),
        }
        seq += 1;
        up(rtt());
        let health = shared.health.report(seq, &shared.driver).await;
        let was_long = std::mem::replace(&mut is_long, say(shared, connection, says, health));
        if is_long && !was_long {
            tracing::error!("health does not fit a datagram: nodes of older releases miss it");
        }
    }
}

/// Sends a report; whether it was too long for a datagram.
fn say(shared: &Shared, connection: &Connection, says: &mpsc::Sender<Up>, health: Health) -> bool {
    let max = connection.max_datagram_size().unwrap_or(usize::MAX);
    match health::fitted(&health, shared.health.listeners(), max) {
        Ok(None) => {
            // Over the stream, where there is room for it just now.
            let _ = says.try_send(Up::Health(Box::new(health)));
            return true;
        }
        // A datagram that does not get through is replaced by the next.
        Ok(Some(bytes)) => {
            if let Err(error) = connection.send_datagram(bytes.into()) {
                tracing::debug!(%error, "health not sent");
            }
        }
        Err(error) => tracing::error!(%error, "health cannot be written"),
    }
    false
}

//! Probes of other edges, which the nodes ask for. A node hands out addresses of the registry alone; of what an
//! edge answers nothing is believed but a relayed address within the ranges that the node told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chappe_proto::limits::{
    PROBE_LISTENERS_AT_ONCE, PROBE_LISTENERS_MAX, PROBE_OUTSIDE_WITHIN, PROBES_AT_ONCE,
};
use chappe_proto::mesh::probe::{Found, Probe};
use chappe_proto::turn::Reach;
use tokio::task::JoinSet;

use super::{Probed, ask};

/// How many probes of other edges are under way.
#[derive(Debug, Default)]
pub(crate) struct Outside(AtomicUsize);

/// A place among them.
pub(crate) struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Outside {
    /// A place for one more, unless there are too many.
    pub(crate) fn enter(&self) -> Option<Place<'_>> {
        let place = Place(&self.0);
        (self.0.fetch_add(1, Ordering::Relaxed) < PROBES_AT_ONCE).then_some(place)
    }
}

/// Probes every listener, some at once; what is found is in their order. Within a `LocalSet`.
pub(crate) async fn run(probe: Probe) -> Vec<Found> {
    run_within(probe, PROBE_OUTSIDE_WITHIN).await
}

/// The same, where each is given up after so long.
pub(super) async fn run_within(probe: Probe, within: Duration) -> Vec<Found> {
    let Probe { listeners, relays, username, password, .. } = probe;
    let password = String::from_utf8_lossy(&password.0).into_owned();
    let (mut all, mut asked) = (Vec::new(), JoinSet::new());
    for (place, listener) in listeners.into_iter().take(PROBE_LISTENERS_MAX).enumerate() {
        let reach =
            Reach::Relay { username: username.clone(), password: password.clone(), relays: relays.clone() };
        let Ok(probed) = Probed::outside(listener) else { continue }; // a hostname that is none
        if asked.len() >= PROBE_LISTENERS_AT_ONCE
            && let Some(Ok(found)) = asked.join_next().await
        {
            all.push(found);
        }
        asked.spawn_local(async move { (place, ask(&probed, reach, within).await) });
    }
    while let Some(found) = asked.join_next().await {
        all.extend(found.ok());
    }
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, found)| found).collect()
}

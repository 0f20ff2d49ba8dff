//! How an edge is, as JSON.

use chappe_edge::{LinkState, Status, Stuck};
use chappe_proto::mesh::uplink::Listener;
use chappe_proto::turn::Limit;
use serde_json::{Value, json};

/// The document at `/health`. Times of certificates are seconds of Unix time, counters count from the start.
pub(super) fn of(seen: &Result<Status, Stuck>) -> Value {
    let Ok(status) = seen else {
        let text =
            "its loop does not answer: something else uses its processor, or it has ended: look at its log";
        return json!({"state": "stuck", "reasons": [{"reason": "stuck", "text": text}]});
    };
    let health = &status.health;
    let reasons = status.condition.reasons.iter();
    json!({
        "edge": status.edge,
        "region": status.region,
        "build": status.build,
        "state": status.condition.state.name(),
        "reasons": reasons.map(|it| json!({"reason": it.name(), "text": it.to_string()})).collect::<Vec<_>>(),
        "draining": health.draining,
        "cut_off_ms": status.cut_off_ms,
        "uptime_ms": health.uptime_ms,
        "applied": status.applied,
        "allocations": health.allocations,
        "capacity": status.capacity,
        "streams": status.streams,
        "sent": health.sent,
        "received": health.received,
        "rates": status.rates,
        "drops": health.drops,
        "receive_drops": health.receive_drops,
        "limits": health.limits,
        "cpu_ms": health.cpu_ms,
        "loop_cpu_ms": health.loop_cpu_ms,
        "loop_lag_us": health.loop_lag_us,
        "cores": health.cores,
        "memory": health.rss,
        "memory_limit": health.memory_limit,
        "files": health.files,
        "files_limit": health.files_limit,
        "bandwidth": health.bandwidth,
        "listeners": listeners(status).map(listener).collect::<Vec<_>>(),
        "uplinks": status.uplinks.iter().map(uplink).collect::<Vec<_>>(),
    })
}

/// A listener, and what the edge's own probe found of it.
pub(super) struct Seen<'a> {
    pub(super) listener: &'a Listener,
    pub(super) probe: Probe,
    /// When its certificate ends, in seconds of Unix time.
    pub(super) until: Option<u64>,
}

/// What the edge's own probe found.
pub(super) enum Probe {
    /// How long the answer took, in microseconds.
    Answered(u32),
    /// Why there was none.
    Fails(String),
    /// It comes in a moment.
    Awaited,
}

/// The listeners, in their order.
pub(super) fn listeners(status: &Status) -> impl Iterator<Item = Seen<'_>> {
    (0_u16..).zip(&status.listeners).map(|(place, listener)| {
        let at = usize::from(place);
        let answered = status.health.answered_us.get(at).copied().flatten();
        let probe = match (status.health.faults.get(&place), answered) {
            (Some(fault), _) => Probe::Fails(fault.to_string()),
            (None, Some(micros)) => Probe::Answered(micros),
            (None, None) => Probe::Awaited,
        };
        let until = status.certificates.get(at).copied().flatten();
        Seen { listener, probe, until: until.map(|until| until.secs()) }
    })
}

fn listener(seen: Seen<'_>) -> Value {
    let (works, micros, fault) = match seen.probe {
        Probe::Answered(micros) => (Some(true), Some(micros), None),
        Probe::Fails(fault) => (Some(false), None, Some(fault)),
        Probe::Awaited => (None, None, None),
    };
    json!({
        "transport": seen.listener.transport.name(),
        "address": seen.listener.address,
        "hostname": seen.listener.hostname,
        "works": works,
        "answered_us": micros,
        "fault": fault,
        "certificate_until": seen.until,
    })
}

fn uplink(link: &LinkState) -> Value {
    match link {
        LinkState::Connecting { address } => json!({"state": "connecting", "address": address}),
        LinkState::Up { address, node, rtt_us } => {
            json!({"state": "up", "address": address, "node": node, "rtt_us": rtt_us})
        }
        LinkState::Down { address, reason } => json!({"state": "down", "address": address, "reason": reason}),
    }
}

/// What to do about a limit that was met.
pub(super) fn fix(limit: &str) -> Option<&'static str> {
    Limit::ALL.into_iter().find(|known| known.name() == limit).map(Limit::fix)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn all_of_it_is_there() {
        let shown = of(&Ok(sample::status()));
        assert_eq!(
            (&shown["state"], &shown["allocations"], &shown["cut_off_ms"]),
            (&json!("degraded"), &json!(12), &json!(65_000))
        );
        let reason = &shown["reasons"][0];
        assert_eq!(reason["reason"], "listener");
        assert!(
            reason["text"].as_str().is_some_and(|text| text.contains("browsers refuse its certificate")),
            "{reason}"
        );
        let listeners = &shown["listeners"];
        assert_eq!((&listeners[0]["works"], &listeners[0]["answered_us"]), (&json!(true), &json!(180)));
        assert_eq!(
            (&listeners[1]["works"], &listeners[1]["certificate_until"]),
            (&json!(false), &json!(1_700_864_000))
        );
        assert_eq!(
            (&listeners[2]["works"], &listeners[2]["hostname"]),
            (&Value::Null, &json!("turn.example"))
        );
        assert_eq!(
            (&shown["uplinks"][0]["state"], &shown["uplinks"][1]["rtt_us"]),
            (&json!("down"), &json!(3200))
        );
        assert_eq!(
            (&shown["drops"]["no_permission"], &shown["sent"]["packets"]),
            (&json!(3), &json!(1_234_567))
        );
        assert_eq!(of(&Err(Stuck))["state"], "stuck");
    }
}

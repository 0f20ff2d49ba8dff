//! How an edge is, for Prometheus (text format 0.0.4). Base units, as it wants them: seconds and bytes.

use std::fmt::Write as _;

use chappe_edge::{LinkState, Status, Stuck};

use super::figures::{Probe, listeners};

/// The text at `/metrics`; of an edge that does not answer, that it is not up.
pub(super) fn of(seen: &Result<Status, Stuck>) -> String {
    let mut all = Metrics(String::new());
    all.gauge("up", "Whether its loop answers.", u8::from(seen.is_ok()));
    let Ok(status) = seen else { return all.0 };
    let health = &status.health;
    all.head("info", "gauge", "Which edge this is.");
    let labels = [
        ("edge", status.edge.to_string()),
        ("region", status.region.to_string()),
        ("build", status.build.clone()),
    ];
    all.value("info", &labels, 1);
    all.head("state", "gauge", "1 of the state that it is in.");
    all.value("state", &[("state", status.condition.state.name().to_owned())], 1);
    all.gauge("draining", "Whether it takes no new allocations.", u8::from(health.draining));
    all.gauge(
        "cut_off_seconds",
        "For how long no uplink has stood.",
        seconds(status.cut_off_ms.unwrap_or(0)),
    );
    all.gauge("allocations", "Allocations now.", health.allocations);
    all.gauge("allocations_max", "Allocations at most.", status.capacity);
    all.gauge("streams", "TCP and TLS streams now.", status.streams);
    all.head("packets_total", "counter", "Relayed packets of payload.");
    all.head("bytes_total", "counter", "Relayed bytes of payload.");
    for (way, traffic) in [("to_peers", health.sent), ("to_clients", health.received)] {
        let labels = [("way", way.to_owned())];
        all.value("packets_total", &labels, traffic.packets);
        all.value("bytes_total", &labels, traffic.bytes);
    }
    all.each("dropped_total", "Packets dropped, by cause.", "cause", &health.drops);
    all.each("limited_total", "How often limits were met.", "limit", &health.limits);
    all.head("receive_drops_total", "counter", "Datagrams that the kernel dropped.");
    all.value("receive_drops_total", &[], health.receive_drops);
    all.head("cpu_seconds_total", "counter", "Processor time of the process.");
    all.value("cpu_seconds_total", &[], seconds(health.cpu_ms));
    all.head("loop_cpu_seconds_total", "counter", "Processor time of the thread that relays.");
    all.value("loop_cpu_seconds_total", &[], seconds(health.loop_cpu_ms));
    let lag = f64::from(health.loop_lag_us) / 1e6;
    all.gauge("loop_lag_seconds", "The longest turn of the last second or two.", lag);
    all.gauge("memory_bytes", "Resident memory.", health.rss);
    all.gauge("files", "File descriptors in use.", health.files);
    all.gauge("files_max", "File descriptors at most.", health.files_limit);
    all.gauge("uptime_seconds", "How long the process has run.", seconds(health.uptime_ms));
    probes(&mut all, status);
    all.head("uplink_seconds", "gauge", "The round trip of each uplink that stands.");
    for link in &status.uplinks {
        if let LinkState::Up { node, rtt_us, .. } = link {
            all.value("uplink_seconds", &[("node", node.to_string())], f64::from(*rtt_us) / 1e6);
        }
    }
    all.0
}

/// What it found of its listeners.
fn probes(all: &mut Metrics, status: &Status) {
    all.head("listener_works", "gauge", "Whether the edge's own probe of a listener was answered.");
    all.head("certificate_ends_seconds", "gauge", "When a listener's certificate ends, in Unix time.");
    for seen in listeners(status) {
        let name = seen.listener.transport.name().to_owned();
        let labels = [("transport", name), ("address", seen.listener.address.to_string())];
        all.value("listener_works", &labels, u8::from(matches!(seen.probe, Probe::Answered(_))));
        if let Some(until) = seen.until {
            all.value("certificate_ends_seconds", &labels, until);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds need no more than 52 bits")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

struct Metrics(String);

impl Metrics {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP chappe_edge_{name} {help}\n# TYPE chappe_edge_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, String)], value: impl std::fmt::Display) {
        let label = |(name, value): &(&str, String)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        };
        let labels: Vec<String> = labels.iter().map(label).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "chappe_edge_{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, "gauge", help);
        self.value(name, &[], value);
    }

    fn each(&mut self, name: &str, help: &str, label: &str, all: &std::collections::BTreeMap<String, u64>) {
        self.head(name, "counter", help);
        for (of, count) in all {
            self.value(name, &[(label, of.clone())], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn values_are_in_base_units_with_their_labels() {
        let text = of(&Ok(sample::status()));
        for line in [
            "chappe_edge_up 1",
            "chappe_edge_info{edge=\"edge-eu-1\",region=\"eu-west\",build=\"0.1.0\"} 1",
            "chappe_edge_cut_off_seconds 65",
            "chappe_edge_packets_total{way=\"to_peers\"} 1234567",
            "chappe_edge_dropped_total{cause=\"no_permission\"} 3",
            "chappe_edge_loop_lag_seconds 0.00125",
            "chappe_edge_listener_works{transport=\"TLS\",address=\"192.0.2.1:443\"} 0",
            "chappe_edge_certificate_ends_seconds{transport=\"TLS\",address=\"192.0.2.1:443\"} 1700864000",
            "chappe_edge_uplink_seconds{node=\"3\"} 0.0032",
        ] {
            assert!(text.lines().any(|has| has == line), "{line}\n{text}");
        }
        assert_eq!(of(&Err(Stuck)).lines().last(), Some("chappe_edge_up 0"));
    }
}

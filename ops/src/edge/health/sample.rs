//! An edge in some trouble, for tests.
#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

use chappe_edge::{LinkState, Status};
use chappe_proto::id::{EdgeId, Index, NodeId, Region};
use chappe_proto::mesh::probe::{Cause, Fault, Step};
use chappe_proto::mesh::uplink::{Health, Listener, Traffic};
use chappe_proto::select::condition::{Condition, Rates, State};
use chappe_proto::select::reason::Reason;
use chappe_proto::time::Unix;
use chappe_proto::turn::Transport;

/// When it is looked at.
pub(super) const NOW: Unix = Unix::from_secs(1_700_000_000);

/// It is cut off, one of its listeners fails, and another has not been asked yet.
pub(super) fn status() -> Status {
    let listener = |transport, port, hostname: Option<&str>| Listener {
        transport,
        address: ([192, 0, 2, 1], port).into(),
        hostname: hostname.map(str::to_owned),
    };
    let listeners = vec![
        listener(Transport::Udp, 3478, None),
        listener(Transport::Tls, 443, Some("turn.example")),
        listener(Transport::Dtls, 443, Some("turn.example")),
    ];
    let text = "UnknownIssuer <give one of a public authority>".to_owned();
    let fault = Fault { step: Step::Connect, cause: Cause::Certificate, code: None, text };
    let failed = Reason::Listener { listener: listeners[1].clone(), fault: Some(fault.clone()) };
    let (gone, there) = ("192.0.2.7:7400".parse().unwrap(), "192.0.2.8:7400".parse().unwrap());
    Status {
        edge: EdgeId::new("edge-eu-1").unwrap(),
        region: Region::new("eu-west").unwrap(),
        build: "0.1.0".to_owned(),
        condition: Condition { state: State::Degraded, reasons: vec![failed] },
        certificates: vec![None, Some(NOW + std::time::Duration::from_secs(10 * 86_400)), None],
        uplinks: vec![
            LinkState::Down { address: gone, reason: "the node is silent".to_owned() },
            LinkState::Up { address: there, node: NodeId(3), rtt_us: 3200 },
        ],
        cut_off_ms: Some(65_000),
        applied: Index(41),
        capacity: 16_384,
        streams: 4,
        rates: Some(Rates {
            busy: 0.031,
            cpu: 0.05,
            sent: 8_400_000.0,
            received: 12_000.0,
            receive_drops: 0.0,
            receive_drops_part: 0.0,
        }),
        health: Health {
            allocations: 12,
            sent: Traffic { packets: 1_234_567, bytes: 987_654_321 },
            received: Traffic { packets: 9, bytes: 1500 },
            drops: [("no_permission".to_owned(), 3)].into(),
            limits: [("challenges".to_owned(), 7)].into(),
            cpu_ms: 4000,
            loop_cpu_ms: 3500,
            loop_lag_us: 1250,
            rss: 45 << 20,
            memory_limit: Some(2 << 30),
            files: 40,
            files_limit: 1024,
            cores: 2,
            uptime_ms: 93_784_000,
            failed_listeners: vec![listeners[1].clone()],
            answered_us: vec![Some(180), None, None],
            faults: [(1, fault)].into(),
            certificate_until: Some(NOW),
            ..Health::default()
        },
        listeners,
    }
}

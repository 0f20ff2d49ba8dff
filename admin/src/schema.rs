//! Types of the protocol's crate as the API's description has them: that crate knows nothing of HTTP.
//! Never made, only described; a test holds each against what the real type is written as.
#![allow(dead_code, reason = "described, never made")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// Milliseconds since 1970-01-01 UTC.
#[derive(ToSchema)]
pub(crate) struct Time(u64);

/// A node's number.
#[derive(ToSchema)]
#[schema(examples(3), minimum = 0)]
pub(crate) struct Node(u64);

/// Where something stands.
#[derive(Serialize, ToSchema)]
#[schema(examples("eu"), min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.~:@-]+$")]
pub(crate) struct Region(String);

/// An edge's name.
#[derive(ToSchema)]
#[schema(examples("edge-eu"), min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.~:@-]+$")]
pub(crate) struct EdgeName(String);

/// An app's id.
#[derive(Serialize, ToSchema)]
#[schema(examples("shop"), min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.~:@-]+$")]
pub(crate) struct AppId(String);

/// A room's name within its app.
#[derive(ToSchema)]
#[schema(examples("standup"), min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.~:@-]+$")]
pub(crate) struct RoomName(String);

/// An address and a port.
#[derive(ToSchema)]
#[schema(examples("203.0.113.7:3478"))]
pub(crate) struct Address(String);

/// Whether a node is there, as the registry has it.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeState {
    /// Its process has begun and was not found gone.
    Up,
    /// Found gone, or never begun.
    Down,
}

/// What an operator has decided of an edge.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EdgeState {
    /// Given to clients.
    Admitted,
    /// Takes no new allocations.
    Draining,
    /// Refused, until an operator admits it again or forgets it.
    Removed,
}

/// Which timers a cluster runs by.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Timers {
    /// For nodes in one place.
    Lan,
    /// For nodes in regions that are far apart.
    Wan,
}

/// Which edge an invitation is for: the one of this name, which may be there already; else any new one.
#[derive(ToSchema)]
pub(crate) struct InvitedEdge {
    name: Option<EdgeName>,
}

/// Who probes an edge.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Prober {
    /// Another edge.
    Edge(EdgeName),
    /// A node.
    Node(Node),
}

/// Packets, and bytes of payload.
#[derive(ToSchema)]
pub(crate) struct Traffic {
    packets: u64,
    bytes: u64,
}

/// Payload that was relayed, both ways.
#[derive(ToSchema)]
pub(crate) struct Relayed {
    /// From clients to peers.
    sent: Traffic,
    /// From peers to clients.
    received: Traffic,
}

/// A figure over one step of time.
#[derive(ToSchema)]
pub(crate) struct Point {
    /// When the step began, in seconds since 1970.
    at: u64,
    /// The least that it was.
    min: f64,
    /// What it was on average, each sample alike.
    mean: f64,
    /// The most.
    max: f64,
    /// Samples that there were.
    samples: u32,
}

/// One listener of an edge, as clients reach it.
#[derive(ToSchema)]
pub(crate) struct Listener {
    /// How: udp, tcp, tls, dtls.
    transport: String,
    /// The advertised address and port.
    address: Address,
    /// A hostname to put into URLs instead of the address.
    hostname: Option<String>,
}

/// An advertised relay address and its ports.
#[derive(ToSchema)]
pub(crate) struct RelayRange {
    /// The address that relayed transport addresses carry.
    #[schema(examples("203.0.113.7"))]
    address: String,
    /// The lowest port.
    first: u16,
    /// The highest port.
    last: u16,
}

/// How an edge is.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EdgeIs {
    /// Everything works.
    Up,
    /// It serves, but something does not work, or will not work soon.
    Degraded,
    /// It serves whom it has, and takes no new clients until it has room again.
    Overloaded,
    /// It serves whom it has until they are gone, and takes no new ones.
    Draining,
    /// Nobody hears it, or it is no part of the cluster any more.
    Lost,
}

/// How an edge is, and why.
#[derive(ToSchema)]
pub(crate) struct Condition {
    state: EdgeIs,
    /// Why it is not simply up, each with its figures.
    reasons: Vec<Reason>,
}

/// Why an edge is not simply up; its figures stand beside the name.
#[derive(ToSchema)]
pub(crate) struct Reason {
    /// Its name.
    #[schema(examples("busy"))]
    reason: String,
}

/// An edge's last report. Counters count from the start of its process.
#[derive(ToSchema)]
pub(crate) struct EdgeHealth {
    /// Counts the reports of a connection.
    seq: u64,
    /// Allocations now.
    allocations: u32,
    /// Payload, client to peer.
    sent: Traffic,
    /// Payload, peer to client.
    received: Traffic,
    /// Dropped packets by cause.
    drops: BTreeMap<String, u64>,
    /// CPU time of the process, in milliseconds.
    cpu_ms: u64,
    /// Resident memory in bytes.
    rss: u64,
    /// The longest turn of its loop in the last second, in microseconds.
    loop_lag_us: u32,
    /// Listeners that did not answer their own probe.
    failed_listeners: Vec<Listener>,
    /// How often each limit was met.
    limits: BTreeMap<String, u64>,
    /// How long the process has run, in milliseconds.
    uptime_ms: u64,
    /// CPU time of the thread that relays, in milliseconds.
    loop_cpu_ms: u64,
    /// Cores that the process may use; zero where that is not told.
    cores: u16,
    /// Bytes of memory that the process may use, where that is known.
    memory_limit: Option<u64>,
    /// File descriptors in use.
    files: u32,
    /// File descriptors that the process may have; zero where that is not told.
    files_limit: u32,
    /// Datagrams that the kernel dropped because a socket's buffer was full.
    receive_drops: u64,
    /// Bits a second that it relays each way at most; zero is no limit.
    bandwidth: u64,
    /// When the first of its certificates ends.
    certificate_until: Option<Time>,
    /// How long each listener took to answer its own probe, in microseconds.
    answered_us: Vec<Option<u32>>,
    /// What failed at those that did not, by their place.
    faults: BTreeMap<String, serde_json::Value>,
    /// It takes no new allocations.
    draining: bool,
}

/// How a peer's media connection to another is, ICE and DTLS together (W3C `RTCPeerConnectionState`).
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConnectionState {
    /// Not begun.
    New,
    /// ICE checks pairs of candidates, or DTLS shakes hands.
    Connecting,
    /// Media flows, or could.
    Connected,
    /// Nothing comes any more; it may yet recover.
    Disconnected,
    /// No pair of candidates works.
    Failed,
    /// Over.
    Closed,
}

/// The type of an ICE candidate (RFC 8445 section 4).
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CandidateType {
    /// An address of its own.
    Host,
    /// Its address as a STUN server sees it.
    Srflx,
    /// Its address as the other side saw it in a check.
    Prflx,
    /// A relay's.
    Relay,
}

/// How an app treats its users.
#[derive(ToSchema)]
pub(crate) struct AppPolicy {
    /// How long a session outlives its socket, in milliseconds.
    grace_ms: u64,
    /// How long a TURN credential lasts, in milliseconds.
    credential_ttl_ms: u64,
    /// Whether one may join without a token.
    anonymous: bool,
    /// Peers of a room where its token says no other number.
    capacity: u32,
    /// Frames that a session may send in a burst.
    frames_burst: u32,
    /// Frames a second that it may send for long.
    frames_per_sec: u32,
    /// The `Origin`s that browsers may come from; empty for any.
    origins: Vec<String>,
}

/// What is decided of a room.
#[derive(ToSchema)]
pub(crate) struct RoomPolicy {
    /// Peers that it holds: in the place of the app's number, and no token's is higher.
    capacity: Option<u32>,
    /// Whether nobody new comes in.
    locked: bool,
    /// Whether newcomers wait until somebody lets them in.
    lobby: bool,
    /// Where it is to run.
    region: Option<String>,
    /// When it is closed, in milliseconds of Unix time; nobody gets in after it.
    expires: Option<u64>,
    /// Whatever its app's server put there.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
}

/// Which edges the clients of a region, or of an app, are given.
#[derive(Default, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rule {
    /// Clients there.
    region: Option<Region>,
    /// Clients of this app.
    app: Option<AppId>,
    /// Edges there before any others, however far.
    prefer: Vec<Region>,
    /// No edges there, whatever happens.
    never: Vec<Region>,
    /// Edges there and nowhere else, whatever happens.
    only: Vec<Region>,
}

/// Where regions and networks are, and which edges are for whom.
#[derive(Default, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Selection {
    /// Where regions are, in degrees: latitude and longitude.
    regions: BTreeMap<String, [f64; 2]>,
    /// In which region the clients of a network are; the longest prefix counts.
    networks: BTreeMap<String, Region>,
    /// Which edges for whom: all rules that match count.
    rules: Vec<Rule>,
}

#[cfg(test)]
mod tests {
    use chappe_proto::mesh::uplink;
    use chappe_proto::registry;
    use chappe_proto::registry::profile::ProfileName;
    use chappe_proto::select::condition::State;
    use chappe_proto::usage;
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::*;

    /// What is written has what the schema promises, and nothing that it does not know.
    fn same<S: PartialSchema>(real: &impl Serialize) {
        let (schema, real) =
            (serde_json::to_value(S::schema()).unwrap(), serde_json::to_value(real).unwrap());
        let (known, real) = (schema["properties"].as_object().unwrap(), real.as_object().unwrap());
        let strange: Vec<_> = real.keys().filter(|key| !known.contains_key(*key)).collect();
        assert!(strange.is_empty(), "{strange:?} is not in {schema}");
        for needed in schema["required"].as_array().into_iter().flatten() {
            assert!(real.contains_key(needed.as_str().unwrap()), "{needed} is not written: {real:?}");
        }
    }

    fn one_of<S: PartialSchema>(all: &[impl Serialize]) {
        let schema = serde_json::to_value(S::schema()).unwrap();
        let all: Vec<Value> = all.iter().map(|one| json!(one)).collect();
        let listed = schema["enum"].as_array().cloned();
        let told = schema["oneOf"].as_array().into_iter().flatten().map(|one| one["enum"][0].clone());
        assert_eq!(listed.unwrap_or_else(|| told.collect()), all);
    }

    #[test]
    fn each_is_as_the_real_one_is_written() {
        let listener = json!({ "transport": "udp", "address": "203.0.113.7:3478" });
        let listener: uplink::Listener = serde_json::from_value(listener).unwrap();
        let range = json!({ "address": "203.0.113.7", "first": 1, "last": 2 });
        let range: uplink::RelayRange = serde_json::from_value(range).unwrap();
        same::<Listener>(&listener);
        same::<RelayRange>(&range);
        same::<EdgeHealth>(&uplink::Health::default());
        same::<Traffic>(&uplink::Traffic::default());
        same::<Relayed>(&usage::Relayed::default());
        same::<Point>(&chappe_proto::history::Point::of(1, 1.0));
        same::<InvitedEdge>(&registry::InvitedEdge::default());
        same::<Condition>(&chappe_proto::select::condition::Condition::default());
        same::<Reason>(&chappe_proto::select::reason::Reason::Silent);
        let rule = json!({ "region": "a", "app": "a", "prefer": ["a"], "never": ["b"], "only": ["a"] });
        let policy =
            json!({ "regions": { "a": [1, 2] }, "networks": { "10.0.0.0/8": "a" }, "rules": [rule] });
        let policy: chappe_proto::select::Policy = serde_json::from_value(policy).unwrap();
        same::<AppPolicy>(&registry::AppPolicy::default());
        let policy_of_room = registry::RoomPolicy {
            capacity: Some(2),
            locked: true,
            lobby: true,
            region: chappe_proto::id::Region::new("a").ok(),
            expires: Some(chappe_proto::time::Unix::from_secs(1)),
            metadata: chappe_proto::signal::json::Json::parse("{}").ok(),
        };
        same::<RoomPolicy>(&policy_of_room);
        same::<RoomPolicy>(&registry::RoomPolicy::default());
        same::<Selection>(&policy);
        same::<Rule>(&policy.rules[0]);
        use chappe_proto::signal::connection::{CandidateType as Type, ConnectionState as Is};
        let states = [Is::New, Is::Connecting, Is::Connected, Is::Disconnected, Is::Failed, Is::Closed];
        one_of::<ConnectionState>(&states);
        one_of::<CandidateType>(&[Type::Host, Type::Srflx, Type::Prflx, Type::Relay]);
        one_of::<NodeState>(&[registry::NodeState::Up, registry::NodeState::Down]);
        let decided =
            [registry::EdgeState::Admitted, registry::EdgeState::Draining, registry::EdgeState::Removed];
        one_of::<EdgeState>(&decided);
        one_of::<Timers>(&[ProfileName::Lan, ProfileName::Wan]);
        one_of::<EdgeIs>(&[State::Up, State::Degraded, State::Overloaded, State::Draining, State::Lost]);
    }
}

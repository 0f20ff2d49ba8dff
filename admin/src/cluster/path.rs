//! By which edges somebody's media goes, as far as the servers can know: what is relayed is seen, what goes directly
//! from client to client is not.

use std::collections::BTreeMap;

use chappe_proto::id::{EdgeId, Region};
use chappe_proto::limits::PATH_MEDIA_BYTES;
use chappe_proto::mesh::allocations::AllocationReport;
use serde::Serialize;
use utoipa::ToSchema;

/// By which edges somebody's media goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = MediaPath)]
pub struct Path {
    /// Where it holds relays, the busiest first. None: no edge that answers relays anything of it.
    pub relays: Vec<Relay>,
    /// Edges that did not answer: what they relay of it is not known.
    #[schema(value_type = Vec<String>)]
    pub unknown: Vec<EdgeId>,
}

/// What somebody holds at an edge by one transport.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = HeldRelay)]
pub struct Relay {
    /// Which edge.
    #[schema(value_type = String)]
    pub edge: EdgeId,
    /// Where that stands, where it is heard.
    #[schema(value_type = Option<String>)]
    pub region: Option<Region>,
    /// How the client reaches it: `udp`, `tcp`, `tls` or `dtls`.
    pub transport: String,
    /// How many allocations that are.
    pub allocations: u32,
    /// Payload a second that they relayed in the second before this was told, both ways.
    pub bytes_per_s: u64,
    /// Whether that is more than the checks by which ICE keeps a path ready: media goes over it.
    pub in_use: bool,
}

/// What an edge told of somebody's allocations, and again a moment later; none where it did not answer.
pub type Looks = BTreeMap<EdgeId, Option<(Vec<AllocationReport>, Vec<AllocationReport>)>>;

impl Path {
    /// What two looks tell. How far apart they are each edge says itself, by the ages of what it holds.
    #[must_use]
    pub fn between(looks: Looks, region: impl Fn(&EdgeId) -> Option<Region>) -> Self {
        let mut path = Self::default();
        for (edge, looked) in looks {
            let Some((before, after)) = looked else {
                path.unknown.push(edge);
                continue;
            };
            let bytes = |held: &AllocationReport| held.sent.bytes + held.received.bytes;
            let known = |held: &AllocationReport| (held.number, (bytes(held), held.age_ms));
            let before: BTreeMap<u64, (u64, u64)> = before.iter().map(known).collect();
            let mut by_transport = BTreeMap::<String, (u32, u64)>::new();
            for held in &after {
                let (had, aged) = before.get(&held.number).copied().unwrap_or_default();
                let millis = held.age_ms.saturating_sub(aged).max(1);
                let rate = bytes(held).saturating_sub(had).saturating_mul(1000) / millis;
                let (allocations, all) =
                    by_transport.entry(held.transport.name().to_lowercase()).or_default();
                (*allocations, *all) = (*allocations + 1, *all + rate);
            }
            let relay = |(transport, (allocations, bytes_per_s)): (String, (u32, u64))| {
                let (edge, region) = (edge.clone(), region(&edge));
                let in_use = bytes_per_s >= PATH_MEDIA_BYTES;
                Relay { edge, region, transport, allocations, bytes_per_s, in_use }
            };
            path.relays.extend(by_transport.into_iter().map(relay));
        }
        path.relays.sort_by_key(|relay| std::cmp::Reverse(relay.bytes_per_s));
        path
    }
}

#[cfg(test)]
mod tests {
    use chappe_proto::mesh::uplink::Traffic;
    use chappe_proto::turn::Transport;

    use super::*;

    fn held(number: u64, transport: Transport, age_ms: u64, bytes: u64) -> AllocationReport {
        let traffic = |bytes| Traffic { packets: 1, bytes };
        AllocationReport {
            number,
            transport,
            client: "192.0.2.1:9".parse().unwrap(),
            server: "192.0.2.2:3478".parse().unwrap(),
            relayed: Vec::new(),
            session: None,
            name: None,
            realm: None,
            age_ms,
            left_ms: 1,
            permissions: 0,
            channels: 0,
            sent: traffic(bytes),
            received: traffic(2 * bytes),
        }
    }

    #[test]
    fn what_grows_carries_media_and_what_only_checks_is_held() {
        let edge = |name: &str| EdgeId::new(name).unwrap();
        let (udp, tls) = (Transport::Udp, Transport::Tls);
        let eu = (
            vec![held(1, udp, 100, 50_000), held(2, udp, 90, 7), held(3, tls, 80, 100), held(4, udp, 9, 9)],
            vec![
                held(1, udp, 600, 100_000),
                held(2, udp, 590, 7),
                held(3, tls, 580, 200),
                held(5, udp, 500, 9),
            ],
        );
        let looks: Looks =
            [(edge("eu"), Some(eu)), (edge("ap"), None), (edge("us"), Some(Default::default()))].into();
        let region = |of: &EdgeId| Region::new(of.as_str()).ok();
        let path = Path::between(looks, region);
        let told = |relay: &Relay| (relay.transport.clone(), relay.allocations, relay.bytes_per_s);
        assert_eq!(
            path.relays.iter().map(told).collect::<Vec<_>>(),
            [("udp".to_owned(), 3, 300_054), ("tls".to_owned(), 1, 600)],
            "of one that began in between all counts, of one that ended nothing"
        );
        assert_eq!(path.relays.iter().map(|relay| relay.in_use).collect::<Vec<_>>(), [true, false]);
        assert_eq!((path.relays[0].region.clone(), path.unknown), (Region::new("eu").ok(), vec![edge("ap")]));
    }
}

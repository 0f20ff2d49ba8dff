//! The edges by region, and where clients are: made anew whenever an edge or the policy changes, so that a choice
//! among a thousand edges costs a distance for each region.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::EdgeStatus;
use super::draw::draw_of;
use super::geo::{Coordinates, Point};
use super::policy::{Policy, Verdict, verdict};
use crate::id::{AppId, EdgeId, Region};

/// Where a client is, as far as it is known; nothing of one of which nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The operator's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// On the globe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinates: Option<Coordinates>,
}

impl Place {
    /// Itself, where anything is known of it.
    #[must_use]
    pub fn known(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// The edges of one region.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) region: Region,
    /// A hash of its name, by which ties are broken for each client in another way.
    pub(super) hash: u64,
    /// Where it is, where that is known: as operators say, else the middle of its edges.
    pub(super) at: Option<Point>,
    /// The shortest round trip between this node and one of its edges, in milliseconds.
    pub(super) uplink_ms: Option<f64>,
    /// Its edges, as places in [`Catalog::edges`].
    pub(super) edges: Vec<usize>,
}

/// All edges, and what is decided of them.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    pub(super) edges: Vec<EdgeStatus>,
    pub(super) hashes: Vec<u64>,
    by_name: BTreeMap<EdgeId, (usize, usize)>,
    pub(super) sites: Vec<Site>,
    pub(super) policy: Arc<Policy>,
    /// The region of the node that chooses.
    pub(super) own: Option<Region>,
    /// Allocations on edges that were lost a moment ago: whoever had them goes elsewhere.
    pub(super) displaced: f64,
}

impl Catalog {
    /// Of these edges, for a node in the region `own`.
    #[must_use]
    pub fn new(edges: Vec<EdgeStatus>, policy: Arc<Policy>, own: Option<Region>) -> Self {
        let mut by_region: BTreeMap<&Region, Vec<usize>> = BTreeMap::new();
        for (nth, status) in edges.iter().enumerate() {
            by_region.entry(&status.region).or_default().push(nth);
        }
        let site = |(region, held): (&Region, Vec<usize>)| {
            let points = held.iter().filter_map(|nth| edges.get(*nth)?.coordinates).map(Coordinates::point);
            let decided = policy.regions.get(region).map(|at| at.point());
            let alive = held.iter().filter_map(|nth| edges.get(*nth)).filter(|status| status.available);
            Site {
                region: region.clone(),
                hash: draw_of(region.as_str()),
                at: decided.or_else(|| Point::middle(points)),
                uplink_ms: alive.filter_map(|status| status.uplink_ms).min_by(f64::total_cmp),
                edges: held,
            }
        };
        let sites: Vec<Site> = by_region.into_iter().map(site).collect();
        let places = sites.iter().enumerate().flat_map(|(site, held)| {
            held.edges
                .iter()
                .filter_map(|nth| Some((edges.get(*nth)?.edge.clone(), (site, *nth))))
                .collect::<Vec<_>>()
        });
        let (by_name, hashes) =
            (places.collect(), edges.iter().map(|status| draw_of(status.edge.as_str())).collect());
        Self { edges, hashes, by_name, sites, policy, own, displaced: 0.0 }
    }

    /// The same while so many allocations have lost their edge ([`super::displaced`]).
    #[must_use]
    pub const fn displacing(mut self, allocations: f64) -> Self {
        self.displaced = allocations;
        self
    }

    /// All edges.
    #[must_use]
    pub fn edges(&self) -> &[EdgeStatus] {
        &self.edges
    }

    /// One of them.
    #[must_use]
    pub fn edge(&self, edge: &EdgeId) -> Option<&EdgeStatus> {
        self.edges.get(self.place_of(edge)?.1)
    }

    /// Whether an app's sessions may be given this edge, as far as rules go: those that are about clients of the app
    /// wherever they are.
    #[must_use]
    pub fn is_for(&self, edge: &EdgeStatus, app: &AppId) -> bool {
        verdict(&self.policy.rules_for(None, Some(app)), &edge.region) != Verdict::Denied
    }

    /// The places of an edge's site and of itself.
    pub(super) fn place_of(&self, edge: &EdgeId) -> Option<(usize, usize)> {
        self.by_name.get(edge).copied()
    }

    /// Where a region is on the globe.
    pub(super) fn point_of(&self, region: &Region) -> Option<Point> {
        let decided = self.policy.regions.get(region).map(|at| at.point());
        decided.or_else(|| self.sites.iter().find(|site| site.region == *region)?.at)
    }

    /// Where a client is: by its token's word, else by the operator's table of networks, else by a database of
    /// addresses, whose word `located` is. The region of one of which coordinates alone are known is the nearest.
    #[must_use]
    pub fn place(&self, token: &Place, ip: Option<IpAddr>, located: Option<Coordinates>) -> Place {
        if token.region.is_some() || token.coordinates.is_some() {
            return self.complete(token.clone());
        }
        let network = ip.and_then(|ip| self.policy.region_of(ip)).cloned();
        let coordinates = if network.is_some() { None } else { located };
        self.complete(Place { region: network, coordinates })
    }

    fn complete(&self, mut place: Place) -> Place {
        if let (None, Some(at)) = (&place.region, place.coordinates.map(Coordinates::point)) {
            let decided = self.policy.regions.iter().map(|(region, at)| (region, at.point()));
            let stood = self.sites.iter().filter_map(|site| Some((&site.region, site.at?)));
            let nearest = decided.chain(stood).min_by(|(_, a), (_, b)| a.km(at).total_cmp(&b.km(at)));
            place.region = nearest.map(|(region, _)| region.clone());
        }
        place
    }

    /// How far a region is from a client, in kilometres, where that is known: nodes are told in this order.
    #[must_use]
    pub fn km(&self, place: &Place, region: &Region) -> Option<f64> {
        if place.region.as_ref().or(self.own.as_ref()) == Some(region) {
            return Some(0.0);
        }
        Some(self.base(place)?.km(self.point_of(region)?))
    }

    /// Where a client is taken to be: one of which nothing is known near the node that it found.
    pub(super) fn base(&self, place: &Place) -> Option<Point> {
        place.coordinates.map(Coordinates::point).or_else(|| match &place.region {
            Some(region) => self.point_of(region),
            None => self.own.as_ref().and_then(|own| self.point_of(own)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    fn edge(name: &str, at: &str, coordinates: Option<(f64, f64)>) -> EdgeStatus {
        let coordinates = coordinates.map(|at| Coordinates::try_from(at).unwrap());
        EdgeStatus { coordinates, ..EdgeStatus::new(EdgeId::new(name).unwrap(), region(at), vec![]) }
    }

    fn catalog() -> Catalog {
        let policy = r#"{"regions": {"us": [39.0, -77.5]}, "networks": {"10.0.0.0/8": "us"}}"#;
        let edges = vec![
            edge("e1", "eu", Some((50.0, 8.0))),
            edge("e2", "eu", Some((50.2, 9.0))),
            edge("e3", "us", None),
            edge("e4", "nowhere", None),
        ];
        Catalog::new(edges, Arc::new(serde_json::from_str(policy).unwrap()), Some(region("eu")))
    }

    #[test]
    fn a_region_is_where_operators_or_its_edges_say() {
        let catalog = catalog();
        let place = |name: &str| Place { region: Some(region(name)), coordinates: None };
        let km = |from: &str, to: &str| catalog.km(&place(from), &region(to));
        assert!((km("eu", "us").unwrap() - 6560.0).abs() < 100.0, "{:?}", km("eu", "us"));
        assert_eq!((km("eu", "eu"), km("eu", "nowhere")), (Some(0.0), None));
        let unknown = Place::default();
        assert_eq!(catalog.km(&unknown, &region("us")), km("eu", "us"), "who is nowhere is near the node");
    }

    #[test]
    fn an_app_is_kept_from_edges_by_its_own_rules_and_by_those_of_all() {
        let rules = r#"{"rules": [
            {"app": "bank", "only": ["eu"]}, {"never": ["nowhere"]}, {"region": "ap", "never": ["us"]}
        ]}"#;
        let edges = vec![edge("e1", "eu", None), edge("e2", "us", None), edge("e3", "nowhere", None)];
        let catalog = Catalog::new(edges, Arc::new(serde_json::from_str(rules).unwrap()), None);
        let of = |app: &str| {
            let app = AppId::new(app).unwrap();
            catalog.edges().iter().map(|edge| catalog.is_for(edge, &app)).collect::<Vec<_>>()
        };
        assert_eq!((of("bank"), of("shop")), (vec![true, false, false], vec![true, true, false]));
    }

    #[test]
    fn the_token_knows_best_then_the_operator_then_the_database() {
        let catalog = catalog();
        let coordinates = Coordinates::new(48.0, 11.0).unwrap();
        let (ten, other) = ("10.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let of = |token: &Place, ip| {
            let place = catalog.place(token, Some(ip), Some(coordinates));
            (place.region.map(|region| region.to_string()), place.coordinates.is_some())
        };
        let token = Place { region: Some(region("nowhere")), coordinates: None };
        assert_eq!(of(&token, ten), (Some("nowhere".into()), false));
        assert_eq!(of(&Place::default(), ten), (Some("us".into()), false));
        assert_eq!(
            of(&Place::default(), other),
            (Some("eu".into()), true),
            "the nearest region's rules count"
        );
        assert_eq!(catalog.place(&Place::default(), None, None), Place::default());
    }
}

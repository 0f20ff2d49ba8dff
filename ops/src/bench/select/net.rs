//! The simulated Internet: what a round trip between a client and a region takes, and what a client measures.
//!
//! A path takes what light takes over the great circle in fibre, times an inflation that is the path's own: log-normal
//! around 2.1 (Bozkurt and others, Dissecting Latency in the Internet's Fiber Infrastructure, 2018: the rule of thumb
//! of earlier measurements), with a standard deviation of a quarter, and 1.2 at least. A client's access network adds
//! to all its paths alike: log-normal around 12 ms (cable and fibre 10 to 20 ms, mobile 30 to 60 ms). A measurement
//! from a page is too long by 4 ms in the mean (`proto/js/probes.js` was within 3 to 5 ms of the truth), exponentially.

use chappe_proto::select::geo::least_ms;
use chappe_proto::select::{Coordinates, draw_of};

use super::cities::{CLIENTS, City, REGIONS};

/// The middle of paths' inflation.
const INFLATION: f64 = 2.1;
/// The standard deviation of its logarithm.
const INFLATION_SPREAD: f64 = 0.25;
const INFLATION_MIN: f64 = 1.2;
/// The middle of what access networks take, in milliseconds.
const ACCESS_MS: f64 = 12.0;
const ACCESS_SPREAD: f64 = 0.6;
/// What a measurement is too long, in the mean.
const JITTER_MS: f64 = 4.0;

/// A generator of the simulation's own: SplitMix64 (Steele and others, 2014).
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(name: &str) -> Self {
        Self(draw_of(name))
    }

    /// 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let part = ((bits ^ (bits >> 31)) >> 11) as f64;
        part / (1u64 << 53) as f64
    }

    pub(super) fn below(&mut self, many: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let nth = (self.unit() * many as f64) as usize;
        nth.min(many.saturating_sub(1))
    }

    /// Of the standard normal distribution (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// Paths between each clients' city and each region.
pub(super) struct Net {
    paths: Vec<Vec<f64>>,
    /// For the draw of a city: people up to each.
    people: Vec<u32>,
}

/// A client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    pub(super) city: usize,
    pub(super) at: Coordinates,
    /// What its access network takes.
    access: f64,
}

pub(super) fn coordinates(city: &City) -> Option<Coordinates> {
    Coordinates::new(city.1, city.2).ok()
}

impl Net {
    pub(super) fn new() -> Self {
        let path = |client: &City, region: &City| {
            let mut dice = Dice::new(&format!("{} to {}", client.0, region.0));
            let inflation = (INFLATION * (INFLATION_SPREAD * dice.normal()).exp()).max(INFLATION_MIN);
            let km = coordinates(client).zip(coordinates(region)).map_or(0.0, |(a, b)| a.km(b));
            least_ms(km) * inflation + 0.5
        };
        let paths =
            CLIENTS.iter().map(|city| REGIONS.iter().map(|region| path(city, region)).collect()).collect();
        let mut all = 0;
        let people = CLIENTS.iter().map(|city| {
            all += city.3;
            all
        });
        Self { paths, people: people.collect() }
    }

    /// A client of somewhere: the more people a city has the likelier.
    pub(super) fn person(&self, dice: &mut Dice) -> Option<Person> {
        let all = self.people.last().copied().unwrap_or(0);
        let nth = dice.unit() * f64::from(all);
        let city = self.people.iter().position(|upto| nth < f64::from(*upto))?;
        let (_, latitude, longitude, _) = CLIENTS.get(city)?;
        let (north, east) = (0.3 * dice.normal(), 0.3 * dice.normal());
        let at =
            Coordinates::new((latitude + north).clamp(-89.0, 89.0), (longitude + east).clamp(-179.9, 179.9))
                .ok()?;
        Some(Person { city, at, access: ACCESS_MS * (ACCESS_SPREAD * dice.normal()).exp() })
    }

    /// The round trip of a client to a region, in milliseconds.
    pub(super) fn ms(&self, person: &Person, region: usize) -> f64 {
        self.paths
            .get(person.city)
            .and_then(|paths| paths.get(region))
            .map_or(f64::INFINITY, |ms| ms + person.access)
    }

    /// The same as the client measures it.
    pub(super) fn measured(&self, person: &Person, region: usize, dice: &mut Dice) -> f64 {
        self.ms(person, region) + dice.exponential(JITTER_MS)
    }

    /// The shortest to any of these regions.
    pub(super) fn best(&self, person: &Person, there: impl Fn(usize) -> bool) -> f64 {
        let all = (0..REGIONS.len()).filter(|region| there(*region)).map(|region| self.ms(person, region));
        all.min_by(f64::total_cmp).unwrap_or(f64::INFINITY)
    }
}

//! Distances on the globe, and what a round trip over one takes.

use serde::{Deserialize, Serialize};

/// The Earth's mean radius, in kilometres (IUGG).
const EARTH_KM: f64 = 6371.0;

/// Light in fibre covers this many kilometres a millisecond: two thirds of its speed in vacuum. No round trip is
/// shorter than twice the distance at it.
pub const FIBRE_KM_PER_MS: f64 = 200.0;

/// What a path of the Internet takes of what a straight fibre would, typically: line-of-sight distance times 2.1
/// over the speed of light in fibre is the rule of thumb that measurements suggest (Bozkurt and others, Dissecting
/// Latency in the Internet's Fiber Infrastructure, 2018).
pub const INFLATION: f64 = 2.1;

/// A place on the globe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(f64, f64)", into = "(f64, f64)")]
pub struct Coordinates {
    latitude: f64,
    longitude: f64,
}

/// Degrees beyond ±90 of latitude or ±180 of longitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("coordinates are latitude (-90 to 90) and longitude (-180 to 180), in degrees")]
pub struct NotOnEarth;

impl Coordinates {
    /// Of degrees: latitude, north positive, and longitude, east positive.
    ///
    /// # Errors
    /// [`NotOnEarth`], for what is no number too.
    pub fn new(latitude: f64, longitude: f64) -> Result<Self, NotOnEarth> {
        // Written so that a NaN is refused.
        if latitude.abs() <= 90.0 && longitude.abs() <= 180.0 {
            return Ok(Self { latitude, longitude });
        }
        Err(NotOnEarth)
    }

    /// As a point of the unit sphere, by which distances are cheap.
    pub(super) fn point(self) -> Point {
        let (latitude, longitude) = (self.latitude.to_radians(), self.longitude.to_radians());
        Point([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()])
    }

    /// The great-circle distance, in kilometres.
    #[must_use]
    pub fn km(self, other: Self) -> f64 {
        self.point().km(other.point())
    }
}

impl Eq for Coordinates {} // none of them is a NaN

impl TryFrom<(f64, f64)> for Coordinates {
    type Error = NotOnEarth;
    fn try_from((latitude, longitude): (f64, f64)) -> Result<Self, NotOnEarth> {
        Self::new(latitude, longitude)
    }
}

impl From<Coordinates> for (f64, f64) {
    fn from(at: Coordinates) -> Self {
        (at.latitude, at.longitude)
    }
}

/// A place as a vector from the Earth's centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point([f64; 3]);

impl Point {
    /// The middle of several; none of none, nor of those that lie around the whole globe.
    pub(super) fn middle(points: impl Iterator<Item = Self>) -> Option<Self> {
        let sum = points
            .fold([0.0; 3], |sum, point| [sum[0] + point.0[0], sum[1] + point.0[1], sum[2] + point.0[2]]);
        let length = sum.iter().map(|part| part * part).sum::<f64>().sqrt();
        (length > 1e-6).then(|| Self(sum.map(|part| part / length)))
    }

    /// The great-circle distance, in kilometres: the haversine formula, whose haversine is a quarter of the
    /// chord's square.
    pub(super) fn km(self, other: Self) -> f64 {
        let chord: f64 = self.0.iter().zip(other.0).map(|(a, b)| (a - b) * (a - b)).sum();
        2.0 * EARTH_KM * (chord.sqrt() / 2.0).min(1.0).asin()
    }
}

/// What a round trip over so many kilometres takes typically, in milliseconds, without the way from a client to its
/// provider.
#[must_use]
pub fn estimated_ms(km: f64) -> f64 {
    2.0 * km * INFLATION / FIBRE_KM_PER_MS
}

/// What it takes at least, in milliseconds.
#[must_use]
pub fn least_ms(km: f64) -> f64 {
    2.0 * km / FIBRE_KM_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn great_circles() {
        let at = |latitude, longitude| Coordinates::new(latitude, longitude).unwrap();
        let (frankfurt, new_york, sydney) = (at(50.11, 8.68), at(40.71, -74.01), at(-33.87, 151.21));
        assert!((frankfurt.km(new_york) - 6206.0).abs() < 20.0);
        assert!((frankfurt.km(sydney) - 16_480.0).abs() < 60.0);
        assert!(frankfurt.km(frankfurt) < 1e-6);
        // Across the date line, and from pole to pole.
        assert!((at(0.0, 179.0).km(at(0.0, -179.0)) - 222.4).abs() < 0.5);
        assert!((at(90.0, 0.0).km(at(-90.0, 77.0)) - 20_015.0).abs() < 1.0);
        assert!((estimated_ms(1000.0) - 21.0).abs() < 1e-9 && (least_ms(1000.0) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_on_earth_is_refused() {
        for (latitude, longitude) in [(90.1, 0.0), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(Coordinates::new(latitude, longitude), Err(NotOnEarth));
        }
        assert!(serde_json::from_str::<Coordinates>("[91, 0]").is_err());
        let text = serde_json::to_string(&Coordinates::new(50.5, -8.25).unwrap()).unwrap();
        assert_eq!(text, "[50.5,-8.25]");
    }
}

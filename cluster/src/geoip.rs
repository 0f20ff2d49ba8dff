//! Where addresses are on the globe, by a database that the operator gives (MaxMind's GeoLite2 City, or any other in
//! its format), read again when it changes. Without one nothing is known.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use chappe_proto::select::Coordinates;
use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;

/// The file is looked at this often: databases come out twice a week.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Coordinates that may be farther off than this, in kilometres, are the middle of a country: worse than none.
const ACCURACY_KM_MAX: u16 = 500;

/// The longest file that is read, in bytes: GeoIP2 Enterprise has a few hundred megabytes.
const FILE_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Why a file is no database of places.
#[derive(Debug, thiserror::Error)]
pub enum GeoIpError {
    /// Cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// Too long.
    #[error("{0} is longer than {FILE_MAX} bytes")]
    TooLong(PathBuf),
    /// Is none.
    #[error("{0} is no database in MaxMind's format: {1}")]
    NotOne(PathBuf, MaxMindDbError),
    /// Has no coordinates.
    #[error("{0} is a database of the type {1}, which knows no coordinates: give a City one")]
    NoPlaces(PathBuf, String),
}

/// What is read of an entry.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    latitude: f64,
    longitude: f64,
    #[serde(default)]
    accuracy_radius: Option<u16>,
}

type Database = Reader<Vec<u8>>;

/// The database as it was last read.
#[derive(Clone, Default)]
pub struct GeoIp(Option<Arc<RwLock<Arc<Database>>>>);

impl GeoIp {
    /// Reads a file, and follows it: call it within a tokio runtime. A later file that is no good is logged, and the
    /// last good one stays.
    ///
    /// # Errors
    /// [`GeoIpError`] for the file as it is now.
    pub fn follow(file: PathBuf) -> Result<Self, GeoIpError> {
        let current = Arc::new(RwLock::new(Arc::new(load(&file)?)));
        let weak = Arc::downgrade(&current);
        tokio::spawn(async move {
            let mut seen = stamp(&file);
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let stamp = stamp(&file);
                let Some(current) = weak.upgrade() else { return };
                if std::mem::replace(&mut seen, stamp) != stamp {
                    let of = file.clone();
                    let loaded = tokio::task::spawn_blocking(move || reload(&of, &current)).await;
                    if loaded.is_err() {
                        tracing::error!(file = %file.display(), "reading the places of addresses failed");
                    }
                }
            }
        });
        Ok(Self(Some(current)))
    }

    /// Where an address is; nothing where that is unknown, or known of its country alone.
    #[must_use]
    pub fn locate(&self, ip: IpAddr) -> Option<Coordinates> {
        let database = Arc::clone(&self.0.as_ref()?.read().unwrap_or_else(PoisonError::into_inner));
        let entry: Entry = database.lookup(ip.to_canonical()).ok()?.decode().ok()??;
        let at = entry.location.filter(|at| at.accuracy_radius.is_none_or(|km| km <= ACCURACY_KM_MAX))?;
        Coordinates::new(at.latitude, at.longitude).ok()
    }
}

fn reload(file: &Path, current: &RwLock<Arc<Database>>) {
    match load(file) {
        Ok(fresh) => {
            *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
            tracing::info!(file = %file.display(), "places of addresses reloaded");
        }
        Err(error) => tracing::error!(%error, "the new places of addresses are no good; the old ones stay"),
    }
}

fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn load(file: &Path) -> Result<Database, GeoIpError> {
    let unreadable = |error| GeoIpError::Unreadable(file.to_owned(), error);
    if std::fs::metadata(file).map_err(unreadable)?.len() > FILE_MAX {
        return Err(GeoIpError::TooLong(file.to_owned()));
    }
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let database = Reader::from_source(bytes).map_err(|error| GeoIpError::NotOne(file.to_owned(), error))?;
    let kind = &database.metadata().database_type;
    if ["Country", "ASN", "Connection-Type", "Domain", "ISP"].iter().any(|without| kind.ends_with(without)) {
        return Err(GeoIpError::NoPlaces(file.to_owned(), kind.clone()));
    }
    Ok(database)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four networks for documentation (RFC 5737, RFC 3849), made by hand: Munich, the middle of a country, an entry
    /// without a place, Sydney.
    const CITIES: &[u8] = include_bytes!("geoip/cities.mmdb");

    fn at(database: &GeoIp, ip: &str) -> Option<(f64, f64)> {
        database.locate(ip.parse().unwrap()).map(Into::into)
    }

    #[actix_rt::test]
    async fn places_are_believed_as_far_as_they_are_exact() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cities.mmdb");
        std::fs::write(&file, CITIES).unwrap();
        let database = GeoIp::follow(file).unwrap();
        assert_eq!(at(&database, "192.0.2.77"), Some((48.1374, 11.5755)));
        assert_eq!(at(&database, "::ffff:192.0.2.77"), Some((48.1374, 11.5755)));
        assert_eq!(at(&database, "2001:db8:1::1"), Some((-33.8688, 151.2093)));
        for nowhere in ["198.51.100.1", "203.0.113.1", "10.0.0.1", "::1"] {
            assert_eq!(at(&database, nowhere), None, "{nowhere}");
        }
        assert_eq!(at(&GeoIp::default(), "192.0.2.77"), None);
    }

    #[actix_rt::test]
    async fn what_is_no_database_is_refused_and_a_bad_new_one_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cities.mmdb");
        let told = |file: &Path| load(file).map(drop).unwrap_err().to_string();
        assert!(told(&file).contains("cannot be read"));
        std::fs::write(&file, "no database").unwrap();
        assert!(told(&file).contains("is no database in MaxMind's format"));

        std::fs::write(&file, CITIES).unwrap();
        let database = GeoIp::follow(file.clone()).unwrap();
        let current = Arc::clone(database.0.as_ref().unwrap());
        std::fs::write(&file, &CITIES[..CITIES.len() / 2]).unwrap();
        reload(&file, &current);
        assert_eq!(at(&database, "192.0.2.77"), Some((48.1374, 11.5755)), "the last good one");
        // Sydney's network is Munich's now: eight bytes of each number, big-endian.
        let mut other = CITIES.to_vec();
        let place = |bytes: &[u8], number: f64| {
            bytes.windows(8).position(|eight| eight == number.to_be_bytes()).unwrap()
        };
        let latitude = place(&other, 48.1374);
        other[latitude..latitude + 8].copy_from_slice(&12.5f64.to_be_bytes());
        std::fs::write(&file, &other).unwrap();
        reload(&file, &current);
        assert_eq!(at(&database, "192.0.2.77"), Some((12.5, 11.5755)));
    }
}

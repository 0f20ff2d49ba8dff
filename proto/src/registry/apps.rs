//! Apps and their API keys.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cluster::check_name;
use super::outcome::unchanged;
use super::{Outcome, Refusal, State, Thing};
use crate::id::{AppId, Index, KeyId};
use crate::limits::{
    APPS_MAX, CREDENTIAL_TTL, CREDENTIAL_TTL_MAX, CREDENTIAL_TTL_MIN, FRAMES_BURST, FRAMES_PER_SEC, GRACE,
    GRACE_MAX, KEYS_PER_APP, ORIGINS_MAX, ROOM_CAPACITY, ROOM_CAPACITY_MAX, SECRET_BYTES, URL_MAX,
};
use crate::mesh::uplink::Secret;
use crate::time::Unix;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// What operators call it.
    pub name: String,
    /// How it treats its users.
    pub policy: AppPolicy,
    /// When it was added.
    pub created: Unix,
    /// The entry that changed it last.
    #[serde(default)]
    pub changed: Index,
}

/// How an app treats its users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPolicy {
    /// How long a session outlives its socket, in milliseconds.
    pub grace_ms: u64,
    /// How long a TURN credential lasts, in milliseconds.
    #[serde(default = "credential_ttl_ms")]
    pub credential_ttl_ms: u64,
    /// Whether one may join without a token.
    #[serde(default)]
    pub anonymous: bool,
    /// Peers of a room where its token says no other number.
    pub capacity: u32,
    /// Frames that a session may send in a burst.
    #[serde(default = "frames_burst")]
    pub frames_burst: u32,
    /// Frames a second that it may send for long.
    #[serde(default = "frames_per_sec")]
    pub frames_per_sec: u32,
    /// The `Origin`s that browsers may come from; empty for any.
    #[serde(default)]
    pub origins: Vec<String>,
}

fn credential_ttl_ms() -> u64 {
    u64::try_from(CREDENTIAL_TTL.as_millis()).unwrap_or(u64::MAX)
}

const fn frames_burst() -> u32 {
    FRAMES_BURST
}

const fn frames_per_sec() -> u32 {
    FRAMES_PER_SEC
}

impl AppPolicy {
    /// How long a session outlives its socket.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// How long a TURN credential lasts.
    #[must_use]
    pub const fn credential_ttl(&self) -> Duration {
        Duration::from_millis(self.credential_ttl_ms)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.grace() > GRACE_MAX {
            return Err(Refusal::Invalid(Thing::Grace));
        }
        if !(CREDENTIAL_TTL_MIN..=CREDENTIAL_TTL_MAX).contains(&self.credential_ttl()) {
            return Err(Refusal::Invalid(Thing::Lifetime));
        }
        if !(1..=ROOM_CAPACITY_MAX as u64).contains(&u64::from(self.capacity)) {
            return Err(Refusal::Invalid(Thing::Capacity));
        }
        if self.frames_burst == 0 || self.frames_per_sec == 0 {
            return Err(Refusal::Invalid(Thing::Rate));
        }
        if self.origins.len() > ORIGINS_MAX {
            return Err(Refusal::Full { thing: Thing::Origin, max: ORIGINS_MAX as u64 });
        }
        if self.origins.iter().any(|origin| !is_origin(origin)) {
            return Err(Refusal::Invalid(Thing::Origin));
        }
        Ok(())
    }
}

impl Default for AppPolicy {
    fn default() -> Self {
        let capacity = u32::try_from(ROOM_CAPACITY).unwrap_or(u32::MAX);
        let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
        Self {
            grace_ms,
            credential_ttl_ms: credential_ttl_ms(),
            anonymous: false,
            capacity,
            frames_burst: FRAMES_BURST,
            frames_per_sec: FRAMES_PER_SEC,
            origins: Vec::new(),
        }
    }
}

/// Whether a text is an origin as browsers serialize it (RFC 6454 section 6.2): scheme and authority,
/// lower case, without a path.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._:[]".contains(&b);
    text.len() <= URL_MAX
        && text.split_once("://").is_some_and(|(scheme, host)| {
            !scheme.is_empty()
                && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
                && !host.is_empty()
                && host.bytes().all(fine)
        })
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Whose it is.
    pub app: AppId,
    /// Its secret half.
    pub secret: Secret,
    /// When it was added.
    pub created: Unix,
    /// Whether it is refused.
    #[serde(default)]
    pub disabled: bool,
}

impl State {
    /// An app.
    #[must_use]
    pub fn app(&self, app: &AppId) -> Option<&App> {
        self.apps.get(app)
    }

    /// All apps, by id.
    pub fn apps(&self) -> impl Iterator<Item = (&AppId, &App)> {
        self.apps.iter()
    }

    /// An API key, disabled ones included.
    #[must_use]
    pub fn key(&self, key: &KeyId) -> Option<&ApiKey> {
        self.keys.get(key)
    }

    /// The API keys of an app, disabled ones included.
    pub fn keys_of<'a>(&'a self, app: &'a AppId) -> impl Iterator<Item = (&'a KeyId, &'a ApiKey)> {
        self.keys.iter().filter(move |(_, key)| key.app == *app)
    }

    pub(super) fn app_add(
        &mut self,
        app: AppId,
        name: String,
        policy: AppPolicy,
    ) -> Result<Outcome, Refusal> {
        check_name(&name)?;
        policy.check()?;
        if self.apps.contains_key(&app) {
            return Err(Refusal::Exists(Thing::App));
        }
        if self.apps.len() >= APPS_MAX {
            return Err(Refusal::Full { thing: Thing::App, max: APPS_MAX as u64 });
        }
        let (created, changed) = (self.now, self.index);
        Arc::make_mut(&mut self.apps).insert(app, App { name, policy, created, changed });
        Ok(Outcome::Done)
    }

    pub(super) fn app_set(
        &mut self,
        app: &AppId,
        name: String,
        policy: AppPolicy,
        since: Option<Index>,
    ) -> Result<Outcome, Refusal> {
        let changed = self.app(app).ok_or(Refusal::Unknown(Thing::App))?.changed;
        unchanged(Thing::App, since, changed)?;
        check_name(&name)?;
        policy.check()?;
        let index = self.index;
        let held = Arc::make_mut(&mut self.apps).get_mut(app).ok_or(Refusal::Unknown(Thing::App))?;
        (held.name, held.policy, held.changed) = (name, policy, index);
        Ok(Outcome::Done)
    }

    pub(super) fn app_remove(&mut self, app: &AppId) -> Result<Outcome, Refusal> {
        if !self.apps.contains_key(app) {
            return Err(Refusal::Unknown(Thing::App));
        }
        self.issued_end(app)?;
        Arc::make_mut(&mut self.apps).remove(app);
        self.keys.retain(|_, key| key.app != *app);
        if self.hooks.contains_key(app) {
            Arc::make_mut(&mut self.hooks).remove(app);
        }
        self.rooms_of_app_remove(app);
        Ok(Outcome::Done)
    }

    pub(super) fn key_add(&mut self, app: AppId, key: KeyId, secret: Secret) -> Result<Outcome, Refusal> {
        if !self.apps.contains_key(&app) {
            return Err(Refusal::Unknown(Thing::App));
        }
        if !SECRET_BYTES.contains(&secret.0.len()) {
            return Err(Refusal::Invalid(Thing::Secret));
        }
        if self.keys.get(&key).is_some() {
            return Err(Refusal::Exists(Thing::ApiKey));
        }
        if self.keys_of(&app).count() >= KEYS_PER_APP {
            return Err(Refusal::Full { thing: Thing::ApiKey, max: KEYS_PER_APP as u64 });
        }
        let created = self.now;
        self.keys.insert(key, ApiKey { app, secret, created, disabled: false });
        Ok(Outcome::Done)
    }

    pub(super) fn key_set(&mut self, key: &KeyId, disabled: bool) -> Result<Outcome, Refusal> {
        let mut held = self.keys.get(key).cloned().ok_or(Refusal::Unknown(Thing::ApiKey))?;
        held.disabled = disabled;
        self.keys.insert(*key, held);
        Ok(Outcome::Done)
    }

    pub(super) fn key_remove(&mut self, key: &KeyId) -> Result<Outcome, Refusal> {
        self.keys.remove(key).ok_or(Refusal::Unknown(Thing::ApiKey))?;
        Ok(Outcome::Done)
    }
}

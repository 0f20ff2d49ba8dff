//! Apps, their API keys, and the tokens that those sign.

use std::time::Duration;

use chappe_proto::id::{AppId, KeyId};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::{ApiKey, App, AppPolicy, Note, State};
use chappe_proto::time::Unix;
use serde::Serialize;
use utoipa::ToSchema;

use super::Answer;
use super::control::Fault;

/// What the admin API can see and do of apps. Every change is committed when it is answered.
pub trait Apps: Send + Sync + 'static {
    /// A new app.
    fn app_add(
        &self,
        app: AppId,
        name: String,
        policy: AppPolicy,
        note: Note,
    ) -> Answer<'_, Result<(), Fault>>;
    /// An app ends, with its keys and what is decided of its rooms. Who is in a room stays until they leave.
    fn app_remove(&self, app: AppId, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// The API keys of an app, the oldest first; never their secrets.
    fn keys(&self, app: AppId) -> Answer<'_, Result<Vec<ShownKey>, Fault>>;
    /// A new API key of an app: the only time that its secret is told.
    fn key_add(&self, app: AppId, note: Note) -> Answer<'_, Result<NewKey, Fault>>;
    /// An API key of an app is refused from now on, or accepted again.
    fn key_set(&self, app: AppId, key: KeyId, disabled: bool, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// An API key of an app ends.
    fn key_remove(&self, app: AppId, key: KeyId, note: Note) -> Answer<'_, Result<(), Fault>>;
    /// Signs claims of a join token, with `iss`, `aud` and `exp` added: by this key of the app, or by its newest one that
    /// is accepted.
    fn token_issue(&self, wish: TokenWish, note: Note) -> Answer<'_, Result<Issued, Fault>>;
}

/// An API key, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShownKey {
    /// Its public half: a token's `iss`.
    #[schema(value_type = String)]
    pub key: KeyId,
    /// When it was added, in milliseconds of Unix time.
    #[schema(value_type = u64)]
    pub created: Unix,
    /// Whether it is refused.
    pub disabled: bool,
}

/// An API key that has just begun.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its public half.
    pub key: KeyId,
    /// Its secret half.
    pub secret: Secret,
}

/// A join token to be signed.
#[derive(Debug, Clone)]
pub struct TokenWish {
    /// Whose key signs it.
    pub app: AppId,
    /// Which key, if not the newest one that is accepted.
    pub key: Option<KeyId>,
    /// What it says beside `iss`, `aud` and `exp`.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// How long it lasts.
    pub ttl: Duration,
}

/// A join token.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Its text: whoever has it may join.
    pub token: String,
    /// Who signed it.
    pub key: KeyId,
    /// Until when it lets people in.
    pub expires: Unix,
}

/// The keys of an app, the oldest first.
///
/// # Errors
/// [`Fault::NotThere`] without such an app.
pub fn keys_of(state: &State, app: &AppId) -> Result<Vec<ShownKey>, Fault> {
    state.app(app).ok_or(Fault::NotThere("app"))?;
    let shown = |(key, held): (&KeyId, &ApiKey)| ShownKey {
        key: *key,
        created: held.created,
        disabled: held.disabled,
    };
    let mut keys: Vec<_> = state.keys_of(app).map(shown).collect();
    keys.sort_by_key(|key| (key.created, key.key));
    Ok(keys)
}

/// A key of this app, and of no other.
///
/// # Errors
/// [`Fault::NotThere`] otherwise.
pub fn key_of<'a>(state: &'a State, app: &AppId, key: &KeyId) -> Result<&'a ApiKey, Fault> {
    state.app(app).ok_or(Fault::NotThere("app"))?;
    state.key(key).filter(|held| held.app == *app).ok_or(Fault::NotThere("API key of that app"))
}

/// The key that signs.
///
/// # Errors
/// [`Fault::NotThere`] without such an app or key, [`Fault::Conflict`] where it is refused, or all are.
pub fn signing_key<'a>(
    state: &'a State,
    app: &AppId,
    key: Option<KeyId>,
) -> Result<(KeyId, &'a ApiKey, &'a App), Fault> {
    let of = state.app(app).ok_or(Fault::NotThere("app"))?;
    let key = match key {
        Some(key) => key,
        None => {
            let accepted = keys_of(state, app)?.into_iter().rev().find(|key| !key.disabled);
            let none = || Fault::Conflict("the app has no API key that is accepted: add one".to_owned());
            accepted.map(|key| key.key).ok_or_else(none)?
        }
    };
    let held = key_of(state, app, &key)?;
    if held.disabled {
        return Err(Fault::Conflict("this API key is disabled: enable it, or take another".to_owned()));
    }
    Ok((key, held, of))
}

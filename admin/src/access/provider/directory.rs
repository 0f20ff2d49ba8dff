//! What a provider says of itself (OpenID Connect Discovery 1.0), and its keys: kept for a while, of one provider.

use std::sync::Arc;

use chappe_proto::hooks::url::Target;
use chappe_proto::limits::{PROVIDER_AGAIN, PROVIDER_FRESH};
use chappe_proto::time::Mono;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::denied::Denied;
use super::token::{Key, Unverified, keys};
use crate::cluster::Cluster;
use crate::cluster::elsewhere::WebRequest;

/// What a provider says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Whether its answers say of whom they are (RFC 9207).
    #[serde(default, rename = "authorization_response_iss_parameter_supported")]
    pub(super) names_itself: bool,
    #[serde(default)]
    scopes_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Whether it takes the secret by `Authorization: Basic`, as it does where it says nothing of it.
    pub(super) fn by_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        methods.is_none_or(|methods| {
            let takes = |name: &str| methods.iter().any(|held| held == name);
            takes("client_secret_basic") || !takes("client_secret_post")
        })
    }

    /// The first of these scopes that it does not know, where it says which it knows.
    pub(crate) fn lacks<'a>(&self, scopes: &'a [String]) -> Option<&'a String> {
        let known = self.scopes_supported.as_ref()?;
        scopes.iter().find(|scope| !known.contains(scope))
    }

    /// Where each of its endpoints is must be as safe as the issuer is.
    fn check(&self, issuer: &str) -> Result<(), String> {
        if self.issuer != issuer {
            let found: String = self.issuer.chars().take(200).collect();
            return Err(format!(
                "it calls itself {found:?}: set that as the issuer, if it is the one you mean"
            ));
        }
        let secure = Target::of(issuer).is_ok_and(|issuer| issuer.secure);
        for (name, url) in [
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
            ("jwks_uri", &self.jwks_uri),
        ] {
            let target = Target::of(url).map_err(|bad| format!("its {name} is not taken: {bad}"))?;
            if secure && !target.secure {
                return Err(format!("its {name} is not https://"));
            }
        }
        Ok(())
    }
}

/// What came of asking for something, and when.
type Asked<T> = Option<(Mono, Result<Arc<T>, Denied>)>;

/// What is known of the provider that was asked last.
#[derive(Default)]
struct Known {
    issuer: String,
    metadata: Asked<Metadata>,
    keys: Asked<Vec<Key>>,
}

/// What is known of the provider, on one node. Who asks while it is being asked waits for that answer.
#[derive(Default)]
pub(crate) struct Directory(Mutex<Known>);

async fn get(cluster: &dyn Cluster, url: String) -> Result<Vec<u8>, String> {
    let answer = cluster.web(WebRequest { url: url.clone(), form: None }).await?;
    match answer.status {
        200 => Ok(answer.body),
        status => Err(format!("{url} answers {status}")),
    }
}

/// Asks a provider what it says of itself.
pub(super) async fn discover(cluster: &dyn Cluster, issuer: &str) -> Result<Metadata, String> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let body = get(cluster, url.clone()).await?;
    let metadata: Metadata =
        serde_json::from_slice(&body).map_err(|error| format!("{url} is no OpenID provider's: {error}"))?;
    metadata.check(issuer).map(|()| metadata)
}

/// Asks a provider for its keys.
pub(super) async fn fetch_keys(cluster: &dyn Cluster, metadata: &Metadata) -> Result<Vec<Key>, String> {
    let body = get(cluster, metadata.jwks_uri.clone()).await?;
    let keys = keys(&body).filter(|keys| !keys.is_empty());
    keys.ok_or_else(|| format!("{} has no key that is taken here", metadata.jwks_uri))
}

/// Whether what came of asking still counts.
fn counts<T>(at: Mono, held: &Result<T, Denied>, now: Mono) -> bool {
    now.since(at) < if held.is_ok() { PROVIDER_FRESH } else { PROVIDER_AGAIN }
}

impl Directory {
    /// What the provider says of itself.
    pub(crate) async fn metadata(
        &self,
        cluster: &dyn Cluster,
        issuer: &str,
    ) -> Result<Arc<Metadata>, Denied> {
        let mut known = self.0.lock().await;
        let now = cluster.now().mono;
        if known.issuer != issuer {
            *known = Known { issuer: issuer.to_owned(), ..Known::default() };
        }
        if let Some((at, held)) = &known.metadata
            && counts(*at, held, now)
        {
            return held.clone();
        }
        let told = discover(cluster, issuer).await.map(Arc::new).map_err(Denied::Unreachable);
        known.metadata = Some((now, told.clone()));
        told
    }

    /// The claims of an ID token that one of the provider's keys has signed. For a key that is not known they are asked
    /// for again, not too often.
    pub(super) async fn checked(
        &self,
        cluster: &dyn Cluster,
        metadata: &Metadata,
        token: &str,
    ) -> Result<Map<String, Value>, Denied> {
        let token = Unverified::of(token).map_err(Denied::Token)?;
        let mut known = self.0.lock().await;
        let now = cluster.now().mono;
        if known.issuer != metadata.issuer {
            return Err(Denied::Stale); // another provider was set meanwhile: its keys are not these
        }
        let held = known.keys.as_ref().filter(|(at, held)| counts(*at, held, now));
        if let Some((at, held)) = held {
            let found = token.verify(held.as_ref().map_err(Clone::clone)?);
            if let Some(verified) = found {
                return verified.map_err(Denied::Token);
            }
            if now.since(*at) < PROVIDER_AGAIN {
                return Err(Denied::Token("its key is not one of the provider's"));
            }
        }
        let told = fetch_keys(cluster, metadata).await.map(Arc::new).map_err(Denied::Unreachable);
        known.keys = Some((now, told.clone()));
        let verified = token.verify(&told?);
        verified.unwrap_or(Err("its key is not one of the provider's")).map_err(Denied::Token)
    }
}

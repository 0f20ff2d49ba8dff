//! Logins by an OpenID provider (OpenID Connect Core 1.0, section 3.1): the authorization code flow with PKCE
//! (RFC 7636), state, nonce, and the issuer of the answer (RFC 9207).
//!
//! What somebody is known by while they are with the provider is in a sealed cookie of their browser: they may come
//! back to any node.

mod claims;
mod denied;
mod directory;
mod entry;
mod token;
mod trial;

use std::sync::Arc;

use actix_web::HttpRequest;
use chappe_proto::hooks::url::Target;
use chappe_proto::id::{LoginId, OperatorName};
use chappe_proto::limits::PROVIDER_ENTRY_FOR;
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::access::{Access, AccessChange, External, Provider};
use chappe_proto::registry::{Refusal, Thing};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::cookies::{self, cookie};
use super::secret::{Bearer, random};
use crate::Mount;
use crate::access::note;
use crate::api::logins::{carried, is_private, new_login};
use crate::cluster::Cluster;
use crate::cluster::elsewhere::{WebForm, WebRequest};
use crate::control::Fault;

use claims::Claims;
pub(crate) use denied::Denied;
pub(crate) use directory::Directory;
use directory::Metadata;
use entry::Entry;
pub(crate) use trial::trial;

/// Where somebody is sent, with the cookie by which they come back.
pub(crate) struct Sent {
    /// The provider, or this console at the address that the provider knows.
    pub(crate) to: String,
    /// The `Set-Cookie`.
    pub(crate) cookie: Option<String>,
}

/// Somebody who is in.
pub(crate) struct Arrived {
    /// Where they were going: a page of this console.
    pub(crate) to: String,
    /// The `Set-Cookie` of each cookie.
    pub(crate) cookies: [String; 2],
}

/// What a provider sends somebody back with.
#[derive(Debug, Deserialize)]
pub(crate) struct Back {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

pub(super) fn encoded(text: &str) -> String {
    askama::filters::urlencode_strict(text).map_or_else(|_| String::new(), |text| text.to_string())
}

fn fields(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// Whether the browser is where the provider sends people back to: its cookie is for that host alone.
fn is_at(request: &HttpRequest, provider: &Provider) -> bool {
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = host.or_else(|| request.uri().authority().map(ToString::to_string));
    let console = Target::of(&provider.plan.console).map(|console| console.authority);
    host.zip(console.ok()).is_some_and(|(host, console)| host.eq_ignore_ascii_case(console))
}

/// Sends somebody to the provider; they come back to go on to `to`. Where they are at another address of this console
/// than the provider knows, they are sent there first: once, by `moved`.
pub(crate) async fn begin(
    mount: &Mount,
    request: &HttpRequest,
    to: String,
    moved: bool,
) -> Result<Sent, Denied> {
    let provider = mount.cluster.access().provider().cloned().ok_or(Denied::NotSetUp)?;
    if !moved && !is_at(request, &provider) {
        let there = format!("{}/admin/login/provider?moved=true&to={}", provider.plan.console, encoded(&to));
        return Ok(Sent { to: there, cookie: None });
    }
    is_private(mount, request).map_err(|_| Denied::Plain)?;
    let metadata = mount.gate.directory.metadata(&*mount.cluster, &provider.plan.issuer).await?;
    let drawn = |bytes: [u8; 32]| BASE64URL_NOPAD.encode(&bytes);
    let random32 = || random::<32>().map(drawn).map_err(|_| Denied::Busy);
    let entry = Entry {
        id: random().map_err(|_| Denied::Busy)?,
        state: random32()?,
        nonce: random32()?,
        verifier: random32()?,
        to,
        until: mount.cluster.now().unix + PROVIDER_ENTRY_FOR,
        since: provider.changed,
    };
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(entry.verifier.as_bytes()));
    let scopes: Vec<_> =
        std::iter::once("openid").chain(provider.plan.scopes.iter().map(String::as_str)).collect();
    let query = fields(&[
        ("response_type", "code"),
        ("client_id", &provider.plan.client),
        ("redirect_uri", &provider.plan.redirect()),
        ("scope", &scopes.join(" ")),
        ("state", &entry.state),
        ("nonce", &entry.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let at = &metadata.authorization_endpoint;
    let to = format!("{at}{}{query}", if at.contains('?') { '&' } else { '?' });
    let sealed = entry.seal(&provider.seal).ok_or(Denied::Busy)?;
    Ok(Sent { to, cookie: Some(cookies::of_entry(&sealed)) })
}

/// Lets somebody in whom the provider has sent back.
pub(crate) async fn arrive(mount: &Mount, request: &HttpRequest, back: Back) -> Result<Arrived, Denied> {
    // Another site's page can have a browser ask for this: what did not begin in it is not counted, and costs nothing.
    let (provider, entry) = begun(mount, request, &back)?;
    let source = mount.gate.arrival(request, mount.cluster.now().mono)?;
    let arrived = let_in(mount, request, back, &provider, entry).await;
    match &arrived {
        Ok(_) => mount.gate.arrived(&source),
        Err(denied) => tracing::warn!(%denied, from = %source, "a login by the provider was refused"),
    }
    arrived
}

/// The provider, and what this browser has begun with it.
fn begun(mount: &Mount, request: &HttpRequest, back: &Back) -> Result<(Arc<Provider>, Entry), Denied> {
    is_private(mount, request).map_err(|_| Denied::Plain)?;
    let provider = mount.cluster.access().provider().cloned().ok_or(Denied::NotSetUp)?;
    let sealed = cookie(request, cookies::ENTRY).ok_or(Denied::Stale)?;
    let entry = Entry::open(sealed, &provider.seal).ok_or(Denied::Stale)?;
    let state = back.state.as_deref().unwrap_or_default();
    let same = bool::from(state.as_bytes().ct_eq(entry.state.as_bytes()));
    let over = mount.cluster.now().unix > entry.until || entry.since != provider.changed;
    if same && !over { Ok((provider, entry)) } else { Err(Denied::Stale) }
}

async fn let_in(
    mount: &Mount,
    request: &HttpRequest,
    back: Back,
    provider: &Provider,
    entry: Entry,
) -> Result<Arrived, Denied> {
    let metadata = mount.gate.directory.metadata(&*mount.cluster, &provider.plan.issuer).await?;
    // RFC 9207 section 2.4: another provider's answer goes nowhere, its code least of all.
    let from = back.iss.as_ref();
    if from.map_or(metadata.names_itself, |from| *from != provider.plan.issuer) {
        return Err(Denied::OtherIssuer);
    }
    if let Some(error) = back.error {
        return Err(Denied::said(&error));
    }
    let code = back.code.ok_or(Denied::Stale)?;
    let token = exchange(&*mount.cluster, provider, &metadata, &code, &entry.verifier).await?;
    let checked = mount.gate.directory.checked(&*mount.cluster, &metadata, &token).await?;
    let claims = Claims::of(checked, &provider.plan, &entry.nonce, mount.cluster.now().unix)?;
    enter(mount, request, provider, &claims, entry).await
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

#[derive(Default, Deserialize)]
struct TokenError {
    #[serde(default)]
    error: String,
}

/// Has a code exchanged for an ID token (RFC 6749 section 4.1.3).
async fn exchange(
    cluster: &dyn Cluster,
    provider: &Provider,
    metadata: &Metadata,
    code: &str,
    verifier: &str,
) -> Result<String, Denied> {
    let (client, redirect) = (provider.plan.client.as_str(), provider.plan.redirect());
    let secret = String::from_utf8_lossy(&provider.secret.0);
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect.as_str()),
        ("code_verifier", verifier),
    ];
    let basic = if metadata.by_basic() {
        let pair = format!("{}:{}", encoded(client), encoded(&secret));
        Some(Secret(BASE64.encode(pair.as_bytes()).into_bytes()))
    } else {
        form.extend([("client_id", client), ("client_secret", secret.as_ref())]);
        None
    };
    let form = Some(WebForm { body: Secret(fields(&form).into_bytes()), basic });
    let answer = cluster.web(WebRequest { url: metadata.token_endpoint.clone(), form }).await;
    let answer = answer.map_err(Denied::Unreachable)?;
    if answer.status != 200 {
        let told: TokenError = serde_json::from_slice(&answer.body).unwrap_or_default();
        return Err(match told.error.as_str() {
            "invalid_client" | "unauthorized_client" => Denied::OwnSecret,
            "invalid_grant" => Denied::Stale,
            _ => Denied::Unreachable(format!("its token endpoint answers {}", answer.status)),
        });
    }
    let tokens = serde_json::from_slice::<Tokens>(&answer.body);
    tokens.map(|tokens| tokens.id_token).map_err(|_| Denied::Token("there is none in its answer"))
}

/// Whether the provider takes this console's secret, by a code that is none.
async fn try_secret(cluster: &dyn Cluster, provider: &Provider, metadata: &Metadata) -> Result<(), Denied> {
    match exchange(cluster, provider, metadata, "none", "none-none-none-none-none-none-none-none-none").await
    {
        Err(denied @ (Denied::OwnSecret | Denied::Unreachable(_))) => Err(denied),
        _ => Ok(()),
    }
}

/// What somebody new is called: as the provider has it, and never as somebody who is there.
fn free_name(access: &Access, wanted: &str) -> Option<OperatorName> {
    const LAST: u8 = 9;
    let fine = |c: char| {
        let lower = c.to_ascii_lowercase();
        if lower.is_ascii_lowercase() || lower.is_ascii_digit() || "._-+@".contains(lower) {
            lower
        } else {
            '-'
        }
    };
    // There is place for a suffix.
    let wanted: String = wanted.chars().take(OperatorName::MAX - 2).map(fine).collect();
    let names = std::iter::once(wanted.clone()).chain((2..=LAST).map(|n| format!("{wanted}-{n}")));
    let mut free = names.filter_map(|name| OperatorName::new(&name).ok());
    free.find(|name| access.operator(name).is_none())
}

/// Logs in whoever the claims are of.
async fn enter(
    mount: &Mount,
    request: &HttpRequest,
    provider: &Provider,
    claims: &Claims,
    entry: Entry,
) -> Result<Arrived, Denied> {
    let (access, plan) = (mount.cluster.access(), &provider.plan);
    let external = External { issuer: plan.issuer.clone(), subject: claims.subject.clone() };
    let known = access.operator_of(&external).cloned();
    let ip = mount.gate.asker(request).ip.to_string();
    let role = match claims.role(plan) {
        Ok(role) => role,
        Err(denied) => {
            if let Some(name) = known {
                let what =
                    format!("lost their logins and access tokens: {} lets them in no more", plan.label);
                let note = note(name.as_str(), &what, &ip);
                let owned = access.tokens().filter(|(_, token)| token.owner.as_ref() == Some(&name));
                let ends = owned.map(|(id, _)| AccessChange::TokenRemove { id: *id }).collect::<Vec<_>>();
                let logins = AccessChange::LoginsEnd { operator: name.clone() };
                for change in std::iter::once(logins).chain(ends) {
                    drop(mount.cluster.access_set(change, note.clone()).await);
                }
            }
            return Err(denied);
        }
    };
    let (name, what) = match known {
        Some(name) if access.operator(&name).is_some_and(|held| held.disabled) => {
            return Err(Denied::Disabled(name));
        }
        Some(name) => (name, format!("logged in by {}", plan.label)),
        None => {
            let name = free_name(&access, &claims.name).ok_or(Denied::NameTaken)?;
            (name, format!("became {role} by {}", plan.label))
        }
    };
    let bearer = Bearer { id: entry.id, ..Bearer::draw().map_err(|_| Denied::Busy)? };
    let change = AccessChange::ProviderLogin {
        id: LoginId::from_random(bearer.id),
        login: new_login(mount, request, name.clone(), &bearer),
        subject: external.subject,
        role,
        since: entry.since,
        replaces: carried(mount, request),
    };
    let done = mount.cluster.access_set(change, note(name.as_str(), &what, &ip)).await;
    done.map_err(|fault| match fault {
        Fault::Refused(Refusal::Last(Thing::Owner)) => Denied::LastOwner(role),
        Fault::Refused(Refusal::Full { .. }) => Denied::Full,
        Fault::Refused(_) => Denied::Stale,
        _ => Denied::Busy,
    })?;
    Ok(Arrived { to: entry.to, cookies: [cookies::of_login(&bearer), cookies::no_entry()] })
}

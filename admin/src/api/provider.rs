//! `/admin/api/v1/identity-provider`: the OpenID provider by which operators may log in.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, ServiceConfig};
use chappe_proto::mesh::uplink::Secret;
use chappe_proto::registry::access::{AccessChange, Provider, ProviderPlan, Role};
use chappe_proto::registry::{Refusal, Thing};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use crate::Mount;
use crate::access::Owner;
use crate::access::provider::trial;
use crate::access::secret::random;
use crate::api::logins::told;
use crate::api::problem::Problem;
use crate::api::turn::read;
use crate::control::Fault;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/identity-provider", web::get().to(shown))
        .route("/identity-provider", web::put().to(set))
        .route("/identity-provider", web::delete().to(remove))
        .route("/identity-provider/test", web::post().to(test));
}

/// What is described of it.
#[derive(OpenApi)]
#[openapi(paths(shown, set, remove, test))]
pub(crate) struct Part;

/// The values of the claim that give roles; of one that gives several the highest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolesByValue {
    /// Those that make an owner.
    pub owner: Vec<String>,
    /// Those that make an operator.
    pub operator: Vec<String>,
    /// Those that make a viewer.
    pub viewer: Vec<String>,
}

impl RolesByValue {
    fn of(roles: &BTreeMap<String, Role>) -> Self {
        let of =
            |role| roles.iter().filter(|(_, held)| **held == role).map(|(value, _)| value.clone()).collect();
        Self { owner: of(Role::Owner), operator: of(Role::Operator), viewer: of(Role::Viewer) }
    }

    fn by_value(self) -> BTreeMap<String, Role> {
        let with = |values: Vec<String>, role| values.into_iter().map(move |value| (value, role));
        let (viewers, operators) = (with(self.viewer, Role::Viewer), with(self.operator, Role::Operator));
        viewers.chain(operators).chain(with(self.owner, Role::Owner)).collect()
    }
}

/// An identity provider, as it is set up.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShownProvider {
    /// Its issuer identifier.
    pub issuer: String,
    /// What it calls this console.
    pub client_id: String,
    /// Since when it has its secret, which is not shown, in milliseconds since 1970.
    #[schema(value_type = u64)]
    pub client_secret_since: Unix,
    /// The word on the button.
    pub label: String,
    /// Where browsers open the console.
    pub console_url: String,
    /// Where it sends people back to: registered there.
    pub redirect_uri: String,
    /// What is asked for beyond `openid`.
    pub scopes: Vec<String>,
    /// The claim of the ID token that gives roles.
    pub roles_claim: String,
    /// Its values that do.
    pub roles: RolesByValue,
    /// The role of everybody else: `viewer`, `operator`, `owner`.
    #[schema(value_type = Option<String>)]
    pub everybody: Option<Role>,
    /// The only domain of verified addresses of mail that may come.
    pub email_domain: Option<String>,
}

impl ShownProvider {
    pub(crate) fn of(held: &Provider) -> Self {
        let plan = held.plan.clone();
        Self {
            redirect_uri: plan.redirect(),
            issuer: plan.issuer,
            client_id: plan.client,
            client_secret_since: held.secret_since,
            label: plan.label,
            console_url: plan.console,
            scopes: plan.scopes,
            roles_claim: plan.claim,
            roles: RolesByValue::of(&plan.roles),
            everybody: plan.everybody,
            email_domain: plan.domain,
        }
    }
}

/// An identity provider to be set up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProvider {
    /// Its issuer identifier, exactly as its tokens have it in `iss`: `https://…`, or `http://…` on this machine.
    issuer: String,
    /// What it calls this console.
    client_id: String,
    /// The secret that it gave for that. As before where it is left out, of the same issuer and client.
    client_secret: Option<String>,
    /// The word on the button: `single sign-on` where it is left out.
    label: Option<String>,
    /// Where browsers open the console: an origin, as `https://chappe.example`.
    console_url: String,
    /// What is asked for beyond `openid`: `profile` and `email` where it is left out.
    scopes: Option<Vec<String>>,
    /// The claim of the ID token that gives roles, or a path of names with dots between: `groups` where it is left
    /// out.
    roles_claim: Option<String>,
    /// Its values that do.
    #[serde(default)]
    roles: RolesByValue,
    /// The role of everybody whom no value gives one: `viewer`, `operator`, `owner`; they stay out without it.
    #[schema(value_type = Option<String>)]
    everybody: Option<Role>,
    /// The only domain of addresses of mail, verified by the provider, that may come.
    email_domain: Option<String>,
}

impl NewProvider {
    fn plan(self) -> Result<(ProviderPlan, Option<Secret>), Problem> {
        let usual = || vec!["profile".to_owned(), "email".to_owned()];
        let mut scopes = self.scopes.unwrap_or_else(usual);
        scopes.retain(|scope| scope != "openid");
        let plan = ProviderPlan {
            issuer: self.issuer,
            client: self.client_id,
            label: self.label.unwrap_or_else(|| "single sign-on".to_owned()),
            console: self.console_url.trim_end_matches('/').to_ascii_lowercase(),
            scopes,
            claim: self.roles_claim.unwrap_or_else(|| "groups".to_owned()),
            roles: self.roles.by_value(),
            everybody: self.everybody,
            domain: self.email_domain.map(|domain| domain.trim_start_matches('@').to_ascii_lowercase()),
        };
        plan.check().map_err(|(field, fix)| Problem::Field { field, fix })?;
        Ok((plan, self.client_secret.map(|secret| Secret(secret.into_bytes()))))
    }
}

const NONE: Problem = Problem::NotFound("identity provider yet: PUT one here, or `chappe admin oidc set`");

/// The identity provider, without its secret.
#[utoipa::path(
    get, path = "/identity-provider", tag = "access",
    responses((status = 200, body = ShownProvider), (status = 404))
)]
pub(crate) async fn shown(_: Owner, mount: Data<Mount>) -> Result<Json<ShownProvider>, Problem> {
    let access = mount.cluster.access();
    access.provider().map(|held| Json(ShownProvider::of(held))).ok_or(NONE)
}

/// Sets the identity provider up, beside passwords and links. Who is with it right now begins again.
#[utoipa::path(
    put, path = "/identity-provider", tag = "access", request_body = NewProvider,
    responses((status = 200, body = ShownProvider), (status = 400))
)]
pub(crate) async fn set(
    owner: Owner,
    mount: Data<Mount>,
    body: Bytes,
) -> Result<Json<ShownProvider>, Problem> {
    let (plan, secret) = read::<NewProvider>(&body)?.plan()?;
    let note = owner.note(&format!("set the identity provider {}", plan.issuer));
    let seal = Secret(random::<32>()?.to_vec());
    let change = AccessChange::ProviderSet { plan, secret, seal };
    mount.cluster.access_set(change, note).await.map_err(|fault| match fault {
        Fault::Refused(Refusal::Invalid(Thing::Secret)) => no_secret(),
        fault => told(fault),
    })?;
    shown(owner, mount).await
}

fn no_secret() -> Problem {
    let fix = "the one that the provider gave for this client id, 1 to 1024 bytes: it is kept of the same issuer and \
               client id alone";
    Problem::Field { field: "client_secret", fix: fix.to_owned() }
}

/// Nobody logs in by the identity provider any more. Who did stays, and their logins until they end.
#[utoipa::path(
    delete, path = "/identity-provider", tag = "access", responses((status = 204), (status = 404))
)]
pub(crate) async fn remove(owner: Owner, mount: Data<Mount>) -> Result<HttpResponse, Problem> {
    let note = owner.note("removed the identity provider");
    mount.cluster.access_set(AccessChange::ProviderRemove, note).await.map_err(|fault| match fault {
        Fault::Refused(Refusal::Unknown(Thing::Provider)) => NONE,
        fault => told(fault),
    })?;
    Ok(HttpResponse::NoContent().finish())
}

/// What came of a test.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TestedProvider {
    /// Whether people can log in by it, as far as that can be told without one.
    pub fine: bool,
    /// What is wrong and what to do about it, or what to know, in words.
    pub says: String,
}

/// Asks an identity provider for what a login needs of it: one that is to be set up, or the one that is. It is in the
/// audit log.
#[utoipa::path(
    post, path = "/identity-provider/test", tag = "access", request_body = Option<NewProvider>,
    responses((status = 200, body = TestedProvider), (status = 400), (status = 404))
)]
pub(crate) async fn test(
    owner: Owner,
    mount: Data<Mount>,
    body: Bytes,
) -> Result<Json<TestedProvider>, Problem> {
    let held = mount.cluster.access().provider().cloned();
    let asked = if body.is_empty() || *body == *b"null" {
        held.as_deref().cloned().ok_or(NONE)?
    } else {
        let (plan, secret) = read::<NewProvider>(&body)?.plan()?;
        // A secret is shown to nobody but the provider that gave it.
        let same = held.filter(|held| (&held.plan.issuer, &held.plan.client) == (&plan.issuer, &plan.client));
        let secret = secret.or_else(|| same.map(|held| held.secret.clone()));
        let (secret, seal) = (secret.unwrap_or(Secret(Vec::new())), Secret(Vec::new()));
        Provider { plan, secret, secret_since: Unix::default(), seal, changed: Default::default() }
    };
    mount.cluster.noted(owner.note(&format!("tested the identity provider {}", asked.plan.issuer))).await?;
    let trial = trial(&*mount.cluster, &asked).await;
    let mut says = trial.says;
    if trial.fine {
        let told = if asked.secret.0.is_empty() { "It answers" } else { "It answers, and takes the secret" };
        says.insert(0, format!("{told}. Register {} there.", asked.plan.redirect()));
    }
    Ok(Json(TestedProvider { fine: trial.fine, says: says.join(" ") }))
}

//! `/turn/users`: long-term users of the relays.

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::mesh::uplink::{Secret, TurnUser};
use chappe_proto::mesh::user::BadUser;
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Ask, answer, read};
use crate::Mount;
use crate::access::{Operator, Viewer};
use crate::api::problem::Problem;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/turn/users", web::get().to(users))
        .route("/turn/realms/{realm}/users/{name}", web::put().to(set))
        .route("/turn/realms/{realm}/users/{name}", web::delete().to(remove));
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Of {
    /// Of this realm alone.
    realm: Option<String>,
    /// Whose names begin so.
    name: Option<String>,
    /// Behind the user of this realm and `after_name`: the last one that is known.
    after_realm: Option<String>,
    /// See `after_realm`.
    after_name: Option<String>,
    /// So many at most; all of them where it is left out.
    limit: Option<usize>,
}

/// A user as it is shown: which keys it has, never the keys.
#[derive(Serialize, ToSchema)]
#[schema(as = TurnUser)]
pub(super) struct Shown {
    realm: String,
    name: String,
    keys: Vec<&'static str>,
}

impl From<TurnUser> for Shown {
    fn from(user: TurnUser) -> Self {
        let keys = [("md5", user.md5.is_some()), ("sha256", user.sha256.is_some())];
        let keys = keys.into_iter().filter(|(_, held)| *held).map(|(name, _)| name).collect();
        Self { realm: user.realm, name: user.name, keys }
    }
}

/// The users by realm and name.
#[utoipa::path(get, path = "/turn/users", tag = "turn", params(Of), responses((status = 200, body = Vec<Shown>)))]
async fn users(_: Viewer, mount: Data<Mount>, of: Ask<Of>) -> Result<Json<Vec<Shown>>, Problem> {
    let Of { realm, name, after_realm, after_name, limit } = of.0;
    let after = match (after_realm, after_name) {
        (Some(realm), Some(name)) => Some((realm, name)),
        (None, None) => None,
        _ => {
            let fix = "give `after_realm` and `after_name` together".to_owned();
            return Err(Problem::Field { field: "after_name", fix });
        }
    };
    let users = mount.cluster.turn_users().await?.into_iter();
    let asked = |user: &TurnUser| {
        realm.as_ref().is_none_or(|realm| *realm == user.realm)
            && name.as_ref().is_none_or(|name| user.name.starts_with(name.as_str()))
            && after.as_ref().is_none_or(|(realm, name)| (&user.realm, &user.name) > (realm, name))
    };
    Ok(Json(users.filter(asked).map(Shown::from).take(limit.unwrap_or(usize::MAX)).collect()))
}

/// What a user is set to: a password, of which nothing but the keys is kept, or the keys themselves.
#[derive(Deserialize, ToSchema)]
#[schema(as = TurnUserKeys)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    password: Option<String>,
    md5: Option<String>,
    sha256: Option<String>,
}

impl Keys {
    fn of(self, realm: &str, name: &str) -> Result<TurnUser, Problem> {
        let key = |text: Option<String>, bad: BadUser| -> Result<Option<Secret>, Problem> {
            let Some(text) = text else { return Ok(None) };
            let digits = text.strip_prefix("0x").unwrap_or(&text);
            let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| Problem::from(bad))?;
            Ok(Some(Secret(bytes)))
        };
        let problem = |fix: &str| Problem::Field { field: "password", fix: fix.to_owned() };
        let user = match self.password {
            Some(_) if self.md5.is_some() || self.sha256.is_some() => {
                return Err(problem("leave it out beside keys: they are made of it"));
            }
            Some(password) if password.is_empty() => return Err(problem("give one that is not empty")),
            Some(password) => TurnUser::of_password(realm, name, &password),
            None => TurnUser {
                realm: realm.to_owned(),
                name: name.to_owned(),
                md5: key(self.md5, BadUser::Md5)?,
                sha256: key(self.sha256, BadUser::Sha256)?,
            },
        };
        match user.check() {
            Ok(()) => Ok(user),
            Err(BadUser::NoKey) => Err(problem("give it, or keys by md5 and sha256 (`chappe turn key`)")),
            Err(bad) => Err(bad.into()),
        }
    }
}

impl From<BadUser> for Problem {
    fn from(bad: BadUser) -> Self {
        Self::Field { field: bad.field(), fix: bad.to_string() }
    }
}

/// Adds a user, or gives one other keys.
#[utoipa::path(
    put,
    path = "/turn/realms/{realm}/users/{name}",
    tag = "turn",
    params(("realm" = String, Path), ("name" = String, Path)),
    request_body = Keys,
    responses((status = 204))
)]
async fn set(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<(String, String)>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let (realm, name) = path.into_inner();
    let user = read::<Keys>(&body)?.of(&realm, &name)?;
    let note = operator.note(&format!("set the TURN user {name:?} of {realm:?}"));
    answer(mount.cluster.turn_user_set(user, note).await)
}

/// Ends a user and its allocations.
#[utoipa::path(
    delete,
    path = "/turn/realms/{realm}/users/{name}",
    tag = "turn",
    params(("realm" = String, Path), ("name" = String, Path)),
    responses((status = 204), (status = 404))
)]
async fn remove(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (realm, name) = path.into_inner();
    let note = operator.note(&format!("removed the TURN user {name:?} of {realm:?}"));
    answer(mount.cluster.turn_user_remove(realm, name, note).await).map_err(|problem| match problem {
        Problem::NotFound(_) => Problem::NotFound("user in that realm"),
        other => other,
    })
}

//! `/admin/api/v1/turn`: long-term users of the relays, realms by origin, shared secrets, peers.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, PayloadConfig, Query, ServiceConfig};
use chappe_proto::limits::{ENTRY_MAX, SECRET_BYTES};
use chappe_proto::mesh::uplink::{PeerPolicy, Secret, TurnUser};
use chappe_proto::mesh::user::{BadUser, check_origin_realm};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};

use crate::auth::Operator;
use crate::problem::Problem;
use crate::{Changed, Mount, Unavailable};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .app_data(PayloadConfig::new(ENTRY_MAX))
        .route("/turn/users", web::get().to(users))
        .route("/turn/realms/{realm}/users/{name}", web::put().to(set))
        .route("/turn/realms/{realm}/users/{name}", web::delete().to(remove))
        .route("/turn/origins", web::get().to(origins))
        .route("/turn/origins", web::put().to(set_origins))
        .route("/turn/secrets", web::post().to(add_secret))
        .route("/turn/peers", web::get().to(peers))
        .route("/turn/peers", web::put().to(set_peers));
}

impl From<Unavailable> for Problem {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// The answer to a change.
pub(crate) fn answer(changed: Changed) -> Result<HttpResponse, Problem> {
    match changed {
        Changed::Done => Ok(HttpResponse::NoContent().finish()),
        Changed::Refused(refusal) => Err(refusal.into()),
        Changed::Unavailable => Err(Problem::Unavailable),
    }
}

#[derive(Deserialize)]
struct Of {
    realm: Option<String>,
}

/// A user as it is shown: which keys it has, never the keys.
#[derive(Serialize)]
struct Shown {
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

async fn users(_: Operator, mount: Data<Mount>, of: Query<Of>) -> Result<Json<Vec<Shown>>, Problem> {
    let users = mount.cluster.turn_users().await?.into_iter();
    let asked = |user: &TurnUser| of.realm.as_ref().is_none_or(|realm| *realm == user.realm);
    Ok(Json(users.filter(asked).map(Shown::from).collect()))
}

/// What a user is set to: a password, of which nothing but the keys is kept, or the keys themselves.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
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

/// Reads a body. The parser's words name the field and the place; a value only where it is of the
/// wrong type, and to nobody but its sender.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::Field {
        field: "body",
        fix: format!("not the JSON object that is taken here: {error}"),
    })
}

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

async fn origins(_: Operator, mount: Data<Mount>) -> Result<Json<BTreeMap<String, String>>, Problem> {
    Ok(Json(mount.cluster.turn_origins().await?))
}

async fn set_origins(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let origins: BTreeMap<String, String> = read(&body)?;
    for (origin, realm) in &origins {
        check_origin_realm(realm)
            .map_err(|bad| Problem::Field { field: "realm", fix: format!("of {origin:?}: {bad}") })?;
    }
    let note = operator.note(&format!("set the realms of {} origins", origins.len()));
    answer(mount.cluster.turn_origins_set(origins, note).await).map_err(|problem| match problem {
        Problem::Field { .. } => Problem::Field {
            field: "origin",
            fix: "scheme and host as browsers write them, in lower case and without a path: \
                  https://meet.example.org"
                .to_owned(),
        },
        other => other,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    secret: String,
}

async fn add_secret(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let NewSecret { secret } = read(&body)?;
    if !SECRET_BYTES.contains(&secret.len()) {
        let (min, max) = (SECRET_BYTES.start(), SECRET_BYTES.end());
        let fix = format!("{min} to {max} bytes: make one by `openssl rand -hex 32`");
        return Err(Problem::Field { field: "secret", fix });
    }
    let note = operator.note("added a shared secret of TURN credentials");
    answer(mount.cluster.turn_secret_add(Secret(secret.into_bytes()), note).await)
}

async fn peers(_: Operator, mount: Data<Mount>) -> Result<Json<PeerPolicy>, Problem> {
    Ok(Json(mount.cluster.turn_peers().await?))
}

async fn set_peers(operator: Operator, mount: Data<Mount>, body: Bytes) -> Result<HttpResponse, Problem> {
    let peers: PeerPolicy = read(&body)?;
    let (allowed, denied) = (peers.allow.len(), peers.deny.len());
    let note =
        operator.note(&format!("set the peers of relays: {allowed} allowed, {denied} denied prefixes"));
    answer(mount.cluster.turn_peers_set(peers, note).await)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::StatusCode;
    use actix_web::{App, test};
    use serde_json::{Value, json};

    use super::*;
    use crate::memory::Memory;

    /// Asks with the operator's token: status and body.
    async fn ask(cluster: &Arc<Memory>, method: &str, path: &str, body: Value) -> (u16, Value) {
        let mount = Mount::new(Arc::clone(cluster) as Arc<dyn crate::Cluster>, Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        let request = test::TestRequest::with_uri(&format!("/admin/api/v1/turn{path}"))
            .method(method.parse().unwrap())
            .peer_addr("192.0.2.7:5000".parse().unwrap())
            .insert_header(("Authorization", "Bearer right"))
            .set_payload(body.to_string());
        let response = test::call_service(&app, request.to_request()).await;
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&test::read_body(response).await).unwrap_or(Value::Null))
    }

    #[actix_rt::test]
    async fn users_are_set_listed_without_their_keys_and_removed() {
        let cluster = Arc::new(Memory::default());
        let put = async |path: &str, body| ask(&cluster, "PUT", path, body).await;
        assert_eq!(put("/realms/r/users/ada", json!({ "password": "x" })).await, (204, Value::Null));
        let md5 = "0xE7689b73e913479d2a40be88f22bca68";
        assert_eq!(put("/realms/r/users/a", json!({ "md5": md5 })).await.0, 204);
        assert_eq!(put("/realms/q%20q/users/a%2Fb%20%25%C3%BC%3A", json!({ "password": "x" })).await.0, 204);
        let (_, all) = ask(&cluster, "GET", "/users", Value::Null).await;
        let both = json!(["md5", "sha256"]);
        let a = json!({ "realm": "r", "name": "a", "keys": ["md5"] });
        let ada = json!({ "realm": "r", "name": "ada", "keys": both });
        assert_eq!(all, json!([{ "realm": "q q", "name": "a/b %ü:", "keys": both }, a, ada]));
        let (_, some) = ask(&cluster, "GET", "/users?realm=r", Value::Null).await;
        assert_eq!(some, json!([a, ada]));
        cluster.with(|state| {
            assert_eq!(state.turn_user("r", "ada"), Some(TurnUser::of_password("r", "ada", "x")));
            let a = TurnUser::of_password("r", "a", "p");
            assert_eq!(state.turn_user("r", "a"), Some(TurnUser { sha256: None, ..a }));
        });
        assert_eq!(ask(&cluster, "DELETE", "/realms/r/users/ada", Value::Null).await.0, 204);
        let (status, problem) = ask(&cluster, "DELETE", "/realms/r/users/ada", Value::Null).await;
        assert_eq!((status, &problem["detail"]), (404, &json!("there is no such user in that realm")));
        // Who did what from where; never with what.
        let notes: Vec<_> = cluster.with(|state| state.audit().map(|line| line.note.clone()).collect());
        assert_eq!(notes[0].what, "set the TURN user \"ada\" of \"r\"");
        assert_eq!((&*notes[0].who, &*notes[0].from), ("operator", "192.0.2.7"));
        assert_eq!(notes[3].what, "removed the TURN user \"ada\" of \"r\"");
        assert!(notes.iter().all(|note| !note.what.contains("e7689b") && !note.what.contains("0xE7")));
    }

    #[actix_rt::test]
    async fn what_is_wrong_is_named_with_its_fix() {
        let cluster = Arc::new(Memory::default());
        let path = "/realms/r/users/a";
        for (path, body, field, fix) in [
            (path, json!({}), "password", "chappe turn key"),
            (path, json!({ "password": "" }), "password", "not empty"),
            (path, json!({ "password": "x", "md5": "00" }), "password", "beside keys"),
            (path, json!({ "md5": "zz" }), "md5", "32 hexadecimal digits"),
            (path, json!({ "md5": "00" }), "md5", "32 hexadecimal digits"),
            (path, json!({ "sha256": "00" }), "sha256", "64 hexadecimal digits"),
            (path, json!({ "passwort": "x" }), "body", "unknown field `passwort`"),
            (path, json!([]), "body", "JSON object"),
            ("/realms/a%22b/users/a", json!({ "password": "x" }), "realm", "a realm has 1 to 127"),
            ("/realms/r/users/a%0Ab", json!({ "password": "x" }), "name", "control characters"),
            ("/origins", json!({ "https://a": "" }), "realm", "https://a"),
            ("/origins", json!({ "a.example.org": "r" }), "origin", "https://meet.example.org"),
        ] {
            let (status, problem) = ask(&cluster, "PUT", path, body.clone()).await;
            assert_eq!((status, problem["field"].as_str()), (400, Some(field)), "{path} {body} {problem}");
            assert!(problem["detail"].as_str().unwrap().contains(fix), "{problem}");
        }
        assert_eq!(cluster.with(|state| state.turn_users().count()), 0);
    }

    #[actix_rt::test]
    async fn origins_are_set_as_a_whole() {
        let cluster = Arc::new(Memory::default());
        let origins = json!({ "https://meet.example.org": "example.org" });
        assert_eq!(ask(&cluster, "PUT", "/origins", origins.clone()).await.0, 204);
        assert_eq!(ask(&cluster, "GET", "/origins", Value::Null).await, (200, origins));
        assert_eq!(ask(&cluster, "PUT", "/origins", json!({})).await.0, 204);
        assert_eq!(ask(&cluster, "GET", "/origins", Value::Null).await, (200, json!({})));
    }

    #[actix_rt::test]
    async fn a_secret_is_added_once_and_shown_nowhere() {
        let cluster = Arc::new(Memory::default());
        let post = async |secret: &str| ask(&cluster, "POST", "/secrets", json!({ "secret": secret })).await;
        let (status, problem) = post("north").await;
        assert_eq!((status, &problem["field"]), (400, &json!("secret")), "{problem}");
        for _ in 0..2 {
            assert_eq!(post("correct horse battery staple").await.0, 204);
        }
        assert_eq!(cluster.with(|state| state.turn_secrets().all().len()), 1);
        let note = cluster.with(|state| state.audit().next().map(|line| line.note.what.clone()));
        assert_eq!(note.as_deref(), Some("added a shared secret of TURN credentials"));
    }

    #[actix_rt::test]
    async fn peers_are_set_as_a_whole() {
        let cluster = Arc::new(Memory::default());
        let peers = json!({ "allow": ["10.0.0.0/8"], "deny": ["2001:db8::/32"] });
        assert_eq!(ask(&cluster, "PUT", "/peers", peers.clone()).await.0, 204);
        assert_eq!(ask(&cluster, "GET", "/peers", Value::Null).await, (200, peers));
        let (status, problem) =
            ask(&cluster, "PUT", "/peers", json!({ "allow": ["10.0.0.0"], "deny": [] })).await;
        assert_eq!((status, &problem["field"]), (400, &json!("body")), "{problem}");
    }

    #[actix_rt::test]
    async fn nobody_else_is_answered() {
        let mount = Mount::new(Arc::new(Memory::default()), Secret(b"right".to_vec()));
        let app = test::init_service(App::new().configure(|config| mount.configure(config))).await;
        for (method, path) in [
            ("GET", "/users"),
            ("PUT", "/realms/r/users/a"),
            ("DELETE", "/realms/r/users/a"),
            ("GET", "/origins"),
            ("POST", "/secrets"),
            ("PUT", "/peers"),
        ] {
            let request = test::TestRequest::with_uri(&format!("/admin/api/v1/turn{path}"));
            let request = request.method(method.parse().unwrap()).to_request();
            assert_eq!(test::call_service(&app, request).await.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
    }
}

//! `/admin/api/v1/apps`: the apps, and how each treats its users.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{self, Bytes, Data, Json, Path, ServiceConfig};
use chappe_proto::id::AppId;
use chappe_proto::limits::{CREDENTIAL_TTL_MAX, CREDENTIAL_TTL_MIN};
use chappe_proto::registry::{App, AppPolicy};
use chappe_proto::time::Unix;
use serde::{Deserialize, Serialize};

use crate::Mount;
use crate::auth::Operator;
use crate::problem::Problem;
use crate::turn::{answer, read};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/apps", web::get().to(apps))
        .route("/apps/{app}/credential-ttl", web::put().to(set_credential_ttl));
}

/// An app as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Its id.
    pub app: AppId,
    /// What operators call it.
    pub name: String,
    /// How it treats its users.
    pub policy: AppPolicy,
    /// When it was added.
    pub created: Unix,
}

async fn apps(_: Operator, mount: Data<Mount>) -> Result<Json<Vec<Shown>>, Problem> {
    let all = mount.cluster.apps().await?.into_iter();
    let shown = |(app, App { name, policy, created })| Shown { app, name, policy, created };
    Ok(Json(all.map(shown).collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifetime {
    seconds: u64,
}

/// How long the TURN credentials last that sessions are given from then on.
async fn set_credential_ttl(
    operator: Operator,
    mount: Data<Mount>,
    path: Path<String>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let id = AppId::new(&path).map_err(|bad| Problem::Field { field: "app", fix: bad.to_string() })?;
    let Lifetime { seconds } = read(&body)?;
    let ttl = Duration::from_secs(seconds);
    if !(CREDENTIAL_TTL_MIN..=CREDENTIAL_TTL_MAX).contains(&ttl) {
        let (least, most) = (CREDENTIAL_TTL_MIN.as_secs(), CREDENTIAL_TTL_MAX.as_secs());
        return Err(Problem::Field { field: "seconds", fix: format!("{least} to {most}") });
    }
    let held = mount.cluster.apps().await?.into_iter().find(|(app, _)| *app == id);
    let (app, App { name, mut policy, .. }) = held.ok_or(Problem::NotFound("app"))?;
    policy.credential_ttl_ms = seconds * 1000;
    let note = operator.note(&format!("gave the app {app} TURN credentials of {seconds} s"));
    answer(mount.cluster.app_set(app, name, policy, note).await)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::http::Method;
    use chappe_proto::registry::{Command, Note};
    use serde_json::{Value, json};

    use super::*;
    use crate::memory::{Memory, ask, refused};

    #[actix_rt::test]
    async fn a_lifetime_is_set_shown_and_refused_in_words() {
        let memory = Arc::new(Memory::default());
        let (app, name) = (AppId::new("bank").unwrap(), "Bank".to_owned());
        let policy = AppPolicy { anonymous: true, ..AppPolicy::default() };
        let note = Note { who: "test".to_owned(), what: "founded".to_owned(), from: String::new() };
        drop(memory.change(Command::AppAdd { app, name, policy }, note).await);

        let path = "/apps/bank/credential-ttl";
        assert_eq!(ask(&memory, Method::PUT, path, json!({ "seconds": 10 })).await.0, 204);
        let (_, all) = ask(&memory, Method::GET, "/apps", Value::Null).await;
        assert_eq!(all[0]["app"], "bank");
        assert_eq!(
            (&all[0]["policy"]["credential_ttl_ms"], &all[0]["policy"]["anonymous"]),
            (&json!(10_000), &json!(true))
        );
        for (path, body, told) in [
            (path, json!({ "seconds": 3 }), "seconds: 4 to 86400"),
            (path, json!({ "seconds": 86_401 }), "seconds: 4 to 86400"),
            (path, json!({ "seconds": "10" }), "body"),
            (path, json!({ "ttl": 10 }), "body"),
            ("/apps/shop/credential-ttl", json!({ "seconds": 10 }), "no such app"),
        ] {
            let said = refused(&memory, Method::PUT, path, body).await;
            assert!(said.contains(told), "{said}");
        }
        memory.with(|state| {
            let kept: Vec<_> = state.audit().map(|entry| entry.note.what.clone()).collect();
            assert_eq!(kept, ["founded", "gave the app bank TURN credentials of 10 s"]);
        });
    }
}

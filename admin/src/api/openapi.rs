//! The API's description (OpenAPI 3.1), made from its handlers, and an explorer of it.

mod answers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use actix_web::http::header;
use actix_web::web::{self, Json, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Description, SecurityRequirement};
use utoipa::{Modify, OpenApi};

use crate::access::Viewer;
use crate::api::problem::Problem;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/openapi.json", web::get().to(description))
        .route("/explorer/{file}", web::get().to(explorer));
}

/// What all of it has in common.
#[derive(OpenApi)]
#[openapi(
    info(title = "Chappe", description = "Everything that the console does, for programs. Any node answers, whichever leads."),
    servers((url = "/admin/api/v1")),
    tags(
        (name = "cluster", description = "The cluster itself: how it is, who leads, who may join, its settings"),
        (name = "nodes", description = "The members"),
        (name = "configuration", description = "What the cluster, its nodes and its edges run with, and where they differ"),
        (name = "logs", description = "What nodes and edges log"),
        (name = "edges", description = "The relays"),
        (name = "selection", description = "Which edges are for whom"),
        (name = "usage", description = "What was relayed, and what it costs"),
        (name = "rooms", description = "Rooms, and what is decided of them"),
        (name = "peers", description = "The people in rooms"),
        (name = "signals", description = "What passes a room, live"),
        (name = "figures", description = "How it was over the last hours"),
        (name = "apps", description = "Tenants, their keys, and the tokens that those sign"),
        (name = "turn", description = "Credentials, secrets and users of the relays, and their allocations"),
        (name = "webhooks", description = "What apps' servers are told"),
        (name = "connection", description = "What an operator's own browser reaches"),
        (name = "access", description = "Operators, logins, one-time links, access tokens"),
        (name = "audit", description = "Who changed what"),
    ),
    modifiers(&Access),
)]
struct Common;

/// How one shows who one is.
struct Access;

impl Modify for Access {
    fn modify(&self, api: &mut Description) {
        let held = api.components.get_or_insert_default();
        let bearer = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An access token, or the operator's token of the cluster"))
            .build();
        let basic = Http::builder()
            .scheme(HttpAuthScheme::Basic)
            .description(Some("An app's API key and its secret: what is under that app's path"))
            .build();
        held.add_security_scheme("token", SecurityScheme::Http(bearer));
        held.add_security_scheme("key", SecurityScheme::Http(basic));
        let cookie =
            ApiKeyValue::with_description("__Host-chappe", "A login of the console, with its `Chappe-Csrf`");
        held.add_security_scheme("login", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let none: [&str; 0] = [];
        api.security =
            Some(["token", "key", "login"].map(|name| SecurityRequirement::new(name, none)).to_vec());
    }
}

/// What each file of the API describes.
fn parts() -> Vec<Description> {
    vec![
        super::rooms::Part::openapi(),
        super::peers::Part::openapi(),
        super::lobby::Part::openapi(),
        super::peer::Part::openapi(),
        super::signals::Part::openapi(),
        super::apps::Part::openapi(),
        super::keys::Part::openapi(),
        super::tokens::Part::openapi(),
        super::turn::Part::openapi(),
        super::hooks::Part::openapi(),
        super::usage::Part::openapi(),
        super::costs::Part::openapi(),
        super::history::Part::openapi(),
        super::edges::Part::openapi(),
        super::selection::Part::openapi(),
        super::connection::Part::openapi(),
        super::cluster::Part::openapi(),
        super::configuration::Part::openapi(),
        super::logs::Part::openapi(),
        super::logs::edges::Part::openapi(),
        super::nodes::Part::openapi(),
        super::invitations::Part::openapi(),
        super::me::Part::openapi(),
        super::logins::Part::openapi(),
        super::operators::Part::openapi(),
        super::access_tokens::Part::openapi(),
        super::provider::Part::openapi(),
        super::audit::Part::openapi(),
    ]
}

/// The whole description.
pub(crate) fn whole() -> Description {
    let mut whole = Common::openapi();
    for part in parts() {
        whole.merge(part);
    }
    answers::complete(&mut whole);
    whole
}

/// The methods of each path, for programs that ask by another one.
static METHODS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let of = |(path, mut item): (String, _)| {
        let methods = answers::operations(&mut item).map(|(method, _)| answers::name(&method).to_uppercase());
        let methods = methods.collect::<Vec<_>>().join(", ");
        (path, methods)
    };
    whole().paths.paths.into_iter().map(of).collect()
});

/// Where nothing else answers: by another method there may be something.
pub(crate) async fn nowhere(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.path().strip_prefix("/admin/api/v1").unwrap_or_default();
    let fits = |template: &str| {
        let (mut asked, mut held) = (path.split('/'), template.split('/'));
        loop {
            match (asked.next(), held.next()) {
                (None, None) => return true,
                (Some(asked), Some(held))
                    if asked == held || (held.starts_with('{') && !asked.is_empty()) => {}
                _ => return false,
            }
        }
    };
    Err(match METHODS.iter().find(|(template, _)| fits(template)) {
        Some((_, methods)) => Problem::NotAllowed(methods.clone()),
        None => Problem::NotFound("operation: GET /admin/api/v1/openapi.json lists them"),
    })
}

async fn description(_: Viewer) -> Json<Description> {
    Json(whole())
}

/// A file of Swagger UI: `/admin/api` shows what it makes of the description.
async fn explorer(_: Viewer, file: Path<String>) -> Result<HttpResponse, Problem> {
    match utoipa_swagger_ui::serve(&file, Arc::default()) {
        Ok(Some(file)) => {
            let mut response = HttpResponse::Ok();
            response.insert_header((header::CACHE_CONTROL, "private, max-age=3600"));
            if file.gzpipped {
                response.insert_header(("Content-Encoding", "gzip"));
            }
            Ok(response.content_type(file.content_type).body(file.bytes.into_owned()))
        }
        Ok(None) | Err(_) => Err(Problem::NotFound("file")),
    }
}

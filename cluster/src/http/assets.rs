//! The pages, the SDK and the schema, compiled into the binary.

use actix_web::http::header;
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};

use chappe_admin::fingerprint;

use super::get;

/// Nothing inline, nothing from elsewhere; media from the page's own streams (and `stun:`, `turn:`
/// are no business of CSP). Connections go to whichever node takes the session over, and to the edges'
/// probes.
macro_rules! policy {
    ($connect:literal) => {
        concat!(
            "default-src 'self'; img-src 'self' data:; media-src 'self' blob: mediastream:; \
             object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; connect-src ",
            $connect
        )
    };
}
/// Of a page over HTTPS, from which a browser opens nothing that is plain.
const POLICY: &str = policy!("'self' https: wss:");
/// Of a page over plain HTTP, as in development.
const POLICY_PLAIN: &str = policy!("'self' https: wss: http: ws:");
/// What a call page may ask the browser for.
const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self), geolocation=()";

struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($path:literal = $file:literal as $kind:literal),* $(,)?) => {
        &[$(Asset { path: $path, kind: $kind, bytes: include_bytes!($file) }),*]
    };
}

static ASSETS: &[Asset] = assets![
    "/" = "../../pages/index.html" as "text/html; charset=utf-8",
    "/assets/call.html" = "../../pages/call.html" as "text/html; charset=utf-8",
    "/phone" = "../../pages/phone.html" as "text/html; charset=utf-8",
    "/assets/tokens.css" = "../../../admin/ui/tokens.css" as "text/css; charset=utf-8",
    "/assets/parts.css" = "../../../admin/ui/parts.css" as "text/css; charset=utf-8",
    "/assets/base.css" = "../../pages/base.css" as "text/css; charset=utf-8",
    "/assets/call.css" = "../../pages/call.css" as "text/css; charset=utf-8",
    "/assets/home.css" = "../../pages/home.css" as "text/css; charset=utf-8",
    "/assets/call.js" = "../../pages/call.js" as "text/javascript; charset=utf-8",
    "/assets/home.js" = "../../pages/home.js" as "text/javascript; charset=utf-8",
    "/assets/lobby.js" = "../../pages/lobby.js" as "text/javascript; charset=utf-8",
    "/assets/knocks.js" = "../../pages/knocks.js" as "text/javascript; charset=utf-8",
    "/assets/media.js" = "../../pages/media.js" as "text/javascript; charset=utf-8",
    "/assets/names.js" = "../../pages/names.js" as "text/javascript; charset=utf-8",
    "/assets/people.js" = "../../pages/people.js" as "text/javascript; charset=utf-8",
    "/assets/phone.js" = "../../pages/phone.js" as "text/javascript; charset=utf-8",
    "/assets/tiles.js" = "../../pages/tiles.js" as "text/javascript; charset=utf-8",
    "/assets/words.js" = "../../pages/words.js" as "text/javascript; charset=utf-8",
    "/assets/favicon.svg" = "../../pages/favicon.svg" as "image/svg+xml",
    "/assets/icons.svg" = "../../pages/icons.svg" as "image/svg+xml",
    "/favicon.ico" = "../../pages/favicon.svg" as "image/svg+xml",
    "/sdk/chappe.js" = "../../../proto/js/chappe.js" as "text/javascript; charset=utf-8",
    "/sdk/connections.js" = "../../../proto/js/connections.js" as "text/javascript; charset=utf-8",
    "/sdk/connector.js" = "../../../proto/js/connector.js" as "text/javascript; charset=utf-8",
    "/sdk/delivery.js" = "../../../proto/js/delivery.js" as "text/javascript; charset=utf-8",
    "/sdk/emitter.js" = "../../../proto/js/emitter.js" as "text/javascript; charset=utf-8",
    "/sdk/ice.js" = "../../../proto/js/ice.js" as "text/javascript; charset=utf-8",
    "/sdk/mover.js" = "../../../proto/js/mover.js" as "text/javascript; charset=utf-8",
    "/sdk/negotiation.js" = "../../../proto/js/negotiation.js" as "text/javascript; charset=utf-8",
    "/sdk/nodes.js" = "../../../proto/js/nodes.js" as "text/javascript; charset=utf-8",
    "/sdk/peer.js" = "../../../proto/js/peer.js" as "text/javascript; charset=utf-8",
    "/sdk/probes.js" = "../../../proto/js/probes.js" as "text/javascript; charset=utf-8",
    "/sdk/relays.js" = "../../../proto/js/relays.js" as "text/javascript; charset=utf-8",
    "/sdk/room.js" = "../../../proto/js/room.js" as "text/javascript; charset=utf-8",
    "/sdk/signaling.js" = "../../../proto/js/signaling.js" as "text/javascript; charset=utf-8",
    "/sdk/socket.js" = "../../../proto/js/socket.js" as "text/javascript; charset=utf-8",
    "/sdk/chappe.d.ts" = "../../../proto/js/chappe.d.ts" as "text/plain; charset=utf-8",
    "/schema/signal.v1.json" = "../../../proto/schema/signal.v1.json" as "application/schema+json",
];

pub(super) fn routes(config: &mut ServiceConfig) {
    for asset in ASSETS {
        config
            .route(asset.path, get().to(move |request: HttpRequest| async move { answer(&request, asset) }));
    }
    config.route("/r/{room}", get().to(call));
}

async fn call(request: HttpRequest) -> HttpResponse {
    match ASSETS.iter().find(|asset| asset.path == "/assets/call.html") {
        Some(page) => answer(&request, page),
        None => HttpResponse::NotFound().finish(),
    }
}

fn answer(request: &HttpRequest, asset: &Asset) -> HttpResponse {
    let tag = format!("\"{:x}\"", fingerprint(asset.bytes));
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let secure = request.connection_info().scheme() == "https";
    let policy = if secure { POLICY } else { POLICY_PLAIN };
    let mut response =
        if known == Some(tag.as_str()) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, tag.clone()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header(("Permissions-Policy", PERMISSIONS))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("Cross-Origin-Opener-Policy", "same-origin"));
    if asset.path.starts_with("/sdk/") || asset.path.starts_with("/schema/") {
        // Pages of other origins import the SDK from here.
        response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    }
    if known == Some(tag.as_str()) {
        return response.finish();
    }
    response.content_type(asset.kind).body(asset.bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use actix_web::http::{Method, StatusCode, header};
    use actix_web::{App, test as web_test};

    use super::*;

    /// Names of the files of a folder of this repository, below the crate's own.
    fn files(folder: &str) -> BTreeSet<String> {
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    }

    fn served(file: &str, folder: &str) -> bool {
        let wanted = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(file)).unwrap();
        ASSETS.iter().any(|asset| {
            let name = asset.path.rsplit('/').next();
            (name == Some(file) || asset.kind.starts_with("text/html")) && asset.bytes == wanted
        })
    }

    #[test]
    fn every_page_is_served() {
        for file in files("pages") {
            assert!(served(&file, "pages"), "{file} is not in the table");
        }
    }

    #[test]
    fn every_module_of_the_sdk_is_served() {
        for file in files("../proto/js").iter().filter(|file| *file != "package.json") {
            assert!(served(file, "../proto/js"), "{file} is not in the table");
        }
    }

    #[actix_web::test]
    async fn a_page_answers_head_with_the_headers_of_get_and_no_body() {
        let app = web_test::init_service(App::new().configure(routes)).await;
        for path in ["/", "/r/tea", "/sdk/chappe.js"] {
            let ask = |method| web_test::TestRequest::default().method(method).uri(path).to_request();
            let get = web_test::call_service(&app, ask(Method::GET)).await;
            let head = web_test::call_service(&app, ask(Method::HEAD)).await;
            assert_eq!((get.status(), head.status()), (StatusCode::OK, StatusCode::OK), "{path}");
            assert_eq!(get.headers().get(header::ETAG), head.headers().get(header::ETAG), "{path}");
        }
    }
}

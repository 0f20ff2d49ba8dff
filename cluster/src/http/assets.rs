//! The pages, the SDK and the schema, compiled into the binary.

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

/// Nothing inline, nothing from elsewhere; media from the page's own streams (and `stun:`, `turn:`
/// are no business of CSP).
const POLICY: &str = "default-src 'self'; img-src 'self' data:; media-src 'self' blob: mediastream:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
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
    "/assets/base.css" = "../../pages/base.css" as "text/css; charset=utf-8",
    "/assets/call.css" = "../../pages/call.css" as "text/css; charset=utf-8",
    "/assets/home.css" = "../../pages/home.css" as "text/css; charset=utf-8",
    "/assets/call.js" = "../../pages/call.js" as "text/javascript; charset=utf-8",
    "/assets/home.js" = "../../pages/home.js" as "text/javascript; charset=utf-8",
    "/assets/media.js" = "../../pages/media.js" as "text/javascript; charset=utf-8",
    "/assets/names.js" = "../../pages/names.js" as "text/javascript; charset=utf-8",
    "/assets/phone.js" = "../../pages/phone.js" as "text/javascript; charset=utf-8",
    "/assets/tiles.js" = "../../pages/tiles.js" as "text/javascript; charset=utf-8",
    "/assets/icons.svg" = "../../pages/icons.svg" as "image/svg+xml",
    "/assets/favicon.svg" = "../../pages/favicon.svg" as "image/svg+xml",
    "/favicon.ico" = "../../pages/favicon.svg" as "image/svg+xml",
    "/sdk/chappe.js" = "../../../proto/js/chappe.js" as "text/javascript; charset=utf-8",
    "/sdk/chappe.d.ts" = "../../../proto/js/chappe.d.ts" as "text/plain; charset=utf-8",
    "/sdk/delivery.js" = "../../../proto/js/delivery.js" as "text/javascript; charset=utf-8",
    "/sdk/emitter.js" = "../../../proto/js/emitter.js" as "text/javascript; charset=utf-8",
    "/sdk/ice.js" = "../../../proto/js/ice.js" as "text/javascript; charset=utf-8",
    "/sdk/negotiation.js" = "../../../proto/js/negotiation.js" as "text/javascript; charset=utf-8",
    "/sdk/peer.js" = "../../../proto/js/peer.js" as "text/javascript; charset=utf-8",
    "/sdk/probes.js" = "../../../proto/js/probes.js" as "text/javascript; charset=utf-8",
    "/sdk/room.js" = "../../../proto/js/room.js" as "text/javascript; charset=utf-8",
    "/sdk/signaling.js" = "../../../proto/js/signaling.js" as "text/javascript; charset=utf-8",
    "/sdk/socket.js" = "../../../proto/js/socket.js" as "text/javascript; charset=utf-8",
    "/schema/signal.v1.json" = "../../../proto/schema/signal.v1.json" as "application/schema+json",
];

pub(super) fn routes(config: &mut ServiceConfig) {
    for asset in ASSETS {
        config.route(
            asset.path,
            web::get().to(move |request: HttpRequest| async move { answer(&request, asset) }),
        );
    }
    config.route("/r/{room}", web::get().to(call));
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
    let mut response =
        if known == Some(tag.as_str()) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, tag.clone()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
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

/// FNV-1a: tells one build's file from another's, no more.
fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

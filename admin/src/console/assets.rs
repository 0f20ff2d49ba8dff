//! Styles, modules and drawings of the console, compiled into the binary.

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::words::fingerprint;

macro_rules! assets {
    ($($name:literal as $kind:literal),* $(,)?) => {
        &[$(($name, $kind, include_bytes!(concat!("../../ui/", $name)))),*]
    };
}

/// Name, type and bytes of each.
pub(super) static ASSETS: &[(&str, &str, &[u8])] = assets![
    "tokens.css" as "text/css; charset=utf-8",
    "parts.css" as "text/css; charset=utf-8",
    "console.css" as "text/css; charset=utf-8",
    "access.js" as "text/javascript; charset=utf-8",
    "api.js" as "text/javascript; charset=utf-8",
    "connection.js" as "text/javascript; charset=utf-8",
    "connection-probe.js" as "text/javascript; charset=utf-8",
    "connection-view.js" as "text/javascript; charset=utf-8",
    "connection-words.js" as "text/javascript; charset=utf-8",
    "explorer.css" as "text/css; charset=utf-8",
    "explorer.js" as "text/javascript; charset=utf-8",
    "logs.js" as "text/javascript; charset=utf-8",
    "console.js" as "text/javascript; charset=utf-8",
    "live.js" as "text/javascript; charset=utf-8",
    "signals.js" as "text/javascript; charset=utf-8",
    "tail.js" as "text/javascript; charset=utf-8",
    "search.js" as "text/javascript; charset=utf-8",
    "times.js" as "text/javascript; charset=utf-8",
    "icons.svg" as "image/svg+xml",
    "mark.svg" as "image/svg+xml",
    "world.svg" as "image/svg+xml",
];

pub(super) fn routes(config: &mut ServiceConfig) {
    config.route("/ui/{file}", web::get().to(asset));
}

async fn asset(request: HttpRequest, file: web::Path<String>) -> HttpResponse {
    let Some((_, kind, bytes)) = ASSETS.iter().find(|(name, ..)| *name == file.as_str()) else {
        return HttpResponse::NotFound().finish();
    };
    let tag = format!("\"{:x}\"", fingerprint(bytes));
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = known == Some(tag.as_str());
    let mut response = if same { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::ETAG, tag)).insert_header((header::CACHE_CONTROL, "no-cache"));
    if same { response.finish() } else { response.content_type(*kind).body(*bytes) }
}

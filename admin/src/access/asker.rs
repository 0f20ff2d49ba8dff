//! Where a request comes from, and whether a browser made it for a page of another site.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::HttpRequest;

use crate::api::problem::Problem;

/// Where a request comes from, as the server that the API is put into knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The client's address, behind whatever proxies.
    pub ip: IpAddr,
    /// Whether it came by HTTPS, whoever decrypted it.
    pub secure: bool,
}

/// How that is found out.
pub(crate) type Ask = Arc<dyn Fn(&HttpRequest) -> Asker + Send + Sync>;

/// The connection's own address, of a server that knows of no proxies and no TLS.
pub(crate) fn direct() -> Ask {
    Arc::new(|request| {
        let ip = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        Asker { ip: ip.to_canonical(), secure: false }
    })
}

/// A header's text, where it is there once.
pub(crate) fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let mut all = request.headers().get_all(name);
    let first = all.next()?;
    if all.next().is_some() { None } else { first.to_str().ok() }
}

/// Whether a request is for server-sent events, as browsers say of an `EventSource`'s.
pub(crate) fn asks_for_events(request: &HttpRequest) -> bool {
    header(request, "accept").is_some_and(|accepts| accepts.starts_with("text/event-stream"))
}

/// Whether a request may act for whoever's cookie it carries: browsers say which site's page made it (Fetch Metadata;
/// `Origin`, RFC 6454). What is no browser says neither.
///
/// # Errors
/// [`Problem::Forbidden`], where a page of another origin made it.
pub(crate) fn same_origin(request: &HttpRequest) -> Result<(), Problem> {
    let foreign = || {
        Problem::Forbidden(
            "a page of another origin made this request: open the console at this node's own address"
                .to_owned(),
        )
    };
    let headers = request.headers();
    if headers.contains_key("sec-fetch-site") {
        // `none`: the user themself, by the address bar.
        return match header(request, "sec-fetch-site") {
            Some("same-origin" | "none") => Ok(()),
            _ => Err(foreign()),
        };
    }
    if !headers.contains_key("origin") {
        return Ok(());
    }
    let host = header(request, "host").map(str::to_owned).or_else(|| {
        // HTTP/2 has it in the request's target.
        request.uri().authority().map(ToString::to_string)
    });
    let origin = header(request, "origin").and_then(|origin| origin.split_once("://"));
    match (origin, host) {
        (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(&host) => Ok(()),
        _ => Err(foreign()),
    }
}

//! Logging in by the identity provider: the way there, and the way back.

use actix_web::http::header;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::entry::{place, refused};
use super::view::page_of;
use crate::Mount;
use crate::access::provider::{Back, Denied, arrive, begin};

/// The longest address of a page to go on to, in bytes: it is kept in a cookie.
const TO_MAX: usize = 1_024;

/// Where to go afterwards.
#[derive(Debug, Deserialize)]
pub(super) struct Way {
    to: Option<String>,
    /// Whether this is the console's address already, as far as that can be had.
    #[serde(default)]
    moved: bool,
}

/// Sends somebody to the provider.
pub(super) async fn go(request: HttpRequest, mount: Data<Mount>, way: Query<Way>) -> HttpResponse {
    let to = place(way.to.as_deref().filter(|to| to.len() <= TO_MAX));
    let sent = match begin(&mount, &request, to, way.moved).await {
        Ok(sent) => sent,
        Err(denied) => return refused(&mount, &request, &denied),
    };
    let mut response = HttpResponse::SeeOther();
    response.insert_header((header::LOCATION, sent.to)).insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::REFERRER_POLICY, "no-referrer"));
    if let Some(cookie) = sent.cookie {
        response.append_header((header::SET_COOKIE, cookie));
    }
    response.finish()
}

/// One hop within the console: the login's cookie comes along with what a page of it asks for alone (SameSite=Strict),
/// not with what the provider's page has led to.
#[derive(Template)]
#[template(path = "access/arrived.html")]
struct ArrivedPage {
    to: String,
}

/// Lets somebody in whom the provider has sent back.
pub(super) async fn back(
    request: HttpRequest,
    mount: Data<Mount>,
    back: Result<Query<Back>, actix_web::Error>,
) -> HttpResponse {
    let arrived = match back {
        Ok(back) => arrive(&mount, &request, back.into_inner()).await,
        Err(_) => Err(Denied::Stale),
    };
    match arrived {
        Ok(arrived) => {
            let page = ArrivedPage { to: arrived.to };
            let mut response = HttpResponse::Ok();
            for cookie in arrived.cookies {
                response.append_header((header::SET_COOKIE, cookie));
            }
            page_of(&mut response, page.render())
        }
        Err(denied) => refused(&mount, &request, &denied),
    }
}

//! `/admin/api/v1/turn`: the relays' users, secrets, issued credentials, allocations, realms by origin, peers.
#![allow(unused_qualifications, reason = "of the macro that describes parameters")]

mod allocations;
mod credentials;
#[cfg(test)]
mod issued_tests;
pub(crate) mod link;
mod origins;
mod peers;
mod secrets;
#[cfg(test)]
mod tests;
mod users;

pub(crate) use allocations::{Of as OfAllocations, page_of as allocations_of};
pub(crate) use credentials::{Of as OfCredentials, One, found, listed, told};

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::{Bytes, PayloadConfig, Query, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use chappe_proto::limits::ENTRY_MAX;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::OpenApi;

use crate::api::problem::Problem;
use crate::{Changed, Unavailable};

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .app_data(PayloadConfig::new(ENTRY_MAX))
        .configure(users::routes)
        .configure(origins::routes)
        .configure(peers::routes)
        .configure(secrets::routes)
        .configure(credentials::routes)
        .configure(allocations::routes);
}

/// What is described here.
#[derive(OpenApi)]
#[openapi(paths(
    users::users,
    users::set,
    users::remove,
    origins::origins,
    origins::set_origins,
    peers::peers,
    peers::set_peers,
    secrets::secrets,
    secrets::add_secret,
    secrets::rotate,
    secrets::end,
    credentials::issue,
    credentials::list,
    credentials::one,
    credentials::revoke,
    credentials::issue_of_app,
    credentials::list_of_app,
    credentials::one_of_app,
    credentials::revoke_of_app,
    allocations::list,
    allocations::close,
    allocations::close_all,
))]
pub(crate) struct Part;

/// What the query of a request says; what it does not know is told, with the field.
pub(super) struct Ask<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Ask<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = Query::<T>::from_query(request.query_string());
        ready(read.map(|read| Self(read.into_inner())).map_err(|error| Problem::Field {
            field: "query",
            fix: format!("not what is taken here: {error}"),
        }))
    }
}

/// Where a list goes on, as clients hand it back unread.
pub(super) fn cursor(at: &str) -> String {
    BASE64URL_NOPAD.encode(at.as_bytes())
}

/// What was made a [`cursor`].
pub(super) fn at(cursor: &str) -> Result<String, Problem> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad_cursor)
}

pub(super) fn bad_cursor() -> Problem {
    Problem::Field { field: "cursor", fix: "give the `next` of an answer, or nothing".to_owned() }
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

/// Reads a body. The parser's words name the field and the place; a value only where it is of the
/// wrong type, and to nobody but its sender.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::Field {
        field: "body",
        fix: format!("not the JSON object that is taken here: {error}"),
    })
}

//! Changes that are made from what is there: a field that is left out stays, so what was read must still be there when
//! the change is written. Clients say what they have seen by `If-Match` (RFC 9110, section 13.1.1).

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest};
use chappe_proto::id::Index;
use chappe_proto::limits::CHANGE_ATTEMPTS;

use crate::api::problem::Problem;

/// The `ETag` of what an entry of the registry changed last. Of a room it stands for what is decided of it, not for who
/// is there.
pub(crate) fn etag(revision: Index) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{}\"", revision.0))
}

/// What `If-Match` of a request says.
pub(crate) struct IfMatch(Option<String>);

impl IfMatch {
    /// Whether this is what the client has seen; whatever is there will do for one that does not say.
    ///
    /// # Errors
    /// [`Problem::Stale`] otherwise.
    pub(crate) fn holds(&self, revision: Index) -> Result<(), Problem> {
        let (_, held) = etag(revision);
        let names =
            |tags: &String| tags.split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim() == held);
        if self.0.as_ref().is_none_or(names) { Ok(()) } else { Err(Problem::Stale) }
    }
}

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let given = request.headers().get(header::IF_MATCH);
        // One that is no text names nothing.
        ready(Ok(Self(given.map(|value| value.to_str().unwrap_or_default().to_owned()))))
    }
}

/// Reads, merges and writes, and begins anew where somebody else came between.
pub(crate) async fn merged<T>(mut attempt: impl AsyncFnMut() -> Result<T, Problem>) -> Result<T, Problem> {
    for _ in 1..CHANGE_ATTEMPTS {
        match attempt().await {
            Err(Problem::Overtaken(_)) => {}
            done => return done,
        }
    }
    attempt().await
}

#[cfg(test)]
#[path = "unchanged/tests.rs"]
mod tests;

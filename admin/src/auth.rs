//! Who may use the API: whoever holds the operator's token.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use chappe_proto::limits::AUDIT_TEXT_MAX;
use chappe_proto::registry::Note;
use subtle::ConstantTimeEq;

use crate::Mount;
use crate::problem::Problem;

/// Proof that the request carried the operator's token.
pub(crate) struct Operator {
    /// The address that it came from.
    from: String,
}

impl Operator {
    /// A line of the audit log: what is done, in words for operators, and never a secret.
    pub(crate) fn note(&self, what: &str) -> Note {
        let end = what.floor_char_boundary(AUDIT_TEXT_MAX);
        Note { who: "operator".to_owned(), what: what[..end].to_owned(), from: self.from.clone() }
    }
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let given = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let mount = request.app_data::<web::Data<Mount>>();
        let allowed = match (given, mount) {
            (Some(given), Some(mount)) => bool::from(given.as_bytes().ct_eq(&mount.token.0)),
            _ => false,
        };
        let from = request.peer_addr().map_or_else(String::new, |peer| peer.ip().to_string());
        ready(if allowed { Ok(Self { from }) } else { Err(Problem::Unauthorized) })
    }
}

//! Who may use the API: whoever holds the operator's token.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use subtle::ConstantTimeEq;

use crate::Mount;
use crate::problem::Problem;

/// Proof that the request carried the operator's token.
pub(crate) struct Operator;

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
        ready(if allowed { Ok(Self) } else { Err(Problem::Unauthorized) })
    }
}

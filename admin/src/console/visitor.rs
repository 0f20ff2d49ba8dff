//! Whoever looks at the console, or is sent to log in.

use std::fmt;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError};
use chappe_proto::id::OperatorName;
use chappe_proto::registry::access::Role;

use crate::access::{Principal, Viewer};

/// Somebody who may look.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// Who.
    pub(super) name: String,
    /// What they may, in words.
    pub(super) role: &'static str,
    /// The proof that changes come from a page of theirs.
    pub(super) csrf: String,
    /// Whether they may change what operators change.
    pub(super) acts: bool,
    /// Whether they may change who may what, and secrets.
    pub(super) owns: bool,
    /// The operator, where it is one.
    pub(super) operator: Option<OperatorName>,
    /// All that is known of them.
    pub(super) who: Principal,
}

/// Nobody who may look: they are sent to log in, and come back to where they were going.
#[derive(Debug)]
pub(crate) struct Away {
    to: String,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("log in first")
    }
}

impl ResponseError for Away {
    fn status_code(&self) -> StatusCode {
        StatusCode::SEE_OTHER
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::SeeOther().insert_header((header::LOCATION, self.to.clone())).finish()
    }
}

impl FromRequest for Visitor {
    type Error = Away;
    type Future = Ready<Result<Self, Away>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let viewer = Viewer::from_request(request, payload);
        let path = request.uri().path_and_query().map_or("/admin", |path| path.as_str());
        let to = format!(
            "/admin/login?to={}",
            askama::filters::urlencode_strict(path).map_or_else(|_| String::new(), |to| to.to_string())
        );
        ready(viewer.into_inner().map_err(|_| Away { to }).map(|Viewer(who)| Self {
            name: who.who.clone(),
            role: match who.role {
                Role::Viewer => "Viewer",
                Role::Operator => "Operator",
                Role::Owner => "Owner",
            },
            csrf: who.csrf.clone().unwrap_or_default(),
            acts: who.role >= Role::Operator,
            owns: who.role >= Role::Owner,
            operator: who.operator.clone(),
            who,
        }))
    }
}

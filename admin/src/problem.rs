//! Errors as problem details (RFC 9457).

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

/// What went wrong, as the client is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("give the operator's token as `Authorization: Bearer …` (`chappe dev` prints where it is)")]
    Unauthorized,
    #[error("{0}")]
    BadName(&'static str),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("the registry cannot commit right now; try again")]
    Unavailable,
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::BadName(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let title = status.canonical_reason().unwrap_or("Error");
        let body = json!({ "title": title, "status": status.as_u16(), "detail": self.to_string() });
        let mut response = HttpResponse::build(status);
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        response.content_type("application/problem+json").body(body.to_string())
    }
}

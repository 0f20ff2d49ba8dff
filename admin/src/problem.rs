//! Errors as problem details (RFC 9457).

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use chappe_proto::registry::Refusal;
use serde_json::json;

/// What went wrong, as the client is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("give the operator's token as `Authorization: Bearer …` (`chappe dev` prints where it is)")]
    Unauthorized,
    #[error("{0}")]
    BadName(&'static str),
    #[error("{field}: {fix}")]
    Field { field: &'static str, fix: String },
    #[error("{0}")]
    Full(String),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("the registry cannot commit right now; try again")]
    Unavailable,
    #[error("{0}")]
    NotNow(String),
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::BadName(_) | Self::Field { .. } => StatusCode::BAD_REQUEST,
            Self::Full(_) => StatusCode::CONFLICT,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Unavailable | Self::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let title = status.canonical_reason().unwrap_or("Error");
        let mut body = json!({ "title": title, "status": status.as_u16(), "detail": self.to_string() });
        if let Self::Field { field, .. } = self {
            body["field"] = (*field).into();
        }
        let mut response = HttpResponse::build(status);
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        response.content_type("application/problem+json").body(body.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(_) => Self::NotFound("entry in the registry"),
            Refusal::Invalid(_) => Self::Field { field: "value", fix: refusal.to_string() },
            refusal => Self::Full(refusal.to_string()),
        }
    }
}

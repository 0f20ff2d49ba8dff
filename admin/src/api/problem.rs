//! Errors as problem details (RFC 9457).

use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
use chappe_proto::registry::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

/// As problems are written.
const KIND: &str = "application/problem+json";

/// Why something was not done (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document {
    /// What `title` says is all that its kind means.
    #[serde(rename = "type")]
    #[schema(examples("about:blank"))]
    kind: &'static str,
    /// The status, in words.
    #[schema(examples("Bad Request"))]
    title: String,
    /// The status.
    #[schema(minimum = 400, maximum = 599, examples(400))]
    status: u16,
    /// What is wrong, and what to do about it.
    #[schema(examples("limit: 1 to 1000"))]
    detail: String,
    /// The field that it is about: of the body, the query or the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples("limit"))]
    field: Option<&'static str>,
}

impl Document {
    fn answer(status: StatusCode, detail: String, field: Option<&'static str>) -> HttpResponse {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        let body = Self { kind: "about:blank", title, status: status.as_u16(), detail, field };
        // Not by the answer's own kind: that is JSON's.
        let body = serde_json::to_string(&body).unwrap_or_default();
        HttpResponse::build(status).content_type(KIND).body(body)
    }
}

/// Makes a problem document of what the server itself refuses: a body that is too long, a query that cannot be read.
pub(crate) async fn always(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, actix_web::Error> {
    let (request, response) = match next.call(request).await {
        Ok(answered) => answered.map_into_boxed_body().into_parts(),
        Err(error) => return Err(plain(error)),
    };
    let kind = response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if !refused || kind == Some(KIND.as_bytes()) {
        return Ok(ServiceResponse::new(request, response));
    }
    let words = response.error().map_or_else(|| "this node cannot do that".to_owned(), ToString::to_string);
    let mut told = Document::answer(response.status(), words, None);
    for name in [header::ALLOW, header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = response.headers().get(&name) {
            told.headers_mut().insert(name, value.clone());
        }
    }
    Ok(ServiceResponse::new(request, told))
}

/// An error of the server as a problem document.
fn plain(error: actix_web::Error) -> actix_web::Error {
    let response = error.error_response();
    let kind = response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    if kind == Some(KIND.as_bytes()) {
        return error;
    }
    let words = error.to_string();
    actix_web::error::InternalError::from_response(error, Document::answer(response.status(), words, None))
        .into()
}

/// What went wrong, as the client is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(
        "log in at /admin/login, or give an access token or the operator's token as `Authorization: Bearer …` (a node \
         keeps that in its data directory: admin-token), or an app's API key as user and password"
    )]
    Unauthorized,
    #[error("this name and this password do not belong together")]
    WrongPassword,
    #[error("{0}")]
    Forbidden(String),
    #[error("too many wrong passwords: try again in {} s, or have an owner make a link for you", .0.as_secs().max(1))]
    TooMany(Duration),
    #[error("too many at once: try again in {} s", .0.as_secs().max(1))]
    TooOften(Duration),
    #[error("{0}")]
    BadName(&'static str),
    #[error("{field}: {fix}")]
    Field { field: &'static str, fix: String },
    #[error("{0}")]
    Full(String),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("there is no such operation here, but there are {0}")]
    NotAllowed(String),
    #[error("{0}")]
    Overtaken(String),
    #[error("If-Match: it has changed since you read it: read it again, and send its `ETag`")]
    Stale,
    #[error("{0}")]
    Differs(&'static str),
    #[error("the registry cannot commit right now; try again")]
    Unavailable,
    #[error("{0}")]
    NotNow(String),
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooMany(_) | Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::BadName(_) | Self::Field { .. } => StatusCode::BAD_REQUEST,
            Self::Full(_) | Self::Overtaken(_) => StatusCode::CONFLICT,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::NotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Differs(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable | Self::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let field = match self {
            Self::Field { field, .. } => Some(*field),
            Self::Stale => Some("If-Match"),
            _ => None,
        };
        let mut response = Document::answer(status, self.to_string(), field);
        let also = match self {
            // Not `Basic`, at which browsers ask for a password by themselves.
            Self::Unauthorized | Self::WrongPassword => Some((header::WWW_AUTHENTICATE, "Bearer".to_owned())),
            Self::TooMany(wait) | Self::TooOften(wait) => {
                Some((header::RETRY_AFTER, wait.as_secs().max(1).to_string()))
            }
            Self::NotAllowed(methods) => Some((header::ALLOW, methods.clone())),
            _ => None,
        };
        if let Some((name, text)) = also
            && let Ok(value) = header::HeaderValue::from_str(&text)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(_) => Self::NotFound("entry in the registry"),
            Refusal::Invalid(_) => Self::Field { field: "value", fix: refusal.to_string() },
            Refusal::Changed(_) => Self::Overtaken(refusal.to_string()),
            refusal => Self::Full(refusal.to_string()),
        }
    }
}
